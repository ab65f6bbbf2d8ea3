//! How containers end, and corm with them: exit statuses, signals, killed clients and attendants, two at once, leaks.

use crate::fixture::{World, over_all, over_one, run_entries};
use test_support::need_root;
use test_support::{cgroup, host, wait_for, wait_until};

#[test]
fn exit_statuses_are_the_programs_or_tell_why_it_did_not_start() {
    need_root!();
    over_one(|world| {
        world.image("base");
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
            // a first process ignores its own signals: the shell below it dies of one
            let shell = ["sh", "-c", "sh -c \"$1\"; exit $?", "x", command[command.len() - 1]];
            let command = if status == 137 { &shell[..] } else { command };
            let out = world.run(&["--rm"], "base", command).out().no_panic();
            assert_eq!(out.code, Some(status), "{out:?}");
            world.no_container_left();
            let out = world.run(&["--rm", "-d"], "base", command).out().no_panic();
            let started = !(126..=127).contains(&status);
            assert_eq!(out.code == Some(0), started, "{out:?}");
            if started {
                world.corm(["wait", out.text()]).out();
            } else {
                assert_eq!(out.code, Some(status), "{out:?}");
            }
            wait_for("gone", || run_entries().is_empty());
            world.no_container_left();
        }
    });
}

#[test]
fn wait_tells_the_status_of_all_who_ask() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let id = world.detached(&["--rm"], "base", &["sh", "-c", "read x < /dev/null; sleep 1000 & wait; exit 3"]);
        let waiting: Vec<_> = (0..3).map(|_| world.corm(["wait", &id]).spawn()).collect();
        for waiter in &waiting {
            wait_for("a waiter waits", || has_open(waiter.pid(), "/attendant"));
        }
        let kept = world.detached(&["--name", "kept"], "base", &["sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait"]);
        wait_for("in the trap", || world.corm(["exec", &kept, "true"]).out().code == Some(0));
        world.corm(["stop", "kept"]).out().ok();
        world.corm(["kill", "-s", "KILL", &id]).out().ok();
        for waiter in waiting {
            assert_eq!(waiter.wait().ok().text(), "137");
        }
        let status = world.corm(["wait", "kept"]).out().ok().text().to_owned();
        assert!(["5", "137"].contains(&status.as_str()), "{status}");
        world.corm(["rm", "kept"]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn signals_for_corm_go_to_the_program() {
    need_root!();
    over_one(|world| {
        world.image("base");
        let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do usleep 10000; done";
        let run = world.run(&["--name", "s"], "base", &["sh", "-c", script]).spawn();
        wait_for("ready", || run.stdout() == "ready\n");
        run.signal(libc::SIGTERM);
        let out = run.wait().exits(9);
        assert_eq!(out.stdout, "ready\ngot\n");
        assert_eq!(world.shown("s")["exitStatus"], 9);
        world.corm(["rm", "s"]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn standard_input_goes_in_with_i_and_not_without() {
    need_root!();
    over_one(|world| {
        world.image("base");
        let big = "x".repeat(300_000);
        let out = world.run(&["--rm", "-i"], "base", &["cat"]).stdin(&big).out().ok();
        assert_eq!(out.stdout.len(), big.len());
        assert_eq!(world.run(&["--rm"], "base", &["cat"]).stdin("secret").out().ok().stdout, "");
        let id = world.detached(&[], "base", &["sleep", "1000"]);
        assert_eq!(world.corm(["exec", "-i", &id, "cat"]).stdin("in").out().ok().stdout, "in");
        assert_eq!(world.corm(["exec", &id, "cat"]).stdin("in").out().ok().stdout, "");
        let out =
            world.corm(["exec", "-e", "A=b c", "-w", "/tmp", "-u", "user", &id, "sh", "-c", "echo $A $PWD $(id -un)"]);
        assert_eq!(out.out().ok().text(), "b c /tmp user");
        world.corm(["exec", &id, "sh", "-c", "exit 3"]).out().exits(3);
        world.corm(["rm", "-f", &id]).out().ok();
        world.no_container_left();
    });
}

/// Output that no process takes any more ends the program as it would without corm.
#[test]
fn a_closed_standard_output_reaches_the_program() {
    need_root!();
    over_one(|world| {
        world.image("base");
        let script = format!("{} --driver overlay run --rm base yes | head -n 1", test_support::corm().display());
        let out = world.sandbox.program("sh").args(["-c", &script]).env("CORM_ROOT", world.root()).out().ok();
        assert_eq!(out.stdout, "y\n");
        wait_for("gone", || run_entries().is_empty());
        world.no_container_left();
    });
}

#[test]
fn a_killed_client_leaves_a_container_that_can_be_removed() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let run = world.run(&["--name", "left"], "base", &["sh", "-c", "echo up; exec sleep 1000"]).spawn();
        wait_for("up", || run.stdout() == "up\n");
        run.signal(libc::SIGKILL);
        assert_eq!(run.wait().signal, Some(libc::SIGKILL));
        assert_eq!(world.status("left"), "running");
        world.corm(["exec", "left", "true"]).out().ok();
        assert_eq!(world.corm(["logs", "left"]).out().ok().stdout, "up\n");
        world.corm(["rm", "left"]).out().fails();
        world.corm(["rm", "-f", "left"]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn a_killed_attendant_costs_the_exit_status_and_nothing_else() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let id = world.detached(&["--name", "m"], "base", &["sleep", "1000"]);
        let attendant = attendants(&id)[0];
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(attendant), nix::sys::signal::Signal::SIGKILL).unwrap();
        wait_for("killed", || attendants(&id).is_empty());
        assert_eq!(world.status("m"), "running");
        world.corm(["start", "m"]).out().fails().stderr_contains("running");
        world.corm(["stop", "-t", "0", "m"]).out().ok();
        assert_eq!(world.status("m"), "exited");
        world.corm(["wait", "m"]).out().fails().stderr_contains("not known");
        assert!(cgroup::dirs_with(&id).is_empty() && run_entries().is_empty());
        // and it starts again
        world.corm(["start", "m"]).out().ok();
        assert_eq!(world.status("m"), "running");
        world.corm(["rm", "-f", "m"]).out().ok();
        world.no_container_left();
    });
}

fn has_open(pid: i32, end: &str) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.to_string_lossy().ends_with(end))
}

/// The processes that hold a container's attendance.
fn attendants(id: &str) -> Vec<i32> {
    let mut pids = Vec::new();
    for store in std::fs::read_dir("/run/corm").unwrap() {
        let text = std::fs::read_to_string(store.unwrap().path().join(id).join("attendant")).unwrap_or_default();
        pids.extend(text.lines().next().and_then(|line| line.parse::<i32>().ok()));
    }
    pids.retain(|pid| host::alive(*pid));
    pids
}

#[test]
fn a_stopped_container_starts_again_with_its_tree() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let script = "echo run >> /count; wc -l < /count";
        world.run(&["--name", "again"], "base", &["sh", "-c", script]).out().ok();
        for round in 2..4 {
            world.corm(["start", "again"]).out().ok();
            assert_eq!(world.corm(["wait", "again"]).out().ok().text(), "0");
            wait_until("its output", || {
                world
                    .corm(["logs", "again"])
                    .out()
                    .ok()
                    .lines()
                    .last()
                    .is_some_and(|line| *line == round.to_string())
                    .then_some(())
            });
        }
        // the mounts were lost, as in a reboot
        let _ = std::process::Command::new("umount").arg(world.root().join("containers")).output();
        world.corm(["start", "again"]).out().ok();
        world.corm(["wait", "again"]).out().ok();
        world.corm(["rm", "again"]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn names_are_given_once_also_by_two_at_once() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let both = [0, 1].map(|_| world.run(&["-d", "--name", "same"], "base", &["sleep", "1000"]).spawn());
        let codes = both.map(|run| run.wait().no_panic().code.unwrap());
        assert!(codes == [0, 125] || codes == [125, 0], "{codes:?}");
        world.run(&["--name", "same"], "base", &["true"]).out().exits(125).stderr_contains("exists already");
        // eight at once, each with a name of its own
        let eight: Vec<_> = (0..8).map(|_| world.run(&["--rm"], "base", &["echo", "x"]).spawn()).collect();
        for run in eight {
            assert_eq!(run.wait().ok().stdout, "x\n");
        }
        world.corm(["rm", "-f", "same"]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn a_container_killed_in_the_making_is_swept() {
    need_root!();
    over_all(|world: &World| {
        world.image("base");
        // at many instants, from the first system calls on
        for delay in (0..40).step_by(4) {
            let run = world.run(&["--name", &format!("k{delay}")], "base", &["true"]).spawn();
            std::thread::sleep(std::time::Duration::from_millis(delay)); // the instant of the kill, not a wait
            run.signal(libc::SIGKILL);
            run.wait();
        }
        let all = world.corm(["ps", "-aq"]).out().ok();
        for id in all.lines() {
            world.corm(["rm", "-f", id]).out().ok();
        }
        world.corm(["system", "prune"]).out().ok();
        world.corm(["fsck"]).out().ok();
        world.no_container_left();
    });
}

/// A container that prints without end keeps no more than its limit; `logs -f` misses no line across rotations.
#[test]
fn a_log_has_a_limit() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let flags = ["--name", "chatty", "--log-opt", "max-size=256k", "--log-opt", "max-file=3"];
        world.run(&flags, "base", &["sh", "-c", "yes 0123456789 | head -n 2000000"]).out().ok();
        let dir = world.root().join("containers");
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
        let text = world.corm(["logs", "chatty"]).out().ok().stdout;
        assert!(text.lines().all(|line| line == "0123456789") && text.lines().count() > 1000);
        world.corm(["rm", "chatty"]).out().ok();
        // none of the files is removed, however late the reader comes
        let script =
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) -gt 0 ] || sleep 0.05; done";
        let flags = ["--name", "steady", "--log-opt", "max-size=8k", "--log-opt", "max-file=50"];
        world.detached(&flags, "base", &["sh", "-c", script]);
        let seen = world.corm(["logs", "-f", "steady"]).out().ok().stdout;
        let wanted: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
        let wrong = seen.lines().zip(&wanted).find(|(line, wanted)| line != wanted);
        assert!(wrong.is_none() && seen.lines().count() == wanted.len(), "{wrong:?}, {} lines", seen.lines().count());
        assert!(logs().len() > 10 && logs().iter().all(|(_, size)| *size <= 8 << 10));
        world.corm(["rm", "-f", "steady"]).out().ok();
        for wrong in ["max-size=0", "max-file=0", "size=1", "max-size"] {
            world
                .run(&["--log-opt", wrong], "base", &["true"])
                .out()
                .exits(125)
                .stderr_contains("--log-opt")
                .stderr_contains(wrong);
        }
    });
}
