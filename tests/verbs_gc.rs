//! `gc`: what runtimes that were killed have left is removed, also where the state is gone; what lives and what is
//! another's stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use test_support::*;

/// Returns the lock that each test holds, because `gc` looks at the cgroups of all roots, and so would list or remove what another
/// test leaves for its own.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the lines of `gc` that concern the sandbox of a container: what another test has left is listed too.
fn gc(c: &Container, flags: &[&str]) -> String {
    let stdout = c.croci(["gc"]).args(flags).out().ok().stdout;
    stdout.lines().filter(|line| line.contains(&c.sandbox.token)).map(|line| format!("{line}\n")).collect()
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_create_that_was_killed_is_removed() {
    need_root!();
    let _alone = alone();
    let living = Container::running();
    let c = Container::within(&living.sandbox, &["true"]);
    let marker = c.sandbox.path("hook-runs");
    let script = format!("echo > {}; exec sleep 1000", marker.display());
    let c = c.edit(|config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    });
    let create = c.create_with(&[]).spawn();
    wait_for("the hook runs", || marker.exists());
    assert_eq!(gc(&c, &["--dry-run"]), "", "create is alive");
    create.signal(libc::SIGKILL);
    create.wait_or_kill();
    wait_for("the processes of create have ended", || {
        cgroup::dirs_with(&c.id).iter().all(|dir| cgroup::procs(dir).is_empty())
    });
    assert!(c.state_dir().exists() && !cgroup::dirs_with(&c.id).is_empty(), "the kill leaves something");
    let wanted = format!("{}: its creation did not finish, process ", c.state_dir().display());
    let dry = gc(&c, &["--dry-run"]);
    assert!(dry.contains(&format!("would remove {wanted}")), "{dry}");
    assert!(c.state_dir().exists(), "a dry run removes nothing");
    let removed = gc(&c, &[]);
    assert!(removed.contains(&format!("removed {wanted}")), "{removed}");
    assert!(!c.state_dir().exists() && cgroup::dirs_with(&c.id).is_empty(), "{removed}");
    assert_eq!(living.status(), "running");
    // the hook is not a process of croci's any more
    for (pid, _) in host::processes_with(&c.sandbox.token).into_iter().filter(|(pid, _)| *pid != living.pid()) {
        kill(pid);
    }
    living.delete_force().ok();
}

#[test]
fn cgroups_without_their_state_are_removed_when_nothing_runs_in_them() {
    need_root!();
    let _alone = alone();
    if cgroup::by_systemd() {
        return;
    }
    let c = Container::running();
    let stopped = Container::within(&c.sandbox, &["true"]).up();
    stopped.wait_status("stopped");
    let pid = c.pid();
    std::fs::rename(c.state_dir(), c.sandbox.path("state-of-living")).unwrap();
    let out = gc(&c, &[]);
    assert!(!out.contains(&c.id), "a cgroup with a process was taken: {out}");
    assert!(!out.contains(&stopped.id), "a container that has a state was taken: {out}");
    assert!(host::alive(pid) && !cgroup::dirs_with(&stopped.id).is_empty());
    kill(pid);
    wait_for("its processes have ended", || cgroup::dirs_with(&c.id).iter().all(|dir| cgroup::procs(dir).is_empty()));
    let dry = gc(&c, &["--dry-run"]);
    assert!(dry.contains(&c.id) && dry.contains("the state directory"), "{dry}");
    assert!(!cgroup::dirs_with(&c.id).is_empty(), "a dry run removes nothing");
    let out = gc(&c, &[]);
    assert!(out.contains(&c.id), "{out}");
    assert!(cgroup::dirs_with(&c.id).is_empty(), "{out}");
    assert_eq!(stopped.status(), "stopped");
    stopped.delete().ok();
}

#[test]
fn a_foreign_cgroup_and_an_empty_root_are_left_alone() {
    need_root!();
    let _alone = alone();
    let c = Container::new(&["true"]);
    let foreign = cgroup::create(&format!("{}-foreign", cgroup::path_for(&c.id)));
    let out = gc(&c, &[]);
    assert!(!out.contains("-foreign") && foreign.iter().all(|dir| dir.exists()), "{out}");
    for dir in foreign {
        let _ = std::fs::remove_dir(dir);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_cannot_be_removed_is_an_error() {
    use test_support::trace::{Fault, Point, can_fail, fault_at};
    need_root!();
    let _alone = alone();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let c = Container::running();
    let next = c.state_dir().join("record.json.new");
    std::fs::copy(c.state_dir().join("record.json"), &next).unwrap();
    let run = fault_at(c.croci(["gc"]), Point::Named(libc::SYS_unlinkat, 1), Fault::Fail(libc::EIO));
    assert!(run.hit.is_some() && next.exists(), "{:?}", run.out);
    run.out.fails().stderr_contains("record.json.new");
    assert!(gc(&c, &[]).contains("a record in ") && !next.exists());
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
}
