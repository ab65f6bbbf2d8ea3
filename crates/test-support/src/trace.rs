//! A kill of the runtime at a chosen system call by ptrace, which is exact and needs no other program.

use super::cmd::Cmd;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::Stdio;

/// The end of a traced run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// The process ended by itself after this many system call entries, with this exit status.
    Ended { calls: usize, code: i32 },
    /// The process was killed on entry to the chosen call.
    Killed,
}

/// Runs a command and kills it with SIGKILL as it enters its `point`-th system call (0 = never, only count). Its
/// children are not traced.
#[track_caller]
#[allow(clippy::zombie_processes)] // waited for by its pid, as a tracer does
pub fn kill_at(mut cmd: Cmd, point: usize) -> Traced {
    cmd.command.stdout(Stdio::null()).stderr(Stdio::null());
    linux::testing::child::before_exec(&mut cmd.command, || Ok(ptrace::traceme()?));
    let child = cmd.command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let first = wait_stop(pid);
    assert!(matches!(first, WaitStatus::Stopped(..)), "stops at its exec: {first:?}");
    check(ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL));
    let (mut calls, mut entering, mut signal) = (0, true, None);
    loop {
        check(ptrace::syscall(pid, signal.take()));
        match wait_stop(pid) {
            WaitStatus::PtraceSyscall(_) => {
                if entering {
                    calls += 1;
                    if calls == point {
                        kill(pid);
                        return Traced::Killed;
                    }
                }
                entering = !entering;
            }
            WaitStatus::Exited(_, code) => return Traced::Ended { calls, code },
            WaitStatus::Signaled(_, killer, _) => return Traced::Ended { calls, code: 128 + killer as i32 },
            WaitStatus::Stopped(_, stop) => signal = (stop != Signal::SIGTRAP).then_some(stop),
            _ => {}
        }
    }
}

fn kill(pid: Pid) {
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    while !matches!(wait_stop(pid), WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {}
}

fn wait_stop(pid: Pid) -> WaitStatus {
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            other => return other.unwrap(),
        }
    }
}

/// Checks a request, which fails with `ESRCH` where a signal has killed the tracee: the next wait returns that.
#[track_caller]
fn check(result: nix::Result<()>) {
    assert!(matches!(result, Ok(()) | Err(Errno::ESRCH)), "ptrace: {result:?}");
}
