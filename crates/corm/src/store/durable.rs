//! Data before names: what a record names is on the device before the record is, so that a power cut loses nothing that
//! was reported as done.
//!
//! A blob is synced before it is renamed to its digest. Trees have thousands of files: they are published without a
//! sync, one syncfs(2) before the record covers all of them, and only then each gets its mark. A tree without a mark, of
//! a process that was killed or of a machine that lost power, is compared with a new one before it is used.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::container::ROOTFS;
use super::{Store, compare};
use crate::driver::layout::mark_durable;
use crate::driver::{LayerBuilder, LayerFormat, mount_util};
use crate::model::digest::Digest;
use base::fs::atomic_file;

/// What this process has published in the store and not synced.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Whether there is anything, also names of blobs and files of a container.
    any: AtomicBool,
    /// Directories of layers, to be marked.
    layers: Mutex<BTreeMap<Digest, OwnedFd>>,
}

impl Unsynced {
    /// Notes that something was published.
    pub(super) fn note(&self) {
        self.any.store(true, Ordering::Relaxed);
    }
}

impl Store {
    /// Writes what this process has published to the device, and marks its layers. Does nothing when that is nothing.
    ///
    /// # Errors
    /// The device failed.
    pub fn sync(&self) -> Result<()> {
        // taken before the sync, because another thread may publish during it
        let layers = std::mem::take(&mut *self.unsynced.layers.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.unsynced.any.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        atomic_file::sync_file_system(&self.root)?;
        layers.values().try_for_each(|dir| mark_durable(dir.as_fd()))
    }

    /// Notes that the next [`Store::sync`] has work: files of a container that are named by its record.
    pub fn note_unsynced(&self) {
        self.unsynced.note();
    }

    /// Notes a layer that this process knows to be whole.
    pub(super) fn note_layer(&self, id: &Digest) -> Result<()> {
        let dir = self.driver.dirs().open_layer(id)?;
        self.unsynced.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), dir);
        self.unsynced.note();
        Ok(())
    }

    /// Returns whether a layer exists and is known to be whole: it has its mark, or this process has published it.
    pub(super) fn is_whole(&self, id: &Digest) -> bool {
        let mine = || self.unsynced.layers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id);
        self.driver.has(id) && (self.driver.is_durable(id) || mine())
    }

    /// Publishes a finished layer. One that exists is kept if it is whole; one without a mark is compared with the new
    /// one, and replaced if it differs.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn publish_layer(&self, built: Box<dyn LayerBuilder>, id: &Digest) -> Result<()> {
        if !self.is_whole(id) && self.differs(&*built, id)?.is_some() && self.mounted_on(id)?.is_none() {
            self.driver.remove(id)?;
        }
        built.finish(id)?;
        self.note_layer(id)
    }

    /// Returns the path in which the tree of a layer differs from a new one; the empty path where it is missing.
    pub(super) fn differs(&self, built: &dyn LayerBuilder, id: &Digest) -> Result<Option<PathBuf>> {
        if !self.driver.has(id) {
            return Ok(Some(PathBuf::new()));
        }
        compare::difference(built.root()?, self.driver.layer_root(id)?)
    }

    /// Stores a container's current tree as a layer, unless there is one.
    ///
    /// # Errors
    /// As [`crate::driver::Driver::commit`].
    pub fn commit_layer(&self, container: &str, id: &Digest) -> Result<()> {
        // one without a mark is compared when it is unpacked
        if self.driver.has(id) {
            return Ok(());
        }
        self.driver.commit(container, id)?;
        self.note_layer(id)
    }

    /// Stores the tree of a container that is removed next as a layer, unless there is one.
    ///
    /// # Errors
    /// As [`crate::driver::Driver::seal`].
    pub fn seal_layer(&self, container: &str, id: &Digest) -> Result<()> {
        if self.driver.has(id) {
            return Ok(());
        }
        self.driver.seal(container, id)?;
        self.note_layer(id)
    }

    /// Returns the name of a container whose mounted tree has the layer below it: such a layer cannot be replaced.
    pub(super) fn mounted_on(&self, id: &Digest) -> Result<Option<String>> {
        if self.driver.form() != LayerFormat::Delta {
            return Ok(None);
        }
        for container in self.containers()? {
            if self.driver.base(&container.id)?.contains(id)
                && mount_util::is_mounted(&self.container_dir(&container.id).join(ROOTFS)).unwrap_or(false)
            {
                return Ok(Some(container.name));
            }
        }
        Ok(None)
    }
}
