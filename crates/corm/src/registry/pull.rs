//! Pull of an image from a registry, and its unpacking.
//!
//! Three layers are fetched at a time and unpacked during the next fetches. Existing blobs are not fetched, and the
//! image is recorded when it is complete: a killed pull leaves blobs and partial ones, which the next one resumes.

use base::coded;
use base::error::{Code, Coding as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use base::thread::start_some;
use oci_spec::image::{Descriptor, ImageManifest};

use super::client::{Access, Client, Options, ResolvedManifest};
use super::fetch::Fetch;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::manifest;
use crate::model::manifest::Document;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::store::ImageRecord;
use crate::store::Store;

/// Number of parallel downloads.
pub(super) const PARALLEL: usize = 3;

/// Maximum nesting of indexes; one is usual, more than two are unknown.
const MAX_DEPTH: usize = 4;

/// Pulls an image; `platform` absent means this machine's.
///
/// # Errors
/// The image is missing, not for this platform, or does not match its manifest; the store has no new image then.
pub fn pull(
    store: &Store,
    name: &Reference,
    platform: Option<&Platform>,
    options: &Options,
    progress: &Progress,
) -> Result<ImageRecord> {
    // held from before the check for existing blobs until a record names them
    let _adding = store.shared()?;
    let host = Platform::host();
    let find = |client: &Client| choose(store, client, name, platform.unwrap_or(&host));
    let (client, (index, found)) = at_first(name, options, progress, find)?;
    let Document::Manifest(manifest) = &found.document else { bail!(coded!(ImageInvalid, "{name}: no manifest")) };
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

/// Connects to the places of a repository in turn, mirrors first; returns the first at which `find` succeeds.
///
/// # Errors
/// That of the last place; those of the others are warnings.
pub(crate) fn at_first<T>(
    name: &Reference,
    options: &Options,
    progress: &Progress,
    find: impl Fn(&Client) -> Result<T>,
) -> Result<(Client, T)> {
    let mut places = options.registries.to_read(name)?.into_iter().peekable();
    while let Some(place) = places.next() {
        let found = Client::connect(&place, Access::Pull, &[], options).and_then(|client| {
            let found = find(&client)?;
            Ok((client, found))
        });
        match found {
            Err(error) if places.peek().is_some() => {
                progress.warn(&format!("{}/{}: {}", place.registry, place.path, base::error::describe(&error)));
            }
            other => return other,
        }
    }
    bail!(coded!(RegistryAnswer, "{name}: no place to read it from"))
}

/// Resolves a reference to the manifest of one platform; also returns the outermost index.
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
        let entry = platform
            .choose(index)
            .with_code(Code::ImagePlatform, || format!("{name} has {}", platform.lacking(index)))?;
        let (digest, size, declared) = (manifest::digest_of(entry)?, entry.size(), entry.media_type().to_string());
        let next = match store.has_blob(&digest) {
            Some(_) => {
                let bytes = store.read_blob(&digest)?;
                let document = manifest::parse(&bytes, Some(&declared))?;
                ResolvedManifest { bytes, digest, document }
            }
            None => client
                .manifest(&digest.to_string())
                .with_code(Code::ImagePlatform, || format!("{name}, for {platform}"))?,
        };
        if next.bytes.len() as u64 != size {
            bail!(coded!(
                ImagePlatform,
                "{name}: the manifest for {platform} has {} bytes, in the index {size}",
                next.bytes.len()
            ));
        }
        let before = std::mem::replace(&mut found, next);
        outermost.get_or_insert(before);
    }
    bail!(coded!(RegistryAnswer, "{name}: more than {MAX_DEPTH} indexes inside of each other"))
}

/// The download of an image's layers.
struct Transfer<'a> {
    store: &'a Store,
    client: &'a Client,
    progress: &'a Progress,
    manifest: &'a ImageManifest,
    layers: &'a [Layer],
}

/// State that the threads share.
struct Shared {
    /// Index of the next layer to fetch.
    next: AtomicUsize,
    /// Whether a thread failed, so that the others stop.
    stop: AtomicBool,
    /// Which layers are complete.
    present: Mutex<Vec<bool>>,
    changed: Condvar,
}

impl Transfer<'_> {
    fn run(&self) -> Result<()> {
        let shared = Shared {
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            present: Mutex::new(vec![false; self.layers.len()]),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            let workers = start_some(scope, ("fetch", PARALLEL.min(self.layers.len())), || self.fetch_all(&shared))?;
            let unpacked = self.unpack_all(&shared);
            // checked between two pieces of a blob
            shared.stop.store(unpacked.is_err(), Ordering::Relaxed);
            let mut failed = None;
            for worker in workers {
                match worker.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        failed = failed.filter(|failed: &anyhow::Error| !failed.is::<Stopped>()).or(Some(error));
                    }
                    Err(_) => bail!(coded!(RegistryAnswer, "a thread failed")),
                }
            }
            match failed {
                // a stopped thread is not the cause
                Some(error) if !error.is::<Stopped>() => Err(error),
                _ => unpacked,
            }
        })
    }

    /// Fetches layers, as a thread. At any end it notifies the threads that wait.
    fn fetch_all(&self, shared: &Shared) -> Result<()> {
        let result = self.fetch_next(shared);
        if result.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
        }
        // under the lock, so that no thread is between its check and its wait
        let _present = shared.present.lock().unwrap_or_else(PoisonError::into_inner);
        shared.changed.notify_all();
        result
    }

    fn fetch_next(&self, shared: &Shared) -> Result<()> {
        loop {
            let at = shared.next.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(descriptor)) = (self.layers.get(at), self.manifest.layers().get(at)) else {
                return Ok(());
            };
            self.fetch(&layer.blob, descriptor, shared)?;
            let mut present = shared.present.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(present) = present.get_mut(at) {
                *present = true;
            }
            shared.changed.notify_all();
        }
    }

    fn fetch(&self, digest: &Digest, descriptor: &Descriptor, shared: &Shared) -> Result<()> {
        let urls = descriptor.urls().as_deref().unwrap_or_default();
        let stopped =
            || -> Result<()> { if shared.stop.load(Ordering::Relaxed) { Err(Stopped.into()) } else { Ok(()) } };
        Fetch { store: self.store, client: self.client, progress: self.progress, stopped: &stopped }
            .run((digest, descriptor.size()), urls)
    }

    /// Unpacks complete layers, lowest first.
    fn unpack_all(&self, shared: &Shared) -> Result<()> {
        let mut unpacked = 0;
        while unpacked < self.layers.len() {
            let Some(ready) = self.wait(shared, unpacked) else { return Err(Stopped.into()) };
            // where only whole chains are stored, a partial chain would be useless
            if self.store.driver().keeps_each() || ready == self.layers.len() {
                self.progress.unpack(self.store, self.layers.get(..ready).unwrap_or_default())?;
            }
            unpacked = ready;
        }
        Ok(())
    }

    /// Waits until more than `unpacked` of the lowest layers are complete; returns their number, or `None` after a
    /// failure.
    fn wait(&self, shared: &Shared, unpacked: usize) -> Option<usize> {
        let mut present = shared.present.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let ready = present.iter().take_while(|present| **present).count();
            if ready > unpacked {
                return Some(ready);
            }
            if shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            present = shared.changed.wait(present).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The error of a thread that was stopped.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped, because another transfer failed")
    }
}

impl std::error::Error for Stopped {}
