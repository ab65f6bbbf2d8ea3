//! A container that stops processes of the runtime, and sockets whose backlog is full, do not block croci.

use crate::attacker::{attacker, sightings};
use nix::sys::socket::Backlog;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_support::*;

#[test]
fn a_container_that_stops_processes_does_not_block_other_verbs() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "stop", &[]);
    let source = sandbox.mkdir("source");
    let list = json!([{ "destination": "/mnt-one", "type": "bind", "source": source, "options": ["bind"] }]);
    let file = sandbox.write("mounts.json", list.to_string());
    c.croci(["mounts", "add", &c.id]).arg(&file).out().ok();
    // stopped before or after it has executed its program
    let mut execs = Vec::new();
    wait_for("a process is stopped", || {
        let stopped = std::fs::read_to_string(c.file("/sightings")).is_ok_and(|text| text.contains("stopped"));
        if !stopped {
            // an exec may end before the attacker has inspected it
            execs.push(c.exec_with(&[], &["true"]).spawn());
        }
        stopped
    });
    let began = Instant::now();
    for verb in ["pause", "resume"] {
        c.verb(verb, &[]).out().ok();
    }
    c.croci(["update", "--pids-limit", "100", &c.id]).out().ok();
    c.delete_force().ok();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let ended: Vec<Option<i32>> = execs.into_iter().map(|exec| exec.wait().code).collect();
    assert!(ended.iter().any(|code| *code != Some(0)), "{ended:?}");
    sandbox.nothing_left();
}

#[test]
fn an_exec_that_a_container_stops_for_ever_is_ended() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "stop", &[]);
    // some are stopped only after they have executed the program: these execs have succeeded
    let stopped = (0..50).find_map(|_| {
        let exec = c.exec_with(&["--detach"], &["true"]).limit(Duration::from_secs(30)).out();
        (exec.code != Some(0)).then_some(exec)
    });
    let exec = stopped.expect("no exec was stopped in time");
    exec.fails().one_line().stderr_contains("was stopped before it ran its program");
    assert!(sightings(&c)["stopped"] > 0);
    c.delete_force().ok();
}

/// Creates a listener that accepts nothing, and connections that fill its backlog.
fn full(sandbox: &Sandbox, name: &str) -> (std::path::PathBuf, UnixListener, Vec<UnixStream>) {
    let path = sandbox.path(name);
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // one connection is queued, and no further one
    let queued = vec![UnixStream::connect(&path).unwrap()];
    (path, listener, queued)
}

#[test]
fn a_console_socket_with_a_full_backlog_is_an_error() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| config["process"]["terminal"] = json!(true));
    let (path, _listener, _queued) = full(&c.sandbox, "console");
    let out = c.create_with(&["--console-socket", path.to_str().unwrap()]).limit(Duration::from_secs(25)).out();
    out.fails().one_line().stderr_contains("--console-socket").stderr_contains("did not accept");
    c.nothing_left();
}

#[test]
fn a_seccomp_socket_with_a_full_backlog_is_an_error() {
    need_root!();
    let c = Container::new(&["true"]);
    let (path, _listener, _queued) = full(&c.sandbox, "seccomp");
    let c = c.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "syscalls": [{ "names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
        });
    });
    let out = c.create_with(&[]).limit(Duration::from_secs(25)).out();
    out.fails().one_line().stderr_contains("linux.seccomp.listenerPath").stderr_contains("did not accept");
    c.nothing_left();
}

/// The processes of a startContainer hook are in the container's pid namespace, where processes of other containers may
/// stop them.
#[test]
fn a_hook_that_a_container_stops_for_ever_is_ended() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "stop", &[]);
    std::fs::write(c.file("/hold"), "").unwrap();
    let other = Container::within(&sandbox, &["true"]);
    cmd::script(&other.file("/bin/hook"), "#!/bin/sh\nsleep 2\n");
    let other = other.edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "pid");
        list.push(json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", c.pid()) }));
        config["hooks"] = json!({ "startContainer": [{ "path": "/bin/hook", "env": ["PATH=/bin"] }] });
    });
    other.create().ok();
    std::fs::remove_file(c.file("/hold")).unwrap();
    c.wait_file("/released");
    let out = other.verb("start", &[]).limit(Duration::from_secs(30)).out();
    out.fails()
        .one_line()
        .stderr_contains("a hook that it ran")
        .stderr_contains("was stopped before it ran its program");
    assert!(sightings(&c)["stopped"] > 0);
    other.delete_force().ok();
    c.delete_force().ok();
    sandbox.nothing_left();
}

/// The agent has to answer system calls by which init takes the ids of the program, so it receives the listener before
/// them.
#[test]
fn a_seccomp_agent_is_notified_of_the_last_steps_before_the_program() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let path = c.sandbox.path("agent");
    let c = c.edit(|config| {
        config["process"]["noNewPrivileges"] = json!(false);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "syscalls": [{ "names": ["setresuid", "capset"], "action": "SCMP_ACT_NOTIFY" }]
        });
    });
    let listener = UnixListener::bind(&path).unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let count = count.clone();
            std::thread::spawn(move || answer(&stream.unwrap(), &count));
        }
    });
    c.create_with(&[]).limit(Duration::from_secs(20)).out().ok();
    c.start().ok();
    assert_eq!(answered.load(Ordering::Relaxed), 2);
    assert_eq!(c.exec_with(&[], &["id", "-u"]).limit(Duration::from_secs(20)).out().ok().text(), "0");
    assert_eq!(answered.load(Ordering::Relaxed), 4);
    c.delete_force().ok();
    c.nothing_left();
    let c = Container::within(&c.sandbox, &["true"]).edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": c.sandbox.path("agent"),
            "syscalls": [{ "names": ["write"], "action": "SCMP_ACT_NOTIFY" }]
        });
    });
    c.run_with(&[])
        .limit(Duration::from_secs(10))
        .out()
        .fails()
        .one_line()
        .stderr_contains("cannot be used for the write syscall");
}

/// Receives a seccomp listener by the connection, and lets every system call continue that the kernel notifies it of.
fn answer(stream: &UnixStream, count: &AtomicUsize) {
    let (_, listeners) = pty::receive_fds(stream);
    while linux::testing::agent::continue_next(listeners[0].as_fd()).is_ok() {
        count.fetch_add(1, Ordering::Relaxed);
    }
}
