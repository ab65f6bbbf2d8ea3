//! The fault tests (FT-1 … FT-48): after any interruption `delete --force` brings the host back to the state before
//! `create`. By part of the list: `interrupt` 1, `concurrent` 2, `exhausted` 3, `states` 4, `hooks` and
//! `host_environment` 5; part 6, hostile input, is in `bad_input`, the damaged state in `states` and `record`. `failing`,
//! `fallbacks` and `sweep` fail system calls, `parents` and `many` have many runtimes at once, `rootfs` a failed `create`.
//!
//! `SWEEP=all` kills, and fails calls, at every system call instead of at the usual number of points.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// Skips the test unless croci is tested: other runtimes do otherwise.
macro_rules! need_croci {
    ($reason:literal) => {
        need_root!();
        if !is_croci() {
            skip!($reason);
        }
    };
}

/// Skips the test where system calls cannot be failed, or another runtime is tested.
macro_rules! need_faults {
    () => {
        need_croci!("it is a fault of croci's calls");
        if !test_support::trace::can_fail() {
            skip!("needs the registers of x86-64");
        }
    };
}

/// Skips the test where strace is not installed.
macro_rules! need_strace {
    () => {
        need_croci!("it is a fault of croci's calls");
        if std::process::Command::new("strace").arg("-V").output().is_err() {
            skip!("needs strace");
        }
    };
}

/// Returns a container whose cgroup is below a parent that no container has created yet.
fn below(first: &Container, parent: &str) -> Container {
    let c = Container::within(&first.sandbox, &["sleep", "1000"]);
    let path = format!("/{}-{parent}/{}", c.sandbox.token, c.id);
    c.edit(|config| config["linux"]["cgroupsPath"] = json!(path))
}

/// Starts a process in a new cgroup that is no container's; returns it with the directories of the cgroup.
fn bystander(c: &Container, path: &str) -> (Proc, Vec<std::path::PathBuf>) {
    let proc = Cmd::new("sleep", &c.sandbox.dir, "bystander").arg("1000").spawn();
    let dirs = cgroup::create(path);
    for dir in &dirs {
        std::fs::write(dir.join("cgroup.procs"), proc.pid().to_string()).unwrap();
    }
    (proc, dirs)
}

mod concurrent;
mod exhausted;
mod failing;
mod fallbacks;
mod hooks;
mod host_environment;
mod interrupt;
mod many;
mod parents;
mod record;
mod rootfs;
mod states;
mod sweep;
