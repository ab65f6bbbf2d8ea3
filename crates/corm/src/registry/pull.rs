//! Pulling: from a name in a registry to an image that is unpacked in the store.
//!
//! Layers come three at a time and are unpacked while the next ones come. Nothing is fetched that is there, and nothing
//! is recorded before all of it is: a pull that was killed leaves blobs and the beginnings of some, which the next takes up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use oci_spec::image::ImageManifest;

use super::client::{Access, Client, Options, ResolvedManifest};
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::manifest;
use crate::model::manifest::Document;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::store::ImageRecord;
use crate::store::Store;

/// Layers that come at the same time.
pub(super) const PARALLEL: usize = 3;

/// Indexes inside of indexes; one is usual, none is more than two.
const MAX_DEPTH: usize = 4;

/// Pulls an image; `platform` absent means this machine's.
///
/// # Errors
/// It is not there, not for this platform, or not what its manifest says; the store has no new image then.
pub fn pull(
    store: &Store,
    name: &Reference,
    platform: Option<&Platform>,
    options: &Options,
    progress: &Progress,
) -> Result<ImageRecord> {
    let client = Client::connect(name, Access::Pull, &[], options)?;
    // from before it is looked what is there until a record names it
    let _adding = store.shared()?;
    let host = Platform::host();
    let (index, found) = choose(store, &client, name, platform.unwrap_or(&host))?;
    let Document::Manifest(manifest) = &found.document else { bail!("{name}: no manifest") };
    let config_digest = manifest::digest_of(manifest.config())?;
    let config_bytes = match store.has_blob(&config_digest) {
        Some(_) => store.read_blob(&config_digest)?,
        None => client.small_blob(&config_digest, manifest.config().size()).context("image configuration")?,
    };
    let config = manifest::parse_config(&config_bytes)?;
    if !platform.unwrap_or(&host).runs(&config) {
        let (os, architecture) = (config.os(), config.architecture());
        progress.warn(&format!("{name} is for {os}/{architecture}, not for {}", platform.unwrap_or(&host)));
    }
    let layers = manifest::layers(manifest, &config)?;
    Transfer { store, client: &client, progress, manifest, layers: &layers }.run()?;
    for bytes in
        [Some(&config_bytes), Some(&found.bytes), index.as_ref().map(|index| &index.bytes)].into_iter().flatten()
    {
        store.put_blob(bytes)?;
    }
    let index = index.map(|index| index.digest);
    store.put_image_of(index.as_ref(), &found.digest, &[name.name()], Some(name.name()))
}

/// Goes from what the name stands for to the manifest of one platform; with the outermost index it came from.
fn choose(
    store: &Store,
    client: &Client,
    name: &Reference,
    platform: &Platform,
) -> Result<(Option<ResolvedManifest>, ResolvedManifest)> {
    let mut found = client.manifest(&name.version()).with_context(|| name.to_string())?;
    let mut outermost = None;
    for _ in 0..MAX_DEPTH {
        let Document::Index(index) = &found.document else { return Ok((outermost, found)) };
        let entry = platform.choose(index).with_context(|| format!("{name} has no image for {platform}"))?;
        let (digest, size, declared) = (manifest::digest_of(entry)?, entry.size(), entry.media_type().to_string());
        let next = match store.has_blob(&digest) {
            Some(_) => {
                let bytes = store.read_blob(&digest)?;
                let document = manifest::parse(&bytes, Some(&declared))?;
                ResolvedManifest { bytes, digest, document }
            }
            None => client.manifest(&digest.to_string()).with_context(|| format!("{name}, for {platform}"))?,
        };
        if next.bytes.len() as u64 != size {
            bail!("{name}: the manifest for {platform} is {} bytes, the index says {size}", next.bytes.len());
        }
        let before = std::mem::replace(&mut found, next);
        outermost.get_or_insert(before);
    }
    bail!("{name}: more than {MAX_DEPTH} indexes inside of each other")
}

/// The layers of one image on their way.
struct Transfer<'a> {
    store: &'a Store,
    client: &'a Client,
    progress: &'a Progress,
    manifest: &'a ImageManifest,
    layers: &'a [Layer],
}

/// What the threads tell each other.
struct Shared {
    /// The next layer that is not fetched yet.
    next: AtomicUsize,
    /// One failed: the others need not go on.
    stop: AtomicBool,
    /// Which layers are there.
    there: Mutex<Vec<bool>>,
    changed: Condvar,
}

impl Transfer<'_> {
    fn run(&self) -> Result<()> {
        let shared = Shared {
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            there: Mutex::new(vec![false; self.layers.len()]),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..PARALLEL.min(self.layers.len())).map(|_| scope.spawn(|| self.fetch_all(&shared))).collect();
            let unpacked = self.unpack_all(&shared);
            // they look at this between two pieces of a blob
            shared.stop.store(unpacked.is_err(), Ordering::Relaxed);
            let mut failed = None;
            for worker in workers {
                match worker.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        failed = failed.filter(|failed: &anyhow::Error| !failed.is::<Stopped>()).or(Some(error));
                    }
                    Err(_) => bail!("a thread ended"),
                }
            }
            match failed {
                // what was told to stop is not the reason
                Some(error) if !error.is::<Stopped>() => Err(error),
                _ => unpacked,
            }
        })
    }

    /// One thread's share. However it ends, who waits for its layers is told.
    fn fetch_all(&self, shared: &Shared) -> Result<()> {
        let result = self.fetch_next(shared);
        if result.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
        }
        // under the lock, so that no process is between looking and waiting
        let _there = shared.there.lock().unwrap_or_else(PoisonError::into_inner);
        shared.changed.notify_all();
        result
    }

    fn fetch_next(&self, shared: &Shared) -> Result<()> {
        loop {
            let at = shared.next.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(descriptor)) = (self.layers.get(at), self.manifest.layers().get(at)) else {
                return Ok(());
            };
            self.fetch(&layer.blob, descriptor.size(), shared)?;
            let mut there = shared.there.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(there) = there.get_mut(at) {
                *there = true;
            }
            shared.changed.notify_all();
        }
    }

    fn fetch(&self, digest: &Digest, size: u64, shared: &Shared) -> Result<()> {
        let stopped = |_| if shared.stop.load(Ordering::Relaxed) { Err(Stopped.into()) } else { Ok(()) };
        stopped(0)?;
        if let Some(there) = self.store.has_blob(digest) {
            return check_size(digest, there, size);
        }
        // what an earlier download left may be wrong: then once more, from the beginning
        loop {
            let mut partial = self.store.partial(digest)?;
            if let Some(there) = self.store.has_blob(digest) {
                partial.discard();
                return check_size(digest, there, size);
            }
            let resumed = !partial.is_empty();
            let bar = self.progress.blob("pulled", digest, size);
            self.client.blob(digest, size, &mut partial, &|bytes| {
                bar.set(bytes);
                stopped(bytes)
            })?;
            match partial.commit(Some(size)) {
                Ok(_) => {
                    bar.done();
                    return Ok(());
                }
                Err(_) if resumed => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Unpacks layers as they come, lowest first.
    fn unpack_all(&self, shared: &Shared) -> Result<()> {
        let mut unpacked = 0;
        while unpacked < self.layers.len() {
            let Some(ready) = self.wait(shared, unpacked) else { return Err(Stopped.into()) };
            // where only whole chains are kept, a part of one would be made for nothing
            if self.store.driver().keeps_each() || ready == self.layers.len() {
                self.progress.unpack(self.store, self.layers.get(..ready).unwrap_or_default())?;
            }
            unpacked = ready;
        }
        Ok(())
    }

    /// Waits until more than `unpacked` of the lowest layers are there; how many. None when there will not be more.
    fn wait(&self, shared: &Shared, unpacked: usize) -> Option<usize> {
        let mut there = shared.there.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let ready = there.iter().take_while(|there| **there).count();
            if ready > unpacked {
                return Some(ready);
            }
            if shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            there = shared.changed.wait(there).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn check_size(digest: &Digest, there: u64, size: u64) -> Result<()> {
    if there != size {
        bail!("blob {digest}: {size} bytes by the manifest, but {there} with this digest are in the store");
    }
    Ok(())
}

/// Why a thread ended that did nothing wrong.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped, because something else failed")
    }
}

impl std::error::Error for Stopped {}
