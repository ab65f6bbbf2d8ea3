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

/// Inode number of the initial user namespace, the same on every machine (`PROC_USER_INIT_INO` of the kernel).
const INITIAL_INODE: u64 = 0xEFFF_FFFD;

/// Returns whether this process is in the initial user namespace. Without procfs it is assumed.
///
/// Not by the ID mappings, because a nested namespace may map every ID to itself.
pub fn is_initial() -> bool {
    nix::sys::stat::stat("/proc/self/ns/user").map_or(true, |stat| stat.st_ino == INITIAL_INODE)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_nested_namespace_that_maps_every_id_to_itself_is_not_the_initial_one() {
        if !crate::testing::root_or_skip() {
            return;
        }
        let all = "0 0 4294967295";
        let nested = with_maps(all, all).unwrap();
        crate::testing::forked(|| {
            let before = is_initial();
            crate::process::setns(nested.as_fd(), libc::CLONE_NEWUSER).unwrap();
            let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
            assert!(map.split_ascii_whitespace().eq(["0", "0", "4294967295"]), "{map}");
            assert!(before && !is_initial());
        });
    }
}
