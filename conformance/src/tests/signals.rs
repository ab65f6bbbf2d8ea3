//! start, kill and delete in unusual cases (checklist part 2: SA, KI, DE).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::unistd::Pid;
use serde_json::json;

use super::Test;
use crate::container::{Container, find_cgroup};
use crate::harness::{Harness, skip, wait, wait_until};
use crate::proc_facts::{Facts, create_or_start, expect};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "SA-1", title: "of two starts at once exactly one succeeds", run: sa_1_race },
    Test { id: "SA-2", title: "when start returns, the program is executed", run: sa_2_executed },
    Test { id: "SA-2", title: "a file that is no program fails to start, and no shell runs it", run: sa_2_format },
    Test {
        id: "SA-2",
        title: "a script or program whose interpreter is missing fails to start",
        run: sa_2_interpreter,
    },
    Test { id: "SA-2", title: "a directory in the program's place fails to start", run: sa_2_directory },
    Test {
        id: "SA-2",
        title: "after a failed start there is no process, and delete removes the rest",
        run: sa_2_delete,
    },
    Test { id: "KI-1", title: "signals by any number up to the last real-time one", run: ki_1_numbers },
    Test { id: "KI-1", title: "real-time signals by name", run: ki_1_realtime },
    Test { id: "KI-1", title: "a signal that the program ignores changes no status", run: ki_1_ignored },
    Test { id: "KI-1", title: "the signal is sent to the first process alone", run: ki_1_alone },
    Test {
        id: "KI-2",
        title: "killing the init without a pid namespace ends all of the container's processes",
        run: ki_2_host_pids,
    },
    Test { id: "KI-2", title: "KILL ends what has outlived the init without a pid namespace", run: ki_2_left },
    Test { id: "KI-2", title: "KILL ends a paused container", run: ki_2_paused },
    Test { id: "DE-1", title: "delete of a paused container is an error without effect", run: de_1_paused },
    Test { id: "DE-2", title: "delete keeps the bundle, the root, and what was bound", run: de_2_keeps },
    Test { id: "DE-2", title: "delete removes cgroups that were created inside the container's", run: de_2_nested },
    Test { id: "DE-2", title: "delete keeps a cgroup that was there before create", run: de_2_before },
    Test { id: "DE-3", title: "delete --force removes a created and a stopped container", run: de_3_all },
    Test {
        id: "DE-3",
        title: "delete --force ends a container whose state files are garbage, empty or missing",
        run: de_3_damaged,
    },
    Test { id: "DE-4", title: "one ID can be used for several containers in turn", run: de_4_lives },
];

fn sa_1_race(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let mut racers = Vec::new();
    for number in 0..4 {
        let out = |name: &str| fs::File::create(c.bundle.join(format!("{name}{number}")));
        racers.push(b.command(["start", &c.id]).stdout(out("start-out")?).stderr(out("start-err")?).spawn()?);
    }
    let mut winners = 0;
    for mut racer in racers {
        let ended = wait(&mut racer).map_err(|why| anyhow!("one of 4 starts: {why}"))?;
        winners += usize::from(ended.success());
    }
    expect("starts that succeeded, of 4", winners, 1)?;
    c.must_be("running")
}

fn sa_2_executed(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let facts = Facts::of(&c)?;
    c.start().ok()?;
    expect("the command line as start returns", facts.words("cmdline")?, vec!["sleep".to_owned(), "1000".into()])
}

/// Prepares a container whose program is a file with this text.
fn with_program<'a>(b: &'a Harness, text: &[u8]) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    let program = c.path("/bin/program");
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    c.config["process"]["args"] = json!(["/bin/program"]);
    Ok(c)
}

fn not_running(c: &Container<'_>) -> Result<()> {
    if let Ok(status) = c.status() {
        expect("the status", status.as_str(), "stopped")?;
    }
    Ok(())
}

fn sa_2_format(b: &Harness) -> Result<()> {
    for text in [b"echo a shell took it up >/took\n" as &[u8], b"\x7fELF nonsense", b""] {
        let c = with_program(b, text)?;
        create_or_start(&c).error().with_context(|| format!("a program of {:?}", String::from_utf8_lossy(text)))?;
        not_running(&c)?;
        ensure!(!c.path("/took").exists(), "a shell took it up");
    }
    Ok(())
}

fn sa_2_interpreter(b: &Harness) -> Result<()> {
    let c = with_program(b, b"#!/no/such/interpreter\n")?;
    create_or_start(&c).error_saying("no such file or directory")?;
    not_running(&c)
}

fn sa_2_directory(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["args"] = json!(["/bin"]);
    create_or_start(&c).error()?;
    not_running(&c)
}

fn sa_2_delete(b: &Harness) -> Result<()> {
    let c = with_program(b, b"#!/no/such/interpreter\n")?;
    create_or_start(&c).error()?;
    if c.state().is_ok() {
        c.wait_stopped()?;
        c.delete().ok()?;
    }
    c.must_be_gone()
}

/// Starts a container whose shell has a handler for each of these signals, which prints the signal.
fn telling<'a>(b: &'a Harness, signals: &[&str]) -> Result<Container<'a>> {
    let traps: Vec<_> = signals.iter().map(|s| format!("trap 'echo got {s}.' {s}")).collect();
    let c = Container::script(b, &format!("{}; echo ready; while :; do sleep 0.02; done", traps.join("; ")))?;
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("ready")?;
    Ok(c)
}

fn ki_1_numbers(b: &Harness) -> Result<()> {
    let signals = ["1", "2", "10", "15", "28", "34", "50", "64"];
    let c = telling(b, &signals)?;
    for signal in signals {
        c.kill(signal).ok()?;
        c.wait_output(&format!("got {signal}.")).with_context(|| format!("signal {signal}"))?;
    }
    c.must_be("running")
}

fn ki_1_realtime(b: &Harness) -> Result<()> {
    // the numbers count from the first real-time signal that C libraries leave to programs: 34
    let c = telling(b, &["37", "64"])?;
    for (name, number) in [("RTMIN+3", 37), ("SIGRTMIN+3", 37), ("RTMAX", 64)] {
        c.kill(name).ok()?;
        c.wait_output(&format!("got {number}.")).with_context(|| format!("signal {name}"))?;
    }
    Ok(())
}

fn ki_1_ignored(b: &Harness) -> Result<()> {
    // the first process of a pid namespace receives no signal for which it has no handler
    let c = Container::running(b)?;
    let before = c.state()?;
    for signal in ["TERM", "HUP", "USR1"] {
        c.kill(signal).ok()?;
        expect("the state", c.state()?, before.clone())?;
    }
    Ok(())
}

fn ki_1_alone(b: &Harness) -> Result<()> {
    let child = "trap 'echo child got it' USR1; echo child ready; while :; do sleep 0.02; done";
    let script = format!("trap 'echo init got it' USR1; ({child}) & echo ready; while :; do sleep 0.02; done");
    let c = Container::script(b, &script)?;
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("child ready")?;
    c.wait_output("ready\n")?;
    c.kill("USR1").ok()?;
    c.wait_output("init got it")?;
    // when the second signal is answered, the child has had a whole round's time
    c.kill("USR1").ok()?;
    wait_until("the second answer", || Ok((c.output().matches("init got it").count() == 2).then_some(())))?;
    ensure!(!c.output().contains("child got it"), "the child got the signal too: {:?}", c.output());
    Ok(())
}

/// Returns a running container in the host's pid namespace, and the pid of a second process that it has.
fn with_host_pids(b: &Harness) -> Result<(Container<'_>, Pid)> {
    let mut c = Container::script(b, "sleep 1000 & echo child $!; sleep 1000")?;
    let kept = ["network", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
    c.config["linux"]["namespaces"] = json!(kept);
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("\n")?;
    let child: i32 = c.output().trim().trim_start_matches("child ").parse().context("the child's pid")?;
    Ok((c, Pid::from_raw(child)))
}

fn must_end(child: Pid) -> Result<()> {
    let ended = wait_until("all processes of the container end", || {
        // orphans become children of this process
        let _ = nix::sys::wait::waitpid(child, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
        Ok((!Path::new(&format!("/proc/{child}")).exists()).then_some(()))
    });
    if ended.is_err() {
        let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(child, None);
    }
    ended
}

fn ki_2_host_pids(b: &Harness) -> Result<()> {
    let (c, child) = with_host_pids(b)?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    must_end(child)
}

fn ki_2_left(b: &Harness) -> Result<()> {
    let (c, child) = with_host_pids(b)?;
    nix::sys::signal::kill(c.pid()?, nix::sys::signal::Signal::SIGKILL)?;
    c.wait_stopped()?;
    ensure!(Path::new(&format!("/proc/{child}")).exists(), "the second process ended with the first");
    let killed = c.kill("KILL").ok().map(drop);
    must_end(child).and(killed)
}

fn paused<'a>(b: &'a Harness) -> Result<Container<'a>> {
    let c = Container::running(b)?;
    let done = b.call(["pause", &c.id]);
    if !matches!(&done.status, Ok(status) if status.success()) {
        return skip(&format!("this runtime cannot pause here: {}", done.err.trim()));
    }
    Ok(c)
}

fn ki_2_paused(b: &Harness) -> Result<()> {
    let c = paused(b)?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    c.must_be_gone()
}

fn de_1_paused(b: &Harness) -> Result<()> {
    let c = paused(b)?;
    let status = c.status()?;
    c.delete().error()?;
    c.must_be(&status)?;
    b.call(["resume", &c.id]).ok()?;
    c.must_be("running")
}

fn de_2_keeps(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "echo changed >/bound/file; echo new >/tmp/new; sleep 1000")?;
    let source = c.bundle.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "first\n")?;
    c.push(&["mounts"], json!({"destination": "/bound", "type": "bind", "source": source, "options": ["bind"]}));
    c.create().ok()?;
    c.start().ok()?;
    // compare the whole text, because a file exists before its text is written
    let written = || (crate::files::read(&c.path("/tmp/new")) == "new\n").then_some(());
    wait_until("the program writes", || Ok(written()))?;
    b.call(["delete", "--force", &c.id]).ok()?;
    c.reap();
    for (file, text) in [(source.join("file"), "changed\n"), (c.path("/tmp/new"), "new\n")] {
        wait_until("the text is there", || Ok((crate::files::read(&file) == text).then_some(())))
            .with_context(|| format!("{} has {:?}", file.display(), crate::files::read(&file)))?;
    }
    ensure!(c.bundle.join("config.json").exists() && c.path("/bin/busybox").exists(), "the bundle is not whole");
    Ok(())
}

/// Returns a directory in which a test can create cgroups on this machine: the pids hierarchy of v1, or the one of v2.
fn cgroup_place() -> Result<PathBuf> {
    let place = |path: &str| Path::new(path).join("cgroup.procs").exists().then(|| PathBuf::from(path));
    match place("/sys/fs/cgroup/pids").or_else(|| place("/sys/fs/cgroup")) {
        Some(found) => Ok(found),
        None => skip("no cgroup hierarchy at /sys/fs/cgroup or /sys/fs/cgroup/pids"),
    }
}

fn de_2_nested(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    c.create().ok()?;
    let own = find_cgroup(Path::new("/sys/fs/cgroup"), &c.id, 2).context("create created no cgroup")?;
    fs::create_dir_all(own.join("nested/deeper")).context("make cgroups in the container's")?;
    c.start().ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    c.must_be_gone()
}

fn de_2_before(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let place = cgroup_place()?.join(&c.id);
    fs::create_dir(&place).with_context(|| format!("make {}", place.display()))?;
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    let lived = c.live();
    let there = place.exists();
    let _ = fs::remove_dir(&place);
    lived?;
    ensure!(there, "delete removed the cgroup {}, which create had not created", place.display());
    Ok(())
}

fn de_3_all(b: &Harness) -> Result<()> {
    for c in [Container::created(b)?, Container::stopped(b)?] {
        b.call(["delete", "--force", &c.id]).ok()?;
        c.reap();
        c.must_be_gone()?;
    }
    Ok(())
}

fn de_3_damaged(b: &Harness) -> Result<()> {
    for damage in ["garbage", "empty", "missing"] {
        let c = Container::running(b)?;
        let facts = Facts::of(&c)?;
        for entry in fs::read_dir(b.root().join(&c.id)).context("the state directory of the container")? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            match damage {
                "garbage" => fs::write(entry.path(), "\u{1}garbage {")?,
                "empty" => fs::write(entry.path(), "")?,
                _ => fs::remove_file(entry.path())?,
            }
        }
        b.call(["delete", "--force", &c.id]).ok().context(damage)?;
        wait_until("the init ends", || Ok((c.reap() || !facts.path("").exists()).then_some(()))).context(damage)?;
        ensure!(!b.root().join(&c.id).exists(), "{damage}: the state directory is left");
        let left = find_cgroup(Path::new("/sys/fs/cgroup"), &c.id, 4);
        ensure!(left.is_none(), "{damage}: a cgroup is left: {left:?}");
    }
    Ok(())
}

fn de_4_lives(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    let mut last = None;
    for _ in 0..3 {
        let facts = Facts::run(&c)?;
        ensure!(last != Some(facts.pid()), "the pid of the life before");
        last = Some(facts.pid());
        b.call(["delete", "--force", &c.id]).ok()?;
        c.reap();
        c.must_be_gone()?;
    }
    Ok(())
}
