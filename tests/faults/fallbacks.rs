//! A system call of init fails: a privileged `run` takes no fallback that would show more of the host, or less of the
//! configuration, than it says.

use test_support::trace::{Fault, Faulted, Point, can_fail, fault_at};
use test_support::*;

/// Runs a container under strace(1) once for each N up to `most`, whose N-th call in each process fails. Returns the
/// outputs of those runs in which a call failed.
#[track_caller]
fn failing(c: &Container, call: &str, errno: &str, most: usize) -> Vec<Out> {
    c.write_config();
    let mut outs = Vec::new();
    for nth in 1..=most {
        let log = c.sandbox.path("strace.out");
        let strace = c.sandbox.program("strace").args(["-f", "-qq", "-o"]).arg(&log);
        let strace = strace.args(["-e", &format!("trace={call}"), "-e"]);
        let strace = strace.arg(format!("inject={call}:error={errno}:when={nth}")).arg(runtime()).arg("--root");
        let out = strace.arg(&c.sandbox.root).args(["run", "--no-verify", "--bundle"]).arg(&c.bundle);
        let out = out.arg(&c.id).out().no_panic();
        let text = std::fs::read_to_string(&log).unwrap();
        if text.contains("INJECTED") {
            outs.push(out);
        }
        c.delete_force();
    }
    c.nothing_left();
    assert!(!outs.is_empty(), "{call} failed in no run");
    outs
}

/// Skips the test where strace is not installed.
macro_rules! need_strace {
    () => {
        need_root!();
        if !is_croci() || std::process::Command::new("strace").arg("-V").output().is_err() {
            skip!("needs croci and strace");
        }
    };
}

#[test]
fn no_session_of_its_own_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for out in failing(&c, "setsid", "EPERM", 1) {
        out.fails().stderr_contains("session");
    }
}

#[test]
fn a_device_node_that_root_may_not_create_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for out in failing(&c, "mknodat", "EPERM", 3) {
        out.fails().stderr_contains("mknod").stderr_contains("/dev/");
    }
}

#[test]
fn a_sysfs_that_root_may_not_create_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for out in failing(&c, "fsopen", "EPERM", 10) {
        out.fails();
    }
}

#[test]
fn home_is_that_of_the_passwd_file_or_an_error() {
    need_strace!();
    let c = Container::sh("echo $HOME");
    for out in failing(&c, "openat2", "EMFILE", 70) {
        if out.code == Some(0) {
            assert_eq!(out.stdout, "/root\n", "{out:#?}");
        } else {
            out.fails();
        }
    }
}

#[test]
fn a_hierarchy_that_cannot_be_looked_at_is_an_error() {
    need_root!();
    need_own_cgroups!();
    if !can_fail() || !is_croci() {
        skip!("needs croci, and the registers of x86-64");
    }
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    let all = cgroup::dirs_with(&c.id).len();
    c.delete_force().ok();
    let mut failed = 0;
    for nth in 1..=16 {
        let Faulted { hit, out, .. } =
            fault_at(c.create_with(&[]), Point::Named(libc::SYS_statfs, nth), Fault::Fail(libc::EIO));
        if out.code == Some(0) {
            assert_eq!(cgroup::dirs_with(&c.id).len(), all, "call {nth}, {hit:?}");
        } else {
            failed += 1;
            out.fails().one_line();
        }
        c.delete_force().ok();
    }
    assert!(failed > 0, "a call failed");
    c.nothing_left();
}

/// The pid file appears as a whole, and a kill at any moment leaves nothing beside it.
#[test]
fn a_kill_leaves_nothing_beside_the_pid_file() {
    need_root!();
    if !can_fail() || !is_croci() {
        skip!("needs croci, and the registers of x86-64");
    }
    let c = Container::new(&["sleep", "1000"]);
    let dir = c.sandbox.mkdir("pids");
    let (file, flag) = (dir.join("pid"), format!("--pid-file={}", dir.join("pid").display()));
    let mut kills = 0;
    for exists in [false, true] {
        for (number, most) in [(libc::SYS_renameat, 3), (libc::SYS_linkat, 3), (libc::SYS_unlinkat, 2)] {
            for nth in 1..=most {
                let _ = std::fs::remove_file(&file);
                if exists {
                    std::fs::write(&file, "old").unwrap();
                }
                let Faulted { hit, .. } = fault_at(c.create_with(&[&flag]), Point::Named(number, nth), Fault::Kill);
                kills += usize::from(hit.is_some());
                c.delete_force().ok();
                let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                assert!(names.iter().all(|name| name == "pid"), "{names:?}");
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                assert!(text.is_empty() || text == "old" || text.parse::<i32>().is_ok(), "{text:?}");
                c.nothing_left();
            }
        }
    }
    assert!(kills > 3, "{kills} kills");
    c.create_with(&[&flag]).out().ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), c.pid().to_string());
    c.delete_force().ok();
}
