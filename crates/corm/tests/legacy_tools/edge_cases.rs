//! The end of containers and of corm: exit statuses, signals, killed clients and supervisors, two at once, leaks.

use crate::fixture::{CormFixture, over_all, over_one, run_entries};
use test_support::need_root;
use test_support::{cgroup, host, wait_for, wait_until};

#[test]
fn exit_statuses_are_the_programs_or_show_why_it_did_not_start() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for (command, status) in [
            (&["true"][..], 0),
            (&["sh", "-c", "exit 42"], 42),
            (&["sh", "-c", "exit 255"], 255),
            (&["sh", "-c", "kill -9 $$; sleep 9"], 137),
            (&["no-such-program"], 127),
            (&["/no/such/program"], 127),
            (&["/etc"], 126),
            (&["/etc/passwd"], 126),
        ] {
            // the kernel discards signals that pid 1 sends to itself: its child is terminated by one
            let shell = ["sh", "-c", "sh -c \"$1\"; exit $?", "x", command[command.len() - 1]];
            let command = if status == 137 { &shell[..] } else { command };
            let out = fixture.run(&["--rm"], "base", command).out().no_panic();
            assert_eq!(out.code, Some(status), "{out:?}");
            if (126..=127).contains(&status) {
                let last = out.stderr.lines().last().unwrap_or_default();
                assert!(last.starts_with("corm: ") && last.contains(" [exec."), "{out:?}");
            }
            fixture.no_container_left();
            let out = fixture.run(&["--rm", "-d"], "base", command).out().no_panic();
            let started = !(126..=127).contains(&status);
            assert_eq!(out.code == Some(0), started, "{out:?}");
            if started {
                fixture.corm(["wait", out.text()]).out();
            } else {
                assert_eq!(out.code, Some(status), "{out:?}");
            }
            wait_for("gone", || run_entries().is_empty());
            fixture.no_container_left();
        }
    });
}

#[test]
fn every_wait_prints_the_status() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let id = fixture.detached(&["--rm"], "base", &["sh", "-c", "read x < /dev/null; sleep 1000 & wait; exit 3"]);
        let waiting: Vec<_> = (0..3).map(|_| fixture.corm(["wait", &id]).spawn()).collect();
        for waiter in &waiting {
            wait_for("a waiter waits", || has_open(waiter.pid(), "/supervisor"));
        }
        let kept =
            fixture.detached(&["--name", "kept"], "base", &["sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait"]);
        wait_for("in the trap", || fixture.corm(["exec", &kept, "true"]).out().code == Some(0));
        fixture.corm(["stop", "kept"]).out().ok();
        fixture.corm(["kill", "-s", "KILL", &id]).out().ok();
        for waiter in waiting {
            assert_eq!(waiter.wait().ok().text(), "137");
        }
        let status = fixture.corm(["wait", "kept"]).out().ok().text().to_owned();
        assert!(["5", "137"].contains(&status.as_str()), "{status}");
        fixture.corm(["rm", "kept"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn signals_for_corm_go_to_the_program() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do usleep 10000; done";
        let run = fixture.run(&["--name", "s"], "base", &["sh", "-c", script]).spawn();
        wait_for("ready", || run.stdout() == "ready\n");
        run.signal(libc::SIGTERM);
        let out = run.wait().exits(9);
        assert_eq!(out.stdout, "ready\ngot\n");
        assert_eq!(fixture.shown("s")["ExitCode"], 9);
        fixture.corm(["rm", "s"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn standard_input_is_passed_with_i_and_not_without() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let big = "x".repeat(300_000);
        let out = fixture.run(&["--rm", "-i"], "base", &["cat"]).stdin(&big).out().ok();
        assert_eq!(out.stdout.len(), big.len());
        assert_eq!(fixture.run(&["--rm"], "base", &["cat"]).stdin("secret").out().ok().stdout, "");
        let id = fixture.detached(&[], "base", &["sleep", "1000"]);
        assert_eq!(fixture.corm(["exec", "-i", &id, "cat"]).stdin("in").out().ok().stdout, "in");
        assert_eq!(fixture.corm(["exec", &id, "cat"]).stdin("in").out().ok().stdout, "");
        let out = fixture.corm([
            "exec",
            "-e",
            "A=b c",
            "-w",
            "/tmp",
            "-u",
            "user",
            &id,
            "sh",
            "-c",
            "echo $A $PWD $(id -un)",
        ]);
        assert_eq!(out.out().ok().text(), "b c /tmp user");
        fixture.corm(["exec", &id, "sh", "-c", "exit 3"]).out().exits(3);
        fixture.corm(["rm", "-f", &id]).out().ok();
        fixture.no_container_left();
    });
}

/// A program whose output no process reads any more is terminated by SIGPIPE, as it would be without corm.
#[test]
fn a_closed_standard_output_reaches_the_program() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = format!("{} --driver overlay run --rm base yes | head -n 1", test_support::corm().display());
        let out = fixture.sandbox.program("sh").args(["-c", &script]).env("CORM_ROOT", fixture.root()).out().ok();
        assert_eq!(out.stdout, "y\n");
        wait_for("gone", || run_entries().is_empty());
        fixture.no_container_left();
    });
}

#[test]
fn a_killed_client_leaves_a_container_that_can_be_removed() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let run = fixture.run(&["--name", "left"], "base", &["sh", "-c", "echo up; exec sleep 1000"]).spawn();
        wait_for("up", || run.stdout() == "up\n");
        run.signal(libc::SIGKILL);
        assert_eq!(run.wait().signal, Some(libc::SIGKILL));
        assert_eq!(fixture.status("left"), "running");
        fixture.corm(["exec", "left", "true"]).out().ok();
        assert_eq!(fixture.corm(["logs", "left"]).out().ok().stdout, "up\n");
        fixture.corm(["rm", "left"]).out().fails();
        fixture.corm(["rm", "-f", "left"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_killed_supervisor_costs_the_exit_status_and_nothing_else() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let id = fixture.detached(&["--name", "m"], "base", &["sleep", "1000"]);
        let supervisor = supervisors(&id)[0];
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::Signal::SIGKILL).unwrap();
        wait_for("killed", || supervisors(&id).is_empty());
        assert_eq!(fixture.status("m"), "running");
        fixture.corm(["start", "m"]).out().fails().stderr_contains("running");
        fixture.corm(["stop", "-t", "0", "m"]).out().ok();
        assert_eq!(fixture.status("m"), "exited");
        fixture.corm(["wait", "m"]).out().fails().stderr_contains("is unknown");
        assert!(cgroup::dirs_with(&id).is_empty() && run_entries().is_empty());
        // the container can be started again
        fixture.corm(["start", "m"]).out().ok();
        assert_eq!(fixture.status("m"), "running");
        fixture.corm(["rm", "-f", "m"]).out().ok();
        fixture.no_container_left();
    });
}

fn has_open(pid: i32, end: &str) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.to_string_lossy().ends_with(end))
}

/// Returns the pids of the container's supervisors that are alive.
fn supervisors(id: &str) -> Vec<i32> {
    let mut pids = Vec::new();
    for store in std::fs::read_dir("/run/corm").unwrap() {
        let text = std::fs::read_to_string(store.unwrap().path().join(id).join("supervisor")).unwrap_or_default();
        pids.extend(text.lines().next().and_then(|line| line.parse::<i32>().ok()));
    }
    pids.retain(|pid| host::alive(*pid));
    pids
}

#[test]
fn a_stopped_container_starts_again_with_its_tree() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let script = "echo run >> /count; wc -l < /count";
        fixture.run(&["--name", "again"], "base", &["sh", "-c", script]).out().ok();
        for round in 2..4 {
            fixture.corm(["start", "again"]).out().ok();
            assert_eq!(fixture.corm(["wait", "again"]).out().ok().text(), "0");
            wait_until("its output", || {
                fixture
                    .corm(["logs", "again"])
                    .out()
                    .ok()
                    .lines()
                    .last()
                    .is_some_and(|line| *line == round.to_string())
                    .then_some(())
            });
        }
        // unmounts the containers, as a reboot would
        let _ = std::process::Command::new("umount").arg(fixture.root().join("containers")).output();
        fixture.corm(["start", "again"]).out().ok();
        fixture.corm(["wait", "again"]).out().ok();
        fixture.corm(["rm", "again"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn names_are_given_once_also_by_two_at_once() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let both = [0, 1].map(|_| fixture.run(&["-d", "--name", "same"], "base", &["sleep", "1000"]).spawn());
        let codes = both.map(|run| run.wait().no_panic().code.unwrap());
        assert!(codes == [0, 125] || codes == [125, 0], "{codes:?}");
        fixture.run(&["--name", "same"], "base", &["true"]).out().exits(125).stderr_contains("exists already");
        // eight at once, each with a different name
        let eight: Vec<_> = (0..8).map(|_| fixture.run(&["--rm"], "base", &["echo", "x"]).spawn()).collect();
        for run in eight {
            assert_eq!(run.wait().ok().stdout, "x\n");
        }
        fixture.corm(["rm", "-f", "same"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_container_killed_during_its_creation_is_removed() {
    need_root!();
    over_all(|fixture: &CormFixture| {
        fixture.image("base");
        // kills after many delays, from the first system calls on
        for delay in (0..40).step_by(4) {
            let run = fixture.run(&["--name", &format!("k{delay}")], "base", &["true"]).spawn();
            std::thread::sleep(std::time::Duration::from_millis(delay)); // the fault itself, not a wait
            run.signal(libc::SIGKILL);
            run.wait();
        }
        let all = fixture.corm(["ps", "-aq"]).out().ok();
        for id in all.lines() {
            fixture.corm(["rm", "-f", id]).out().ok();
        }
        fixture.corm(["system", "prune"]).out().ok();
        fixture.corm(["fsck"]).out().ok();
        fixture.no_container_left();
    });
}

/// The log of a container that prints without end stays below its limit, and `logs -f` misses no line across rotations.
#[test]
fn a_log_has_a_limit() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let flags = ["--name", "chatty", "--log-opt", "max-size=256k", "--log-opt", "max-file=3"];
        fixture.run(&flags, "base", &["sh", "-c", "yes 0123456789 | head -n 2000000"]).out().ok();
        let dir = fixture.root().join("containers");
        let logs = || -> Vec<(String, u64)> {
            let container = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
            let entries = std::fs::read_dir(container).unwrap().flatten();
            let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log"));
            let mut logs: Vec<_> =
                logs.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect();
            logs.sort();
            logs
        };
        let kept = logs();
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        assert!(kept.iter().all(|(_, size)| *size <= 256 << 10), "{kept:?}");
        assert!(kept[1].1 > 200 << 10, "{kept:?}");
        let text = fixture.corm(["logs", "chatty"]).out().ok().stdout;
        assert!(text.lines().all(|line| line == "0123456789") && text.lines().count() > 1000);
        fixture.corm(["rm", "chatty"]).out().ok();
        // no file is removed, however late it is read
        let script =
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) -gt 0 ] || sleep 0.05; done";
        let flags = ["--name", "steady", "--log-opt", "max-size=8k", "--log-opt", "max-file=50"];
        fixture.detached(&flags, "base", &["sh", "-c", script]);
        let seen = fixture.corm(["logs", "-f", "steady"]).out().ok().stdout;
        let wanted: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
        let wrong = seen.lines().zip(&wanted).find(|(line, wanted)| line != wanted);
        assert!(wrong.is_none() && seen.lines().count() == wanted.len(), "{wrong:?}, {} lines", seen.lines().count());
        assert!(logs().len() > 10 && logs().iter().all(|(_, size)| *size <= 8 << 10));
        fixture.corm(["rm", "-f", "steady"]).out().ok();
        for wrong in ["max-size=0", "max-file=0", "size=1", "max-size"] {
            fixture
                .run(&["--log-opt", wrong], "base", &["true"])
                .out()
                .exits(125)
                .stderr_contains("--log-opt")
                .stderr_contains(wrong);
        }
    });
}
