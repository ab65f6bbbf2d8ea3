//! Unpacking of missing layers, each once, also when several processes need it.
//!
//! `layer` reads and applies the archive; the driver stores the tree.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::fcntl::{Flock, OFlag, OpenHow, ResolveFlag, openat2};

use super::Store;
use super::image::chain_ids;
use crate::driver::LayerBuilder;
use crate::driver::LayerFormat;
use crate::layer;
use crate::layer::Applied;
use crate::layer::Limits;
use crate::layer::Target;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use base::fs::copy::copy_attributes_of;
use base::fs::lock::create_locked;
use base::host;

/// Callback with a layer's index and the bytes read from its blob since the last call.
pub type Progress<'a> = dyn Fn(usize, u64) + Sync + 'a;

/// A lock on the unpacking of one layer; `Drop` removes its file.
struct PartialLayer {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Drop for PartialLayer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Unpacks the missing ones of these layers, lowest first; returns the topmost chain ID. The caller holds
    /// [`Store::shared`], and calls [`Store::sync`] before it records what needs them.
    ///
    /// # Errors
    /// A blob is missing, does not have its DiffID, or cannot be applied; unpacked lower layers may remain.
    pub fn unpack(&self, layers: &[Layer], progress: &Progress<'_>) -> Result<Option<Digest>> {
        let chain = chain_ids(layers.iter().map(|layer| &layer.diff_id));
        let Some(top) = chain.last() else { return Ok(None) };
        if self.is_complete(&chain) {
            return Ok(Some(top.clone()));
        }
        // lowest first, so that two processes with common layers cannot deadlock
        let wanted = if self.driver.keeps_each() { &chain[..] } else { std::slice::from_ref(top) };
        let mut making = Vec::new();
        for id in wanted.iter().filter(|id| !self.is_whole(id)) {
            making.push(self.lock_unpacking(id)?);
        }
        if !self.is_complete(&chain) {
            match (self.driver.keeps_each(), self.driver.form()) {
                (false, _) => self.unpack_as_one(layers, top, progress)?,
                (true, LayerFormat::Tree) => self.unpack_in_sequence(layers, &chain, progress)?,
                (true, LayerFormat::Delta) => self.unpack_in_parallel(layers, &chain, progress)?,
            }
        }
        Ok(Some(top.clone()))
    }

    fn is_complete(&self, chain: &[Digest]) -> bool {
        let whole = |id: &Digest| self.is_whole(id);
        if self.driver.keeps_each() { chain.iter().all(whole) } else { chain.last().is_none_or(whole) }
    }

    /// Waits for another process that unpacks the same layer, and locks it.
    fn lock_unpacking(&self, id: &Digest) -> Result<PartialLayer> {
        let path = self.tmp().join(format!("layer.{}", id.hex()));
        let lock = create_locked(&path).with_context(|| format!("lock {path:?}"))?;
        Ok(PartialLayer { path, _lock: lock })
    }

    fn apply(&self, builder: &dyn LayerBuilder, layer: &Layer, progress: &dyn Fn(u64)) -> Result<Applied> {
        let target =
            Target { root: builder.root()?, whiteouts: self.driver.whiteouts(), unprivileged: host::rootless() };
        let blob = self.open_blob(&layer.blob)?;
        layer::unpack(blob, &layer.media_type, &layer.diff_id, &target, &Limits::default(), progress)
            .with_context(|| format!("layer {}", layer.blob))
    }

    /// Applies all layers to one tree.
    fn unpack_as_one(&self, layers: &[Layer], top: &Digest, progress: &Progress<'_>) -> Result<()> {
        let builder = self.driver.begin(None)?;
        for (number, layer) in layers.iter().enumerate() {
            self.apply(&*builder, layer, &|bytes| progress(number, bytes))?;
        }
        self.publish_layer(builder, top)
    }

    /// Applies each layer on top of its parent.
    fn unpack_in_sequence(&self, layers: &[Layer], chain: &[Digest], progress: &Progress<'_>) -> Result<()> {
        let mut parent = None;
        for (number, (layer, id)) in layers.iter().zip(chain).enumerate() {
            if !self.is_whole(id) {
                let builder = self.driver.begin(parent)?;
                self.apply(&*builder, layer, &|bytes| progress(number, bytes))?;
                self.publish_layer(builder, id)?;
            }
            parent = Some(id);
        }
        Ok(())
    }

    /// Unpacks all layers in parallel; publishes them from the lowest up, so that a layer's parent always exists.
    fn unpack_in_parallel(&self, layers: &[Layer], chain: &[Digest], progress: &Progress<'_>) -> Result<()> {
        let mut applied_layers = Vec::new();
        thread::scope(|scope| -> Result<()> {
            let mut threads = Vec::new();
            for (number, (layer, id)) in layers.iter().zip(chain).enumerate() {
                if self.is_whole(id) {
                    continue;
                }
                let parent = number.checked_sub(1).and_then(|below| chain.get(below));
                let work = move || -> Result<(Box<dyn LayerBuilder>, Applied)> {
                    let builder = self.driver.begin(parent)?;
                    let applied = self.apply(&*builder, layer, &|bytes| progress(number, bytes))?;
                    Ok((builder, applied))
                };
                let name = format!("layer {number}");
                let thread = thread::Builder::new().name(name).spawn_scoped(scope, work).context("start a thread")?;
                threads.push((number, id, thread));
            }
            for (number, id, thread) in threads {
                let done = thread.join().map_err(|_| anyhow!("the thread that applied layer {number} failed"))?;
                applied_layers.push((number, id, done?));
            }
            Ok(())
        })?;
        for (number, id, (builder, applied)) in applied_layers {
            self.adopt_implied(&*builder, &applied, chain.get(..number).unwrap_or_default())?;
            self.publish_layer(builder, id)?;
        }
        Ok(())
    }

    /// Unpacks one layer of a chain again, beside the tree that is there, with that of its parent below it.
    ///
    /// # Errors
    /// As [`Store::unpack`].
    pub(super) fn rebuild(&self, layers: &[Layer], chain: &[Digest], number: usize) -> Result<Box<dyn LayerBuilder>> {
        let below = chain.get(..number).unwrap_or_default();
        let keeps_each = self.driver.keeps_each();
        let builder = self.driver.begin(below.last().filter(|_| keeps_each))?;
        for layer in layers.iter().take(number + 1).skip(if keeps_each { number } else { 0 }) {
            let applied = self.apply(&*builder, layer, &|_| {})?;
            if self.driver.form() == LayerFormat::Delta {
                self.adopt_implied(&*builder, &applied, below)?;
            }
        }
        Ok(builder)
    }

    /// Sets the attributes of implied directories to those of the layers below, because in a delta they would hide
    /// them.
    fn adopt_implied(&self, builder: &dyn LayerBuilder, applied: &Applied, below: &[Digest]) -> Result<()> {
        if applied.implied.is_empty() || below.is_empty() {
            return Ok(());
        }
        let (root, lower) = (builder.root()?, self.driver.view(below)?.root()?);
        for path in &applied.implied {
            let path = Path::new(std::ffi::OsStr::from_bytes(path));
            if let (Some(from), Some(to)) = (dir_in(lower.as_fd(), path), dir_in(root.as_fd(), path)) {
                copy_attributes_of(from.as_fd(), to.as_fd(), layer::is_layer_xattr)
                    .with_context(|| format!("directory {path:?}"))?;
            }
        }
        Ok(())
    }
}

/// Opens the directory at a path of a tree; `None` if it is none or a symlink leads to it.
fn dir_in(root: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(root, path, how).ok()
}
