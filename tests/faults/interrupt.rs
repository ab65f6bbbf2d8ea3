//! Part 1: the runtime is killed at points spread over its work.

use std::time::{Duration, Instant};
use test_support::trace::{Traced, kill_at};
use test_support::*;

const POINTS: usize = 20;

/// Returns the numbers of the system calls to kill at, spread from the first to the last; with `SWEEP=all` all of them, or
/// `$SWEEP_POINTS`.
fn spread(calls: usize) -> Vec<usize> {
    let most = std::env::var("SWEEP_POINTS").ok().and_then(|text| text.parse().ok()).unwrap_or(calls);
    let count = if std::env::var("SWEEP").is_ok_and(|sweep| sweep == "all") { most.min(calls) } else { POINTS };
    let mut points: Vec<usize> = (1..=count).map(|n| (n * calls / count).max(1)).collect();
    points.dedup();
    points
}

/// Returns a container with one resource of every kind that a runtime creates.
fn full() -> Container {
    let c = Container::new(&["sleep", "1000"]);
    let source = c.sandbox.mkdir("volume");
    c.edit(|config| {
        bundle::add_mount(config, bundle::bind(&source, "/new/volume", &["ro"]));
        config["linux"]["resources"] = json!({ "pids": { "limit": 50 }, "memory": { "limit": 256 << 20 } });
        config["linux"]["devices"] = json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }]);
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }], "poststop": [{ "path": "/bin/true" }] });
    })
}

#[track_caller]
fn check_delete_cleans_up(c: &Container, point: &str) {
    let out = c.delete_force();
    assert_eq!(out.code, Some(0), "after a kill at {point}: {out:?}");
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| c.nothing_left()));
    assert!(left.is_ok(), "after a kill at {point}");
    let out = c.create();
    assert_eq!(out.code, Some(0), "the ID can be used again after a kill at {point}: {out:?}");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_1_k1_create_killed_at_system_calls() {
    need_root!();
    let c = full();
    let Traced::Ended { calls, code } = kill_at(c.create_with(&[]), 0) else { unreachable!() };
    assert_eq!(code, 0, "create works under a tracer");
    c.delete_force().ok();
    for point in spread(calls) {
        if kill_at(c.create_with(&[]), point) != Traced::Killed {
            c.delete_force().ok();
            continue; // a run may make fewer calls than the one that was counted
        }
        check_delete_cleans_up(&c, &format!("call {point} of {calls}"));
    }
}

#[test]
fn ft_1_k1_create_killed_by_time() {
    need_root!();
    let c = full();
    let started = Instant::now();
    c.create().ok();
    let whole = started.elapsed();
    c.delete_force().ok();
    for n in 0..POINTS {
        let after = whole * u32::try_from(n).unwrap() / u32::try_from(POINTS).unwrap();
        let create = c.create_with(&[]).spawn();
        kill_after(create.pid(), after);
        drop(create.wait());
        check_delete_cleans_up(&c, &format!("{after:?} of {whole:?}"));
    }
}

/// Kills the process after the delay, unless it ends before. The delay is the fault itself: there is no event to wait
/// for.
pub(crate) fn kill_after(pid: i32, delay: Duration) {
    let end = Instant::now() + delay;
    while Instant::now() < end && host::alive(pid) {
        std::hint::spin_loop();
    }
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

#[test]
fn ft_2_k2_delete_killed_then_repeated() {
    need_root!();
    let c = full();
    c.create().ok();
    c.start().ok();
    let Traced::Ended { calls, .. } = kill_at(c.verb("delete", &["--force"]), 0) else { unreachable!() };
    for point in spread(calls) {
        c.create().ok();
        c.start().ok();
        kill_at(c.verb("delete", &["--force"]), point);
        check_delete_cleans_up(&c, &format!("call {point} of {calls} of delete"));
    }
}

#[test]
fn ft_3_start_killed() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    let Traced::Ended { calls, .. } = kill_at(c.verb("start", &[]), 0) else { unreachable!() };
    c.delete_force().ok();
    for point in spread(calls) {
        c.create().ok();
        let pid = c.pid();
        kill_at(c.verb("start", &[]), point);
        let state = c.state();
        let status = state["status"].as_str().unwrap();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = line.starts_with(b"sleep");
        assert!(matches!(status, "created" | "running" | "stopped"), "call {point}: {state}");
        assert!(
            !program || c.status() == "running",
            "call {point}: the program runs, so its state is running: {state}"
        );
        check_delete_cleans_up(&c, &format!("call {point} of {calls} of start"));
    }
}

#[test]
fn ft_4_exec_killed() {
    need_root!();
    let c = Container::running();
    let init = c.pid();
    let Traced::Ended { calls, .. } = kill_at(c.exec_with(&[], &["true"]), 0) else { unreachable!() };
    for point in spread(calls) {
        kill_at(c.exec_with(&[], &["true"]), point);
        assert_eq!(c.status(), "running", "call {point}");
        wait_for(&format!("only the init is left after call {point} of exec"), || {
            let members = cgroup::procs(&cgroup::dir_of(init, "pids").unwrap());
            members.iter().filter(|pid| host::alive(**pid)).eq([&init])
        });
        c.exec(&["true"]).ok();
    }
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_5_update_killed() {
    need_root!();
    let c = Container::new(&["sleep", "1000"])
        .edit(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 10 } }))
        .up();
    let read = || cgroup::read(c.pid(), "pids", "pids.max", "pids.max").unwrap();
    let Traced::Ended { calls, .. } = kill_at(c.verb("update", &["--pids-limit", "10"]), 0) else { unreachable!() };
    for point in spread(calls) {
        kill_at(c.verb("update", &["--pids-limit", "20"]), point);
        assert!(["10", "20"].contains(&read().as_str()), "call {point}: {}", read());
        c.verb("update", &["--pids-limit", "10"]).out().ok();
        assert_eq!(read(), "10");
    }
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_6_pause_killed() {
    need_root!();
    let c = Container::running();
    let Traced::Ended { calls, .. } = kill_at(c.verb("pause", &[]), 0) else { unreachable!() };
    c.verb("resume", &[]).out().ok();
    for point in spread(calls) {
        kill_at(c.verb("pause", &[]), point);
        if c.status() == "paused" {
            c.verb("resume", &[]).out().ok();
        }
        c.wait_status("running");
        c.exec(&["true"]).ok();
    }
    kill_at(c.verb("pause", &[]), calls - 1);
    c.delete_force().ok();
    c.nothing_left();
}

/// Returns the script of a hook that creates `mark` and then hangs. The token is in its command line, because a hook
/// has no environment.
fn hanging(mark: &std::path::Path, token: &str) -> String {
    format!("#!/bin/sh\ntouch {}\nsh -c 'sleep 1000; : {token}'\n", mark.display())
}

#[test]
fn ft_7_ctrl_c_in_create_rolls_back() {
    need_root!();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let c = Container::new(&["sleep", "1000"]);
        let mark = c.sandbox.path("hook-runs");
        let hook = c.sandbox.script("hook", &hanging(&mark, &c.sandbox.token));
        let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] }));
        let create = c.create_with(&[]).spawn();
        wait_for("the hook runs", || mark.exists());
        create.signal(signal);
        create.wait().exits(128 + signal);
        c.nothing_left();
    }
}

#[test]
fn ft_10_run_killed() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let run = c.up_with_output();
    let pid = c.pid();
    run.signal(libc::SIGKILL);
    run.wait();
    // the process ends with the runtime or runs on, and `state` shows which
    wait_for("the state is that of the process", || {
        let status = c.status();
        (status == "running") == host::alive(pid)
    });
    c.delete_force().ok();
    assert!(!host::alive(pid));
    c.nothing_left();
}

#[test]
fn ft_11_an_init_killed_while_it_is_set_up_is_an_error() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let pid_file = c.sandbox.path("hook-pid");
    let script = format!(
        "#!/bin/sh\npid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')\nkill -9 $pid\necho $pid > {}\n",
        pid_file.display()
    );
    let hook = c.sandbox.script("hook", &script);
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] }));
    let out = c.create().fails().one_line();
    assert!(!out.stderr.to_lowercase().contains("broken pipe"), "{out:?}");
    assert!(std::fs::read_to_string(pid_file).unwrap().trim().parse::<i32>().is_ok());
    c.nothing_left();
}
