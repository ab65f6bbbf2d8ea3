//! Access of a container that may trace to the runtime's processes when they appear in its pid namespace (SEC-5).

use crate::attacker::{SECRET, attacker, nothing_bad, sightings};
use test_support::pty::{Terminal, on_terminal};
use test_support::*;

const TRACE: [&str; 2] = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];

/// Marks the environment of a command, which a container must not see.
fn with_secret(cmd: Cmd) -> Cmd {
    cmd.env("CALLER", SECRET)
}

#[test]
fn d4_a_process_of_exec_has_nothing_of_the_host() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "watch", &TRACE);
    let log = sandbox.path(SECRET);
    for _ in 0..60 {
        let exec = c.croci(["--log"]).arg(&log).args(["exec", &c.id, "true"]);
        with_secret(exec).out().ok();
    }
    let found = sightings(&c);
    assert!(found.get("readable").is_some_and(|times| *times >= 20), "the attacker saw them: {found:#?}");
    assert!(found.get("descriptor").is_some_and(|times| *times > 0), "{found:#?}");
    nothing_bad(&found);
    c.delete().ok();
    sandbox.nothing_left();
}

#[test]
fn d4_nor_has_that_of_a_container_in_a_joined_pid_namespace() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "watch", &TRACE);
    let join = json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", c.pid()) });
    // before Linux 6.17 a helper process in the namespace creates the procfs
    let older = test_support::old_kernel::filter((6, 12));
    for round in 0..40 {
        let (terminal, old) = (round % 2 == 1, round >= 20);
        let other = Container::within(&sandbox, &["sh", "-c", "mount | grep -q ' /proc ' && ps | grep -q helper"]);
        let other = other.edit(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|namespace| namespace["type"] != "pid");
            list.push(join.clone());
            config["process"]["terminal"] = json!(terminal);
        });
        let pty = Terminal::open(24, 80);
        let mut run = with_secret(other.run_with(&[]));
        if terminal {
            run = on_terminal(run, &pty);
        }
        if old {
            let filter = older.clone();
            run = run.before_exec(move || linux::seccomp::install(&filter, 0).map(drop));
        }
        let out = run.out();
        assert_eq!(
            out.code,
            Some(0),
            "terminal {terminal}, old {old}: the container sees the processes of its pid namespace: {out:?}"
        );
    }
    let found = sightings(&c);
    assert!(found.get("readable").is_some_and(|times| *times >= 10), "the attacker saw them: {found:#?}");
    nothing_bad(&found);
}

#[test]
fn sec_5_hooks_of_such_a_container_get_its_pid_and_change_nothing() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "watch", &TRACE);
    let file = sandbox.path("states");
    let hook = sandbox.script("hook", &format!("#!/bin/sh\ncat >> {}; echo >> {}", file.display(), file.display()));
    let other = Container::within(&sandbox, &["sleep", "1000"]).edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "pid");
        list.push(json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", c.pid()) }));
        let hook = json!({ "path": hook, "env": ["PATH=/usr/bin:/bin"] });
        config["hooks"] = json!({ "prestart": [hook], "createRuntime": [hook], "createContainer": [hook] });
    });
    with_secret(other.create_with(&[])).out().ok();
    let text = std::fs::read_to_string(&file).unwrap();
    let pids: Vec<i64> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["pid"].as_i64().unwrap())
        .collect();
    let inside = host::status_field(other.pid(), "NSpid").unwrap();
    let inside: i64 = inside.split_whitespace().last().unwrap().parse().unwrap();
    let outside = i64::from(other.pid());
    assert_eq!(pids, [outside, outside, inside]);
    let found = sightings(&c);
    assert!(found.contains_key("process"), "{found:#?}");
    nothing_bad(&found);
}

#[test]
fn sec_5_the_init_of_a_created_container_is_not_dumpable() {
    need_root!();
    let sandbox = Sandbox::new();
    // the same for a container without CAP_SYS_PTRACE
    let c = attacker(&sandbox, "watch", &[]);
    let other = Container::within(&sandbox, &["sleep", "1000"]).edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "pid");
        list.push(json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", c.pid()) }));
    });
    with_secret(other.create_with(&[])).out().ok();
    wait_for("the attacker looked at it for a while", || {
        std::fs::read_to_string(c.file("/sightings")).is_ok_and(|text| text.contains("process"))
    });
    let found = sightings(&c);
    assert!(found.get("denied").is_some_and(|times| *times > 0), "{found:#?}");
    assert!(!found.contains_key("readable"), "{found:#?}");
    nothing_bad(&found);
    // nor is the init of a container with a new pid namespace, which another container may join
    let alone = Container::within(&sandbox, &["sleep", "1000"]);
    alone.create().ok();
    let owner = std::fs::metadata(format!("/proc/{}/environ", alone.pid())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    assert_eq!(std::fs::read(format!("/proc/{}/environ", alone.pid())).unwrap().iter().filter(|b| **b != 0).count(), 0);
}

#[test]
fn d4_nothing_is_seen_of_mounts_add() {
    need_root!();
    let sandbox = Sandbox::new();
    let c = attacker(&sandbox, "watch", &TRACE);
    let source = sandbox.mkdir("source");
    let list = json!([
        { "destination": "/mnt-one", "type": "bind", "source": source, "options": ["bind"] },
        { "destination": "/mnt-proc", "type": "proc", "source": "proc" },
    ]);
    let file = sandbox.write("mounts.json", list.to_string());
    for _ in 0..10 {
        with_secret(c.croci(["mounts", "add", &c.id]).arg(&file)).out().ok();
        with_secret(c.croci(["mounts", "remove", &c.id]).arg(&file)).out().ok();
    }
    let found = sightings(&c);
    assert!(found["looked"] > 100, "{found:#?}");
    nothing_bad(&found);
}
