//! A kill of the runtime, or a failure, at a chosen system call by ptrace, which is exact and needs no other program.

use super::cmd::{Cmd, Out};
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

/// A system call of a traced process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The N-th call, from 1; 0: none.
    Call(usize),
    /// The N-th call with this number (`libc::SYS_flock`); 0: each of them.
    Named(libc::c_long, usize),
}

/// The fault at a [`Point`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL on entry to the call.
    Kill,
    /// The kernel does not execute the call, which fails with this errno.
    Fail(i32),
}

/// A run with a fault.
#[derive(Debug)]
pub struct Faulted {
    /// System calls that began before the fault, or until the end of the process.
    pub calls: usize,
    /// Number of the call that had the fault; `None`: the process made no such call.
    pub hit: Option<libc::c_long>,
    /// End of the process.
    pub out: Out,
}

/// Returns whether system calls can be failed on this machine: their registers are those of x86-64.
pub fn can_fail() -> bool {
    cfg!(target_arch = "x86_64")
}

/// Runs a command and calls `each` with the number of each system call that it makes. Its children are not traced.
#[track_caller]
pub fn list(cmd: Cmd, each: &mut dyn FnMut(libc::c_long)) -> Out {
    step(cmd, Point::Call(0), Fault::Kill, each).out
}

/// Runs a command with a fault at one of its system calls. Its children are not traced.
#[track_caller]
pub fn fault_at(cmd: Cmd, point: Point, fault: Fault) -> Faulted {
    step(cmd, point, fault, &mut |_| ())
}

#[track_caller]
fn step(cmd: Cmd, point: Point, fault: Fault, each: &mut dyn FnMut(libc::c_long)) -> Faulted {
    let proc = cmd.before_exec(|| Ok(ptrace::traceme()?)).spawn();
    let pid = Pid::from_raw(proc.pid());
    let first = wait_stop(pid);
    assert!(matches!(first, WaitStatus::Stopped(..)), "stops at its exec: {first:?}");
    check(ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL));
    let (mut calls, mut named, mut entering, mut failing, mut hit, mut signal) = (0, 0, true, false, None, None);
    loop {
        check(ptrace::syscall(pid, signal.take()));
        if has_ended(pid) {
            break;
        }
        match wait_stop(pid) {
            WaitStatus::PtraceSyscall(_) if entering => {
                entering = false;
                calls += 1;
                let Some(number) = registers::number(pid) else { continue };
                each(number);
                let here = match point {
                    Point::Call(wanted) => calls == wanted,
                    Point::Named(wanted, nth) => {
                        named += usize::from(number == wanted);
                        number == wanted && (nth == 0 || nth == named)
                    }
                };
                if !here {
                    continue;
                }
                hit = Some(number);
                if fault == Fault::Kill {
                    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
                    break;
                }
                registers::skip(pid);
                failing = true;
            }
            WaitStatus::PtraceSyscall(_) => {
                entering = true;
                if let (true, Fault::Fail(errno)) = (std::mem::take(&mut failing), fault) {
                    registers::set_result(pid, -errno);
                    if !matches!(point, Point::Named(_, 0)) {
                        check(ptrace::detach(pid, None));
                        break;
                    }
                }
            }
            WaitStatus::Stopped(_, stop) => signal = (stop != Signal::SIGTRAP).then_some(stop),
            _ => {}
        }
    }
    Faulted { calls, hit, out: proc.wait() }
}

/// Waits for the next stop or the end of a process, and returns whether it has ended; leaves it to the next wait.
fn has_ended(pid: Pid) -> bool {
    use nix::sys::wait::{Id, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Err(Errno::EINTR) => {}
            status => return matches!(status.unwrap(), WaitStatus::Exited(..) | WaitStatus::Signaled(..)),
        }
    }
}

/// The registers of a process that is stopped at a system call. Each function ignores a process that was killed.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::{Pid, check, ptrace};

    /// Returns the number of the system call.
    pub(super) fn number(pid: Pid) -> Option<libc::c_long> {
        ptrace::getregs(pid).ok().map(|registers| registers.orig_rax.cast_signed())
    }

    /// Lets the kernel execute no system call, on entry to one.
    pub(super) fn skip(pid: Pid) {
        if let Ok(mut registers) = ptrace::getregs(pid) {
            registers.orig_rax = u64::MAX;
            check(ptrace::setregs(pid, registers));
        }
    }

    /// Sets the result of the system call, on exit from it.
    pub(super) fn set_result(pid: Pid, result: i32) {
        if let Ok(mut registers) = ptrace::getregs(pid) {
            registers.rax = i64::from(result).cast_unsigned();
            check(ptrace::setregs(pid, registers));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod registers {
    use super::Pid;

    pub(super) fn number(_: Pid) -> Option<libc::c_long> {
        None
    }

    pub(super) fn skip(_: Pid) {}

    pub(super) fn set_result(_: Pid, _: i32) {}
}
