//! `kill`, `delete`, `pause`, `resume`: their flags and the processes that they affect.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// A script that writes the name of each signal that it receives to `/got`; the shell is pid 1.
const TRAPS: &str = "for s in HUP INT TERM USR1 USR2 RTMIN+3 37; do trap \"echo got-$s >> /got\" $s 2>/dev/null; done; \
    echo > /ready; while true; do sleep 0.02; done";

fn trapping() -> Container {
    let c = Container::sh(TRAPS).up();
    c.wait_file("/ready");
    c
}

#[test]
fn signals_by_number_and_name_in_any_case() {
    need_root!();
    let c = trapping();
    for (signal, got) in [("10", "USR1"), ("USR2", "USR2"), ("SIGHUP", "HUP"), ("sigint", "INT"), ("term", "TERM")] {
        c.kill(signal).ok();
        wait_for(&format!("{got} for {signal}"), || {
            std::fs::read_to_string(c.file("/got")).is_ok_and(|text| text.contains(&format!("got-{got}\n")))
        });
    }
}

#[test]
fn real_time_signals() {
    need_root!();
    if !is_croci() {
        skip!("runc knows no RTMIN+n in this version");
    }
    for name in ["RTMIN+3", "SIGRTMIN+3", "37", "rtmin+3"] {
        let c = trapping();
        c.kill(name).ok();
        wait_for(name, || std::fs::read_to_string(c.file("/got")).is_ok_and(|text| text.contains("got-")));
    }
}

#[test]
fn the_default_signal_is_term() {
    need_root!();
    let c = trapping();
    c.verb("kill", &[]).out().ok();
    wait_for("TERM", || std::fs::read_to_string(c.file("/got")).is_ok_and(|text| text.contains("got-TERM")));
}

#[test]
fn an_3_the_images_stop_signal_is_the_default() {
    need_root!();
    if !is_croci() {
        skip!("runc does not look at org.opencontainers.image.stopSignal");
    }
    let c = Container::sh(TRAPS)
        .edit(|config| config["annotations"] = json!({ "org.opencontainers.image.stopSignal": "SIGUSR1" }))
        .up();
    c.wait_file("/ready");
    c.verb("kill", &[]).out().ok();
    wait_for("USR1", || std::fs::read_to_string(c.file("/got")).is_ok_and(|text| text.contains("got-USR1")));
}

#[test]
fn unknown_signals_are_errors() {
    need_root!();
    let c = Container::running();
    for signal in ["NOSUCH", "00", "65", "99999999999", "", "SIG", "RTMIN+99", "9x"] {
        c.croci(["kill", &c.id, signal]).out().fails().stderr_contains("signal");
    }
    c.croci(["kill", &c.id, "-1"]).out().fails(); // an error of the flag or of the signal
    assert_eq!(c.status(), "running");
}

#[test]
fn ki_1_kill_reaches_a_created_container() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

#[test]
fn m1_kill_reaches_a_paused_container() {
    need_root!();
    let c = Container::running();
    let pid = c.pid();
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.status(), "paused");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    assert_eq!(Container::reap(pid), 137);
    c.delete().ok();
    c.nothing_left();
}

#[test]
fn kill_all_reaches_every_member() {
    need_root!();
    for flag in ["--all", "-a"] {
        // in a shared pid namespace no other process ends with the init
        let c = Container::sh("sleep 1000 & echo $! > /child; exec sleep 1000").edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid");
        });
        let c = c.up();
        let child: i32 = c.wait_file("/child").trim().parse().unwrap();
        let init = c.pid();
        assert!(host::alive(child));
        c.croci(["kill", flag, &c.id, "KILL"]).out().ok();
        wait_for("all members die", || !host::alive(child) && !host::alive(init));
        c.delete_force().ok();
        c.nothing_left();
    }
}

/// Returns a stopped container in the host's pid namespace, and the pid of its second process, which has outlived init.
fn with_init_gone() -> (Container, i32) {
    let c = Container::sh("sleep 1000 & echo $! > /child; wait").edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid");
    });
    let c = c.up();
    let child: i32 = c.wait_file("/child").trim().parse().unwrap();
    let init = nix::unistd::Pid::from_raw(c.pid());
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL).unwrap();
    c.wait_status("stopped");
    (c, child)
}

#[test]
fn kill_all_of_a_stopped_container_kills_what_is_left_and_exits_0() {
    need_root!();
    let (c, child) = with_init_gone();
    assert!(host::alive(child));
    c.croci(["kill", "--all", &c.id, "9"]).out().ok();
    wait_for("the member dies", || !host::alive(child));
    c.croci(["kill", "--all", &c.id, "9"]).out().ok();
    c.delete().ok();
    c.nothing_left();
}

/// As runc: KILL reaches what has outlived an init in the host's pid namespace; then the container is "not running".
#[test]
fn ki_2_kill_of_a_container_whose_init_is_gone_kills_what_is_left() {
    need_root!();
    let (c, child) = with_init_gone();
    for signal in ["0", "TERM"] {
        c.kill(signal).fails().one_line().stderr_contains("container not running");
    }
    assert!(host::alive(child), "only KILL reaches it");
    c.kill("KILL").ok();
    wait_for("the member dies", || !host::alive(child));
    c.kill("KILL").fails().one_line().stderr_contains("container not running");
    c.delete().ok();
    c.nothing_left();
}

/// The peers delete a created container; the specification does not allow that, and the error says what to do.
#[test]
fn de_1_delete_of_a_created_container_says_what_to_do() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    c.delete().fails().one_line().stderr_contains("is not stopped: created").stderr_contains("--force");
    assert_eq!(c.status(), "created");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn regex_for_kill_and_delete() {
    need_root!();
    if !is_croci() {
        skip!("runc has no --regex");
    }
    let a = Container::running();
    let b = Container::within(&a.sandbox, &["sleep", "1000"]).up();
    let other = Container::running();
    for flag in ["--regex", "-r"] {
        a.croci(["kill", flag, "no-such-container-[0-9]+", "KILL"]).out().no_panic();
    }
    a.croci(["kill", "--regex", &format!("^{}-[0-9]+$", a.sandbox.token), "KILL"]).out().ok();
    a.wait_status("stopped");
    b.wait_status("stopped");
    assert_eq!(other.status(), "running");
    a.croci(["delete", "--regex", &format!("^{}-", a.sandbox.token)]).out().ok();
    a.nothing_left();
    let c = Container::running();
    c.croci(["delete", "-f", "-r", &format!("^{}", c.sandbox.token)]).out().ok();
    c.nothing_left();
    c.croci(["delete", "--regex", "["]).out().fails();
}

#[test]
fn delete_takes_several_ids() {
    need_root!();
    if !is_croci() {
        skip!("runc deletes one container a call");
    }
    let a = Container::running();
    let b = Container::within(&a.sandbox, &["sleep", "1000"]).up();
    let missing = a.sandbox.id();
    a.croci(["delete", "--force", &a.id, &missing, &b.id]).out().ok();
    a.nothing_left();
}

#[test]
fn start_takes_several_ids() {
    need_root!();
    if !is_croci() {
        skip!("runc starts one container a call");
    }
    let a = Container::new(&["sleep", "1000"]);
    let b = Container::within(&a.sandbox, &["sleep", "1000"]);
    a.create().ok();
    b.create().ok();
    let missing = a.sandbox.id();
    a.croci(["start", &a.id, &missing, &b.id]).out().fails().stderr_contains(&missing);
    assert_eq!((a.status(), b.status()), ("running".into(), "running".into()));
}

#[test]
fn de_3_force_on_an_unknown_id_is_silent() {
    need_root!();
    let sandbox = Sandbox::new();
    for flag in ["--force", "-f"] {
        sandbox.croci(["delete", flag, "never-made"]).out().ok().silent();
    }
    sandbox.croci(["delete", "never-made"]).out().fails().one_line().stderr_contains("does not exist");
}

#[test]
fn delete_of_a_running_container_names_the_state() {
    need_root!();
    let c = Container::running();
    let text = format!("cannot delete container {} that is not stopped: running", c.id);
    c.delete().fails().one_line().stderr_contains(&text);
    assert_eq!(c.status(), "running");
}

#[test]
fn buildah_deletes_right_after_kill() {
    need_root!();
    for _ in 0..10 {
        let c = Container::running();
        c.kill("KILL").ok();
        c.delete().ok();
        c.nothing_left();
    }
}

#[test]
fn pause_stops_and_resume_continues_all_processes() {
    need_root!();
    let c = Container::sh("n=0; while true; do n=$((n+1)); echo $n > /count; done").up();
    c.wait_file("/count");
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.status(), "paused");
    let count = || std::fs::read_to_string(c.file("/count")).unwrap();
    // all processes are frozen when pause returns: the counter has the same value in each of many readings
    let seen = count();
    for _ in 0..200 {
        assert_eq!(count(), seen);
        std::thread::yield_now();
    }
    c.verb("pause", &[]).out().fails();
    c.start().fails();
    c.delete().fails().stderr_contains("paused");
    c.verb("resume", &[]).out().ok();
    assert_eq!(c.status(), "running");
    wait_for("the counter continues", || {
        let now = count();
        !now.is_empty() && now != seen
    });
    c.verb("resume", &[]).out().fails().stderr_contains("not paused");
}

/// A signal ends a created container although its init is pid 1, for which the kernel discards signals without a
/// handler.
#[test]
fn a_signal_that_terminates_ends_a_created_container() {
    need_root!();
    for signal in ["TERM", "INT", "HUP", "USR1", "KILL"] {
        let c = Container::new(&["sleep", "1000"]);
        c.create().ok();
        c.kill(signal).ok();
        c.wait_status("stopped");
        c.delete().ok();
        c.nothing_left();
    }
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    c.kill("CONT").ok();
    c.kill("WINCH").ok();
    assert_eq!(c.status(), "created");
    c.start().ok();
    assert_eq!(c.status(), "running");
}

/// The same for who sends it to the process itself, as with the descriptor of `--pidfd-socket`; its program has the default
/// actions.
#[test]
fn a_signal_to_the_waiting_process_ends_it() {
    need_root!();
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        let c = Container::new(&["sleep", "1000"]);
        c.create().ok();
        let sent = std::process::Command::new("kill").args(["-s", signal, &c.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {signal}");
        c.wait_status("stopped");
        c.delete().ok();
        c.nothing_left();
    }
    let c = Container::new(&["grep", "SigCgt", "/proc/self/status"]);
    assert_eq!(c.run().ok().stdout.trim(), "SigCgt:\t0000000000000000");
}

#[test]
fn signal_0_looks_for_the_process_and_sends_nothing() {
    need_root!();
    let c = Container::running();
    c.kill("0").ok();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.kill("0").fails().stderr_contains("container not running");
}

/// Killed processes need the CPU to end, of which the least weight gives them next to nothing on a busy host.
#[test]
fn a_container_of_the_least_weight_is_deleted_on_a_busy_host() {
    need_root!();
    if !cgroup::has_controller("cpu") {
        skip!("no cpu controller");
    }
    let script = "i=0; while test $i -lt 50; do (while :; do :; done) & i=$((i + 1)); done; echo > /ready; wait";
    let c = Container::sh(script).up();
    wait_for("the processes run", || c.file("/ready").exists());
    c.verb("update", &["--cpu-share", "2"]).out().ok();
    let busy = std::sync::atomic::AtomicBool::new(true);
    let processors = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..8 * processors {
            scope.spawn(|| {
                while busy.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let out = c.delete_force();
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
        out.ok();
    });
    c.nothing_left();
}
