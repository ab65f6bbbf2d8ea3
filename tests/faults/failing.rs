//! A system call of a verb fails once: the verb has done its work, or its exit status is not 0 and its message names
//! what failed.

use test_support::trace::{Fault, Faulted, Point, fault_at, list};
use test_support::*;

/// Returns a container that runs and whose poststop hook writes a file; the file.
fn with_hook() -> (Container, std::path::PathBuf) {
    let c = Container::new(&["sleep", "1000"]);
    let mark = c.sandbox.path("hook-ran");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\necho ran >> {}\n", mark.display()));
    let c = c.edit(|config| config["hooks"] = json!({ "poststop": [{ "path": hook }] }));
    (c.up(), mark)
}

/// A forced delete that could not look at the container did not delete it, and says so.
#[test]
fn a_forced_delete_that_cannot_look_at_the_state_is_an_error() {
    need_faults!();
    let (c, mark) = with_hook();
    let mut refused = 0;
    for (number, calls) in [(libc::SYS_flock, 1), (libc::SYS_openat, 12), (libc::SYS_fstat, 12), (libc::SYS_read, 12)] {
        for errno in [libc::EINTR, libc::ENOLCK, libc::EMFILE, libc::ENOMEM, libc::EACCES, libc::EIO] {
            for nth in 1..=calls {
                let cmd = c.verb("delete", &["--force"]);
                let Faulted { hit, out, .. } = fault_at(cmd, Point::Named(number, nth), Fault::Fail(errno));
                let what = format!("call {nth} of {number} failed with {errno}: {out:#?}");
                if out.code == Some(0) {
                    assert!(hit.is_none() || mark.exists(), "the hook ran: {what}");
                    assert!(c.sandbox.leftovers().is_empty(), "left {:?}: {what}", c.sandbox.leftovers());
                    let _ = std::fs::remove_file(&mark);
                    c.create().ok();
                    c.start().ok();
                } else {
                    refused += 1;
                    assert!(out.signal.is_none() || hit.is_some(), "{what}");
                    // of the standard library, before croci's own code
                    if out.signal.is_none() {
                        assert!(!out.stderr.trim().is_empty(), "{what}");
                        assert!(sandbox::state_entries(&c.sandbox.root) == [c.id.clone()], "the state is kept: {what}");
                    }
                }
            }
        }
    }
    assert!(refused > 20, "{refused} failures were told");
    c.delete_force().ok();
    c.nothing_left();
}

/// With few descriptors a delete runs the hook, or fails and keeps the container.
#[test]
fn a_delete_with_few_descriptors_runs_the_hooks_or_fails() {
    need_croci!("other runtimes need more descriptors");
    let mut refused = 0;
    for force in [&["--force"][..], &[]] {
        for limit in 3..=16 {
            let (c, mark) = with_hook();
            if force.is_empty() {
                c.kill("KILL").ok();
                c.wait_status("stopped");
            }
            let out = c.verb("delete", force).rlimit(libc::RLIMIT_NOFILE, limit).out().no_panic();
            if out.code == Some(0) {
                assert!(mark.exists(), "RLIMIT_NOFILE {limit}: the hook ran: {out:#?}");
            } else {
                refused += 1;
                assert!(!mark.exists() && c.state_dir().exists(), "RLIMIT_NOFILE {limit}: {out:#?}");
                c.delete_force().ok();
                assert!(mark.exists(), "the hook runs later");
            }
            c.nothing_left();
        }
    }
    assert!(refused > 0, "the limit was low enough");
}

/// Init is killed before the runtime can release it: `create` fails and leaves nothing, no mount point either.
#[test]
fn a_create_that_cannot_release_init_fails_and_leaves_nothing() {
    need_faults!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        let mount = json!({ "destination": "/new/volume", "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    // the first answers init's message about the missing mount point
    let Faulted { hit, out, .. } =
        fault_at(c.create_with(&[]), Point::Named(libc::SYS_sendmsg, 2), Fault::Fail(libc::EPIPE));
    assert_eq!(hit, Some(libc::SYS_sendmsg));
    out.fails().one_line().stderr_contains("init ended before the container was ready");
    c.nothing_left();
    assert!(!c.file("/new").exists(), "the mount point is removed");
}

/// Init is killed after its release, by its own startContainer hook: `start` and `run --detach` fail.
#[test]
fn an_init_killed_before_its_program_runs_is_an_error_of_start() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid");
        let args = json!(["sh", "-c", "kill -9 $PPID; sleep 5"]);
        config["hooks"] = json!({ "startContainer": [{ "path": "/bin/sh", "args": args }] });
    });
    for _ in 0..3 {
        c.create().ok();
        c.start().fails().one_line().stderr_contains("init ended before it ran the program");
        assert_eq!(c.status(), "stopped");
        c.delete_force().ok();
        c.run_with(&["--detach"]).out().fails().one_line();
        c.delete_force().ok();
        c.nothing_left();
    }
}

/// Returns the point at which the last child of a command calls execve(2).
fn execve_of_child(cmd: Cmd) -> Point {
    let calls = list(cmd).seen.into_iter();
    let mut of_children =
        calls.filter(|call| call.number == libc::SYS_execve && matches!(call.point, Point::Child(..)));
    of_children.next_back().unwrap().point
}

/// The process of a detached `exec` is killed after its release: no other process sees its exit status.
#[test]
fn a_detached_exec_whose_process_is_killed_before_its_program_fails() {
    need_faults!();
    let c = Container::running();
    let exec = || c.exec_with(&["--detach"], &["touch", "/mark"]);
    let point = execve_of_child(exec());
    wait_for("the program has run", || c.file("/mark").exists());
    std::fs::remove_file(c.file("/mark")).unwrap();
    let Faulted { hit, out, .. } = fault_at(exec(), point, Fault::Kill);
    assert_eq!(hit, Some(libc::SYS_execve), "{out:?}");
    out.fails().one_line().stderr_contains("before it ran the program");
    assert!(!c.file("/mark").exists());
    c.delete_force().ok();
    c.nothing_left();
}

/// The helper of `exec` is killed when its child exists, which has the other end of the channel.
#[test]
fn an_exec_whose_helper_is_killed_does_not_hang() {
    need_faults!();
    let c = Container::running();
    let exec = || c.exec_with(&[], &["true"]).limit(std::time::Duration::from_secs(15));
    let calls = list(exec()).seen;
    let report = calls.iter().find(|call| matches!(call.point, Point::Child(1, _)) && call.number == libc::SYS_sendmsg);
    let Faulted { hit, out, .. } = fault_at(exec(), report.unwrap().point, Fault::Kill);
    assert_eq!(hit, Some(libc::SYS_sendmsg), "{out:?}");
    assert!(out.took < std::time::Duration::from_secs(5), "{out:?}");
    out.fails().one_line().stderr_contains("the helper process ended: killed by signal 9");
    c.delete_force().ok();
    c.nothing_left();
}

/// A counter that cannot be read is no counter that the kernel does not have.
#[test]
fn a_counter_that_cannot_be_read_is_an_error_of_events() {
    need_faults!();
    let c = Container::running();
    let mut failed = 0;
    for call in list(c.verb("events", &["--stats"])).seen.iter().filter(|call| call.number == libc::SYS_openat) {
        let Faulted { out, .. } = fault_at(c.verb("events", &["--stats"]), call.point, Fault::Fail(libc::EMFILE));
        if out.code == Some(0) {
            assert!(out.json()["data"]["pids"]["current"].is_u64() && out.json()["data"]["cpu"].is_object(), "{out:?}");
        } else {
            failed += usize::from(out.fails().stderr.contains("too many open files"));
        }
    }
    assert!(failed > 20, "{failed} failures were told");
    c.delete_force().ok();
}

/// A verb that holds the lock is stopped: others fail after 10 s and name it.
#[test]
fn a_lock_that_is_not_released_is_an_error_that_names_its_holder() {
    need_croci!("other runtimes have no lock");
    let c = Container::new(&["sleep", "1000"]);
    let mark = c.sandbox.path("hook-runs");
    let hook = c
        .sandbox
        .script("hook", &format!("#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}\nexec sleep 1000\n", mark.display()));
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] }));
    let create = c.create_with(&[]).spawn();
    wait_for("the hook runs", || mark.exists());
    create.signal(libc::SIGSTOP);
    let out = c.verb("delete", &["--force"]).out().fails().one_line().stderr_contains("and is stopped");
    out.stderr_contains(&format!("pid {}", create.pid())).stderr_contains("lock");
    create.signal(libc::SIGKILL);
    create.wait();
    let hook = std::fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(hook), nix::sys::signal::Signal::SIGKILL).unwrap();
    c.delete_force().ok();
    c.nothing_left();
}

/// The lock of the ended container fails: `run` says so, and does not leave it silently.
#[test]
fn a_run_that_cannot_lock_the_ended_container_fails() {
    need_faults!();
    for errno in [libc::ENOLCK, libc::EINTR] {
        let c = Container::new(&["true"]);
        let mut locks = 0;
        for nth in 2..=6 {
            let Faulted { hit, out, .. } =
                fault_at(c.run_with(&[]), Point::Named(libc::SYS_flock, nth), Fault::Fail(errno));
            locks += usize::from(hit.is_some());
            if out.code != Some(0) {
                out.fails().one_line().stderr_contains("lock").stderr_contains(&c.id);
                c.delete().ok();
            }
            c.nothing_left();
        }
        assert!(locks > 0, "a lock failed");
    }
}

/// `prctl(PR_CAPBSET_DROP)` fails for a capability that the kernel knows: the others are dropped, or `create` fails.
#[test]
fn a_capability_that_cannot_be_dropped_does_not_keep_the_others() {
    need_strace!();
    let c = Container::new(&["cat", "/proc/self/status"]);
    let (mut failed, mut injected) = (0, 0);
    for nth in (3..60).step_by(4) {
        c.write_config();
        let log = c.sandbox.path("strace.out");
        let strace = c.sandbox.program("strace").args(["-f", "-qq", "-o"]).arg(&log).args(["-e", "trace=prctl", "-e"]);
        let strace = strace.arg(format!("inject=prctl:error=EINVAL:when={nth}")).arg(runtime()).arg("--root");
        let strace = strace.arg(&c.sandbox.root).args(["run", "--no-verify", "--bundle"]).arg(&c.bundle).arg(&c.id);
        let out = strace.out().no_panic();
        let text = std::fs::read_to_string(&log).unwrap();
        injected += usize::from(text.lines().any(|line| line.contains("CAPBSET_DROP") && line.contains("INJECTED")));
        if out.code == Some(0) {
            let set = |field| out.stdout.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            // the configuration has the same capabilities in both sets
            assert_eq!(set("CapBnd:"), set("CapPrm:"), "call {nth}: {text}");
        } else {
            failed += 1;
        }
    }
    assert!(injected > 2 && failed > 0, "{injected} calls of CAPBSET_DROP failed, {failed} runs");
    c.nothing_left();
}
