//! Unpacking of missing layers, each once, also when several processes need it.
//!
//! `layer` reads and applies the archive; the driver stores the tree.

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use super::Store;
use super::image::chain_ids;
use crate::driver::LayerBuilder;
use crate::driver::LayerFormat;
use crate::layer;
use crate::layer::Applied;
use crate::layer::NeedsLower;
use crate::layer::Target;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::layer::WhiteoutFormat;
use base::fs::lock::{Locked, create_locked};
use base::host;

/// Callback with a layer's index and the bytes read from its blob since the last call.
pub type Progress<'a> = dyn Fn(usize, u64) + Sync + 'a;

/// A lock on the unpacking of one layer; `Drop` removes its file.
struct PartialLayer {
    path: PathBuf,
    _lock: Locked,
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

    fn apply(
        &self,
        builder: &dyn LayerBuilder,
        layer: &Layer,
        whiteouts: WhiteoutFormat,
        progress: &dyn Fn(u64),
    ) -> Result<Applied> {
        let target = Target { root: builder.root()?, whiteouts, unprivileged: host::rootless() };
        let blob = self.open_blob(&layer.blob)?;
        layer::unpack(blob, &layer.media_type, &layer.diff_id, &target, self.limits(), progress)
            .with_code(Code::ImageInvalid, || format!("layer {}", layer.blob))
    }

    /// Applies all layers to one tree.
    fn unpack_as_one(&self, layers: &[Layer], top: &Digest, progress: &Progress<'_>) -> Result<()> {
        let builder = self.driver.begin(None)?;
        for (number, layer) in layers.iter().enumerate() {
            self.apply(&*builder, layer, WhiteoutFormat::Delete, &|bytes| progress(number, bytes))?;
        }
        self.publish_layer(builder, top)
    }

    /// Applies each layer on top of its parent.
    fn unpack_in_sequence(&self, layers: &[Layer], chain: &[Digest], progress: &Progress<'_>) -> Result<()> {
        let mut parent = None;
        for (number, (layer, id)) in layers.iter().zip(chain).enumerate() {
            if !self.is_whole(id) {
                let builder = self.driver.begin(parent)?;
                self.apply(&*builder, layer, WhiteoutFormat::Delete, &|bytes| progress(number, bytes))?;
                self.publish_layer(builder, id)?;
            }
            parent = Some(id);
        }
        Ok(())
    }

    /// Unpacks all layers in parallel; publishes them from the lowest up, so that a layer's parent always exists. A layer
    /// whose tree depends on those below is applied again on top of them.
    fn unpack_in_parallel(&self, layers: &[Layer], chain: &[Digest], progress: &Progress<'_>) -> Result<()> {
        let mut applied_layers = Vec::new();
        thread::scope(|scope| -> Result<()> {
            let mut threads = Vec::new();
            for (number, (layer, id)) in layers.iter().zip(chain).enumerate() {
                if self.is_whole(id) {
                    continue;
                }
                let parent = number.checked_sub(1).and_then(|below| chain.get(below));
                let work = move || self.apply_delta(layer, parent, &|bytes| progress(number, bytes));
                let name = format!("layer {number}");
                let thread = base::thread::start(scope, &name, work)?;
                threads.push((number, layer, id, thread));
            }
            for (number, layer, id, thread) in threads {
                let done = thread
                    .join()
                    .map_err(|_| anyhow!(coded!(ImageInvalid, "the thread that applied layer {number} failed")))?;
                let done = match done {
                    Err(err) if err.is::<NeedsLower>() => None,
                    other => Some(other?),
                };
                applied_layers.push((chain.get(..number).unwrap_or_default(), layer, id, done));
            }
            Ok(())
        })?;
        for (below, layer, id, done) in applied_layers {
            self.publish_layer(self.complete_delta(done, layer, below)?, id)?;
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
        if keeps_each && self.driver.form() == LayerFormat::Delta {
            let layer = layers.get(number).code(Code::ImageInvalid, "the image has no such layer")?;
            return match self.apply_delta(layer, below.last(), &|_| {}) {
                Err(err) if err.is::<NeedsLower>() => self.complete_delta(None, layer, below),
                done => self.complete_delta(Some(done?), layer, below),
            };
        }
        let builder = self.driver.begin(below.last().filter(|_| keeps_each))?;
        for layer in layers.iter().take(number + 1).skip(if keeps_each { number } else { 0 }) {
            self.apply(&*builder, layer, WhiteoutFormat::Delete, &|_| {})?;
        }
        Ok(builder)
    }

    /// Applies a layer as changes to its parent, which need not be there yet.
    ///
    /// # Errors
    /// [`NeedsLower`]: the layers below decide its tree.
    fn apply_delta(
        &self,
        layer: &Layer,
        parent: Option<&Digest>,
        progress: &dyn Fn(u64),
    ) -> Result<(Box<dyn LayerBuilder>, Applied)> {
        let builder = self.driver.begin(parent)?;
        // nothing is below the lowest layer, so that its changes are a whole tree
        let whiteouts = parent.map_or(WhiteoutFormat::Delete, |_| self.driver.whiteouts());
        let applied = self.apply(&*builder, layer, whiteouts, progress)?;
        Ok((builder, applied))
    }

    /// Completes what [`Store::apply_delta`] has applied now that the layers below are there; without that, applies the
    /// layer on top of them.
    fn complete_delta(
        &self,
        applied: Option<(Box<dyn LayerBuilder>, Applied)>,
        layer: &Layer,
        below: &[Digest],
    ) -> Result<Box<dyn LayerBuilder>> {
        if let Some((builder, applied)) = applied {
            self.drop_ghosts(&*builder, &applied, below)?;
            return Ok(builder);
        }
        let mut builder = self.driver.begin_whole(below)?;
        self.apply(&*builder, layer, WhiteoutFormat::Delete, &|_| {})?;
        builder.complete()?;
        Ok(builder)
    }

    /// Removes the whiteouts of a delta that hide nothing.
    fn drop_ghosts(&self, builder: &dyn LayerBuilder, applied: &Applied, below: &[Digest]) -> Result<()> {
        if applied.whiteouts.is_empty() {
            return Ok(());
        }
        let (root, lower) = (builder.root()?, self.driver.view(below)?.root()?);
        layer::drop_ghosts(root.as_fd(), lower.as_fd(), &applied.whiteouts, self.driver.whiteouts())
    }
}
