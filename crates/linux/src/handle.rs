//! A process by its directory in procfs, where the kernel has no pidfds (before Linux 5.3); or, a child of a process that has no procfs
//! of its own pid namespace, by an event counter with its pid.
//!
//! Such a directory stays that of its process: after a reuse of the pid its files cannot be read. It is no file that
//! becomes readable at the end of the process; [`crate::event::poll`] looks at the state instead.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, fstatfs};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::procfs;

/// Whether the kernel has answered that it has no pidfds.
static CHOSEN: AtomicBool = AtomicBool::new(false);

/// Returns whether processes are held by their directories.
pub(crate) fn in_use() -> bool {
    CHOSEN.load(Ordering::Relaxed)
}

/// Chooses directories of procfs, while `/proc` is the host's.
///
/// # Errors
/// `/proc` is no procfs.
pub(crate) fn choose() -> io::Result<()> {
    procfs::dir()?;
    CHOSEN.store(true, Ordering::Relaxed);
    Ok(())
}

/// Chooses counters for the children of this process, which may have no procfs.
pub(crate) fn choose_counters() {
    CHOSEN.store(true, Ordering::Relaxed);
}

/// Opens the directory of the process `pid`.
///
/// # Errors
/// `ESRCH`: no such process.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match crate::open::openat(procfs::dir()?, pid.to_string().as_str(), flags, Mode::empty()) {
        Err(nix::Error::ENOENT) => Err(gone()),
        opened => Ok(opened?),
    }
}

/// Returns the handle of a new child: its directory, or where this process has closed the procfs, an event counter with the
/// pid as its value, which [`claim`] of the receiver converts.
///
/// # Errors
/// As open(2).
pub(crate) fn of_child(pid: i32) -> io::Result<OwnedFd> {
    if procfs::is_open() {
        return open(pid);
    }
    of_own_child(pid)
}

/// Returns an event counter with the pid of a child of this process, of which it is that of another process only after the
/// child was reaped.
///
/// # Errors
/// As eventfd(2).
pub(crate) fn of_own_child(pid: i32) -> io::Result<OwnedFd> {
    let counter = counter()?;
    // the mark by which `is_counter` knows it, without another effect on a counter
    rustix::fs::fcntl_setfl(&counter, rustix::fs::OFlags::APPEND | rustix::fs::OFlags::NONBLOCK)?;
    nix::unistd::write(&counter, &u64::from(pid.unsigned_abs()).to_ne_bytes())?;
    Ok(counter)
}

/// File system of event counters.
const ANON_INODE_FS: FsType = FsType(0x0904_1934);

/// Returns whether `fd` is a counter of [`of_own_child`].
fn is_counter(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == ANON_INODE_FS)
        && rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::APPEND))
}

/// Returns whether `fd` is a directory of a process or a counter, which poll(2) says nothing about.
pub(crate) fn stands_for_process(fd: BorrowedFd<'_>) -> bool {
    is_directory(fd) || is_counter(fd)
}

/// Creates an event counter, which is not [`crate::event::eventfd`] because that module uses this one.
fn counter() -> io::Result<OwnedFd> {
    use rustix::event::EventfdFlags;
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Returns the handle of a process that another process of this program has sent: a counter's process by its directory.
///
/// # Errors
/// As `open`.
pub fn claim(received: OwnedFd) -> io::Result<OwnedFd> {
    match in_use().then(|| pid(received.as_fd())).transpose()? {
        Some(pid) if !is_directory(received.as_fd()) => open(pid),
        _ => Ok(received),
    }
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

/// Returns whether `fd` is a directory of a process, and no pidfd.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Returns whether `fd` is a pidfd, or the directory of a process.
pub(crate) fn is_process(fd: BorrowedFd<'_>) -> bool {
    is_directory(fd) || procfs::descriptor_info(fd, "Pid").is_ok()
}

/// Returns the pid of the process, which may be a zombie.
///
/// # Errors
/// `ESRCH`: it was reaped.
pub fn pid(fd: BorrowedFd<'_>) -> io::Result<i32> {
    if is_directory(fd) {
        return Ok(stat(fd)?.0);
    }
    if let Ok(pid) = procfs::descriptor_info(fd, "Pid") {
        return i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or_else(gone);
    }
    // a counter: reading takes the value
    let mut value = [0_u8; 8];
    nix::unistd::read(fd, &mut value)?;
    nix::unistd::write(fd, &value)?;
    i32::try_from(u64::from_ne_bytes(value)).map_err(|_| gone())
}

/// Returns pid and state of a process.
fn stat(dir: BorrowedFd<'_>) -> io::Result<(i32, u8)> {
    let line = match procfs::read_at(dir, "stat") {
        Err(err) if matches!(err.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => return Err(gone()),
        line => line?,
    };
    let text = String::from_utf8_lossy(&line);
    let pid = text.split(' ').next().and_then(|pid| pid.parse().ok());
    let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.bytes().next());
    pid.zip(state).ok_or_else(gone)
}

/// Returns whether the process has ended: it is a zombie or was reaped.
pub(crate) fn has_ended(dir: BorrowedFd<'_>) -> bool {
    if is_counter(dir) {
        return pid(dir).map_or(true, child_has_ended);
    }
    !stat(dir).is_ok_and(|(_, state)| !matches!(state, b'Z' | b'X'))
}

/// Returns whether the child `pid` has ended, reaped or not.
fn child_has_ended(pid: i32) -> bool {
    let look = WaitIdOptions::EXITED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT
        | WaitIdOptions::from_bits_retain(libc::__WALL as u32);
    Pid::from_raw(pid).is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), look), Ok(None)))
}

/// Opens the namespace file `name` of the process.
///
/// # Errors
/// As open(2); `ESRCH`: the process has ended.
pub(crate) fn namespace(fd: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let owned;
    let dir = if is_directory(fd) {
        fd
    } else {
        owned = open(pid(fd)?)?;
        // the same process still, because a pidfd of one that was reaped has no pid
        pid(fd)?;
        owned.as_fd()
    };
    let path = CString::new(format!("ns/{name}"))?;
    Ok(crate::open::openat(dir, path.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    #[test]
    fn the_end_of_a_process_is_seen_by_its_directory() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let number = child.id() as i32;
        let dir = open(number).unwrap();
        assert_eq!((pid(dir.as_fd()).unwrap(), has_ended(dir.as_fd())), (number, false));
        assert!(namespace(dir.as_fd(), "mnt").is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(dir.as_fd()));
        assert_eq!(pid(dir.as_fd()).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn poll_waits_for_the_end_of_a_child_by_its_counter() {
        use nix::poll::{PollFd, PollFlags, PollTimeout};
        crate::testing::forked(|| {
            choose().unwrap();
            let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
            let counter = of_own_child(child.id() as i32).unwrap();
            let (reader, writer) = nix::unistd::pipe().unwrap();
            let mut set = [&counter, &reader].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            assert_eq!(crate::event::poll(&mut set, 100_u8), Ok(0));
            nix::unistd::write(&writer, b"x").unwrap();
            assert_eq!(crate::event::poll(&mut set, PollTimeout::NONE), Ok(1));
            let ready = set.map(|fd| fd.revents().unwrap().contains(PollFlags::POLLIN));
            assert_eq!(ready, [false, true]);
            child.kill().unwrap();
            let mut set = [PollFd::new(counter.as_fd(), PollFlags::POLLIN)];
            assert_eq!(crate::event::poll(&mut set, PollTimeout::NONE), Ok(1));
            child.wait().unwrap();
        });
    }

    #[test]
    fn a_counter_has_the_pid_of_the_child() {
        let counter = super::counter().unwrap();
        nix::unistd::write(&counter, &77_u64.to_ne_bytes()).unwrap();
        assert_eq!((pid(counter.as_fd()).unwrap(), pid(counter.as_fd()).unwrap()), (77, 77));
    }
}
