//! Garbage collection: removal of layers, trees, blobs and leftovers that no record names.
//!
//! It runs only under the exclusive lock, when no process is adding. An unreadable record stops it, because its
//! references are unknown.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::container::ROOTFS;
use super::image::chain_ids;
use super::{Lock, Store};
use crate::driver::Tree;
use crate::model::digest::Digest;
use base::fs::lock::{How, lock};
use base::fs::staging::StagedEntry;
use base::fs::staging::sweep;

/// Counts of a garbage collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Number of layers.
    pub layers: usize,
    /// Number of blobs.
    pub blobs: usize,
    /// Number of trees without a container record.
    pub trees: usize,
    /// Number of unfinished entries and downloads.
    pub leftovers: usize,
    /// Bytes of the blobs and layers.
    pub bytes: u64,
}

/// References of all records.
#[derive(Debug, Default)]
pub(super) struct References {
    pub blobs: HashSet<Digest>,
    pub layers: HashSet<Digest>,
    pub containers: HashSet<String>,
}

impl Store {
    /// Removes what no record names; `None` while another process adds or uses.
    ///
    /// # Errors
    /// A record is damaged, or the file system refuses.
    pub fn collect(&self) -> Result<Option<Freed>> {
        match self.try_exclusive()? {
            Some(lock) => self.collect_now(&lock).map(Some),
            None => Ok(None),
        }
    }

    /// Removes what no record names; the caller holds the exclusive lock.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub fn collect_now(&self, _exclusive: &Lock) -> Result<Freed> {
        let used = self.references()?;
        let mut freed = Freed { leftovers: sweep(&self.tmp())?, ..Freed::default() };
        for id in self.driver.containers()?.into_iter().filter(|id| !used.containers.contains(id)) {
            // its creator was killed with the tree mounted
            self.driver.unmount(&id, &self.container_dir(&id).join(ROOTFS))?;
            self.driver.destroy(&id)?;
            freed.trees += 1;
        }
        for id in self.container_ids()?.into_iter().filter(|id| !used.containers.contains(id)) {
            // its creator was killed before it wrote the record
            let staged = StagedEntry::dir(&self.tmp())?;
            staged.take(&self.container_dir(&id))?;
            staged.remove()?;
            freed.leftovers += 1;
        }
        for layer in self.driver.layers()?.into_iter().filter(|layer| !used.layers.contains(layer)) {
            freed.bytes += self.driver.usage(Tree::Layer(&layer)).unwrap_or(0);
            self.driver.remove(&layer)?;
            freed.layers += 1;
        }
        for blob in self.blobs()?.into_iter().filter(|blob| !used.blobs.contains(blob)) {
            freed.bytes += self.has_blob(&blob).unwrap_or(0);
            let path = self.blob_path(&blob);
            std::fs::remove_file(&path).with_context(|| format!("remove {path:?}"))?;
            freed.blobs += 1;
        }
        Ok(freed)
    }

    /// Removes downloads that no process is continuing; returns their number.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn drop_partials(&self, _exclusive: &Lock) -> Result<usize> {
        let dir = self.root.join("partial");
        let mut dropped = 0;
        for entry in linux::open::read_dir(&dir).with_context(|| format!("read {dir:?}"))? {
            let path = entry.with_context(|| format!("read {dir:?}"))?.path();
            dropped += usize::from(drop_partial(&path)?);
        }
        Ok(dropped)
    }

    pub(super) fn references(&self) -> Result<References> {
        let mut used = References::default();
        for image in self.images()? {
            used.layers.extend(if self.driver.keeps_each() {
                image.chain_ids()
            } else {
                image.chain.iter().cloned().collect()
            });
            used.blobs.extend([image.id, image.manifest]);
            used.blobs.extend(image.index);
            used.blobs.extend(image.layers.into_iter().map(|layer| layer.blob));
        }
        for entry in self.cache_entries()? {
            let chain = chain_ids(entry.layers.iter().map(|layer| &layer.diff_id));
            used.layers.extend(chain.into_iter().rev().take(if self.driver.keeps_each() { usize::MAX } else { 1 }));
            used.blobs.extend(entry.layers.into_iter().map(|layer| layer.blob).chain(entry.manifest));
        }
        used.blobs.extend(self.blobs_of_lists()?);
        for container in self.containers()? {
            used.layers.extend(container.chain);
            used.layers.extend(self.driver.base(&container.id)?);
            used.containers.insert(container.id);
        }
        Ok(used)
    }
}

fn drop_partial(path: &Path) -> Result<bool> {
    let Ok(file) = File::open(path) else { return Ok(false) };
    let Ok(_held) = lock(file, How::TryExclusive) else { return Ok(false) };
    std::fs::remove_file(path).with_context(|| format!("remove {path:?}"))?;
    Ok(true)
}
