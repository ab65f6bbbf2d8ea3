//! `attach`: output, input, signals, keys and exit status.

use test_support::pty::{Terminal, on_terminal};
use test_support::{need_root, wait_for};

use crate::fixture::over_one;

#[test]
fn a_caller_has_the_output_the_input_and_the_status() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "echo before; while read line; do echo got $line; echo err $line >&2; done; exit 7";
        fixture.detached(&["-i", "--name", "c"], "base", &["sh", "-c", script]);
        wait_for("the first output", || fixture.corm(["logs", "c"]).out().stdout == "before\n");
        let out = fixture.corm(["attach", "c"]).stdin("one\ntwo\n").out().exits(7);
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("got one\ngot two\n", "err one\nerr two\n"));
        // the container has ended for other verbs too
        assert_eq!(fixture.shown("c")["ExitCode"], 7);
        assert_eq!(fixture.corm(["logs", "c"]).out().stdout, "before\ngot one\ngot two\n");
        // several at once, and large output, of which nothing is lost
        fixture.corm(["rm", "-f", "c"]).out().ok();
        let script = "read x; head -c 3000000 /dev/zero | tr '\\0' x; exit 3";
        fixture.detached(&["-i", "--name", "big"], "base", &["sh", "-c", script]);
        let other = fixture.corm(["attach", "--no-stdin", "big"]).spawn();
        wait_for("the other caller", || {
            let fds = std::fs::read_dir(format!("/proc/{}/fd", other.pid())).into_iter().flatten().flatten();
            fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
                .any(|link| link.to_string_lossy().starts_with("socket:"))
        });
        let out = fixture.corm(["attach", "big"]).stdin("go\n").out().exits(3);
        assert_eq!(out.stdout.len(), 3_000_000);
        assert_eq!(other.wait().exits(3).stdout.len(), 3_000_000);
        fixture.corm(["rm", "big"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn signals_of_a_caller_reach_the_program() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
        for proxied in [true, false] {
            fixture.detached(&["--name", "c"], "base", &["sh", "-c", script]);
            wait_for("the program", || fixture.corm(["logs", "c"]).out().stdout == "ready\n");
            let flag = format!("--sig-proxy={proxied}");
            let caller = fixture.corm(["attach", &flag, "c"]).spawn();
            wait_for("the connection", || {
                let fds = std::fs::read_dir(format!("/proc/{}/fd", caller.pid())).into_iter().flatten().flatten();
                fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
                    .any(|link| link.to_string_lossy().starts_with("socket:"))
            });
            caller.signal(libc::SIGTERM);
            let out = caller.wait();
            if proxied {
                assert_eq!((out.exits(9).stdout.as_str(), fixture.status("c").as_str()), ("term\n", "exited"));
            } else {
                assert!(out.code != Some(0) && fixture.status("c") == "running", "{out:?}");
            }
            fixture.corm(["rm", "-f", "c"]).out().ok();
        }
        fixture.no_container_left();
    });
}

#[test]
fn the_keys_leave_a_container_with_a_terminal_running() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["-it", "--name", "c"], "base", &["sh", "-c", "stty size; cat; exit 5"]);
        for keys in [None, Some("ctrl-a,x")] {
            let mut terminal = Terminal::open(30, 90);
            let flags = keys.map_or(vec![], |keys| vec!["--detach-keys", keys]);
            let caller = on_terminal(fixture.corm(["attach"]).args(&flags).arg("c"), &terminal).spawn();
            // before, the terminal itself would echo the text and take the keys
            wait_for("raw mode", || !terminal.is_cooked());
            terminal.write("hello\n");
            terminal.expect("hello");
            terminal.write(if keys.is_some() { "\x01x" } else { "\x10\x11" });
            caller.wait().ok();
            assert!(terminal.is_cooked() && fixture.status("c") == "running");
        }
        let size = fixture.corm(["exec", "c", "sh", "-c", "stty size < /proc/1/fd/0"]).out().ok();
        assert_eq!(size.text(), "30 90");
        let terminal = Terminal::open(24, 80);
        let caller = on_terminal(fixture.corm(["attach", "c"]), &terminal).spawn();
        wait_for("raw mode", || !terminal.is_cooked());
        terminal.write("\x04");
        caller.wait().exits(5);
        fixture.corm(["attach", "--detach-keys", "ctrl-1", "c"]).out().fails().stderr_contains("--detach-keys");
        fixture.corm(["attach", "c"]).out().fails().stderr_contains("you can only attach to running containers");
        fixture.corm(["attach", "nope"]).out().fails().stderr_contains("No container named");
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}
