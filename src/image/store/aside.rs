//! Things in the making: in `tmp/`, locked by their maker, renamed to where they belong when they are whole.
//!
//! The lock (a flock on the thing itself) tells a live one from what a killed process left: the sweeper takes away only
//! what it can lock. A maker that lost its new entry to a sweeper, between making and locking it, makes another.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use super::new_id;
use crate::image::driver::remove::remove_tree;

/// A file or directory below `tmp/`. Dropped before it was published, it is removed.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    lock: Flock<File>,
    published: bool,
}

impl Aside {
    /// A new directory, for its owner only.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn dir(tmp: &Path) -> Result<Self> {
        Self::make(tmp, |path| DirBuilder::new().mode(0o700).create(path).and_then(|()| File::open(path)))
    }

    /// A new file, to be read and written through [`Aside::file_ref`].
    ///
    /// # Errors
    /// No space, read-only.
    pub fn file(tmp: &Path) -> Result<Self> {
        Self::make(tmp, |path| OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path))
    }

    fn make(tmp: &Path, make: impl Fn(&Path) -> io::Result<File>) -> Result<Self> {
        loop {
            let path = tmp.join(new_id()?);
            let file = make(&path).with_context(|| format!("make {path:?}"))?;
            let lock = lock(file, FlockArg::LockExclusive).with_context(|| format!("lock {path:?}"))?;
            if is_at(&lock, &path) {
                return Ok(Self { path, lock, published: false });
            }
        }
    }

    /// Where it is while it is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub fn file_ref(&self) -> &File {
        &self.lock
    }

    /// Renames it to `to`, where nothing may be yet: `false`, and it is removed, when there is something.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn publish_new(mut self, to: &Path) -> Result<bool> {
        match renameat2(AT_FDCWD, &self.path, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {
                self.published = true;
                Ok(true)
            }
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(false),
            Err(err) => Err(err).with_context(|| format!("rename to {to:?}")),
        }
    }

    /// Renames the file to `to`, in place of the one that may be there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn replace(mut self, to: &Path) -> Result<()> {
        std::fs::rename(&self.path, to).with_context(|| format!("rename to {to:?}"))?;
        self.published = true;
        Ok(())
    }

    /// Takes away `from` at once by moving it here, where it is removed when the value is dropped; `false` when it is
    /// not there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take(&self, from: &Path) -> Result<bool> {
        match std::fs::rename(from, self.path.join("taken")) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(err).with_context(|| format!("take away {from:?}")),
        }
    }

    /// Removes it now, and tells what went wrong.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(mut self) -> Result<()> {
        self.published = true;
        remove_tree(&self.path)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.published {
            // nobody is left to tell; the sweeper comes by again
            let _ = remove_tree(&self.path);
        }
    }
}

/// Writes `bytes` to the file `to` so that a reader, also after a power cut, finds the old or the new content.
///
/// # Errors
/// No space, read-only; the old content is still there.
pub fn write_atomically(tmp: &Path, to: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(tmp, to, bytes)?;
    sync_dir(to.parent().unwrap_or(to))
}

/// The same, but a power cut soon after may take it back.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_whole(tmp: &Path, to: &Path, bytes: &[u8]) -> Result<()> {
    let aside = Aside::file(tmp)?;
    let told = || format!("write {to:?}");
    aside.file_ref().write_all(bytes).with_context(told)?;
    aside.file_ref().sync_all().with_context(told)?;
    aside.replace(to)
}

/// Makes the names in a directory outlast a power cut.
///
/// # Errors
/// The device failed.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("sync {dir:?}"))
}

/// Removes from `tmp` what no live process holds; how many entries that were.
///
/// # Errors
/// The directory cannot be read, or something in it not be removed.
pub fn sweep(tmp: &Path) -> Result<usize> {
    let mut swept = 0;
    for entry in std::fs::read_dir(tmp).with_context(|| format!("read {tmp:?}"))? {
        let path = entry.with_context(|| format!("read {tmp:?}"))?.path();
        // what is neither file nor directory was not made by a store; it cannot be opened and goes too
        let regular = path.symlink_metadata().is_ok_and(|meta| meta.is_file() || meta.is_dir());
        let lock = match regular.then(|| File::open(&path)) {
            Some(Ok(file)) => match lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => Some(lock),
                Err(_) => continue,
            },
            Some(Err(err)) if err.kind() == io::ErrorKind::NotFound => continue,
            _ => None,
        };
        remove_tree(&path)?;
        drop(lock);
        swept += 1;
    }
    Ok(swept)
}

/// A flock on an open file, taken again when a signal interrupts the wait.
pub(super) fn lock(mut file: File, how: FlockArg) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EINTR)) => file = back,
            Err((_, err)) => return Err(err.into()),
        }
    }
}

/// Whether the open file is what is at `path` now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}
