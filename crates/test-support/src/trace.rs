//! A kill, or the failure of a system call, of the runtime or of its children, by ptrace: exact, and without another program.
//!
//! Each run has a tracer thread of its own, because the tracees of a thread are detached when it ends, wherever they
//! are, and because it waits for its own tracees only. Children are traced until they call exec: hooks and the
//! container's program are no longer the runtime's code.

use super::cmd::{Cmd, Out, Proc};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;

/// A system call of a traced process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The N-th call of the runtime, from 1; 0: none.
    Call(usize),
    /// The N-th call of the runtime with this number (`libc::SYS_flock`); 0: each of them.
    Named(libc::c_long, usize),
    /// A call of a child of the runtime: the number of the child in the order of their creation, from 1, and that of the
    /// call.
    Child(usize, usize),
}

/// The fault at a [`Point`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of the process on entry to the call.
    Kill,
    /// The kernel does not execute the call, which fails with this errno.
    Fail(i32),
}

/// A system call that a run has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Where it can have a fault.
    pub point: Point,
    /// Its number.
    pub number: libc::c_long,
}

/// A run with a fault.
#[derive(Debug)]
pub struct Faulted {
    /// All system calls that began before the fault, or until the end of the runtime.
    pub seen: Vec<Call>,
    /// Number of the call that had the fault; `None`: the process made no such call.
    pub hit: Option<libc::c_long>,
    /// End of the runtime; one that hangs was killed at its limit.
    pub out: Out,
}

impl Faulted {
    /// Returns how many system calls the runtime has made.
    pub fn calls(&self) -> usize {
        self.seen.iter().filter(|call| matches!(call.point, Point::Call(_))).count()
    }
}

/// The end of a run that was killed at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// The process ended by itself after this many system call entries, with this exit status.
    Ended { calls: usize, code: i32 },
    /// The process was killed on entry to the chosen call.
    Killed,
}

/// Returns whether system calls can be failed on this machine: their registers are those of x86-64.
pub fn can_fail() -> bool {
    cfg!(target_arch = "x86_64")
}

/// Runs a command and kills it with SIGKILL as it enters its `point`-th system call (0 = never, only count).
#[track_caller]
pub fn kill_at(cmd: Cmd, point: usize) -> Traced {
    let run = fault_at(cmd, Point::Call(point), Fault::Kill);
    let code = run.out.code.unwrap_or_else(|| 128 + run.out.signal.unwrap_or_default());
    if run.hit.is_some() { Traced::Killed } else { Traced::Ended { calls: run.calls(), code } }
}

/// Runs a command and returns the system calls that it and its children have made.
#[track_caller]
pub fn list(cmd: Cmd) -> Faulted {
    fault_at(cmd, Point::Child(usize::MAX, 0), Fault::Kill)
}

/// Runs a command with a fault at one of its system calls.
#[track_caller]
pub fn fault_at(cmd: Cmd, point: Point, fault: Fault) -> Faulted {
    fault_with(cmd, &[], point, fault)
}

/// As [`fault_at`], and also traces the processes `others`, which exist already, as the first children.
#[track_caller]
pub fn fault_with(cmd: Cmd, others: &[i32], point: Point, fault: Fault) -> Faulted {
    let run = std::thread::scope(|scope| scope.spawn(|| trace(cmd, others, point, fault)).join());
    let (proc, seen, hit) = run.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    Faulted { seen, hit, out: proc.wait_or_kill() }
}

fn trace(cmd: Cmd, others: &[i32], point: Point, fault: Fault) -> (Proc, Vec<Call>, Option<libc::c_long>) {
    let proc = cmd.before_exec(|| Ok(ptrace::traceme()?)).spawn();
    let main = Pid::from_raw(proc.pid());
    let children = matches!(point, Point::Child(..));
    seize_at_exec(main, children);
    let mut tracer = Tracer { main, point, fault, tracees: HashMap::new(), seen: Vec::new(), named: 0, hit: None };
    tracer.tracees.insert(main, Tracee::default());
    for pid in others.iter().map(|pid| Pid::from_raw(*pid)).filter(|_| children) {
        check(ptrace::seize(pid, options(true)));
        check(ptrace::interrupt(pid));
        tracer.know(pid);
    }
    while tracer.step() {}
    (proc, tracer.seen, tracer.hit)
}

fn options(children: bool) -> Options {
    let follow = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    let follow = follow | Options::PTRACE_O_TRACEEXEC;
    if children { Options::PTRACE_O_TRACESYSGOOD | follow } else { Options::PTRACE_O_TRACESYSGOOD }
}

/// Seizes a process that stops at its exec because it called `PTRACE_TRACEME`. Children of a process that is seized start
/// without a SIGSTOP, which would stay when the tracer has ended.
fn seize_at_exec(pid: Pid, children: bool) {
    let first = wait_stop(pid);
    assert!(matches!(first, WaitStatus::Stopped(..)), "stops at its exec: {first:?}");
    check(ptrace::detach(pid, Some(Signal::SIGSTOP)));
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::__WALL));
    assert!(matches!(stopped, Ok(WaitStatus::Stopped(..))), "stops: {stopped:?}");
    check(ptrace::seize(pid, options(children)));
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
}

/// A traced process.
#[derive(Default)]
struct Tracee {
    /// Number in the order of creation; the runtime has 0.
    number: usize,
    /// System calls that it has entered.
    calls: usize,
    /// Whether it is in a system call.
    inside: bool,
    /// Whether that call fails by the fault.
    failing: bool,
}

struct Tracer {
    main: Pid,
    point: Point,
    fault: Fault,
    tracees: HashMap<Pid, Tracee>,
    seen: Vec<Call>,
    named: usize,
    hit: Option<libc::c_long>,
}

impl Tracer {
    /// Gives a new tracee its number.
    fn know(&mut self, pid: Pid) {
        let number = self.tracees.len();
        self.tracees.entry(pid).or_insert(Tracee { number, ..Tracee::default() });
    }

    /// Waits for the next stop of a tracee, and lets it go on; returns false when the runtime has ended or the fault was.
    fn step(&mut self) -> bool {
        let Some(pid) = self.next_stop() else { return false };
        let status = wait_stop(pid);
        let mut signal = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return true,
            WaitStatus::PtraceSyscall(_) => {
                self.know(pid);
                if !self.system_call(pid) {
                    return false;
                }
            }
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) if pid != self.main => {
                check(ptrace::detach(pid, None));
                return true;
            }
            WaitStatus::PtraceEvent(..) => self.know(pid),
            WaitStatus::Stopped(_, stop) => signal = Some(stop),
            _ => {}
        }
        check(ptrace::syscall(pid, signal));
        true
    }

    /// Returns a tracee that has stopped or ended; `None` when the runtime has ended, which is left to another wait.
    fn next_stop(&self) -> Option<Pid> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        let flags = flags | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = match waitid(Id::All, flags) {
                Err(Errno::EINTR) => continue,
                status => status.unwrap(),
            };
            let ended = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
            return status.pid().filter(|pid| !(ended && *pid == self.main));
        }
    }

    /// Handles an entry to, or exit from, a system call; returns false after the fault.
    fn system_call(&mut self, pid: Pid) -> bool {
        let Tracer { point, fault, seen, named, hit, tracees, .. } = self;
        let Some(tracee) = tracees.get_mut(&pid) else { return true };
        tracee.inside = !tracee.inside;
        if !tracee.inside {
            if let (true, Fault::Fail(errno)) = (std::mem::take(&mut tracee.failing), *fault) {
                registers::set_result(pid, -errno);
                return matches!(point, Point::Named(_, 0));
            }
            return true;
        }
        let Some(number) = registers::number(pid) else { return true };
        tracee.calls += 1;
        let here =
            if tracee.number == 0 { Point::Call(tracee.calls) } else { Point::Child(tracee.number, tracee.calls) };
        seen.push(Call { point: here, number });
        let is_it = match *point {
            Point::Named(wanted, nth) => {
                *named += usize::from(number == wanted);
                number == wanted && (nth == 0 || nth == *named)
            }
            wanted => wanted == here,
        };
        if !is_it {
            return true;
        }
        *hit = Some(number);
        if *fault == Fault::Kill {
            nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
            return false;
        }
        registers::skip(pid);
        tracee.failing = true;
        true
    }
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
        Some(0)
    }

    pub(super) fn skip(_: Pid) {}

    pub(super) fn set_result(_: Pid, _: i32) {}
}
