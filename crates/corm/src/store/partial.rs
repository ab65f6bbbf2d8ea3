//! Resumable downloads: `partial/HEX`, locked by the process that downloads.
//!
//! A second process that needs the same blob waits for the lock, then checks for the blob. The next download resumes
//! one that was killed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::blob::expect_digest;
use super::{Store, Unsynced};
use crate::model::digest::Digest;
use crate::model::digest::Hasher;
use base::fs::lock::{Locked, create_locked};

/// The downloaded start of a blob, perhaps empty.
pub struct Partial {
    digest: Digest,
    path: PathBuf,
    blob: PathBuf,
    file: Locked,
    hasher: Hasher,
    len: u64,
    unsynced: Arc<Unsynced>,
}

impl Store {
    /// Opens the download of a blob, after waiting for another process that downloads it. The caller then checks
    /// `has_blob`, because that process may have finished.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn partial(&self, digest: &Digest) -> Result<Partial> {
        let path = self.root.join("partial").join(digest.hex());
        let context = || format!("download {path:?}");
        // another process may have finished it, or a sweep removed it
        let file = create_locked(&path).with_context(context)?;
        let (hasher, len) = hash_present(&file).with_context(context)?;
        let (blob, unsynced) = (self.blob_path(digest), self.unsynced.clone());
        Ok(Partial { digest: digest.clone(), path, blob, file, hasher, len, unsynced })
    }
}

/// Hashes the existing bytes and seeks to the end.
fn hash_present(mut file: &File) -> io::Result<(Hasher, u64)> {
    let (mut hasher, mut len) = (Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher, len));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        len += read as u64;
    }
}

impl Partial {
    /// Returns the number of downloaded bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether no byte was downloaded.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Truncates the download, when the server cannot resume or the content was wrong.
    ///
    /// # Errors
    /// As ftruncate(2).
    pub fn restart(&mut self) -> Result<()> {
        let context = || format!("download {:?}", self.path);
        self.file.set_len(0).with_context(context)?;
        (&*self.file).seek(SeekFrom::Start(0)).with_context(context)?;
        (self.hasher, self.len) = (Hasher::new(), 0);
        Ok(())
    }

    /// Publishes the download as a blob. Wrong content is removed, because resuming it could never succeed.
    ///
    /// # Errors
    /// Another digest or size than expected.
    pub fn commit(self, expected: Option<u64>) -> Result<(Digest, u64)> {
        let digest = self.hasher.finish();
        if let Err(err) = expect_digest(&self.digest, expected.unwrap_or(self.len), &digest, self.len) {
            let _ = std::fs::remove_file(&self.path);
            return Err(err);
        }
        // a name in `blobs/` is a promise that the content is there, also after a power cut
        self.file.sync_data().with_context(|| format!("sync blob {digest}"))?;
        self.unsynced.note();
        std::fs::rename(&self.path, &self.blob).with_context(|| format!("blob {digest}"))?;
        Ok((digest, self.len))
    }

    /// Removes the download, when the blob was stored otherwise.
    pub fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
