//! The mount namespace of the kernel's own thread kdevtmpfs: one mount, whatever the host has.
//!
//! A new mount namespace copies every mount of the caller's, and its end removes them: 1 ms and more for each 1000. Init
//! therefore enters the thread's namespace, which exists from the boot on and in which no process of the host works,
//! before it unshares its own. Nothing has to be kept, and a container never sees it: the change of root leaves it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use linux::file;

/// Number of mounts that cost less to copy than the search for the namespace.
const FEW: usize = 128;
/// Extended attribute of the state root with the thread's pid, because a search reads a file for each CPU and more.
const PID: &CStr = c"trusted.croci.kdevtmpfs";
/// Pid of the thread that is the parent of all others of the kernel.
const KTHREADD: i32 = 2;
/// Flag of a kernel thread in `/proc/PID/stat` (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Opens the namespace if this process's has many mounts. `None` where there is none, or this process may not see it: in
/// a pid namespace, without privilege, or before Linux 6.8, which does not count mounts. `state_root` keeps the pid.
pub(crate) fn find(proc_dir: BorrowedFd<'_>, state_root: &Path) -> Option<OwnedFd> {
    if !linux::mount::more_than(FEW).unwrap_or(false) {
        return None;
    }
    let state_root = CString::new(state_root.as_os_str().as_bytes()).ok()?;
    let known = file::get_xattr(&state_root, PID).ok();
    let known = known.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
    let pid = match known.filter(|pid| is_kdevtmpfs(proc_dir, *pid)) {
        Some(pid) => pid,
        None => {
            let pid = search(proc_dir)?;
            // without the attribute the next container searches again
            let _ = file::set_xattr(&state_root, PID, pid.to_string().as_bytes());
            pid
        }
    };
    open(proc_dir, &format!("{pid}/ns/mnt")).ok()
}

/// Reads a file of procfs.
fn read(proc_dir: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    file::read_text(std::fs::File::from(open(proc_dir, name)?))
}

fn open(proc_dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(proc_dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Looks at each kernel thread, in the order of creation. The list is empty in another pid namespace than the first.
fn search(proc_dir: BorrowedFd<'_>) -> Option<i32> {
    let list = read(proc_dir, &format!("{KTHREADD}/task/{KTHREADD}/children")).ok()?;
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| is_kdevtmpfs(proc_dir, *pid))
}

fn is_kdevtmpfs(proc_dir: BorrowedFd<'_>, pid: i32) -> bool {
    read(proc_dir, &format!("{pid}/stat")).is_ok_and(|stat| is_kdevtmpfs_stat(pid, &stat))
}

/// Returns whether a line of `/proc/PID/stat` is the thread's. A process can have its name, but neither its parent nor its
/// flag.
fn is_kdevtmpfs_stat(pid: i32, stat: &str) -> bool {
    let Some(rest) = stat.strip_prefix(&format!("{pid} (kdevtmpfs) ")) else { return false };
    let field = |index: usize| rest.split(' ').nth(index)?.parse::<u64>().ok();
    field(1) == Some(2) && field(6).is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn only_the_kernels_thread_is_taken() {
        for (stat, wanted) in [
            ("25 (kdevtmpfs) S 2 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 18 0", true),
            // a process with that name: another parent, no flag
            ("25 (kdevtmpfs) S 1 0 0 0 -1 2129984 0 0", false),
            ("25 (kdevtmpfs) S 2 0 0 0 -1 4194560 0 0", false),
            ("26 (kworker/0:1) S 2 0 0 0 -1 2129984 0 0", false),
            // a name that looks like the fields of another
            ("25 (x) (kdevtmpfs) S 2 0 0 0 -1 2129984 0 0", false),
            ("25 (kdevtmpfs) S 2", false),
            ("", false),
        ] {
            assert_eq!(is_kdevtmpfs_stat(25, stat), wanted, "{stat}");
        }
    }

    #[test]
    fn the_threads_namespace_is_another_than_this_processs() {
        let proc_dir: OwnedFd = std::fs::File::open("/proc").unwrap().into();
        let Some(pid) = search(proc_dir.as_fd()) else {
            return linux::testing::report_skip("no kdevtmpfs in this pid namespace");
        };
        let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
        assert_ne!(std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap(), own);
    }
}
