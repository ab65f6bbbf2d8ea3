//! open(2), openat(2) and openat2(2) that are repeated when a signal interrupts them: on a network file system, FUSE or a
//! fifo a signal that has nothing to do with the file would else fail whatever a verb is doing.

use std::fs::ReadDir;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow};
use nix::sys::stat::Mode;
use nix::{NixPath, Result};

/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), by openat(2), because musl's open(2) calls fcntl(2) as well.
///
/// # Errors
/// As open(2), without `EINTR`.
pub fn open<P: ?Sized + NixPath>(path: &P, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
    repeat(|| nix::fcntl::openat(nix::fcntl::AT_FDCWD, path, flags, mode))
}

/// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
///
/// # Errors
/// As openat(2), without `EINTR`.
pub fn openat<D: AsFd, P: ?Sized + NixPath>(dir: D, path: &P, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
    repeat(|| nix::fcntl::openat(dir.as_fd(), path, flags, mode))
}

/// [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html).
///
/// # Errors
/// As openat2(2), without `EINTR`.
pub fn openat2<D: AsFd, P: ?Sized + NixPath>(dir: D, path: &P, how: OpenHow) -> Result<OwnedFd> {
    repeat(|| nix::fcntl::openat2(dir.as_fd(), path, how))
}

/// As [`std::fs::read_dir`], which passes on that a signal interrupted it.
///
/// # Errors
/// As open(2), without `EINTR`.
pub fn read_dir(dir: impl AsRef<Path>) -> io::Result<ReadDir> {
    loop {
        match std::fs::read_dir(dir.as_ref()) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Makes a call until no signal interrupts it.
pub(crate) fn repeat<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
