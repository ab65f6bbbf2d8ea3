//! Blobs: files named by the digest of their content, complete or missing.
//!
//! [`super::partial`] has downloads; [`super::gc`] removes blobs.

use base::coded;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{Store, Unsynced};
use crate::layer::{Compression, detect_file};
use crate::model::digest::Digest;
use crate::model::digest::Hashing;
use base::fs::staging::StagedEntry;

/// Maximum size in bytes of a blob that is read into memory: manifests and configurations.
const MAX_BYTES_IN_MEMORY: u64 = 4 << 20;

impl Store {
    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Returns the size of a blob; `None` for a missing one.
    pub fn has_blob(&self, digest: &Digest) -> Option<u64> {
        let meta = self.blob_path(digest).symlink_metadata().ok()?;
        meta.is_file().then_some(meta.len())
    }

    /// Opens a blob, which must be a regular file.
    ///
    /// # Errors
    /// The blob is missing, or no regular file.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        // non-blocking, because opening a fifo would wait for a writer
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match linux::open::open(&path, flags, Mode::empty()) {
            Err(nix::Error::ENOENT) => bail!(coded!(StoreDamaged, "blob {digest} is not in the store")),
            other => File::from(other.with_context(|| format!("blob {digest}"))?),
        };
        if !file.metadata().with_context(|| format!("blob {digest}"))?.is_file() {
            bail!(coded!(StoreDamaged, "blob {digest}: {path:?} is not a regular file"));
        }
        Ok(file)
    }

    /// Reads a small blob (a manifest, a configuration) and verifies it.
    ///
    /// # Errors
    /// The blob is missing, larger than 4 MiB, or has another digest.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(MAX_BYTES_IN_MEMORY + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("read blob {digest}"))?;
        if bytes.len() as u64 > MAX_BYTES_IN_MEMORY {
            bail!(coded!(
                ImageInvalid,
                "blob {digest}: larger than {MAX_BYTES_IN_MEMORY} bytes, no manifest or configuration is"
            ));
        }
        if Digest::of(&bytes) != *digest {
            bail!(coded!(StoreDamaged, "blob {digest} is damaged (see corm fsck)"));
        }
        Ok(bytes)
    }

    /// Detects the compression of a blob by its bytes.
    ///
    /// # Errors
    /// The blob is missing, or has a compression that no layer may have.
    pub fn compression_of(&self, digest: &Digest) -> Result<Compression> {
        detect_file(&self.open_blob(digest)?).with_context(|| format!("read blob {digest}"))
    }

    /// Begins a blob whose digest is computed while it is written.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn blob_writer(&self) -> Result<BlobWriter> {
        let staged = StagedEntry::file(&self.tmp())?;
        let file = staged.file_ref().try_clone().context("create a temporary file for a blob")?;
        let (blobs, unsynced) = (self.root.join("blobs/sha256"), self.unsynced.clone());
        Ok(BlobWriter { blobs, out: Hashing::new(file), staged, unsynced })
    }

    /// Stores bytes as a blob; returns digest and size.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<(Digest, u64)> {
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).context("write a blob")?;
        writer.commit(None)
    }

    /// Returns the digests of all blobs.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        super::digests_in(&self.root.join("blobs/sha256"))
    }
}

/// An unfinished blob: hashed and counted as it is written; removed on drop.
pub struct BlobWriter {
    blobs: PathBuf,
    out: Hashing<File>,
    staged: StagedEntry,
    unsynced: Arc<Unsynced>,
}

impl BlobWriter {
    /// Publishes the blob if it has the expected digest and size.
    ///
    /// # Errors
    /// Another digest or size than expected; the file is removed then.
    pub fn commit(self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64)> {
        let (file, digest, size) = self.out.finish();
        if let Some((wanted, wanted_size)) = expected {
            expect_digest(wanted, wanted_size, &digest, size)?;
        }
        // a name in `blobs/` is a promise that the content is there, also after a power cut
        file.sync_data().with_context(|| format!("sync blob {digest}"))?;
        drop(file);
        publish(self.staged, &self.blobs, &digest)?;
        self.unsynced.note();
        Ok((digest, size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Compares digest and size with the expected ones.
pub(super) fn expect_digest(wanted: &Digest, wanted_size: u64, digest: &Digest, size: u64) -> Result<()> {
    if size != wanted_size {
        bail!(coded!(ImageDigest, "blob {wanted}: {size} bytes were received, {wanted_size} were announced"));
    }
    if digest != wanted {
        bail!(coded!(ImageDigest, "blob {wanted}: the content has the digest {digest}"));
    }
    Ok(())
}

fn publish(staged: StagedEntry, blobs: &Path, digest: &Digest) -> Result<()> {
    let to = blobs.join(digest.hex());
    let is_damaged = match to.symlink_metadata() {
        Ok(meta) if meta.is_file() => {
            let found = File::open(&to).and_then(|file| hash_file(&file));
            !found.is_ok_and(|(found, _)| found == *digest)
        }
        Ok(_) => true,
        Err(_) => false,
    };
    if is_damaged {
        return staged.replace(&to).with_context(|| format!("blob {digest}"));
    }
    staged.publish_new(&to).map(|_| ()).with_context(|| format!("blob {digest}"))
}

/// Hashes a file from its start.
///
/// # Errors
/// As read(2).
pub fn hash_file(mut file: &File) -> io::Result<(Digest, u64)> {
    file.rewind()?;
    let mut hashing = Hashing::new(file);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match hashing.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    let (_, digest, size) = hashing.finish();
    Ok((digest, size))
}
