//! Namespaces in depth (NS, UM, TM): new and joined user namespaces, time, cgroup and other containers' pid namespaces,
//! all types joined.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod join;
mod kinds;
mod user;

use test_support::container::NAMESPACES;
use test_support::*;

fn namespace(pid: i32, file: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().display().to_string()
}

/// Configures the container to join these namespaces of `pid`, in place of new ones of these types.
fn join(config: &mut Value, pid: i32, kinds: &[&str]) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    for kind in kinds {
        let (_, file) = NAMESPACES.iter().find(|(name, _)| name == kind).unwrap();
        list.retain(|entry| entry["type"] != *kind);
        list.push(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
    }
}

/// Adds a new namespace of this type.
fn add_namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": kind }));
}

/// Removes the namespace of this type, so that the container is in the runtime's.
fn remove_namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != kind);
}

/// Checks that a process of `exec` is in the namespaces of the container's init, by `/proc/self/ns/*`.
#[track_caller]
fn check_namespaces_of_exec(c: &Container) {
    let pid = c.pid();
    for (_, file) in NAMESPACES {
        let seen = c.exec(&["readlink", &format!("/proc/self/ns/{file}")]).ok();
        assert_eq!(seen.text(), namespace(pid, file), "exec is in the container's {file} namespace");
    }
}
