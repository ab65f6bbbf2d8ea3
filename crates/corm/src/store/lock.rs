//! The locks of a store, and the order in which they are taken.
//!
//! 1. `lock`, store-wide: *shared* by whoever adds (from before it looks whether a blob or layer is there, until a record
//!    names it) or uses; *exclusive* by whoever removes what no record names. A removal that finds a process adding leaves
//!    its garbage to the next one instead of waiting.
//! 2. `records.lock`: held for the moment in which a record or a name is read, checked and replaced.
//! 3. The lock of one thing in `tmp/` or `partial/`.
//!
//! All are flocks: they end with their process, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

use super::Store;
use base::fs::lock::lock;

/// A held lock; released when dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] Flock<File>);

impl Store {
    /// Keeps what is unreferenced from being removed: to be held while adding and while using.
    ///
    /// # Errors
    /// The store is read-only and has no lock file.
    pub fn shared(&self) -> Result<Lock> {
        take(&self.root, "lock", FlockArg::LockShared)
    }

    /// Waits until no process adds or uses: for removing what no record names.
    ///
    /// # Errors
    /// As [`Store::shared`].
    pub fn exclusive(&self) -> Result<Lock> {
        take(&self.root, "lock", FlockArg::LockExclusive)
    }

    /// As [`Store::exclusive`], but `None` instead of waiting.
    ///
    /// # Errors
    /// As [`Store::shared`].
    pub fn try_exclusive(&self) -> Result<Option<Lock>> {
        match take(&self.root, "lock", FlockArg::LockExclusiveNonblock) {
            Err(err) if is_busy(&err) => Ok(None),
            other => other.map(Some),
        }
    }

    /// For the moment of changing a record or a name.
    pub(super) fn records(&self) -> Result<Lock> {
        take(&self.root, "records.lock", FlockArg::LockExclusive)
    }
}

fn is_busy(err: &anyhow::Error) -> bool {
    err.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == io::ErrorKind::WouldBlock)
}

/// Takes a lock of the store at `root`; the file is created when it is missing.
pub(super) fn take(root: &Path, name: &str, how: FlockArg) -> Result<Lock> {
    let path = root.join(name);
    // read only: a flock needs no more, and a store on a read-only file system can still be read
    let file = match File::open(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)
        }
        other => other,
    };
    let file = file.with_context(|| format!("lock {path:?}"))?;
    Ok(Lock(lock(file, how).with_context(|| format!("lock {path:?}"))?))
}
