//! File operations that std and nix lack: text of procfs, extended attributes, reflinks.
//!
//! `base::fs::copy` copies trees; `path` resolves paths of a container.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::cvt;

/// Reads a file of procfs to its end. Names of processes and cgroups are bytes chosen by a container, so invalid UTF-8
/// is replaced.
///
/// # Errors
/// As read(2).
pub fn read_text(mut file: impl io::Read) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(1024);
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned()))
}

/// Makes `dst` share the content of `src` (both regular files of one file system) without copying it.
/// [ioctl_ficlone(2)](https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html)
///
/// # Errors
/// `EOPNOTSUPP`, `EINVAL` or `ENOTTY` where the file system has no reflinks, `EXDEV` between two of them.
pub fn ficlone(dst: BorrowedFd<'_>, src: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are borrowed for the call and the argument is a descriptor, no pointer.
    cvt(unsafe { libc::ioctl(dst.as_raw_fd(), libc::FICLONE, src.as_raw_fd()) }.into()).map(|_| ())
}

/// Clears the flags "immutable" and "append only" of a file or directory.
/// [ioctl_iflags(2)](https://man7.org/linux/man-pages/man2/FS_IOC_SETFLAGS.2const.html)
///
/// # Errors
/// `ENOTTY` where the file system has no flags, `EPERM` without CAP_LINUX_IMMUTABLE.
pub fn clear_immutable(file: BorrowedFd<'_>) -> io::Result<()> {
    const IMMUTABLE_OR_APPEND: libc::c_long = 0x10 | 0x20;
    let mut flags: libc::c_long = 0;
    // SAFETY: the kernel writes an int or a long to where a long is.
    cvt(unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) }.into())?;
    if flags & IMMUTABLE_OR_APPEND == 0 {
        return Ok(());
    }
    flags &= !IMMUTABLE_OR_APPEND;
    // SAFETY: the kernel reads an int or a long from a long that lives through the call.
    cvt(unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) }.into()).map(|_| ())
}

/// Returns the names of the extended attributes of the file at `path`; a symlink is not followed.
/// [listxattr(2)](https://man7.org/linux/man-pages/man2/listxattr.2.html)
///
/// # Errors
/// As listxattr(2); a file system without attributes gives an empty list.
pub fn list_xattr(path: &CStr) -> io::Result<Vec<CString>> {
    let names = sized(|buffer| {
        // SAFETY: the path is NUL-terminated, the pointer and length are those of one live slice.
        length(unsafe { libc::llistxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })
    });
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
    let names = sized(|buffer| {
        // SAFETY: the descriptor is borrowed for the call, the pointer and length are those of one live slice.
        length(unsafe { libc::flistxattr(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
    })?;
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
    let value = sized(|buffer| {
        // SAFETY: the name is NUL-terminated, the pointer and length are those of one live slice.
        length(unsafe { libc::fgetxattr(from.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })
    })?;
    // SAFETY: the name is NUL-terminated, the pointer and length are those of one live slice.
    let done = unsafe { libc::fsetxattr(to.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    cvt(done.into()).map(|_| ())
}

/// Returns the value of an extended attribute of the file at `path`; a symlink is not followed.
///
/// # Errors
/// As [getxattr(2)](https://man7.org/linux/man-pages/man2/getxattr.2.html).
pub fn get_xattr(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    sized(|buffer| {
        // SAFETY: path and name are NUL-terminated, the pointer and length are those of one live slice.
        length(unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })
    })
}

/// Sets an extended attribute of the file at `path`; a symlink is not followed.
///
/// # Errors
/// As [setxattr(2)](https://man7.org/linux/man-pages/man2/setxattr.2.html).
pub fn set_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: path and name are NUL-terminated, the pointer and length are those of one live slice.
    let done = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    cvt(done.into()).map(|_| ())
}

/// Removes an extended attribute of the file at `path`; a symlink is not followed.
///
/// # Errors
/// As [removexattr(2)](https://man7.org/linux/man-pages/man2/removexattr.2.html).
pub fn remove_xattr(path: &CStr, name: &CStr) -> io::Result<()> {
    // SAFETY: path and name are NUL-terminated.
    cvt(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }.into()).map(|_| ())
}

/// Fills a buffer by `call`, whose return value is the size; an empty buffer asks for it. Repeats the call after
/// ERANGE, when the value has grown.
fn sized(mut call: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; call(&mut [])?];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(err) if err.raw_os_error() == Some(libc::ERANGE) => {}
            Err(err) => return Err(err),
        }
    }
}

fn length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
