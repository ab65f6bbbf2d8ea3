//! Requirements of engines that are not in the specification: verbs, flags, texts, files (checklist part 20).

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Test;
use crate::agent::Agent;
use crate::checks::{exec, need_verb, with};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Done, EVENT_LIMIT, Harness, skip, wait_until};
use crate::proc_facts::{Facts, create_or_start, need_flag};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "CL-1", title: "create takes --no-pivot, --no-new-keyring and --preserve-fds", run: create_flags },
    Test { id: "CL-1", title: "a flag that create does not know is an error", run: unknown_flag },
    Test { id: "CL-2", title: "exec --process runs the process of a file", run: exec_file },
    Test {
        id: "CL-2",
        title: "exec --detach returns while the process runs, --pid-file has its pid",
        run: exec_detached,
    },
    Test {
        id: "CL-2",
        title: "exec in a created container runs while its own process waits, in a stopped or unknown one it is an error",
        run: exec_too_soon,
    },
    Test { id: "CL-2", title: "pause and resume show in the status and in the container", run: pause },
    Test { id: "CL-2", title: "pause and resume where they mean nothing are errors", run: no_pause },
    Test { id: "CL-2", title: "ps --format json prints the host's pids, ps --format table has a head", run: ps },
    Test { id: "CL-2", title: "list --format json has the container, with id, pid, status, bundle", run: list },
    Test { id: "CL-2", title: "events --stats prints one document of figures", run: events },
    Test { id: "CL-2", title: "kill --all ends every process of the container", run: kill_all },
    Test { id: "CL-3", title: "a JSON log ends with a line of level error that has msg and time", run: json_log },
    Test { id: "CL-3", title: "a log of a verb that succeeds has no line of level error", run: quiet_log },
    Test { id: "CL-3", title: "a log file that cannot be opened is an error", run: no_log },
    Test { id: "CL-4", title: "--version prints a name and a version, and the specification's", run: version },
    Test {
        id: "CL-4",
        title: "update --help names --resources",
        run: |b| {
            need_verb(b, "update")?;
            must_name(b, "update", "--resources")
        },
    },
    Test {
        id: "CL-6",
        title: "a pid file that cannot be written is an error of create, and no container",
        run: no_pid_file,
    },
    Test { id: "CL-7", title: "no process keeps the caller's output open after the container's end", run: pipes_close },
    Test { id: "CL-8", title: "run and exec end with the program's status", run: exit_status },
    Test { id: "CL-8", title: "run and exec of a program that a signal ends are 128 and its number", run: exit_signal },
    Test { id: "CL-8", title: "run and exec that cannot be done are errors", run: exit_error },
    Test { id: "CL-9", title: "init is the child of the caller's subreaper", run: subreaper },
    Test { id: "CL-10", title: "the state has rootfs, created and owner", run: state_extras },
    Test { id: "CL-10", title: "list of nothing is an empty list", run: empty_list },
    Test {
        id: "CL-11",
        title: "READY=1 of the program reaches the socket in the runtime's NOTIFY_SOCKET",
        run: notify,
    },
    Test { id: "CL-11", title: "without NOTIFY_SOCKET of the runtime the program has none", run: no_notify },
    Test { id: "CL-12", title: "create --pidfd-socket sends a pidfd of init", run: pidfd },
    Test { id: "CL-12", title: "create --pidfd-socket without a listener is an error", run: no_pidfd },
    Test {
        id: "CL-20",
        title: "the error of every verb for an unknown container is that it does not exist",
        run: does_not_exist,
    },
    Test {
        id: "CL-20",
        title: "the error of kill for a stopped container is that it is not running",
        run: not_running,
    },
    Test {
        id: "CL-21",
        title: "the error for a missing program is \"executable file not found\"",
        run: |b| failing(b, "no-such-program", &["executable file not found", "no such file or directory"]),
    },
    Test {
        id: "CL-21",
        title: "a program that may not be executed is permission denied",
        run: |b| failing(b, "/etc/passwd", &["permission denied"]),
    },
    Test {
        id: "CL-21",
        title: "a directory in the program's place is permission denied, or is a directory",
        run: |b| failing(b, "/etc", &["permission denied", "is a directory", "operation not permitted"]),
    },
    Test { id: "CL-21", title: "a directory mounted onto a file is not a directory", run: onto_file },
];

fn create_flags(b: &Harness) -> Result<()> {
    for flags in [&["--no-new-keyring"] as &[&str], &["--preserve-fds", "0"], &["--no-pivot"]] {
        let c = Container::script(b, "echo ran")?;
        if let Some(flag) = flags.first() {
            need_flag(b, "create", flag)?;
        }
        c.write_config()?;
        let bundle = c.bundle.to_string_lossy();
        let words = ["create", "--bundle", &bundle].into_iter().chain(flags.iter().copied()).chain([c.id.as_str()]);
        c.create_as_it_is(&mut b.command(words)).ok()?;
        c.start().ok()?;
        c.wait_stopped()?;
        ensure!(c.output() == "ran\n", "create {flags:?}: the program printed {:?}", c.output());
    }
    Ok(())
}

fn unknown_flag(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy();
    c.create_as_it_is(&mut b.command(["create", "--no-such-flag", "--bundle", &bundle, &c.id])).error()?;
    c.must_be_gone()
}

/// Starts a container, and writes a file with a process for it.
fn with_process<'a>(b: &'a Harness, args: &Value) -> Result<(Container<'a>, String)> {
    need_verb(b, "exec")?;
    let c = Container::running(b)?;
    let mut process = c.config["process"].clone();
    process["args"] = args.clone();
    process["env"] = json!(["PATH=/bin", "WORD=of the file"]);
    process["cwd"] = json!("/tmp");
    let file = c.bundle.join("process.json");
    fs::write(&file, process.to_string())?;
    Ok((c, file.to_string_lossy().into_owned()))
}

fn exec_file(b: &Harness) -> Result<()> {
    let (c, file) = with_process(b, &json!(["sh", "-c", "echo $WORD in $(pwd); exit 7"]))?;
    let done = b.call(["exec", "--process", &file, &c.id]);
    ensure!(done.out == "of the file in /tmp\n", "it printed {:?}, {:?}", done.out, done.err);
    let code = done.status.ok().and_then(|status| status.code());
    ensure!(code == Some(7), "the status is {code:?}");
    b.call(["exec", "--process", "/no/such/file", &c.id]).error()?;
    Ok(())
}

fn exec_detached(b: &Harness) -> Result<()> {
    let (c, file) = with_process(b, &json!(["sleep", "1000"]))?;
    let pid_file = c.bundle.join("exec.pid");
    b.call(["exec", "--detach", "--pid-file", &pid_file.to_string_lossy(), "--process", &file, &c.id]).ok()?;
    let text = read(&pid_file);
    let pid: i32 = text.parse().with_context(|| format!("the pid file holds {text:?}"))?;
    let line = || read(&Path::new("/proc").join(&text).join("cmdline"));
    let runs = wait_until("the process is executed", || Ok((line() == "sleep\x001000\0").then_some(())));
    // the process is the caller's child now: the container's pid namespace ends only when all its processes have been
    // reaped
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    let reaped = waitpid(Pid::from_raw(pid), None);
    runs.with_context(|| format!("process {pid}"))?;
    ensure!(pid != c.pid()?.as_raw(), "the pid file holds the pid of init");
    ensure!(reaped.is_ok(), "process {pid} is not the child of the caller: {reaped:?}");
    Ok(())
}

fn exec_too_soon(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    exec(b, &c, &["sh", "-c", "echo early >/early"])?.ok().context("a created container")?;
    ensure!(read(&c.path("/early")) == "early\n", "exec in a created container wrote nothing");
    c.must_be("created")?;
    c.start().ok()?;
    let c = Container::stopped(b)?;
    exec(b, &c, &["true"])?.error().context("a stopped container")?;
    b.call(["exec", &b.fresh_name(), "true"]).error_saying("does not exist")?;
    Ok(())
}

fn pause(b: &Harness) -> Result<()> {
    need_verb(b, "pause")?;
    if !crate::cgroup::is_v2() {
        crate::cgroup::need_controller("freezer")?;
    }
    let c = Container::script(b, "while :; do date +%s%N >/tick; done")?;
    let tick = || read(&c.path("/tick"));
    fs::hard_link(c.path("/bin/busybox"), c.path("/bin/date"))?;
    c.create().ok()?;
    c.start().ok()?;
    wait_until("the container writes", || Ok((!tick().is_empty()).then_some(())))?;
    b.call(["pause", &c.id]).ok()?;
    c.must_be("paused")?;
    let (first, second) = (tick(), {
        std::thread::sleep(std::time::Duration::from_millis(50));
        tick()
    });
    ensure!(first == second, "a paused container still writes");
    b.call(["resume", &c.id]).ok()?;
    c.must_be("running")?;
    wait_until("the container writes again", || {
        let now = tick();
        Ok((!now.is_empty() && now != second).then_some(()))
    })
}

fn no_pause(b: &Harness) -> Result<()> {
    need_verb(b, "pause")?;
    for verb in ["pause", "resume"] {
        b.call([verb, &b.fresh_name()]).error_saying("does not exist")?;
        let c = Container::stopped(b)?;
        b.call([verb, &c.id]).error().with_context(|| format!("{verb} of a stopped container"))?;
    }
    let c = Container::running(b)?;
    b.call(["resume", &c.id]).error().context("resume of a running container")?;
    c.must_be("running")
}

fn ps(b: &Harness) -> Result<()> {
    need_verb(b, "ps")?;
    let c = Container::running(b)?;
    let done = b.call(["ps", "--format", "json", &c.id]).ok()?;
    let pids: Vec<i32> = serde_json::from_str(&done.out).with_context(|| format!("ps printed {:?}", done.out))?;
    ensure!(pids == [c.pid()?.as_raw()], "ps printed {pids:?}, init is {}", c.pid()?);
    // the table is the output of the host's own ps
    if !Command::new("ps").arg("-ef").output().is_ok_and(|done| done.status.success()) {
        return skip("the machine's own ps -ef does not work");
    }
    let done = b.call(["ps", "--format", "table", &c.id]).ok()?;
    let lines: Vec<&str> = done.out.lines().collect();
    let fits = lines.len() == 2 && lines.first().is_some_and(|head| head.contains("PID"));
    ensure!(fits, "ps --format table printed {:?}", done.out);
    b.call(["ps", &b.fresh_name()]).error_saying("does not exist")?;
    Ok(())
}

fn list(b: &Harness) -> Result<()> {
    need_verb(b, "list")?;
    let c = Container::running(b)?;
    let done = b.call(["list", "--format", "json"]).ok()?;
    let list: Vec<Value> = serde_json::from_str(&done.out).with_context(|| format!("list printed {:?}", done.out))?;
    let ours = list.iter().find(|entry| entry["id"] == c.id.as_str()).with_context(|| format!("not in {list:?}"))?;
    let fits = ours["pid"] == c.pid()?.as_raw() && ours["status"] == "running";
    ensure!(fits && ours["bundle"] == c.bundle.to_string_lossy().as_ref(), "list prints {ours}");
    Ok(())
}

fn events(b: &Harness) -> Result<()> {
    need_verb(b, "events")?;
    let c = Container::running(b)?;
    let done = b.call(["events", "--stats", &c.id]).ok()?;
    let document: Value = serde_json::from_str(&done.out).with_context(|| format!("events printed {:?}", done.out))?;
    ensure!(document["type"] == "stats" && document["id"] == c.id.as_str(), "events printed {document}");
    ensure!(
        document["data"]["cpu"].is_object() && document["data"]["memory"].is_object(),
        "the data are {}",
        document["data"]
    );
    b.call(["events", "--stats", &b.fresh_name()]).error_saying("does not exist")?;
    Ok(())
}

fn kill_all(b: &Harness) -> Result<()> {
    need_flag(b, "kill", "--all")?;
    let c = Container::running(b)?;
    exec(b, &c, &["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"])?.ok()?;
    b.call(["kill", "--all", &c.id, "KILL"]).ok()?;
    c.wait_stopped()
}

fn log_lines(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON in the log: {line:?}")))
        .collect()
}

fn logged(b: &Harness, file: &Path, words: &[&str]) -> Done {
    let file = file.to_string_lossy();
    b.call(["--log", &file, "--log-format", "json"].iter().chain(words))
}

fn json_log(b: &Harness) -> Result<()> {
    let c = with(b, &["root", "path"], &json!("missing"))?;
    c.write_config()?;
    let file = c.bundle.join("log");
    logged(b, &file, &["create", "--bundle", &c.bundle.to_string_lossy(), &c.id]).error().or_else(|err| {
        // with a log file some runtimes print nothing on standard error
        if err.to_string().contains("without a word") { Ok(b.call(["state", &c.id])) } else { Err(err) }
    })?;
    let lines = log_lines(&read(&file))?;
    let last = lines.iter().rev().find(|line| line["level"] == "error").context("no line of level error in the log")?;
    ensure!(last["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "no msg in {last}");
    let time = last["time"].as_str().unwrap_or_default();
    // 2026-11-21T15:00:00Z, or with a fraction, or an offset
    let fits = time.len() >= 20
        && time.get(10..11) == Some("T")
        && (time.ends_with('Z') || time.contains('+') || time.rfind('-') > Some(10));
    ensure!(fits, "the time is {time:?}, not as in RFC 3339");
    Ok(())
}

fn quiet_log(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let file = c.bundle.join("log");
    logged(b, &file, &["state", &c.id]).ok()?;
    let errors = log_lines(&read(&file))?.into_iter().filter(|line| line["level"] == "error").count();
    ensure!(errors == 0, "{errors} errors in the log of a state that succeeded");
    Ok(())
}

fn no_log(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    logged(b, Path::new("/no/such/directory/log"), &["state", &c.id]).error()?;
    Ok(())
}

fn version(b: &Harness) -> Result<()> {
    let done = b.call(["--version"]).ok()?;
    let mut lines = done.out.lines();
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    ensure!(
        matches!(words.as_slice(), [name, "version", number, ..] if !name.is_empty() && !number.is_empty()),
        "it prints {:?}",
        done.out
    );
    ensure!(lines.any(|line| line.starts_with("spec: 1.")), "no line spec: in {:?}", done.out);
    Ok(())
}

fn must_name(b: &Harness, verb: &str, flag: &str) -> Result<()> {
    let done = b.call([verb, "--help"]).ok()?;
    ensure!(done.out.contains(flag), "{verb} --help does not name {flag}: {:?}", done.out);
    Ok(())
}

fn no_pid_file(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy();
    let words = ["create", "--bundle", &bundle, "--pid-file", "/no/such/directory/pid", &c.id];
    c.create_as_it_is(&mut b.command(words)).error()?;
    c.must_be_gone()
}

fn pipes_close(b: &Harness) -> Result<()> {
    let c = Container::script(b, "echo words")?;
    c.write_config()?;
    let mut child = c.create_command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut pipe = child.stdout.take().context("no pipe")?;
    ensure!(child.wait()?.success(), "create failed");
    c.adopt();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    c.start().ok()?;
    c.wait_stopped()?;
    wait_until("the caller reads to the end of the container's output", || Ok(reader.is_finished().then_some(())))?;
    let text = reader.join().ok().and_then(Result::ok);
    ensure!(text.as_deref() == Some("words\n"), "the caller read {text:?}");
    Ok(())
}

fn code(done: &Done) -> Option<i32> {
    done.status.as_ref().ok().and_then(std::process::ExitStatus::code)
}

/// Runs a script in the foreground by `run`.
fn run_script(b: &Harness, script: &str) -> Result<Done> {
    need_verb(b, "run")?;
    let c = Container::script(b, script)?;
    c.write_config()?;
    Ok(b.call(["run", "--bundle", &c.bundle.to_string_lossy(), &c.id]))
}

fn exit_status(b: &Harness) -> Result<()> {
    for wanted in [0, 7, 255] {
        let done = run_script(b, &format!("exit {wanted}"))?;
        ensure!(code(&done) == Some(wanted), "run of `exit {wanted}`: {:?}", done.status);
    }
    let c = Container::running(b)?;
    let done = exec(b, &c, &["sh", "-c", "exit 9"])?;
    ensure!(code(&done) == Some(9), "exec of `exit 9`: {:?}", done.status);
    Ok(())
}

fn exit_signal(b: &Harness) -> Result<()> {
    // init ignores signals from inside of its namespace for which it has no handler
    let c = Container::running(b)?;
    let done = exec(b, &c, &["sh", "-c", "kill -9 $$"])?;
    ensure!(code(&done) == Some(137), "exec of `kill -9 $$`: {:?}", done.status);
    let mut c = Container::script(b, "kill -9 $$")?;
    if let Some(list) = c.config["linux"]["namespaces"].as_array_mut() {
        list.retain(|entry| entry["type"] != "pid");
    }
    c.write_config()?;
    let done = b.call(["run", "--bundle", &c.bundle.to_string_lossy(), &c.id]);
    ensure!(code(&done) == Some(137), "run of `kill -9 $$`: {:?}", done.status);
    Ok(())
}

fn exit_error(b: &Harness) -> Result<()> {
    need_verb(b, "run")?;
    let c = with(b, &["process", "args"], &json!(["/no/such/program"]))?;
    c.write_config()?;
    b.call(["run", "--bundle", &c.bundle.to_string_lossy(), &c.id]).error()?;
    let c = Container::running(b)?;
    let failed = exec(b, &c, &["/no/such/program"])?.error();
    // a failed exec may leave a process to the caller's subreaper; the container's init cannot end before it is reaped
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {}
    failed.map(drop)
}

fn subreaper(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let parent = Facts::of(&c)?.stat(4)?;
    ensure!(parent == i64::from(Pid::this().as_raw()), "init's parent is {parent}, the caller is {}", Pid::this());
    Ok(())
}

fn state_extras(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let state = c.state()?;
    ensure!(state["rootfs"] == c.path("/").to_string_lossy().trim_end_matches('/'), "rootfs is {}", state["rootfs"]);
    let created = state["created"].as_str().unwrap_or_default();
    ensure!(
        created.len() >= 20 && created.get(10..11) == Some("T") && created.ends_with('Z'),
        "created is {created:?}"
    );
    ensure!(state["owner"].is_string(), "owner is {}", state["owner"]);
    Ok(())
}

fn empty_list(b: &Harness) -> Result<()> {
    need_verb(b, "list")?;
    let done = b.call(["list", "--format", "json"]).ok()?;
    let list: Value = serde_json::from_str(&done.out).with_context(|| format!("list printed {:?}", done.out))?;
    ensure!(list.is_null() || list == json!([]), "list of an empty root prints {:?}", done.out);
    Ok(())
}

/// A service manager's socket: receives messages until the handle is dropped; descriptors are closed at once.
struct Manager(mpsc::Receiver<String>);

impl Manager {
    fn listen(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        socket.set_read_timeout(Some(EVENT_LIMIT))?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Ok(Self(receiver))
    }
}

fn notify(b: &Harness) -> Result<()> {
    let c = Container::probe(b, &["notify:READY=1", "hold"])?;
    let path = c.bundle.join("manager.sock");
    let manager = Manager::listen(&path)?;
    c.write_config()?;
    c.create_as_it_is(c.create_command().env("NOTIFY_SOCKET", &path)).ok()?;
    let mut start = b.command(["start", &c.id]);
    b.call_to(start.env("NOTIFY_SOCKET", &path), &c.bundle.join("s.out"), &c.bundle.join("s.err")).ok()?;
    let mut messages = Vec::new();
    while !messages.iter().any(|text: &String| text.lines().any(|line| line == "READY=1")) {
        let next = manager.0.recv_timeout(EVENT_LIMIT);
        messages.push(next.with_context(|| format!("READY=1 did not come, {messages:?} did: {}", c.output()))?);
    }
    Ok(())
}

fn no_notify(b: &Harness) -> Result<()> {
    let facts = Container::probe(b, &["notify:READY=1"])?.facts()?;
    let did = &facts["did"]["notify:READY=1"];
    ensure!(did["error"] == "no NOTIFY_SOCKET", "the program could notify: {did}");
    Ok(())
}

fn pidfd(b: &Harness) -> Result<()> {
    need_flag(b, "create", "--pidfd-socket")?;
    let c = Container::new(b)?;
    let agent = Agent::listen(&c.bundle.join("pidfd.sock"), 1)?;
    c.write_config()?;
    let (bundle, socket) = (c.bundle.to_string_lossy(), agent.path.to_string_lossy().into_owned());
    c.create_as_it_is(&mut b.command(["create", "--bundle", &bundle, "--pidfd-socket", &socket, &c.id])).ok()?;
    let report = agent.one()?;
    let (pid, info) = (c.pid()?, report.infos.join("\n"));
    ensure!(
        info.lines().any(|line| line == format!("Pid:\t{pid}")),
        "init is {pid}; the descriptor is {:?}",
        report.links
    );
    Ok(())
}

fn no_pidfd(b: &Harness) -> Result<()> {
    need_flag(b, "create", "--pidfd-socket")?;
    let c = Container::new(b)?;
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy();
    c.create_as_it_is(&mut b.command(["create", "--bundle", &bundle, "--pidfd-socket", "/no/such/socket", &c.id]))
        .error()?;
    c.must_be_gone()
}

fn does_not_exist(b: &Harness) -> Result<()> {
    let id = b.fresh_name();
    for words in [&["state", &id] as &[&str], &["start", &id], &["kill", &id, "KILL"], &["delete", &id]] {
        b.call(words).error_saying("does not exist").with_context(|| words.join(" "))?;
    }
    Ok(())
}

fn not_running(b: &Harness) -> Result<()> {
    let c = Container::stopped(b)?;
    let done = c.kill("KILL").error()?;
    let error = done.err.to_lowercase();
    let known = ["container not running", "os: process already finished", "no such process"];
    ensure!(
        known.iter().any(|words| error.contains(words)),
        "the error is {error:?}, it has to contain one of {known:?}"
    );
    Ok(())
}

fn failing(b: &Harness, program: &str, words: &[&str]) -> Result<()> {
    let c = with(b, &["process", "args"], &json!([program]))?;
    crate::proc_facts::error_saying_one_of(create_or_start(&c), words)
}

fn onto_file(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], json!({"destination": "/etc/passwd", "type": "bind", "source": c.bundle, "options": ["bind"]}));
    c.create().error_saying("not a directory")?;
    c.must_be_gone()
}
