//! Each verb with a fault at a system call: killed, or the call failed. Then the verb has done its work or says what
//! failed, and `delete --force` leaves nothing on the host.
//!
//! `SWEEP=all` takes every call of every verb (`make faults-full`) instead of a sample.

use std::path::PathBuf;
use std::time::Duration;

use test_support::trace::{Fault, Faulted, Point, can_fail, fault_at};
use test_support::*;

/// Points of each verb in a sample.
const POINTS: usize = 30;
/// Longest time for a verb with a fault; longer is a hang.
const LIMIT: Duration = Duration::from_secs(10);

/// A verb: what it needs, its command, and whether it has done its work.
struct Case {
    name: &'static str,
    prepare: fn(&Container),
    command: fn(&Container) -> Cmd,
    done: fn(&Container) -> bool,
}

/// Returns whether the pids limit is that of `update` below.
fn has_new_limit(c: &Container) -> bool {
    cgroup::read(c.pid(), "pids", "pids.max", "pids.max").unwrap() == "20"
}

const CASES: &[Case] = &[
    Case { name: "create", prepare: |_| (), command: |c| c.create_with(&[]), done: |c| c.status() == "created" },
    Case {
        name: "run",
        prepare: |c| drop(std::fs::remove_file(c.file("/mark"))),
        command: |c| c.run_with(&["--detach"]),
        done: |c| c.status() == "running",
    },
    Case {
        name: "start",
        prepare: |c| drop(c.create().ok()),
        command: |c| c.verb("start", &[]),
        done: |c| c.status() == "running",
    },
    Case {
        name: "exec",
        prepare: up,
        command: |c| c.exec_with(&[], &["touch", "/mark"]),
        done: |c| std::fs::remove_file(c.file("/mark")).is_ok(),
    },
    Case {
        name: "kill",
        prepare: up,
        command: |c| c.verb("kill", &[]).arg("KILL"),
        done: |c| {
            c.wait_status("stopped");
            true
        },
    },
    Case { name: "pause", prepare: up, command: |c| c.verb("pause", &[]), done: |c| c.status() == "paused" },
    Case {
        name: "resume",
        prepare: |c| {
            up(c);
            c.verb("pause", &[]).out().ok();
        },
        command: |c| c.verb("resume", &[]),
        done: |c| c.status() == "running",
    },
    Case { name: "update", prepare: up, command: |c| c.verb("update", &["--pids-limit", "20"]), done: has_new_limit },
    Case {
        name: "delete",
        prepare: |c| {
            up(c);
            c.kill("KILL").ok();
            c.wait_status("stopped");
        },
        command: |c| c.verb("delete", &[]),
        done: |c| c.sandbox.leftovers().is_empty() && std::fs::remove_file(mark(c)).is_ok(),
    },
    Case {
        name: "delete --force",
        prepare: up,
        command: |c| c.verb("delete", &["--force"]),
        done: |c| c.sandbox.leftovers().is_empty() && std::fs::remove_file(mark(c)).is_ok(),
    },
    Case { name: "state", prepare: up, command: |c| c.verb("state", &[]), done: |_| true },
    Case { name: "list", prepare: up, command: |c| c.croci(["list"]), done: |_| true },
    Case { name: "ps", prepare: up, command: |c| c.verb("ps", &["--format", "json"]), done: |_| true },
];

fn up(c: &Container) {
    c.create().ok();
    c.start().ok();
}

/// Returns the file that the poststop hook writes.
fn mark(c: &Container) -> PathBuf {
    c.sandbox.path("poststop")
}

/// Returns a container with resources of most kinds, below a parent cgroup that croci creates.
fn container() -> Container {
    let c = Container::new(&["sleep", "1000"]);
    let source = c.sandbox.mkdir("volume");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\necho > {}\n", mark(&c).display()));
    let path = format!("/{}-parent/{}", c.sandbox.token, c.id);
    c.edit(|config| {
        bundle::add_mount(config, bundle::bind(&source, "/volume", &["ro"]));
        config["linux"]["resources"] = json!({ "pids": { "limit": 50 }, "memory": { "limit": 256 << 20 } });
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }], "poststop": [{ "path": hook }] });
        if !cgroup::by_systemd() {
            config["linux"]["cgroupsPath"] = json!(path);
        }
    })
}

/// Returns the errors with which a call is failed; none for calls that cannot fail so, and for those that the standard
/// library makes before croci's own code.
fn errors(number: libc::c_long) -> &'static [i32] {
    match number {
        libc::SYS_openat | libc::SYS_openat2 => &[libc::EMFILE, libc::EINTR],
        libc::SYS_read | libc::SYS_write | libc::SYS_pread64 => &[libc::EIO, libc::EINTR],
        libc::SYS_flock => &[libc::ENOLCK, libc::EINTR],
        libc::SYS_mkdir | libc::SYS_mkdirat | libc::SYS_mknodat => &[libc::ENOSPC],
        libc::SYS_clone3 | libc::SYS_clone | libc::SYS_vfork => &[libc::EAGAIN],
        libc::SYS_rmdir => &[libc::EBUSY, libc::EPERM],
        libc::SYS_poll | libc::SYS_recvmsg | libc::SYS_sendmsg | libc::SYS_recvfrom | libc::SYS_waitid => {
            &[libc::EINTR]
        }
        libc::SYS_brk
        | libc::SYS_mmap
        | libc::SYS_mprotect
        | libc::SYS_munmap
        | libc::SYS_mremap
        | libc::SYS_madvise
        | libc::SYS_arch_prctl
        | libc::SYS_set_tid_address
        | libc::SYS_set_robust_list
        | libc::SYS_rseq
        | libc::SYS_prlimit64
        | libc::SYS_getrandom
        | libc::SYS_execve
        | libc::SYS_exit
        | libc::SYS_exit_group
        | libc::SYS_rt_sigaction
        | libc::SYS_rt_sigprocmask
        | libc::SYS_rt_sigreturn
        | libc::SYS_sigaltstack
        | libc::SYS_sched_getaffinity
        | libc::SYS_getpid
        | libc::SYS_gettid
        | libc::SYS_geteuid
        | libc::SYS_getuid
        | libc::SYS_getegid
        | libc::SYS_umask
        | libc::SYS_close
        | libc::SYS_clock_nanosleep => &[],
        _ => &[libc::ENOMEM],
    }
}

/// Returns whether a message is nothing but the text of an errno: it names neither call nor object.
fn names_nothing(stderr: &str) -> bool {
    let texts = ["too many open files", "interrupted system call", "cannot allocate memory", "i/o error"];
    let texts = texts.into_iter().chain(["no locks available", "no space left on device", "operation not permitted"]);
    let line = stderr.lines().last().unwrap_or_default().to_lowercase();
    texts.into_iter().any(|text| line == format!("croci: error: {text}"))
}

/// Runs one verb with one fault, and returns what was wrong.
fn wrong(c: &Container, case: &Case, point: usize, fault: Fault) -> Option<String> {
    (case.prepare)(c);
    let Faulted { hit, out, .. } = fault_at((case.command)(c), Point::Call(point), fault);
    let what = format!("{}: call {point} ({hit:?}), {fault:?}: {out:?}", case.name);
    let killed = fault == Fault::Kill && hit.is_some();
    let mut bad = Vec::new();
    bad.extend((out.took > LIMIT).then_some("hangs"));
    if !killed {
        bad.extend(out.signal.map(|_| "died of a signal"));
        bad.extend(out.stderr.contains("panicked").then_some("panicked"));
        bad.extend(names_nothing(&out.stderr).then_some("the message names nothing"));
        bad.extend((out.code != Some(0) && out.stderr.is_empty()).then_some("no message"));
        bad.extend((out.code == Some(0) && !(case.done)(c)).then_some("exit status 0, and the work is not done"));
    }
    let delete = c.verb("delete", &["--force"]).limit(LIMIT).out();
    bad.extend((delete.code != Some(0)).then_some("delete --force fails"));
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| c.nothing_left()));
    bad.extend(left.is_err().then_some("left behind"));
    (!bad.is_empty()).then(|| format!("{bad:?} {what}"))
}

/// Returns the points of a verb: number of the call and its fault.
fn points(c: &Container, case: &Case) -> Vec<(usize, Fault)> {
    (case.prepare)(c);
    let Faulted { calls, out, .. } = fault_at((case.command)(c), Point::Call(0), Fault::Kill);
    assert_eq!(out.code, Some(0), "{}: works under a tracer: {out:#?}", case.name);
    assert!((case.done)(c), "{}: its work is seen", case.name);
    c.verb("delete", &["--force"]).out().ok();
    let numbers = std::cell::RefCell::new(Vec::new());
    (case.prepare)(c);
    test_support::trace::list((case.command)(c), &mut |number| numbers.borrow_mut().push(number));
    c.verb("delete", &["--force"]).out().ok();
    let all: Vec<_> = numbers
        .into_inner()
        .into_iter()
        .enumerate()
        .flat_map(|(index, number)| {
            let faults = errors(number).iter().map(|errno| Fault::Fail(*errno)).chain([Fault::Kill]);
            faults.map(move |fault| (index + 1, fault))
        })
        .collect();
    assert!(calls > 20 && all.len() > 20, "{}: {calls} calls", case.name);
    if std::env::var("SWEEP").is_ok_and(|sweep| sweep == "all") {
        return all;
    }
    // another part of the calls in each run
    let start = std::process::id() as usize;
    let step = (all.len() / POINTS).max(1) | 1;
    (0..POINTS).filter_map(|number| all.get((start + number * step) % all.len()).copied()).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of points is the result")]
fn every_verb_with_a_fault_at_a_system_call() {
    need_root!();
    if !can_fail() || !is_croci() {
        skip!("needs croci, and the registers of x86-64");
    }
    let only = std::env::var("SWEEP_VERB").unwrap_or_default();
    let (mut count, mut all) = (0, Vec::new());
    for case in CASES.iter().filter(|case| only.is_empty() || case.name == only) {
        let c = container();
        for (point, fault) in points(&c, case) {
            count += 1;
            let _ = std::fs::remove_file(mark(&c));
            all.extend(wrong(&c, case, point, fault));
        }
    }
    println!("{count} points, {} wrong", all.len());
    assert!(all.is_empty(), "{} of {count} points: {}", all.len(), all.join("\n"));
}
