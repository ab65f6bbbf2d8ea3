//! Downloads that can be taken up again: `partial/HEX`, locked by who downloads.
//!
//! A second process that wants the same blob waits for the first; when it gets the lock it looks whether the blob is
//! there by now. What a killed download left is continued by the next one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use nix::fcntl::Flock;

use super::Store;
use super::blob::check;
use crate::model::digest::Digest;
use crate::model::digest::Hasher;
use base::fs::lock::create_locked;

/// A blob of which the beginning is there, perhaps nothing yet.
pub struct Partial {
    digest: Digest,
    path: PathBuf,
    blob: PathBuf,
    file: Flock<File>,
    hasher: Hasher,
    len: u64,
}

impl Store {
    /// Takes up the download of a blob, after whoever is at it. Look with `has_blob` afterwards: it may be there.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn partial(&self, digest: &Digest) -> Result<Partial> {
        let path = self.root.join("partial").join(digest.hex());
        let context = || format!("download {path:?}");
        // the process before us may have finished it, or a sweep removed it
        let file = create_locked(&path).with_context(context)?;
        let (hasher, len) = hash_present(&file).with_context(context)?;
        Ok(Partial { digest: digest.clone(), path, blob: self.blob_path(digest), file, hasher, len })
    }
}

/// Hashes what is there already, and stands at its end.
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
    /// Bytes that are there.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is there yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins anew, when the server cannot continue or what is there was wrong.
    ///
    /// # Errors
    /// The file system's.
    pub fn restart(&mut self) -> Result<()> {
        let context = || format!("download {:?}", self.path);
        self.file.set_len(0).with_context(context)?;
        (&*self.file).seek(SeekFrom::Start(0)).with_context(context)?;
        (self.hasher, self.len) = (Hasher::new(), 0);
        Ok(())
    }

    /// Makes it the blob. With wrong content it is removed: to continue it would never be right.
    ///
    /// # Errors
    /// Another digest or size than expected.
    pub fn commit(self, expected: Option<u64>) -> Result<(Digest, u64)> {
        let digest = self.hasher.finish();
        if let Err(err) = check(&self.digest, expected.unwrap_or(self.len), &digest, self.len) {
            let _ = std::fs::remove_file(&self.path);
            return Err(err);
        }
        std::fs::rename(&self.path, &self.blob).with_context(|| format!("blob {digest}"))?;
        Ok((digest, self.len))
    }

    /// Removes it: the blob came another way.
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
