//! The host's procfs by one descriptor, for the ways of kernels that lack a call by descriptor: `/proc/self/fd` links,
//! `/proc/PID`, and mount IDs.
//!
//! It is opened before the process leaves the host's mounts, and only where a fallback is chosen.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use rustix::fs::{AtFlags, StatxFlags};

use crate::open::openat;

/// Inode of the root directory of a procfs.
const ROOT_INODE: u64 = 1;

static DIR: OnceLock<OwnedFd> = OnceLock::new();

/// Returns the root of the procfs at `/proc`, which is opened and checked at the first call.
///
/// # Errors
/// `/proc` is no procfs, or no root of one.
pub fn dir() -> io::Result<BorrowedFd<'static>> {
    if let Some(dir) = DIR.get() {
        return Ok(dir.as_fd());
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = openat(AT_FDCWD, c"/proc", flags, Mode::empty())?;
    if fstatfs(&dir)?.filesystem_type() != PROC_SUPER_MAGIC || fstat(&dir)?.st_ino != ROOT_INODE {
        return Err(io::Error::other("/proc is not a procfs, which this kernel's way needs"));
    }
    Ok(DIR.get_or_init(|| dir).as_fd())
}

/// Returns whether the procfs was opened and its descriptor is still that of a procfs.
pub(crate) fn is_open() -> bool {
    DIR.get().is_some_and(|dir| fstatfs(dir).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC))
}

/// Returns the link of a descriptor, relative to [`dir`].
///
/// # Errors
/// None in practice.
pub(crate) fn link(fd: BorrowedFd<'_>) -> io::Result<CString> {
    Ok(CString::new(format!("self/fd/{}", fd.as_raw_fd()))?)
}

/// Runs `act` with the working directory `dir`.
///
/// # Errors
/// As fchdir(2), or the error of `act`.
pub(crate) fn in_directory<T>(dir: BorrowedFd<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let before = openat(AT_FDCWD, c".", flags, Mode::empty())?;
    nix::unistd::fchdir(dir)?;
    let done = act();
    nix::unistd::fchdir(before)?;
    done
}

/// Reads a file of the procfs.
///
/// # Errors
/// As open(2) and read(2).
pub(crate) fn read(name: &str) -> io::Result<Vec<u8>> {
    read_at(dir()?, name)
}

/// Reads a file below a directory of a procfs.
///
/// # Errors
/// As open(2) and read(2).
pub(crate) fn read_at(dir: BorrowedFd<'_>, name: &str) -> io::Result<Vec<u8>> {
    let file = openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes)?;
    Ok(bytes)
}

/// Returns a number of the descriptor's file in `/proc/self/fdinfo`: its mount ID, or the pid of a pidfd.
///
/// # Errors
/// As open(2); the file has no such line.
pub(crate) fn descriptor_info(fd: BorrowedFd<'_>, key: &str) -> io::Result<i64> {
    let bytes = read(&format!("self/fdinfo/{}", fd.as_raw_fd()))?;
    let text = String::from_utf8_lossy(&bytes);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok());
    value.ok_or_else(|| io::Error::other(format!("/proc/self/fdinfo has no {key}")))
}

/// Returns the mount ID, as in mountinfo, of an open file; before Linux 5.8 from procfs.
///
/// # Errors
/// As statx(2) and open(2).
pub(crate) fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok(stat.stx_mnt_id);
    }
    old_mount_id(fd)
}

fn old_mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    descriptor_info(fd, "mnt_id").map(i64::unsigned_abs)
}

/// Parses a line of a mount table: ID, ID of the parent and mount point.
pub(crate) fn entry(line: &[u8]) -> Option<(u64, u64, Vec<u8>)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    Some((id, parent, unescape(fields.nth(2)?)))
}

/// Decodes the octal escapes of a mount table: those of blanks, tabs, newlines, backslashes and number signs.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let octal = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    path
}

/// Returns whether `fd` is the root of its mount, for kernels whose statx(2) does not tell (before 5.8): its path is the
/// mount's.
pub(crate) fn is_mount_root(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let own = mount_id(fd)?;
    let path = nix::fcntl::readlinkat(dir()?, link(fd)?.as_c_str())?;
    let table = read("self/mountinfo")?;
    let mut entries = table.split(|byte| *byte == b'\n').filter_map(entry);
    Ok(entries.any(|(id, _, place)| id == own && place == path.as_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;

    #[test]
    fn the_mount_table_tells_what_statx_tells() {
        for (path, root) in [("/proc", true), ("/proc/self", false), ("/proc/sys", false), ("/", true), ("/etc", false)]
        {
            let file = File::open(path).unwrap();
            assert_eq!(is_mount_root(file.as_fd()).unwrap(), root, "{path}");
            assert_eq!(old_mount_id(file.as_fd()).unwrap(), mount_id(file.as_fd()).unwrap(), "{path}");
        }
    }

    #[test]
    fn a_mount_point_may_have_any_name() {
        let line = b"36 35 98:0 / /a\\040b\\134 rw - tmpfs x rw";
        assert_eq!(entry(line), Some((36, 35, b"/a b\\".to_vec())));
    }
}
