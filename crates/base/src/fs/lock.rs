//! Lock files: of downloads and layers that one process creates while others wait.
//!
//! All locks are flocks: the kernel releases them when their process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Takes a flock on an open file; restarts when a signal interrupts the wait.
///
/// # Errors
/// `EWOULDBLOCK` when `how` does not wait and another process has the lock.
pub fn lock(mut file: File, how: FlockArg) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EINTR)) => file = back,
            Err((_, err)) => return Err(linux::named("flock", err.into())),
        }
    }
}

/// Opens or creates the file at `path` for reading and writing and waits for its lock. The returned file is still the
/// one at `path`: the previous holder of the lock may have renamed or removed its file.
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

/// Returns whether the open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}
