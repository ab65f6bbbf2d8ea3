//! Terminals: `run` on one, `--console-socket`, detach, `exec --tty` (PR-4, PR-5, callers' list 3.11).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::pty::{ConsoleSocket, Terminal, on_terminal};
use test_support::*;

fn with_terminal(script: &str) -> Container {
    Container::sh(script).edit(|config| config["process"]["terminal"] = json!(true))
}

#[test]
fn run_on_a_terminal() {
    need_root!();
    let c =
        with_terminal("tty; test -t 0 && test -t 1 && test -t 2 && echo all-three; read line; echo got $line; exit 5");
    let mut terminal = Terminal::open(30, 100);
    let run = on_terminal(c.run_with(&[]), &terminal).spawn();
    terminal.expect("all-three");
    assert!(!terminal.is_cooked(), "raw while the program runs");
    terminal.write("hello\r");
    terminal.expect("got hello");
    assert!(terminal.seen().contains("/dev/pts/0") || terminal.seen().contains("/dev/console"), "{}", terminal.seen());
    run.wait().exits(5);
    assert!(terminal.is_cooked(), "restored in the end");
    c.nothing_left();
}

#[test]
fn the_terminal_is_restored_when_run_fails() {
    need_root!();
    let c = Container::new(&["/missing"]).edit(|config| config["process"]["terminal"] = json!(true));
    let mut terminal = Terminal::open(24, 80);
    let out = on_terminal(c.run_with(&[]), &terminal).out();
    assert_eq!(out.code, Some(1));
    terminal.expect("no such file or directory");
    assert!(terminal.is_cooked());
    c.nothing_left();
}

#[test]
fn the_terminal_has_the_callers_size_and_follows_it() {
    need_root!();
    let c = with_terminal(
        "trap 'stty size' WINCH; stty size; echo ready; n=0; while [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done",
    );
    let mut terminal = Terminal::open(33, 111);
    let run = on_terminal(c.run_with(&[]), &terminal).spawn();
    terminal.expect("ready");
    assert!(terminal.seen().contains("33 111"), "{}", terminal.seen());
    terminal.resize(44, 122);
    run.signal(libc::SIGWINCH);
    terminal.expect("44 122");
    c.kill("KILL").ok();
    run.wait().exits(137);
    assert!(terminal.is_cooked());
}

#[test]
fn ctrl_c_interrupts_the_program() {
    need_root!();
    let c = with_terminal("trap 'echo interrupted; exit 7' INT; echo ready; while true; do sleep 0.05; done");
    let mut terminal = Terminal::open(24, 80);
    let run = on_terminal(c.run_with(&[]), &terminal).spawn();
    terminal.expect("ready");
    terminal.write("\u{3}");
    terminal.expect("interrupted");
    run.wait().exits(7);
    assert!(terminal.is_cooked());
}

#[test]
fn large_output_arrives_whole() {
    need_root!();
    let c = with_terminal("stty -onlcr 2>/dev/null; seq 1 20000; echo the-end");
    let mut terminal = Terminal::open(24, 80);
    let run = on_terminal(c.run_with(&[]), &terminal).spawn();
    let seen = terminal.expect("the-end");
    assert!(seen.contains("\n19999") && seen.contains("\n10000"), "{} bytes", seen.len());
    run.wait().ok();
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    need_root!();
    if !is_croci() {
        skip!("runc exits with 0");
    }
    let c = with_terminal("echo lost");
    c.write_config();
    let shell = c.sandbox.program("/bin/sh").args(["-c", "exec \"$@\" >/dev/full", "sh"]);
    let run = shell.arg(runtime()).arg("--root").arg(&c.sandbox.root).args(["run", "--bundle"]).arg(&c.bundle);
    run.arg(&c.id).out().fails().stderr_contains("standard output");
    c.nothing_left();
}

#[test]
fn a_terminal_without_one_in_front_works_from_pipes() {
    need_root!();
    if runtime().file_name().is_some_and(|name| name.to_string_lossy().starts_with("runc")) {
        skip!("runc refuses it");
    }
    let c = with_terminal("tty >/dev/null && echo on-tty; cat");
    // in no session with a terminal, as from cron
    let run = c.run_with(&[]).before_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    let out = run.stdin("piped\n\u{4}").out().ok();
    assert!(out.stdout.contains("on-tty") && out.stdout.contains("piped"), "{out:#?}");
}

/// As runc: output has the line ends that the program wrote, because scripts compare it, and the caller's own terminal
/// adds the carriage return.
#[test]
fn output_of_a_terminal_has_newlines_alone() {
    need_root!();
    let c = with_terminal("echo one; echo two");
    assert_eq!(c.run_with(&[]).stdin("").out().ok().stdout, "one\ntwo\n");
    let c = Container::running();
    assert_eq!(c.exec_with(&["--tty"], &["sh", "-c", "echo one; echo two"]).stdin("").out().ok().stdout, "one\ntwo\n");
    let mut terminal = Terminal::open(24, 80);
    let c = with_terminal("echo one; echo two");
    let run = on_terminal(c.run_with(&[]), &terminal).spawn();
    assert!(terminal.expect("two\r\n").contains("one\r\n"));
    assert_eq!(run.wait().code, Some(0));
}

#[test]
fn console_socket_gets_the_master() {
    need_root!();
    let c = with_terminal("echo on $(tty); read line; echo got $line; read x").edit(|config| {
        config["process"]["consoleSize"] = json!({ "height": 41, "width": 137 });
    });
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let create = c.create_with(&["--console-socket", &socket.flag()]).spawn();
    let mut console = socket.receive();
    create.wait().ok();
    c.start().ok();
    console.expect("on /dev/");
    console.write("hello\n");
    console.expect("got hello");
    let fds: Vec<_> = (0..3).map(|fd| std::fs::read_link(format!("/proc/{}/fd/{fd}", c.pid())).unwrap()).collect();
    assert!(fds.iter().all(|fd| fd.starts_with("/dev/pts") || fd.starts_with("/dev/console")), "{fds:?}");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn pr_5_console_size() {
    need_root!();
    let c = with_terminal("stty size; read x")
        .edit(|config| config["process"]["consoleSize"] = json!({ "height": 41, "width": 137 }));
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let create = c.create_with(&["--console-socket", &socket.flag()]).spawn();
    let mut console = socket.receive();
    create.wait().ok();
    c.start().ok();
    console.expect("41 137");
    console.resize(50, 150);
    // without a terminal the size has no effect
    Container::new(&["true"])
        .edit(|config| config["process"]["consoleSize"] = json!({ "height": 41, "width": 137 }))
        .run()
        .ok();
}

#[test]
fn dev_console_is_the_terminal_and_belongs_to_the_user() {
    need_root!();
    let c = with_terminal("echo via-console > /dev/console; stat -c '%u %t' $(tty); echo owner-done; read x")
        .edit(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let create = c.create_with(&["--console-socket", &socket.flag()]).spawn();
    let mut console = socket.receive();
    create.wait().ok();
    c.start().ok();
    let seen = console.expect("owner-done");
    assert!(seen.contains("via-console") && seen.contains("1000 88"), "{seen}");
}

#[test]
fn the_terminal_is_the_controlling_one() {
    need_root!();
    let c = with_terminal("echo direct > /dev/tty; ps -o pid,tty 2>/dev/null; read x");
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let create = c.create_with(&["--console-socket", &socket.flag()]).spawn();
    let mut console = socket.receive();
    create.wait().ok();
    c.start().ok();
    console.expect("direct");
}

#[test]
fn pr_4_terminal_and_socket_belong_together() {
    need_root!();
    let c = with_terminal("true");
    c.create().fails().one_line();
    c.run_with(&["--detach"]).out().fails().one_line();
    c.nothing_left();
    let c = Container::new(&["true"]);
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    c.create_with(&["--console-socket", &socket.flag()]).out().fails().one_line();
    c.nothing_left();
    let c = with_terminal("true");
    c.create_with(&["--console-socket", "/no/such/socket"]).out().fails().one_line().stderr_contains("/no/such/socket");
    c.nothing_left();
}

#[test]
fn run_detached_with_a_terminal() {
    need_root!();
    let c = with_terminal("echo detached-output; read x");
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let run = c.run_with(&["--detach", "--console-socket", &socket.flag()]).spawn();
    let mut console = socket.receive();
    run.wait().ok();
    console.expect("detached-output");
    assert_eq!(c.status(), "running");
}

#[test]
fn exec_tty_in_the_foreground() {
    need_root!();
    for flag in if is_croci() { &["--tty", "-t", "--tty=true"][..] } else { &["--tty", "-t"] } {
        let c = Container::running();
        let mut terminal = Terminal::open(37, 90);
        let script = "stty size; test -t 0 && echo tty-yes; read x; echo got $x; exit 6";
        let exec = on_terminal(c.exec_with(&[flag], &["sh", "-c", script]), &terminal).spawn();
        terminal.expect("tty-yes");
        assert!(terminal.seen().contains("37 90"), "{}", terminal.seen());
        assert!(!terminal.is_cooked());
        terminal.write("word\r");
        terminal.expect("got word");
        exec.wait().exits(6);
        assert!(terminal.is_cooked());
    }
}

#[test]
fn exec_tty_through_the_console_socket() {
    need_root!();
    let c = Container::running();
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let file = c.sandbox.path("pid");
    let exec = c
        .exec_process(
            &["--detach", "--console-socket", &socket.flag(), "--pid-file", file.to_str().unwrap()],
            |process| {
                process["terminal"] = json!(true);
                process["args"] = json!(["sh", "-c", "echo exec-terminal; read x"]);
            },
        )
        .spawn();
    let mut console = socket.receive();
    exec.wait().ok();
    console.expect("exec-terminal");
    let pid: i32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert!(host::alive(pid));
    console.write("\n");
    assert_eq!(Container::reap(pid), 0);
}

#[test]
fn exec_with_terminal_in_the_document_uses_the_callers_terminal() {
    need_root!();
    let c = Container::running();
    let mut terminal = Terminal::open(24, 80);
    let exec = c.exec_process(&[], |process| {
        process["terminal"] = json!(true);
        process["args"] = json!(["sh", "-c", "test -t 1 && echo buildkit-style; exit 4"]);
    });
    let exec = on_terminal(exec, &terminal).spawn();
    terminal.expect("buildkit-style");
    exec.wait().exits(4);
}

/// The program's lines end once: its terminal adds no carriage return, the caller's one.
#[test]
fn exec_tty_without_input_prints_plain_lines_on_a_terminal() {
    need_root!();
    let c = Container::running();
    let mut terminal = Terminal::open(24, 80);
    let script = r#"exec "$@" </dev/null"#;
    let bash = c.sandbox.program("bash").args(["-c", script, "bash"]).arg(runtime());
    let exec = bash.args(["--root"]).arg(&c.sandbox.root).args(["exec", "-t", &c.id, "sh", "-c", "echo one; echo two"]);
    on_terminal(exec, &terminal).spawn().wait().ok();
    terminal.expect("two\r\n");
    assert!(terminal.seen().contains("one\r\ntwo\r\n"), "{:?}", terminal.seen());
}

/// A configured size is the program's, and not that of the caller's terminal, until the caller resizes that.
#[test]
fn pr_4_a_configured_size_takes_precedence_over_the_callers() {
    need_root!();
    let c = Container::running();
    let size = json!({ "height": 11, "width": 22 });
    let mut terminal = Terminal::open(37, 90);
    let exec = c.exec_process(&[], |process| {
        process["terminal"] = json!(true);
        process["consoleSize"] = size.clone();
        let wait = "n=0; while [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done";
        process["args"] = json!(["sh", "-c", format!("trap 'stty size' WINCH; stty size; echo ready; {wait}")]);
    });
    let exec = on_terminal(exec, &terminal).spawn();
    terminal.expect("ready");
    assert!(terminal.seen().contains("11 22") && !terminal.seen().contains("37 90"), "{:?}", terminal.seen());
    terminal.resize(30, 70);
    exec.signal(libc::SIGWINCH);
    terminal.expect("30 70");
    c.kill("KILL").ok();
    exec.wait().exits(137);
    let c = Container::sh("stty size").edit(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = size.clone();
    });
    c.write_config();
    let mut terminal = Terminal::open(37, 90);
    let run = on_terminal(c.croci(["run", "--bundle"]).arg(&c.bundle).arg(&c.id), &terminal).spawn();
    terminal.expect("11 22");
    run.wait().ok();
}

#[test]
fn exec_without_tty_does_not_touch_the_terminal() {
    need_root!();
    let c = Container::running();
    let mut terminal = Terminal::open(24, 80);
    let exec = on_terminal(c.exec_with(&[], &["sh", "-c", "echo plain; exit 2"]), &terminal).spawn();
    terminal.expect("plain");
    exec.wait().exits(2);
    assert!(terminal.is_cooked());
}

#[test]
fn stdio_can_be_reopened_by_the_containers_user() {
    need_root!();
    let c = Container::sh("echo through > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin")
        .edit(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    // pipes, as callers pass them: the runtime changes their owner to the container's user
    c.write_config();
    let mut cmd = c.croci(["run", "--bundle"]).arg(&c.bundle).arg(&c.id).command;
    let (reader, writer) = std::io::pipe().unwrap();
    let (input, mut feed) = std::io::pipe().unwrap();
    use std::io::Write as _;
    feed.write_all(b"fed\n").unwrap();
    drop(feed);
    let mut child = cmd.stdin(input).stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(cmd); // `cmd` holds the writing ends
    let text = std::io::read_to_string(reader).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    for word in ["through", "err", "fed"] {
        assert!(text.contains(word), "{word} in {text:?}");
    }
}
