//! The cache of builds: what an instruction made, by a digest of all that it depends on.
//!
//! `build-cache/HEX.json` names layers, which stay in the store as long as the entry. Losing an entry costs time only, so
//! that a torn one, after a power cut, counts as none.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;

/// Directory of the entries, below the store's root.
const DIR: &str = "build-cache";

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheEntry {
    /// Layers after the instruction, lowest first.
    pub layers: Vec<Layer>,
    /// Whether the last of them is of this instruction; else it changed no file.
    pub changed: bool,
    /// Manifest of the image, for the entry of a whole build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Time of creation, RFC 3339.
    pub created: String,
}

impl Store {
    fn cache_path(&self, key: &Digest) -> PathBuf {
        self.root.join(DIR).join(format!("{}.json", key.hex()))
    }

    /// Returns the entry of a key whose blobs are all in the store.
    pub fn cached(&self, key: &Digest) -> Option<CacheEntry> {
        let entry = self.read_cached(key)?;
        let blobs = entry.layers.iter().map(|layer| &layer.blob).chain(&entry.manifest);
        blobs.into_iter().all(|blob| self.has_blob(blob).is_some()).then_some(entry)
    }

    fn read_cached(&self, key: &Digest) -> Option<CacheEntry> {
        let bytes = std::fs::read(self.cache_path(key)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn put_cached(&self, key: &Digest, entry: &CacheEntry) -> Result<()> {
        let dir = self.root.join(DIR);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(|| format!("create {dir:?}"))?,
        }
        atomic_file::write(&self.tmp(), &self.cache_path(key), &serde_json::to_vec(entry)?, Durability::None)
    }

    /// Returns the keys of all entries.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn cache_keys(&self) -> Result<Vec<Digest>> {
        let dir = self.root.join(DIR);
        if dir.exists() { super::digests_in(&dir) } else { Ok(Vec::new()) }
    }

    /// Returns the entries that can be read.
    pub(super) fn cache_entries(&self) -> Result<Vec<CacheEntry>> {
        Ok(self.cache_keys()?.iter().filter_map(|key| self.read_cached(key)).collect())
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove_cached(&self, key: &Digest) -> Result<()> {
        let path = self.cache_path(key);
        match std::fs::remove_file(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("remove {path:?}")),
        }
    }
}
