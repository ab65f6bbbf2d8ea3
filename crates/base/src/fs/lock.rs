//! Files that are locked by their name: downloads and layers that one process makes while others wait.
//!
//! All locks are flocks: they end with their process, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Takes a flock on an open file, again when a signal interrupts the wait.
///
/// # Errors
/// `EWOULDBLOCK` when `how` does not wait and another process has the lock.
pub fn lock(mut file: File, how: FlockArg) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EINTR)) => file = back,
            Err((_, err)) => return Err(err.into()),
        }
    }
}

/// Opens the file at `path` to read and write, creates it where none is, and waits for its lock. The file is the one at
/// `path` then: the process that had the lock may have renamed or removed it.
///
/// # Errors
/// No space, read-only, a symlink at `path`.
pub fn create_locked(path: &Path) -> io::Result<Flock<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).mode(0o600);
    loop {
        let file = lock(options.open(path)?, FlockArg::LockExclusive)?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

/// Whether the open file is what is at `path` now.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}
