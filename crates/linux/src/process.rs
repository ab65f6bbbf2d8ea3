//! Processes: create, enter namespaces, signal, wait.
//!
//! croci is single-threaded: a clone without `CLONE_VM` is a plain fork, and the child may use the whole library.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, waitid};

use super::{cvt, handle};

/// libc's constant of this name is an `int`, which is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The side of a clone.
#[derive(Debug)]
pub enum CloneResult {
    /// The parent, with the child's pid and a pidfd.
    Parent {
        /// Pid of the child in the parent's pid namespace.
        pid: i32,
        /// Pidfd, readable when the child has ended.
        pidfd: OwnedFd,
    },
    /// The child.
    Child,
}

/// Flags that [`clone3`] accepts. Any other flag would share memory or descriptors between the
/// two processes, and each would drop values of the other.
const CLONE_FLAGS: u64 = (libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS
    | libc::CLONE_PARENT) as u64;

/// Returns whether this process is the child of a [`clone3`].
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Forks into new namespaces (`flags`, `CLONE_NEW*` and `CLONE_PARENT`) and, where given, straight into the cgroup v2
/// directory `cgroup`, before the child runs its first instruction. [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html)
///
/// The child has to end by execve(2) or [`exit`]: the values on its stack are the parent's.
///
/// # Errors
/// `EINVAL`: other flags, or the process has other threads, whose locks no process would release in the child; `EBUSY`: the
/// cgroup's parent delegates controllers and has processes; `EAGAIN`: a pids limit; `ENOSPC`: a limit of
/// `/proc/sys/user/max_*_namespaces`.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<CloneResult> {
    if flags & !CLONE_FLAGS != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // no effect on a process of one thread, and EINVAL for any other
    nix::sched::unshare(CloneFlags::CLONE_THREAD)?;
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args: no stack, no tls, no set_tid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // with CLONE_PARENT the kernel uses the caller's own exit signal and refuses another
    args.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd() as u64;
    }
    // SAFETY: args lives through the call; CLONE_VM is not among the flags, so that the child has a copy of all memory, as
    // after fork(2), and there is one thread, so that no lock is held by a thread that does not exist in the child.
    let cloned = cvt(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) });
    let mut join = None;
    let pid = match cloned {
        // before Linux 5.3, or by a filter (`RestrictNamespaces=`, Docker's): ENOSYS; before 5.7 into a cgroup: E2BIG
        Err(err) if matches!(err.raw_os_error(), Some(libc::ENOSYS | libc::E2BIG)) => {
            join = cgroup.map(open_processes).transpose()?;
            old_clone(flags | args.exit_signal, &mut pidfd)
        }
        other => other.map_err(|err| crate::named("clone3", err)),
    }?;
    if pid == 0 {
        IS_CHILD.store(true, Ordering::Relaxed);
        if let Some(processes) = join
            && nix::unistd::write(processes, b"0").is_err()
        {
            exit(CGROUP_REFUSED);
        }
        return Ok(CloneResult::Child);
    }
    let pid = pid as i32;
    if pidfd == -1 {
        handle::choose()?;
        return Ok(CloneResult::Parent { pid, pidfd: handle::of_child(pid)? });
    }
    // SAFETY: the kernel has stored a new descriptor there, owned by no other process.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(CloneResult::Parent { pid, pidfd })
}

/// Exit status of a child that its cgroup has refused.
const CGROUP_REFUSED: i32 = 126;

/// Opens the file by which a process joins the cgroup `dir`.
fn open_processes(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC;
    Ok(crate::open::openat(dir, c"cgroup.procs", flags, nix::sys::stat::Mode::empty())?)
}

/// Clones by clone(2), which can do all but enter a cgroup; `pidfd` stays -1 before Linux 5.2.
fn old_clone(flags: u64, pidfd: &mut RawFd) -> io::Result<libc::c_long> {
    let none: RawFd = -1;
    let with_pidfd = flags | libc::CLONE_PIDFD as u64;
    for flags in [with_pidfd, flags] {
        *pidfd = none;
        // SAFETY: no CLONE_VM, and one thread, as in clone3; without a stack the child goes on on its copy of this one; the
        // pidfd is stored where `parent_tid` points, which lives through the call.
        match cvt(unsafe { clone(flags, &raw mut *pidfd) }) {
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) && flags == with_pidfd => {}
            cloned => return cloned,
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// Calls clone(2) without a stack and without thread-local storage.
///
/// # Safety
/// As clone(2): `flags` has neither CLONE_VM nor another sharing flag, and `parent_tid` can be written to.
unsafe fn clone(flags: u64, parent_tid: *mut RawFd) -> libc::c_long {
    // SAFETY: the caller's promise; s390x has the first two arguments in the other order.
    #[cfg(target_arch = "s390x")]
    unsafe {
        libc::syscall(libc::SYS_clone, 0, flags, parent_tid, 0, 0)
    }
    // SAFETY: the caller's promise.
    #[cfg(not(target_arch = "s390x"))]
    unsafe {
        libc::syscall(libc::SYS_clone, flags, 0, parent_tid, 0, 0)
    }
}

/// Opens a pidfd of the process `pid`, or before Linux 5.3 its directory in `/proc`, which the functions of this module take
/// in its place. [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
///
/// # Errors
/// `ESRCH`: no such process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    if handle::in_use() {
        return handle::open(pid);
    }
    let id = Pid::from_raw(pid.max(0)).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
        Err(rustix::io::Errno::NOSYS) => {
            handle::choose()?;
            handle::open(pid)
        }
        pidfd => Ok(pidfd?),
    }
}

/// Opens a pidfd of a child of this process, or before Linux 5.3 a counter with its pid, because the host's procfs may be that of another
/// pid namespace than this process's.
///
/// # Errors
/// As [`pidfd_open`].
pub fn pidfd_of_child(pid: i32) -> io::Result<OwnedFd> {
    if !handle::in_use() {
        let id = Pid::from_raw(pid.max(0)).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
            Err(rustix::io::Errno::NOSYS) => handle::choose_counters(),
            pidfd => return Ok(pidfd?),
        }
    }
    handle::of_own_child(pid)
}

/// Sends `signal` to the process of a pidfd, which is immune to pid reuse; before Linux 5.1 the pid is checked at once before.
///
/// # Errors
/// `ESRCH`: the process has ended and was reaped; `EPERM`.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call; a null siginfo means "as kill(2)".
    let sent = cvt(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    });
    match sent {
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => super::event::kill(handle::pid(pidfd)?, signal),
        sent => sent.map(drop),
    }
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl ExitStatus {
    /// Returns the status as in a shell: the exit status, or 128 + the signal.
    pub fn status(self) -> i32 {
        match self {
            ExitStatus::Exited(status) => status,
            ExitStatus::Killed(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Exited(status) => write!(f, "exit status {status}"),
            ExitStatus::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Waits for the child of a pidfd and reaps it; with `block` false, `None` while it runs.
///
/// # Errors
/// `ECHILD`: not a child of this process, or reaped already.
pub fn wait(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<ExitStatus>> {
    let mut options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(libc::__WALL as u32);
    options.set(WaitIdOptions::NOHANG, !block);
    let mut process = WaitId::PidFd(pidfd);
    loop {
        let status = match waitid(process.clone(), options) {
            Err(rustix::io::Errno::INTR) => continue,
            // before Linux 5.4, or no pidfd: by the pid, which no other process has before this one is reaped
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::BADF) if matches!(process, WaitId::PidFd(_)) => {
                let reaped = || io::Error::from_raw_os_error(libc::ECHILD);
                process = WaitId::Pid(Pid::from_raw(handle::pid(pidfd).map_err(|_| reaped())?).ok_or_else(reaped)?);
                continue;
            }
            status => status.map_err(|err| crate::named("waitid", err.into()))?,
        };
        return Ok(status.map(|status| match status.exit_status() {
            Some(code) => ExitStatus::Exited(code),
            None => ExitStatus::Killed(status.terminating_signal().unwrap_or(0)),
        }));
    }
}

/// Enters the namespaces `flags` of `fd`: a namespace file, or a pidfd (all named ones at once).
///
/// # Errors
/// `EINVAL`: the namespace is of another type, or cannot be entered twice; `EPERM`.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    match nix::sched::setns(fd, CloneFlags::from_bits_retain(flags)) {
        // before Linux 5.8 a process is no argument
        Err(nix::Error::EINVAL) if handle::is_process(fd) => setns_by_name(fd, flags),
        entered => Ok(entered?),
    }
}

/// Enters the namespaces `flags` of a process one by one: each before its user namespace, or after it where the kernel refuses
/// that.
fn setns_by_name(process: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    const NAMES: [(i32, &str); 7] = [
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWNET, "net"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWCGROUP, "cgroup"),
        (libc::CLONE_NEWTIME, "time"),
        (libc::CLONE_NEWNS, "mnt"),
    ];
    let open = |(flag, name): &(i32, &str)| handle::namespace(process, name).map(|file| (*flag, file));
    let wanted = NAMES.iter().filter(|(flag, _)| flags & flag != 0);
    let files = wanted.map(open).collect::<io::Result<Vec<_>>>()?;
    let user = (flags & libc::CLONE_NEWUSER != 0).then(|| handle::namespace(process, "user")).transpose()?;
    let enter = |file: &OwnedFd, flag| nix::sched::setns(file, CloneFlags::from_bits_retain(flag));
    let mut later = Vec::new();
    for (flag, file) in &files {
        match enter(file, *flag) {
            Err(nix::Error::EPERM) if user.is_some() => later.push((flag, file)),
            entered => entered?,
        }
    }
    if let Some(user) = user {
        enter(&user, libc::CLONE_NEWUSER)?;
    }
    for (flag, file) in later {
        enter(file, *flag)?;
    }
    Ok(())
}

/// Creates the namespaces `flags` and enters them.
///
/// # Errors
/// `ENOSPC`: a limit of `/proc/sys/user/max_*_namespaces`; `EPERM`.
pub fn unshare(flags: i32) -> io::Result<()> {
    Ok(nix::sched::unshare(CloneFlags::from_bits_retain(flags))?)
}

/// Returns the type of a namespace file as a `CLONE_NEW*` flag.
///
/// # Errors
/// `ENOTTY`: the file is no namespace.
pub fn namespace_type(fd: BorrowedFd<'_>) -> io::Result<i32> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument.
    let kind = cvt(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) }.into())?;
    Ok(kind as i32)
}

/// Opens the namespace in which a user or pid namespace was created.
///
/// # Errors
/// `EPERM`: it is outside the caller's own, or there is none.
pub fn parent_namespace(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_PARENT: libc::Ioctl = 0xb702;
    // SAFETY: this request takes no argument.
    let parent = cvt(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_PARENT) }.into())?;
    // SAFETY: the call has returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(parent as RawFd) })
}

/// Sets close-on-exec on every descriptor from `first` on.
///
/// One by one before Linux 5.11, or where a filter refuses close_range(2).
///
/// # Errors
/// None in practice.
pub fn set_cloexec_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is passed; the flag closes nothing now.
    let done = cvt(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) });
    match done {
        Err(err) if is_missing(&err) => {
            for fd in first..descriptors() {
                // SAFETY: no memory is passed; a descriptor that is not open is an error without effect.
                unsafe { libc::fcntl(fd as RawFd, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            Ok(())
        }
        done => done.map(drop),
    }
}

/// Returns whether the kernel or a filter lacks the system call (filters of old libraries answer EPERM) or its flag.
fn is_missing(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL))
}

/// Returns a number above every open descriptor: the highest limit that this process may have had, but a million at
/// most.
fn descriptors() -> u32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    u32::try_from(limit.min(1 << 20)).unwrap_or(1 << 20)
}

/// Whether this process is the child of a [`clone3`], which has one thread and ends by execve or [`exit`].
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// Closes every descriptor that is not in `keep`, in the child of a [`clone3`].
///
/// # Errors
/// `EPERM` in another process, where a value may own the descriptor.
pub fn close_fds_except(mut keep: Vec<RawFd>) -> io::Result<()> {
    if !is_child() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    keep.sort_unstable();
    let mut first: u32 = 0;
    for fd in keep.into_iter().filter_map(|fd| u32::try_from(fd).ok()).chain([u32::MAX]) {
        if first < fd {
            // SAFETY: this is the child of a clone3, which ends by execve or _exit: what owns these descriptors is on the
            // parent's part of the stack and is never used or dropped.
            let done = cvt(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) });
            match done {
                Err(err) if is_missing(&err) => {
                    for fd in first..fd.min(descriptors()) {
                        // SAFETY: as above.
                        unsafe { libc::close(fd as RawFd) };
                    }
                }
                done => _ = done?,
            }
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Clears close-on-exec on `fd`, a number that croci's caller passed.
///
/// # Errors
/// `EBADF`: the descriptor is not open.
pub fn clear_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD changes a flag of the table entry and no memory.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into())?;
    Ok(())
}

/// Returns whether `fd` is open.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag of the table entry.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// Returns type and permissions (`st_mode`) of an open file; `None` for a closed descriptor.
pub fn file_mode(fd: RawFd) -> Option<libc::mode_t> {
    fstat(fd).map(|stat| stat.st_mode)
}

/// Returns major and minor number of a character device; `None` for another file and for a closed descriptor.
pub fn char_device(fd: RawFd) -> Option<(u32, u32)> {
    let stat = fstat(fd).filter(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFCHR)?;
    Some((libc::major(stat.st_rdev), libc::minor(stat.st_rdev)))
}

fn fstat(fd: RawFd) -> Option<libc::stat> {
    // SAFETY: all-zero is a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: stat lives through the call; the number need not be open.
    (unsafe { libc::fstat(fd, &raw mut stat) } == 0).then_some(stat)
}

/// Sets the signal that this process receives when its parent ends; 0 clears it.
///
/// # Errors
/// `EINVAL`: no such signal.
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    let signal = if signal == 0 { None } else { Some(Signal::try_from(signal)?) };
    Ok(prctl::set_pdeathsig(signal)?)
}

/// Sets whether other processes of this user may inspect this one (ptrace, `/proc/PID/fd`, `/proc/PID/exe`).
///
/// # Errors
/// None that a caller could act on.
pub fn set_dumpable(yes: bool) -> io::Result<()> {
    Ok(prctl::set_dumpable(yes)?)
}

/// Sets whether orphaned descendants become this process's children.
///
/// # Errors
/// None that a caller could act on.
pub fn set_child_subreaper(yes: bool) -> io::Result<()> {
    Ok(prctl::set_child_subreaper(yes)?)
}

/// Restores the default action of SIGCHLD, because a caller that ignores it would make wait(2) return `ECHILD`.
pub fn default_sigchld() {
    let _ = super::signal::set_default(libc::SIGCHLD);
}

/// Returns the time of ticks of `/proc/PID/stat`: 1/100 s each, the kernel's `USER_HZ` on every architecture that Rust has for
/// Linux.
pub fn of_ticks(ticks: u64) -> std::time::Duration {
    std::time::Duration::from_millis(ticks.saturating_mul(10))
}

/// Ends the process at once, without destructors and flushing: for the child of a clone.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit never returns and runs nothing of this process.
    unsafe { libc::_exit(status) }
}

/// Returns the effective user ID.
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Sets the NIS domain name of this UTS namespace.
///
/// # Errors
/// `EINVAL`: longer than 64 bytes; `EPERM`.
pub fn setdomainname(name: &str) -> io::Result<()> {
    Ok(rustix::system::setdomainname(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::os::fd::AsFd as _;

    /// Runs `act` in a child of clone3 with these flags and returns its exit status.
    fn cloned(flags: i32, act: impl FnOnce() -> i32) -> io::Result<ExitStatus> {
        match clone3(flags as u64, None)? {
            CloneResult::Child => exit(act()),
            CloneResult::Parent { pidfd, .. } => Ok(wait(pidfd.as_fd(), true)?.unwrap()),
        }
    }

    #[test]
    fn clone3_refuses_flags_that_would_share_memory_or_descriptors() {
        for flags in [libc::CLONE_FILES, libc::CLONE_FS | libc::CLONE_NEWUTS, libc::CLONE_VM, libc::SIGCHLD] {
            crate::testing::forked(|| {
                let refused = cloned(flags, || 0);
                assert_eq!(refused.map_err(|err| err.raw_os_error()), Err(Some(libc::EINVAL)), "{flags:#x}");
            });
        }
        crate::testing::forked(|| assert_eq!(cloned(0, || 7).unwrap(), ExitStatus::Exited(7)));
    }

    #[test]
    fn wait_knows_the_signal_of_a_process_also_a_real_time_one() {
        for signal in [libc::SIGKILL, libc::SIGRTMIN() + 5] {
            crate::testing::forked(|| {
                let ended = cloned(0, || {
                    crate::testing::kill_self(signal);
                    0
                });
                assert_eq!(ended.unwrap(), ExitStatus::Killed(signal));
            });
        }
    }

    #[test]
    fn arguments_and_environment_are_cleared_in_the_child_of_a_clone3_only() {
        crate::testing::forked(|| {
            let shown = || ["cmdline", "environ"].map(|name| std::fs::read(format!("/proc/self/{name}")).unwrap());
            let before = shown();
            assert!(before.iter().all(|bytes| bytes.iter().any(|byte| *byte != 0)));
            crate::binary::clear_arguments_and_environment();
            assert!(shown() == before, "a thread of this process may read them");
            let ended = cloned(0, || {
                crate::binary::clear_arguments_and_environment();
                i32::from(shown().iter().flatten().any(|byte| *byte != 0))
            });
            assert_eq!(ended.unwrap(), ExitStatus::Exited(0));
        });
    }
}
