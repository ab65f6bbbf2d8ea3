//! Killing the runtime at a chosen system call, by ptrace: exact and without another program.

use super::cmd::Cmd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

/// How a traced run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// It ended by itself after this many system call entries, with this exit status.
    Ended { calls: usize, code: i32 },
    /// It was killed on entry to the call asked for.
    Killed,
}

/// Runs a command and kills it with SIGKILL as it enters its `point`-th system call (0 = never, only count). Its
/// children are not traced.
#[track_caller]
#[allow(clippy::zombie_processes)] // waited for by its pid, as a tracer does
pub fn kill_at(mut cmd: Cmd, point: usize) -> Traced {
    cmd.command.stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call between fork and exec.
    unsafe {
        cmd.command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let child = cmd.command.spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let first = wait_stop(pid);
    assert!(libc::WIFSTOPPED(first), "stops at its exec");
    request(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL);
    let (mut calls, mut entering, mut signal) = (0, true, 0);
    loop {
        request(libc::PTRACE_SYSCALL, pid, signal);
        let status = wait_stop(pid);
        if !libc::WIFSTOPPED(status) {
            return ended(child, calls, status);
        }
        signal = 0;
        match libc::WSTOPSIG(status) {
            stop if stop == libc::SIGTRAP | 0x80 => {
                if entering {
                    calls += 1;
                    if calls == point {
                        kill(pid);
                        return Traced::Killed;
                    }
                }
                entering = !entering;
            }
            libc::SIGTRAP => {}
            other => signal = other,
        }
    }
}

fn ended(child: Child, calls: usize, status: i32) -> Traced {
    drop(child); // already waited for
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Traced::Ended { calls, code }
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    while libc::WIFSTOPPED(wait_stop(pid)) {}
}

fn wait_stop(pid: i32) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let rc = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if rc == pid {
            return status;
        }
        let err = std::io::Error::last_os_error();
        assert_eq!(err.kind(), std::io::ErrorKind::Interrupted, "waitpid: {err}");
    }
}

fn request(request: libc::c_uint, pid: i32, data: i32) {
    // SAFETY: the requests used here take a number as their data and no address.
    let rc = unsafe { libc::ptrace(request, pid, 0, libc::c_long::from(data)) };
    assert!(rc == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH), "ptrace({request})");
}
