//! User namespaces: this process's, and one without processes, whose mapping ID-mapped mounts use.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use libc::c_long;
use nix::fcntl::AT_FDCWD;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{cvt, path};

/// Returns whether this process is in the initial user namespace.
pub fn is_initial() -> bool {
    // only the initial namespace maps all IDs; without procfs it is assumed
    std::fs::read_to_string("/proc/self/uid_map")
        .map_or(true, |map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Creates a user namespace with these contents of uid_map and gid_map.
///
/// # Errors
/// `EPERM` without CAP_SETUID and CAP_SETGID in the caller's namespace, `EINVAL` for overlapping ranges.
pub fn with_maps(uid_map: &str, gid_map: &str) -> io::Result<OwnedFd> {
    // without an exit signal, so that no SIGCHLD handling is disturbed
    let parent = nix::unistd::getpid();
    // SAFETY: without CLONE_VM this is a fork; the child calls nothing but prctl, getppid, pause and _exit.
    let pid = cvt(unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER as c_long, 0, 0, 0, 0) })?;
    if pid == 0 {
        wait_to_be_killed(parent.as_raw());
    }
    let pid = pid as libc::pid_t;
    let result = maps_and_fd(pid, uid_map, gid_map);
    // our own child, not reaped yet, so the number is still its own
    let child = Pid::from_raw(pid);
    let _ = kill(child, Signal::SIGKILL);
    while waitpid(child, Some(WaitPidFlag::__WALL)) == Err(nix::Error::EINTR) {}
    result
}

fn wait_to_be_killed(parent: libc::pid_t) -> ! {
    // SAFETY: plain system calls, no memory of ours.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // the parent died before the prctl above, so no process would kill this one
        if libc::getppid() != parent {
            libc::_exit(0);
        }
        loop {
            libc::pause();
        }
    }
}

/// Forks with these namespaces; returns 0 in the child. For tests, where the process may have other threads.
#[cfg(any(test, feature = "testing"))]
pub fn fork_with(flags: libc::c_int) -> io::Result<libc::pid_t> {
    // SAFETY: without CLONE_VM this is a fork; the child is single-threaded and ends by execve or exit.
    let pid = cvt(unsafe { libc::syscall(libc::SYS_clone, c_long::from(flags | libc::SIGCHLD), 0, 0, 0, 0) })?;
    Ok(pid as libc::pid_t)
}

fn maps_and_fd(pid: libc::pid_t, uid_map: &str, gid_map: &str) -> io::Result<OwnedFd> {
    let proc = CString::new(format!("/proc/{pid}"))?;
    let proc = path::openat(AT_FDCWD, &proc, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    for (name, content) in [(c"uid_map", uid_map), (c"gid_map", gid_map)] {
        let file = path::openat(proc.as_fd(), name, libc::O_WRONLY, 0)?;
        nix::unistd::write(&file, content.as_bytes())?;
    }
    path::openat(proc.as_fd(), c"ns/user", libc::O_RDONLY, 0)
}
