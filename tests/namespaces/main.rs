//! Namespaces in depth (NS, UM, TM): user namespaces new and joined, time, cgroup, foreign pid namespaces, all joined.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod join;
mod kinds;
mod user;

use test_support::*;

/// All types and their names below `/proc/PID/ns`.
const KINDS: [(&str, &str); 8] = [
    ("user", "user"),
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn namespace(pid: i32, file: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().display().to_string()
}

/// Lets the container join these namespaces of `pid`; types that it had as new ones are replaced.
fn join(config: &mut Value, pid: i32, kinds: &[&str]) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    for kind in kinds {
        let (_, file) = KINDS.iter().find(|(name, _)| name == kind).unwrap();
        list.retain(|entry| entry["type"] != *kind);
        list.push(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
    }
}

/// Adds a namespace of its own.
fn own(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": kind }));
}

/// Takes a namespace away: the container has the runtime's.
fn without(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != kind);
}

/// The namespaces of an `exec`: its `/proc/self/ns/*` must be those of the container's process.
#[track_caller]
fn exec_is_inside(c: &Container) {
    let pid = c.pid();
    for (_, file) in KINDS {
        let seen = c.exec(&["readlink", &format!("/proc/self/ns/{file}")]).ok();
        assert_eq!(seen.text(), namespace(pid, file), "exec is in the container's {file} namespace");
    }
}
