//! Sending the pty master and relaying, each with a real pty or socket. Tests that reap children run in a process of
//! their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// it is the code under test that waits for them
#![allow(clippy::zombie_processes)]

use super::*;
use linux::testing::TempDir;
use linux::testing::forked;
use linux::testing::kill_self;
use linux::testing::pidfd;
use nix::pty::openpty;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

fn received(stream: &UnixStream) -> (usize, Vec<i32>) {
    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut text = [0; 4096];
    let mut parts = [std::io::IoSliceMut::new(&mut text)];
    let got = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let mut fds = vec![];
    for message in got.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    (got.bytes, fds)
}

#[test]
fn pr_4_the_master_is_sent_in_one_message() {
    let dir = TempDir::new();
    let long = format!("{}/{}", "d".repeat(100), "s".repeat(90));
    std::fs::create_dir(dir.path().join("d".repeat(100))).unwrap();
    for name in ["short", &long] {
        let path = dir.path().join(name);
        // bound by /proc/self/fd too, because bind(2) has the same limit of the path
        let parent = std::fs::File::open(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", parent.as_raw_fd())).unwrap();
        let console = Console::connect(&path).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let pty = openpty(None, None).unwrap();
        console.send(pty.master.as_fd()).unwrap();
        let (bytes, fds) = received(&stream);
        assert!(bytes > 0 && bytes < 4096, "{bytes}");
        assert_eq!(fds.len(), 1);
        assert_eq!(received(&stream), (0, vec![]), "one message, then the end");
    }
}

#[test]
fn pr_4_a_socket_without_a_listener_is_named() {
    let dir = TempDir::new();
    let path = dir.path().join("none");
    let err = base::error::describe(&Console::connect(&path).unwrap_err());
    assert_eq!(err, format!("--console-socket {path:?}: no such file or directory"));
}

/// Runs `script` on a pty, types `input`, and returns what it printed and its status.
fn relayed(script: &str, input: &[u8]) -> (String, i32) {
    let pty = openpty(None, None).unwrap();
    let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
    let child = Command::new("/bin/sh").args(["-c", script]).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn();
    let child = child.unwrap();
    drop(pty.slave);
    let (typed, mut keyboard) = std::io::pipe().unwrap();
    let (mut screen, shown) = std::io::pipe().unwrap();
    keyboard.write_all(input).unwrap();
    drop(keyboard);
    let pidfd = pidfd(child.id());
    let pid = child.id() as i32;
    block_forwarded().unwrap();
    let relay = Relay::between(pid, pidfd.as_fd(), pty.master, Some(typed.as_fd()), Some(shown.as_fd())).unwrap();
    // the pipe holds 64 KiB: more must be read while it is written
    let reader = std::thread::spawn(move || {
        let mut text = vec![];
        screen.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    let status = relay.run().unwrap();
    drop(shown);
    (reader.join().unwrap(), status)
}

#[test]
fn a_terminal_is_copied_both_ways_until_the_end() {
    forked(|| {
        let (text, status) = relayed("read x; echo got:$x; exit 7", b"hello\n");
        assert_eq!((text.as_str(), status), ("hello\r\ngot:hello\r\n", 7));
    });
}

#[test]
fn all_that_was_printed_last_arrives() {
    forked(|| {
        let (text, status) =
            relayed("stty -opost; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", b"");
        assert_eq!(status, 0);
        assert_eq!(text.lines().count(), 20_000);
        assert!(text.ends_with("line 19999\n"));
    });
}

#[test]
fn the_end_of_a_pipe_is_the_end_of_input() {
    forked(|| {
        let (text, status) = relayed("stty -echo; cat; echo end", b"one\n");
        assert!(text.ends_with("one\r\nend\r\n"), "{text:?}");
        assert_eq!(status, 0);
    });
}

#[test]
fn a_program_that_closes_its_terminal_is_waited_for() {
    forked(|| {
        let script = "tty=$(tty); exec <&- >&- 2>&-; sleep 0.3; echo again >$tty; exit 3";
        let (text, status) = relayed(script, b"");
        assert!(text.ends_with("again\r\n"), "{text:?}");
        assert_eq!(status, 3);
    });
}

#[test]
fn fo_45_the_status_is_that_of_a_shell() {
    for (script, want) in [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -34 $$", 162)] {
        forked(|| {
            let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
            block_forwarded().unwrap();
            assert_eq!(wait_relaying(child.id() as i32, &pidfd(child.id()), None).unwrap(), want, "{script}");
        });
    }
}

#[test]
fn signals_are_forwarded() {
    for number in [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, 40] {
        forked(|| {
            // a shell cannot trap what its caller ignores, as nohup does
            signal::set_default(number).unwrap();
            // the trap is there when the line has come
            let script = format!("trap 'exit 9' {number}; echo ready; while :; do sleep 0.05; done");
            let mut child = Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
            block_forwarded().unwrap();
            kill_self(number);
            assert_eq!(wait_relaying(child.id() as i32, &pidfd(child.id()), None).unwrap(), 9, "signal {number}");
        });
    }
}

/// SIGWINCH is about croci's own terminal: a program that has no terminal of croci's does not expect it.
#[test]
fn a_change_of_the_window_is_not_forwarded() {
    forked(|| {
        let script = "trap 'exit 9' WINCH; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
        let mut child = Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        block_forwarded().unwrap();
        kill_self(libc::SIGWINCH);
        kill_self(libc::SIGTERM);
        assert_eq!(wait_relaying(child.id() as i32, &pidfd(child.id()), None).unwrap(), 5);
    });
}

#[test]
fn orphans_are_reaped_and_not_mistaken_for_the_process() {
    forked(|| {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let child = Command::new("/bin/sh").args(["-c", "(sleep 0.05; exit 5) & sleep 0.2; exit 6"]).spawn().unwrap();
        let orphan_maker = Command::new("/bin/sh").args(["-c", "(exit 4) & exit 0"]).spawn().unwrap();
        block_forwarded().unwrap();
        assert_eq!(wait_relaying(child.id() as i32, &pidfd(child.id()), None).unwrap(), 6);
        drop(orphan_maker);
        assert_eq!(signal::reap().unwrap_err().raw_os_error(), Some(libc::ECHILD), "nothing is left");
    });
}

#[test]
fn the_window_size_is_copied_and_raw_mode_ends() {
    forked(|| {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        // the caller's terminal is the standard input of this process
        let caller = openpty(None, None).unwrap();
        let size = libc::winsize { ws_row: 40, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
        linux::term::set_window_size(caller.master.as_fd(), &size).unwrap();
        linux::term::replace_stdio(caller.slave.as_fd(), 0).unwrap();
        let (mut screen, shown) = std::io::pipe().unwrap();
        linux::term::replace_stdio(shown.as_fd(), 1).unwrap();
        drop(shown);
        let inner = openpty(None, None).unwrap();
        let slave = || Stdio::from(inner.slave.try_clone().unwrap());
        let script = "read x; echo size $(stty size); echo got $x";
        let mut shell = Command::new("/bin/sh");
        let child = shell.args(["-c", script]).stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(shell);
        let is_raw = || !tcgetattr(&caller.slave).unwrap().local_flags.contains(LocalFlags::ICANON);
        nix::unistd::write(&caller.master, b"key\r").unwrap();
        assert!(!is_raw());
        let fd = pidfd(child.id());
        block_forwarded().unwrap();
        let relay =
            Relay::new(child.id() as i32, fd.as_fd(), Foreground { master: inner.master, sized: false }).unwrap();
        assert!(is_raw());
        drop(inner.slave);
        assert_eq!(relay.run().unwrap(), 0);
        assert!(!is_raw(), "the caller's terminal is as it was");
        nix::unistd::dup2_stdout(std::fs::File::open("/dev/null").unwrap()).unwrap();
        let mut text = String::new();
        screen.read_to_string(&mut text).unwrap();
        assert!(text.contains("size 40 111\r\n") && text.contains("got key\r\n"), "{text:?}");
    });
}
