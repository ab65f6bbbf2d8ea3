//! A system call of a verb fails once: the verb has done its work, or its exit status is not 0 and its message names
//! what failed.

use test_support::trace::{Fault, Faulted, Point, can_fail, fault_at};
use test_support::*;

/// Skips the test where system calls cannot be failed, or another runtime is tested.
macro_rules! need_faults {
    () => {
        need_root!();
        if !can_fail() || !is_croci() {
            skip!("needs croci, and the registers of x86-64");
        }
    };
}

/// Fails the `nth` system call `number` of a verb, and checks that the verb made it.
#[track_caller]
fn failed(cmd: Cmd, number: libc::c_long, nth: usize, errno: i32) -> Out {
    let Faulted { hit, out, .. } = fault_at(cmd, Point::Named(number, nth), Fault::Fail(errno));
    assert_eq!(hit, Some(number), "no call failed: {out:#?}");
    out.no_panic()
}

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
    need_root!();
    if !is_croci() {
        skip!("other runtimes need more descriptors");
    }
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
