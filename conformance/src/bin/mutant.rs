//! A runtime that is broken in one way: `mutant NAME RUNTIME ARG...` changes one thing, then becomes that runtime.
//!
//! It serves tests/mutations.rs, which names the test of the suite that has to fail. A mutation changes config.json
//! before the runtime reads it, or the call or its result; the product contains no code for it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// The way in which a mutant is broken.
enum Mutation {
    /// The runtime misreads config.json.
    Config(fn(&mut Value)),
    /// The mutant changes the call itself or its result.
    Call(fn(&Call) -> Result<u8>),
}
use Mutation::{Call as Calls, Config};

const MUTATIONS: &[(&str, Mutation)] = &[
    ("nothing", Config(|_| ())),
    ("a capability too many", Config(capability)),
    ("capabilities ignored", Config(|c| drop_key(&mut c["process"], "capabilities"))),
    ("the inheritable capabilities ignored", Config(|c| drop_key(&mut c["process"]["capabilities"], "inheritable"))),
    ("kept groups dropped", Config(|c| drop_key(&mut c["annotations"], "run.oci.keep_original_groups"))),
    ("rlimits ignored", Config(|c| drop_key(&mut c["process"], "rlimits"))),
    (
        "the hard rlimit is the soft one",
        Config(|c| each(&mut c["process"]["rlimits"], |l| l["hard"] = l["soft"].clone())),
    ),
    ("masked paths skipped", Config(|c| drop_key(&mut c["linux"], "maskedPaths"))),
    ("read-only paths skipped", Config(|c| drop_key(&mut c["linux"], "readonlyPaths"))),
    ("the root stays writable", Config(|c| drop_key(&mut c["root"], "readonly"))),
    ("hooks swapped", Config(hooks_swapped)),
    ("poststop hooks forgotten", Config(|c| drop_key(&mut c["hooks"], "poststop"))),
    ("hooks without their timeout", Config(|c| each_hook(c, |hook| drop_key(hook, "timeout")))),
    ("hooks with the environment of the container", Config(hooks_environment)),
    ("hooks without an environment", Config(hooks_without_environment)),
    (
        "hooks in reverse order",
        Config(|c| c["hooks"].as_object_mut().into_iter().flatten().for_each(|(_, l)| reverse(l))),
    ),
    ("unknown capabilities dropped in silence", Config(known_capabilities)),
    ("seccomp ignored", Config(|c| drop_key(&mut c["linux"], "seccomp"))),
    ("seccomp with EPERM only", Config(|c| each(&mut c["linux"]["seccomp"]["syscalls"], |r| drop_key(r, "errnoRet")))),
    ("rules that notify nobody", Config(|c| each(&mut c["linux"]["seccomp"]["syscalls"], notify_nobody))),
    ("the wrong uid", Config(|c| plus_one(&mut c["process"]["user"]["uid"]))),
    ("additional groups dropped", Config(|c| drop_key(&mut c["process"]["user"], "additionalGids"))),
    ("umask ignored", Config(|c| drop_key(&mut c["process"]["user"], "umask"))),
    ("no_new_privs forgotten", Config(|c| drop_key(&mut c["process"], "noNewPrivileges"))),
    ("the OOM score ignored", Config(|c| drop_key(&mut c["process"], "oomScoreAdj"))),
    ("the scheduler ignored", Config(|c| drop_key(&mut c["process"], "scheduler"))),
    ("cwd ignored", Config(|c| replace(&mut c["process"], "cwd", json!("/")))),
    ("a variable of the runtime", Config(|c| push(&mut c["process"]["env"], json!("LEAKED=1")))),
    ("arguments cut at a blank", Config(arguments_split)),
    ("the host name ignored", Config(|c| drop_key(c, "hostname"))),
    ("personality ignored", Config(|c| drop_key(&mut c["linux"], "personality"))),
    ("the last mount forgotten", Config(|c| drop(c["mounts"].as_array_mut().and_then(Vec::pop)))),
    ("mounts in reverse order", Config(|c| reverse(&mut c["mounts"]))),
    ("mount flags ignored", Config(mount_flags)),
    ("options that clear a flag ignored", Config(clearing_options)),
    ("the first lower directory alone", Config(first_lower_directory)),
    ("parts of destinations dropped", Config(dots_dropped)),
    ("propagation ignored", Config(|c| drop_key(&mut c["linux"], "rootfsPropagation"))),
    ("sysctl ignored", Config(|c| drop_key(&mut c["linux"], "sysctl"))),
    ("the memory limit ignored", Config(|c| drop_key(&mut c["linux"]["resources"], "memory"))),
    ("the cgroup path ignored", Config(|c| drop_key(&mut c["linux"], "cgroupsPath"))),
    ("the pids limit ignored", Config(|c| drop_key(&mut c["linux"]["resources"], "pids"))),
    ("all devices allowed", Config(|c| drop_key(&mut c["linux"]["resources"], "devices"))),
    ("configured devices forgotten", Config(|c| drop_key(&mut c["linux"], "devices"))),
    ("the mode of devices ignored", Config(|c| each(&mut c["linux"]["devices"], |d| drop_key(d, "fileMode")))),
    ("namespaces not joined", Config(|c| each(&mut c["linux"]["namespaces"], |n| drop_key(n, "path")))),
    ("id maps off by one", Config(|c| each(&mut c["linux"]["uidMappings"], |m| plus_one(&mut m["hostID"])))),
    ("time offsets ignored", Config(|c| drop_key(&mut c["linux"], "timeOffsets"))),
    ("duplicate limits accepted", Config(|c| truncate(&mut c["process"]["rlimits"]))),
    ("annotations dropped", Config(|c| drop_key(c, "annotations"))),
    ("update does nothing", Calls(update_nothing)),
    ("signals swallowed", Calls(|call| if call.verb() == "kill" { Ok(0) } else { call.become_runtime(&call.words) })),
    ("TERM, whatever the signal", Calls(always_term)),
    ("signals to a stopped container swallowed", Calls(only_running)),
    (
        "delete does nothing",
        Calls(|call| if call.verb() == "delete" { Ok(0) } else { call.become_runtime(&call.words) }),
    ),
    ("delete is always forced", Calls(|call| call.with_flag("delete", &["--force"]))),
    ("create starts", Calls(create_starts)),
    ("errors succeed", Calls(|call| call.run().map(|_| 0))),
    ("errors are crashes", Calls(|call| Ok(if call.run()? == 0 { 0 } else { std::process::abort() }))),
    ("errors without a word", Calls(silent)),
    (
        "delete without a word",
        Calls(|call| if call.verb() == "delete" { silent(call) } else { call.become_runtime(&call.words) }),
    ),
    (
        "stopped is reported as running",
        Calls(|call| call.edit_state(|state| replace(state, "status", json!("running")))),
    ),
    ("no pid in the state", Calls(|call| call.edit_state(|state| drop_key(state, "pid")))),
    (
        "a relative bundle in the state",
        Calls(|call| call.edit_state(|state| replace(state, "bundle", json!("bundle")))),
    ),
    ("the pid file ends in a newline", Calls(pid_file)),
    ("a descriptor leaks", Calls(|call| call.with_flag("create", &["--preserve-fds", "1"]))),
];

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(err) => {
            eprintln!("mutant: {err:#}");
            ExitCode::from(99)
        }
    }
}

fn run() -> Result<u8> {
    let mut words = std::env::args();
    let name = words.nth(1).context("usage: mutant NAME RUNTIME ARG... | mutant --list")?;
    if name == "--list" {
        MUTATIONS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(0);
    }
    let runtime = words.next().context("no runtime")?.into();
    let call = Call { runtime, words: words.collect() };
    match MUTATIONS.iter().find(|(known, _)| *known == name) {
        Some((_, Config(edit))) => {
            if let ("create" | "run", Some(bundle)) = (call.verb(), call.value("--bundle")) {
                edit_config(&Path::new(bundle).join("config.json"), *edit)?;
            }
            call.become_runtime(&call.words)
        }
        Some((_, Calls(act))) => act(&call),
        None => bail!("no mutation {name:?}"),
    }
}

/// Changes the configuration; a file that does not parse, or that `edit` leaves unchanged, keeps every byte.
fn edit_config(path: &Path, edit: fn(&mut Value)) -> Result<()> {
    let Some(before) = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else {
        return Ok(());
    };
    let mut config = before.clone();
    if config.is_object() {
        edit(&mut config);
    }
    if config != before {
        fs::write(path, serde_json::to_vec(&config)?)?;
    }
    Ok(())
}

/// A call of the runtime by the suite.
struct Call {
    runtime: PathBuf,
    words: Vec<String>,
}

impl Call {
    /// Returns the verb: the first word, or the one after `--root` and its value.
    fn verb(&self) -> &str {
        let at = if self.words.first().is_some_and(|word| word == "--root") { 2 } else { 0 };
        self.words.get(at).map_or("", String::as_str)
    }

    fn value(&self, flag: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == flag)?;
        self.words.get(at + 1).map(String::as_str)
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.runtime);
        command.args(words);
        command
    }

    /// Executes the runtime in place of this process, so that pid and descriptors stay.
    fn become_runtime(&self, words: &[String]) -> Result<u8> {
        Err(self.command(words).exec()).with_context(|| self.runtime.display().to_string())
    }

    /// Runs the runtime as a child and returns its exit status.
    fn run(&self) -> Result<u8> {
        let status = self.command(&self.words).status()?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(99))
    }

    /// Runs the runtime with more flags after `verb`. Descriptor 3 is open, for flags that pass it on.
    fn with_flag(&self, verb: &str, flags: &[&str]) -> Result<u8> {
        let mut words: Vec<OsString> = self.words.iter().map(OsString::from).collect();
        if self.verb() == verb
            && let Some(at) = self.words.iter().position(|word| word == verb)
        {
            words.splice(at + 1..at + 1, flags.iter().map(OsString::from));
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec \"$0\" \"$@\" 3</dev/null"]).arg(&self.runtime).args(words);
        Err(shell.exec()).context("sh")
    }

    /// Runs the runtime, and changes what `state` prints of a stopped container.
    fn edit_state(&self, edit: fn(&mut Value)) -> Result<u8> {
        if self.verb() != "state" {
            return self.become_runtime(&self.words);
        }
        let done = self.command(&self.words).stderr(Stdio::inherit()).output()?;
        if let Ok(mut state) = serde_json::from_slice::<Value>(&done.stdout) {
            edit(&mut state);
            println!("{state}");
        }
        Ok(u8::from(!done.status.success()))
    }
}

fn always_term(call: &Call) -> Result<u8> {
    let mut words = call.words.clone();
    if let ("kill", Some(last)) = (call.verb(), words.last_mut()) {
        *last = "TERM".to_owned();
    }
    call.become_runtime(&words)
}

fn only_running(call: &Call) -> Result<u8> {
    if let ("kill", [flag, root, _, id, ..]) = (call.verb(), call.words.as_slice()) {
        let done = call.command(&[flag.clone(), root.clone(), "state".to_owned(), id.clone()]).output()?;
        if serde_json::from_slice::<Value>(&done.stdout).is_ok_and(|state| state["status"] == "stopped") {
            return Ok(0);
        }
    }
    call.become_runtime(&call.words)
}

/// The help is that of the runtime, because the suite finds the verbs by it.
fn update_nothing(call: &Call) -> Result<u8> {
    let help = call.words.iter().any(|word| word == "--help");
    if call.verb() == "update" && !help { Ok(0) } else { call.become_runtime(&call.words) }
}

fn create_starts(call: &Call) -> Result<u8> {
    let status = call.run()?;
    if let ("create", 0, [flag, root, .., id]) = (call.verb(), status, call.words.as_slice()) {
        call.command(&[flag.clone(), root.clone(), "start".to_owned(), id.clone()]).status()?;
    }
    Ok(status)
}

fn silent(call: &Call) -> Result<u8> {
    let mut command = call.command(&call.words);
    Err(command.stderr(Stdio::null()).exec()).context("exec")
}

fn pid_file(call: &Call) -> Result<u8> {
    let status = call.run()?;
    if let Some(file) = call.value("--pid-file")
        && let Ok(text) = fs::read_to_string(file)
    {
        fs::write(file, text + "\n")?;
    }
    Ok(status)
}

/// Removes a key of an object, where there are both.
fn drop_key(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}

/// Replaces the value of an object's key.
fn replace(value: &mut Value, key: &str, new: Value) {
    if let Some(place) = value.get_mut(key) {
        *place = new;
    }
}

fn plus_one(value: &mut Value) {
    if let Some(number) = value.as_u64() {
        *value = json!(number + 1);
    }
}

fn push(value: &mut Value, new: Value) {
    if let Some(list) = value.as_array_mut() {
        list.push(new);
    }
}

fn truncate(value: &mut Value) {
    if let Some(list) = value.as_array_mut() {
        list.truncate(1);
    }
}

fn reverse(value: &mut Value) {
    if let Some(list) = value.as_array_mut() {
        list.reverse();
    }
}

fn each(list: &mut Value, edit: impl FnMut(&mut Value)) {
    list.as_array_mut().into_iter().flatten().for_each(edit);
}

fn each_hook(config: &mut Value, mut edit: impl FnMut(&mut Value)) {
    for (_, list) in config["hooks"].as_object_mut().into_iter().flatten() {
        each(list, &mut edit);
    }
}

fn capability(config: &mut Value) {
    for (_, set) in config["process"]["capabilities"].as_object_mut().into_iter().flatten() {
        push(set, json!("CAP_SYS_CHROOT"));
    }
}

fn clearing_options(config: &mut Value) {
    drop_mount_options(config, &["rw", "dev", "suid", "exec", "atime", "relatime"]);
}

fn first_lower_directory(config: &mut Value) {
    each(&mut config["mounts"], |mount| {
        each(&mut mount["options"], |option| {
            let first = option.as_str().and_then(|text| Some(text.strip_prefix("lowerdir=")?.split_once(':')?.0));
            if let Some(first) = first {
                *option = json!(format!("lowerdir={first}"));
            }
        });
    });
}

fn dots_dropped(config: &mut Value) {
    each(&mut config["mounts"], |mount| {
        if let Some(text) = mount["destination"].as_str().filter(|text| text.contains("/../")) {
            mount["destination"] = json!(text.replace("/../", "/"));
        }
    });
}

fn hooks_swapped(config: &mut Value) {
    if let Some(hooks) = config["hooks"].as_object_mut()
        && let (Some(first), Some(second)) = (hooks.remove("createRuntime"), hooks.remove("createContainer"))
    {
        hooks.insert("createRuntime".to_owned(), second);
        hooks.insert("createContainer".to_owned(), first);
    }
}

fn hooks_environment(config: &mut Value) {
    let environment = config["process"]["env"].clone();
    each_hook(config, |hook| {
        if hook.get("env").is_none() && hook.is_object() {
            hook["env"] = environment.clone();
        }
    });
}

fn hooks_without_environment(config: &mut Value) {
    each_hook(config, |hook| {
        if hook.get("env").is_none() && hook.is_object() {
            hook["env"] = json!([]);
        }
    });
}

/// Makes an error of a rule that asks the listener.
fn notify_nobody(rule: &mut Value) {
    if rule["action"] == "SCMP_ACT_NOTIFY" {
        rule["action"] = json!("SCMP_ACT_ERRNO");
    }
}

fn known_capabilities(config: &mut Value) {
    for (_, set) in config["process"]["capabilities"].as_object_mut().into_iter().flatten() {
        if let Some(names) = set.as_array_mut() {
            names.retain(|name| name != "CAP_NOSUCH");
        }
    }
}

fn arguments_split(config: &mut Value) {
    if let Some(args) = config["process"]["args"].as_array_mut() {
        let words = args.iter().filter_map(Value::as_str).enumerate();
        // the first two are the shell and its option, the third is its script
        let split = words.flat_map(|(at, word)| -> Vec<String> {
            if at > 2 { word.split(' ').map(str::to_owned).collect() } else { vec![word.to_owned()] }
        });
        *args = split.map(Value::from).collect();
    }
}

fn mount_flags(config: &mut Value) {
    drop_mount_options(config, &["ro", "nosuid", "nodev", "noexec", "noatime", "rro"]);
}

fn drop_mount_options(config: &mut Value, names: &[&str]) {
    each(&mut config["mounts"], |mount| {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option.as_str().is_none_or(|option| !names.contains(&option)));
        }
    });
}
