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

#[test]
fn the_keys_leave_run_and_start() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let mark = format!("CROCI_TEST={}", fixture.sandbox.token);
        let script = "stty size; cat; exit 5";
        let run = |flags: &[&str]| {
            let run = fixture.corm(["run", "-it", "-e", &mark, "--name", "c"]);
            run.args(flags).args(["base", "sh", "-c", script])
        };
        for flags in [&[][..], &["--detach-keys", "ctrl-a,x"]] {
            let mut terminal = Terminal::open(30, 90);
            let caller = on_terminal(run(flags), &terminal).spawn();
            // the output from the start, and the size of the caller's terminal
            terminal.expect("30 90");
            wait_for("raw mode", || !terminal.is_cooked());
            terminal.write("hello\n");
            terminal.expect("hello");
            terminal.write(if flags.is_empty() { "\x10\x11" } else { "\x01x" });
            caller.wait().ok();
            assert!(terminal.is_cooked() && fixture.status("c") == "running");
            let again = on_terminal(fixture.corm(["attach", "c"]), &terminal).spawn();
            wait_for("raw mode", || !terminal.is_cooked());
            terminal.write("\x04");
            again.wait().exits(5);
            // started again, left, and ended by its own input
            let start = |keys: &str| fixture.corm(["start", "-a", "-i", "--detach-keys", keys, "c"]);
            let caller = on_terminal(start("z"), &terminal).spawn();
            wait_for("raw mode", || !terminal.is_cooked());
            terminal.write("z");
            caller.wait().ok();
            assert_eq!(fixture.status("c"), "running");
            fixture.corm(["stop", "-t", "0", "c"]).out().ok();
            let caller = on_terminal(start(""), &terminal).spawn();
            wait_for("raw mode", || !terminal.is_cooked());
            terminal.write("\x10\x11\n\x04");
            caller.wait().exits(5);
            assert!(terminal.is_cooked());
            fixture.corm(["rm", "c"]).out().ok();
        }
        // the container is gone when the caller of --rm ends
        let terminal = Terminal::open(24, 80);
        let caller = on_terminal(run(&["--rm"]), &terminal).spawn();
        wait_for("raw mode", || !terminal.is_cooked());
        terminal.write("\x04");
        caller.wait().exits(5);
        fixture.corm(["container", "exists", "c"]).out().exits(1);
        // one that cannot be started
        let missing = fixture.corm(["run", "-it", "-e", &mark, "base", "no-such-program"]);
        on_terminal(missing, &terminal).spawn().wait().exits(127);
        assert!(terminal.is_cooked());
        run(&["--detach-keys", "ctrl-1"]).out().exits(125).stderr_contains("--detach-keys");
        fixture.no_container_left();
    });
}

#[test]
fn a_caller_of_run_chooses_streams_and_keeps_signals() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for (flags, out, err) in [
            (&["-i"][..], "inout", "err"),
            (&["-a", "stdout"], "out", ""),
            (&["-i", "--attach", "STDERR", "--attach", "stdin"], "", "err"),
        ] {
            let run =
                fixture.run(&[&["--rm"], flags].concat(), "base", &["sh", "-c", "cat; echo out; echo err >&2; exit 3"]);
            let seen = run.stdin("in").out().exits(3);
            assert_eq!((seen.stdout.trim_end(), seen.stderr.trim_end()), (out, err), "{flags:?}");
        }
        for (flags, words) in
            [(&["-a", "out"][..], "--attach"), (&["-d", "-a", "stdout"], "--attach"), (&["--sig-proxy=x"], "sig-proxy")]
        {
            fixture.run(flags, "base", &["true"]).out().exits(125).stderr_contains(words);
        }
        let script = "trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
        for proxied in [true, false] {
            let flag = format!("--sig-proxy={proxied}");
            let caller = fixture.run(&["--name", "c", &flag], "base", &["sh", "-c", script]).spawn();
            wait_for("the program", || caller.stdout() == "ready\n");
            caller.signal(libc::SIGTERM);
            let out = caller.wait();
            if proxied {
                assert_eq!((out.exits(9).stdout.as_str(), fixture.status("c").as_str()), ("ready\nterm\n", "exited"));
            } else {
                assert!(out.code != Some(0) && fixture.status("c") == "running", "{out:?}");
                fixture.corm(["stop", "c"]).out().ok();
                let start = fixture.corm(["start", "-a", &flag, "c"]).spawn();
                wait_for("the program", || start.stdout() == "ready\n");
                start.signal(libc::SIGTERM);
                start.wait();
                assert_eq!(fixture.status("c"), "running");
            }
            fixture.corm(["rm", "-f", "c"]).out().ok();
        }
        fixture.no_container_left();
    });
}
