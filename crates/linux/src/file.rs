//! File operations that std and nix lack: text of procfs, locks, extended attributes, reflinks.
//!
//! `base::fs::copy` copies trees; `path` resolves paths of a container.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use rustix::fs::{FlockOperation, IFlags, XattrFlags};

/// Reads a file of procfs to its end. Names of processes and cgroups are bytes chosen by a container, so invalid UTF-8
/// is replaced.
///
/// # Errors
/// As read(2).
pub fn read_text(file: impl io::Read) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(4096);
    // by `take`, because a File asks for its size and place first, and such files have none
    io::Read::take(file, u64::MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned()))
}

/// Opens and reads a file as [`read_record`] does.
///
/// # Errors
/// As open(2) and read(2).
pub fn read_whole(path: &str) -> io::Result<String> {
    read_record(&crate::open::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Opens and reads such a file as far as it fits into the buffer; returns what was read.
///
/// # Errors
/// As open(2) and read(2).
pub fn read_into<'b>(path: &CStr, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let file = crate::open::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let count = crate::open::repeat(|| nix::unistd::read(&file, buffer))?;
    Ok(buffer.get(..count).unwrap_or_default())
}

/// Reads a file that the kernel writes as one record, as `stat`, `status` and `cgroup` of a process and most files of a
/// cgroup: a read(2) that leaves room is the end of it, and none follows that finds so. Files of several records (`mountinfo`)
/// may lack their end.
///
/// # Errors
/// As read(2).
pub fn read_record(file: &OwnedFd) -> io::Result<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0_u8; 4096]);
    loop {
        let count = crate::open::repeat(|| nix::unistd::read(file, &mut buffer))?;
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if count < buffer.len() {
            return Ok(
                String::from_utf8(bytes).unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned())
            );
        }
    }
}

/// Reads at an offset and leaves that of the file, and restarts when a signal interrupts the call.
///
/// # Errors
/// As pread(2), without `EINTR`.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Takes an exclusive flock(2) on an open file, and restarts when a signal interrupts the call; returns false when another
/// process holds it.
///
/// # Errors
/// `ENOLCK`: the kernel has no memory for the lock.
pub fn try_lock_exclusive(file: BorrowedFd<'_>) -> io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            other => return Ok(other.map(|()| true)?),
        }
    }
}

/// Releases a flock(2).
///
/// # Errors
/// As flock(2).
pub fn unlock(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::Unlock)?)
}

/// Makes `dst` share the content of `src` (both regular files of one file system) without copying it.
/// [ioctl_ficlone(2)](https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html)
///
/// # Errors
/// `EOPNOTSUPP`, `EINVAL` or `ENOTTY` where the file system has no reflinks, `EXDEV` between two of them.
pub fn ficlone(dst: BorrowedFd<'_>, src: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(dst, src)?)
}

/// Clears the flags "immutable" and "append only" of a file or directory.
/// [ioctl_iflags(2)](https://man7.org/linux/man-pages/man2/FS_IOC_SETFLAGS.2const.html)
///
/// # Errors
/// `ENOTTY` where the file system has no flags, `EPERM` without CAP_LINUX_IMMUTABLE.
pub fn clear_immutable(file: BorrowedFd<'_>) -> io::Result<()> {
    let held = rustix::fs::ioctl_getflags(file)?;
    let kept = held - (IFlags::IMMUTABLE | IFlags::APPEND);
    if kept != held {
        rustix::fs::ioctl_setflags(file, kept)?;
    }
    Ok(())
}

/// Writes everything that the file system of an open file has in memory to its device.
/// [syncfs(2)](https://man7.org/linux/man-pages/man2/syncfs.2.html)
///
/// # Errors
/// The device failed, now or since the last call (Linux 5.8 and later).
pub fn sync_file_system(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Returns the names of the extended attributes of the file at `path`; a symlink is not followed.
/// [listxattr(2)](https://man7.org/linux/man-pages/man2/listxattr.2.html)
///
/// # Errors
/// As listxattr(2); a file system without attributes gives an empty list.
pub fn list_xattr(path: &CStr) -> io::Result<Vec<CString>> {
    let names = sized(|| rustix::fs::llistxattr_query(path), |buffer| rustix::fs::llistxattr(path, buffer));
    match names {
        Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        other => Ok(split(&other?)),
    }
}

/// Returns the names of the extended attributes of an open file.
/// [flistxattr(2)](https://man7.org/linux/man-pages/man2/listxattr.2.html)
///
/// # Errors
/// `EOPNOTSUPP` where the file system does not support them.
pub fn list_xattr_of(file: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let names = sized(|| rustix::fs::flistxattr_query(file), |buffer| rustix::fs::flistxattr(file, buffer))?;
    Ok(split(&names))
}

/// Splits a list of names, each terminated by NUL.
fn split(names: &[u8]) -> Vec<CString> {
    names.split_inclusive(|&byte| byte == 0).filter_map(|name| CString::from_vec_with_nul(name.to_vec()).ok()).collect()
}

/// Copies one extended attribute from an open file to another.
///
/// # Errors
/// As fgetxattr(2) and fsetxattr(2).
pub fn copy_xattr(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let value = sized(|| rustix::fs::fgetxattr_query(from, name), |buffer| rustix::fs::fgetxattr(from, name, buffer))?;
    Ok(rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?)
}

/// Returns the value of an extended attribute of the file at `path`; a symlink is not followed.
///
/// # Errors
/// As [getxattr(2)](https://man7.org/linux/man-pages/man2/getxattr.2.html).
pub fn get_xattr(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    sized(|| rustix::fs::lgetxattr_query(path, name), |buffer| rustix::fs::lgetxattr(path, name, buffer))
}

/// Sets an extended attribute of the file at `path`; a symlink is not followed.
///
/// # Errors
/// As [setxattr(2)](https://man7.org/linux/man-pages/man2/setxattr.2.html).
pub fn set_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?)
}

/// Removes an extended attribute of the file at `path`; a symlink is not followed.
///
/// # Errors
/// As [removexattr(2)](https://man7.org/linux/man-pages/man2/removexattr.2.html).
pub fn remove_xattr(path: &CStr, name: &CStr) -> io::Result<()> {
    Ok(rustix::fs::lremovexattr(path, name)?)
}

/// Reads the size, then the value into a buffer of that size. Tries again if the value has grown (ERANGE).
fn sized(
    query: impl Fn() -> rustix::io::Result<usize>,
    fill: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; query()?];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        match fill(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(rustix::io::Errno::RANGE) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_record_is_read_to_its_end_however_long_it_is() {
        let top = TempDir::new();
        for length in [0, 1, 4095, 4096, 4097, 10_000] {
            top.write("file", &vec![b'x'; length]);
            let file = OwnedFd::from(File::open(top.path().join("file")).unwrap());
            assert_eq!(read_record(&file).unwrap(), "x".repeat(length), "{length}");
        }
        assert!(read_whole("/proc/self/stat").unwrap().starts_with(&std::process::id().to_string()));
    }
}
