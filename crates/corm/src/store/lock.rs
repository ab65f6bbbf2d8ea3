//! The locks of a store, and their order.
//!
//! 1. `lock`, store-wide: *shared* by a process that adds (from before it checks for a blob or layer, until a record
//!    names it) or uses; *exclusive* by one that removes what no record names. A removal during an addition leaves
//!    its garbage to the next removal instead of waiting.
//! 2. `records.lock`: held while a record or a name is read, checked and replaced.
//! 3. The lock of one entry in `tmp/` or `partial/`.
//!
//! All are flocks: the kernel releases them when their process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Store;
use base::fs::lock::{How, Locked, lock};

/// A held lock; released when dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] Locked);

impl Store {
    /// Takes the shared lock, which keeps unreferenced data: the caller holds it while adding and using.
    ///
    /// # Errors
    /// The store is read-only and has no lock file.
    pub fn shared(&self) -> Result<Lock> {
        take(&self.root, "lock", How::Shared)
    }

    /// Takes the exclusive lock, for removals; waits until no process adds or uses.
    ///
    /// # Errors
    /// As [`Store::shared`].
    pub fn exclusive(&self) -> Result<Lock> {
        take(&self.root, "lock", How::Exclusive)
    }

    /// Takes the exclusive lock, or returns `None` instead of waiting.
    ///
    /// # Errors
    /// As [`Store::shared`].
    pub fn try_exclusive(&self) -> Result<Option<Lock>> {
        match take(&self.root, "lock", How::TryExclusive) {
            Err(err) if is_busy(&err) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Takes the lock for changes of records and names.
    pub(super) fn records(&self) -> Result<Lock> {
        take(&self.root, "records.lock", How::Exclusive)
    }
}

fn is_busy(err: &anyhow::Error) -> bool {
    err.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == io::ErrorKind::WouldBlock)
}

/// Takes a lock of the store at `root`; creates its file when it is missing.
pub(super) fn take(root: &Path, name: &str, how: How) -> Result<Lock> {
    let path = root.join(name);
    // opened read-only, because flock(2) needs no more, and stores on a read-only file system are readable
    let file = match File::open(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)
        }
        other => other,
    };
    let file = file.with_context(|| format!("lock {path:?}"))?;
    Ok(Lock(lock(file, how).with_context(|| format!("lock {path:?}"))?))
}
