//! A container that stops what it sees of the runtime, and sockets whose backlog is full, do not hold croci up.

use crate::attacker::{attacker, sightings};
use crate::common::*;
use crate::need_root;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

#[test]
fn a_container_that_stops_processes_does_not_hold_up_other_verbs() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "stop", &[]);
    let source = sandbox.mkdir("source");
    let list = json!([{ "destination": "/mnt-one", "type": "bind", "source": source, "options": ["bind"] }]);
    let file = sandbox.write("mounts.json", list.to_string());
    c.croci(["mounts", "add", &c.id]).arg(&file).out().ok();
    // stopped before or after it has become its program
    let exec = c.exec_with(&[], &["true"]).spawn();
    wait_for("a process is stopped", || {
        std::fs::read_to_string(c.file("/sightings")).is_ok_and(|text| text.contains("stopped"))
    });
    let began = Instant::now();
    for verb in ["pause", "resume"] {
        c.verb(verb, &[]).out().ok();
    }
    c.croci(["update", "--pids-limit", "100", &c.id]).out().ok();
    c.delete_force().ok();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    exec.wait().fails();
    sandbox.nothing_left();
}

#[test]
fn an_exec_that_a_container_stops_for_ever_is_ended() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "stop", &[]);
    // some are stopped only when they are programs already: those have started, and it is the container's own affair
    let stopped = (0..50).find_map(|_| {
        let exec = c.exec_with(&["--detach"], &["true"]).limit(Duration::from_secs(30)).out();
        (exec.code != Some(0)).then_some(exec)
    });
    let exec = stopped.expect("no exec was stopped in time");
    exec.fails().one_line().says("was stopped before it ran its program");
    assert!(sightings(&c)["stopped"] > 0);
    c.delete_force().ok();
}

/// A listener that accepts nothing, and connections that fill its backlog.
fn full(sandbox: &Sandbox, name: &str) -> (std::path::PathBuf, UnixListener, Vec<UnixStream>) {
    let path = sandbox.path(name);
    let listener = UnixListener::bind(&path).unwrap();
    // SAFETY: listen takes numbers; the descriptor is open.
    assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) }, 0);
    // one is queued, and then no more
    let queued = vec![UnixStream::connect(&path).unwrap()];
    (path, listener, queued)
}

#[test]
fn a_console_socket_with_a_full_backlog_is_an_error() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| config["process"]["terminal"] = json!(true));
    let (path, _listener, _queued) = full(&c.sandbox, "console");
    let out = c.create_with(&["--console-socket", path.to_str().unwrap()]).limit(Duration::from_secs(25)).out();
    out.fails().one_line().says("--console-socket").says("did not accept");
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
    out.fails().one_line().says("linux.seccomp.listenerPath").says("did not accept");
    c.nothing_left();
}
