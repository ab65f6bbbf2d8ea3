//! Small reads and writes of cgroup files, and walks over cgroup directories.

use base::error::{Code, Coding as _, HasErrno};
use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use linux::open::open;
use linux::path as sys_path;

/// Longest wait for killed processes, because one that frees gigabytes takes long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// Writes `value` with one write(2), as cgroup files require.
pub(super) fn try_write(path: &str, value: &str) -> io::Result<()> {
    fs::File::from(open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?).write_all(value.as_bytes())
}

/// Writes `value` with one write(2); the error names the path and the value.
pub(super) fn write(path: &str, value: &str) -> Result<()> {
    try_write(path, value).with_context(|| write_context(path, value))
}

pub(super) fn write_context(path: &str, value: &str) -> String {
    format!("write {value:?} to {path}")
}

/// Reads a small file, without the fstat(2) of `fs::read_to_string`, because cgroup files report a size of 0.
pub(super) fn try_read(path: &str) -> io::Result<String> {
    read_file(&mut open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into())
}

fn read_file(file: &mut fs::File) -> io::Result<String> {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let count = match file.read(&mut buffer) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        // a short read is the end of the file; longer files are returned in reads of nearly a page, by whole lines
        if count == 0 || count < buffer.len() / 2 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

pub(super) fn read(path: &str) -> Result<String> {
    try_read(path).with_context(|| format!("read {path}"))
}

/// Returns the number of `key` in a file of `KEY VALUE` lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// Visits the cgroup at `path` and all below. Calls `enter` with the directory of each cgroup, parents first, and
/// `leave` with the parent's directory and the name of each cgroup below `path`, children first.
///
/// Keeps one open directory and no path, because the container may nest cgroups to any depth and name them with any
/// bytes. Cgroups that are removed meanwhile are skipped.
///
/// # Errors
/// Errors of both functions and of openat(2).
pub(super) fn walk(
    path: &str,
    enter: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<()>,
    leave: &mut dyn FnMut(BorrowedFd<'_>, &CStr) -> io::Result<()>,
) -> io::Result<()> {
    let mut dir: OwnedFd = match fs::File::open(path) {
        Err(err) if is_gone(&err) => return Ok(()),
        dir => dir?.into(),
    };
    enter(dir.as_fd())?;
    // the name of each cgroup on the current path, and the children that are still to be visited
    let mut stack = vec![(CString::default(), subdirectories(dir.as_fd())?)];
    while let Some((_, children)) = stack.last_mut() {
        if let Some(name) = children.pop() {
            let below = match sys_path::openat(dir.as_fd(), &name, DIRECTORY, 0) {
                Err(err) if is_gone(&err) => continue,
                below => below?,
            };
            enter(below.as_fd())?;
            let names = subdirectories(below.as_fd())?;
            dir = below;
            stack.push((name, names));
        } else if let Some((name, _)) = stack.pop()
            && !stack.is_empty()
        {
            dir = sys_path::openat(dir.as_fd(), c"..", DIRECTORY, 0)?;
            leave(dir.as_fd(), &name)?;
        }
    }
    Ok(())
}

const DIRECTORY: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;

/// Lists the names of the cgroups directly below; empty if the cgroup does not exist any more.
fn subdirectories(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = match sys_path::read_dir_names(dir) {
        Err(err) if is_gone(&err) => return Ok(Vec::new()),
        names => names?,
    };
    // the files of a cgroup are regular files
    names.retain(|name| sys_path::stat_at(dir, name, false).is_ok_and(|stat| stat.is_dir()));
    Ok(names)
}

/// Lists the processes in a cgroup and in all below it, each once, sorted.
pub(super) fn processes(path: &str) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    walk(path, &mut |dir| collect(dir, &mut pids), &mut |_, _| Ok(()))?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Returns whether a cgroup has children or processes of its own; one that does not exist has none.
pub(super) fn is_in_use(path: &str) -> io::Result<bool> {
    let dir: OwnedFd = match fs::File::open(path) {
        Err(err) if is_gone(&err) => return Ok(false),
        dir => dir?.into(),
    };
    let mut pids = Vec::new();
    collect(dir.as_fd(), &mut pids)?;
    Ok(!pids.is_empty() || !subdirectories(dir.as_fd())?.is_empty())
}

fn collect(dir: BorrowedFd<'_>, pids: &mut Vec<i32>) -> io::Result<()> {
    let list = sys_path::openat(dir, c"cgroup.procs", libc::O_RDONLY, 0);
    match list.and_then(|file| read_file(&mut file.into())) {
        // pid 0 is a process of another pid namespace, which cannot be signalled from here
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0)),
        Err(err) if is_gone(&err) => return Ok(()),
        // a threaded cgroup, whose processes are listed at the top of the threaded subtree: perhaps above the container
        Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => pids.extend(processes_of_threads(dir)?),
        Err(err) => return Err(err),
    }
    Ok(())
}

/// Lists the processes of the threads in a threaded cgroup.
fn processes_of_threads(dir: BorrowedFd<'_>) -> io::Result<Vec<i32>> {
    let text = match sys_path::openat(dir, c"cgroup.threads", libc::O_RDONLY, 0)
        .and_then(|file| read_file(&mut file.into()))
    {
        Err(err) if is_gone(&err) => return Ok(Vec::new()),
        text => text?,
    };
    let process_of = |thread: &str| {
        let status = try_read(&format!("/proc/{thread}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse::<i32>().ok())
    };
    Ok(text.lines().filter_map(process_of).filter(|pid| *pid > 0).collect())
}

/// Reports whether an error is that of a removed cgroup: ENOENT for its path, ENODEV for a file that is still open.
pub(super) fn is_gone(err: &impl HasErrno) -> bool {
    err.is_errno(&[libc::ENOENT, libc::ENODEV])
}

/// Removes one directory; `false` when the kernel says that it is busy.
pub(super) fn remove_dir(path: &str) -> Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(err) if is_gone(&err) => Ok(true),
        Err(err) if err.is_errno(&[libc::EBUSY, libc::ENOTEMPTY]) => Ok(false),
        Err(err) => Err(err).with_code(Code::CgroupFailed, || format!("remove cgroup {path}")),
    }
}
