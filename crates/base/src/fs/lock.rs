//! Lock files: of downloads and layers that one process creates while others wait.
//!
//! All locks are flocks: the kernel releases them when their process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The kind of a lock, and whether to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// No other process has the lock.
    Exclusive,
    /// As [`How::Exclusive`], without waiting.
    TryExclusive,
    /// Others may share it.
    Shared,
}

/// An open file with its lock, which is released when this is dropped, also where a fork has a copy of the descriptor.
#[derive(Debug)]
#[must_use]
pub struct Locked(File);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // an error is ignored: the descriptor is closed next, which releases the lock too
        let _ = linux::file::unlock(self.0.as_fd());
    }
}

/// Takes a flock on an open file; restarts when a signal interrupts the wait.
///
/// # Errors
/// `EWOULDBLOCK` when `how` does not wait and another process has the lock.
pub fn lock(file: File, how: How) -> io::Result<Locked> {
    loop {
        let taken = match how {
            How::Exclusive => file.lock(),
            How::Shared => file.lock_shared(),
            How::TryExclusive => file.try_lock().map_err(io::Error::from),
        };
        match taken {
            Ok(()) => return Ok(Locked(file)),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(linux::named("flock", err)),
        }
    }
}

/// Opens or creates the file at `path` for reading and writing and waits for its lock. The returned file is still the
/// one at `path`: the previous holder of the lock may have renamed or removed its file.
///
/// # Errors
/// No space, read-only, a symlink at `path`.
pub fn create_locked(path: &Path) -> io::Result<Locked> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).mode(0o600);
    loop {
        let file = lock(options.open(path)?, How::Exclusive)?;
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

/// Returns whether the open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match path.symlink_metadata() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        there => Ok(identity(file.metadata()?) == identity(there?)),
    }
}
