//! Push of an image to a registry, with an unchanged manifest.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use ureq::http::Method;

use super::client::{Access, Client, Options};
use super::pull::PARALLEL;
use super::upload::Upload;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::store::ImageRecord;
use crate::store::Store;

/// Pushes an image; returns its digest in the registry.
///
/// # Errors
/// The registry refuses, or a blob is missing here; the name in the registry is unchanged.
pub fn push(
    store: &Store,
    image: &ImageRecord,
    to: &Reference,
    options: &Options,
    progress: &Progress,
) -> Result<Digest> {
    // keeps blobs in the store while they are sent
    let _using = store.shared()?;
    let bytes = store.read_blob(&image.manifest)?;
    let parsed = manifest::parse_manifest(&bytes)?;
    if let Some(wanted) = to.digest().filter(|wanted| **wanted != image.manifest) {
        bail!("{to}: the image here has the digest {}, not {wanted}", image.manifest);
    }
    let mut blobs = BTreeMap::new();
    for descriptor in parsed.layers().iter().chain([parsed.config()]) {
        let digest = manifest::digest_of(descriptor)?;
        let there = store.has_blob(&digest).with_context(|| format!("blob {digest} is not in the store"))?;
        if there != descriptor.size() {
            bail!("blob {digest}: {there} bytes, {} by the manifest (see corm fsck)", descriptor.size());
        }
        blobs.insert(digest, there);
    }
    let beside = beside(image, to);
    let client = Client::connect(to, Access::Push, &beside, options)?;
    send_all(store, &client, &blobs, &beside, progress).with_context(|| to.to_string())?;
    let media_type = parsed.media_type().as_ref().map_or("application/vnd.oci.image.manifest.v1+json", AsRef::as_ref);
    put_manifest(&client, &to.version(), media_type, &bytes).with_context(|| format!("{to}: manifest"))?;
    Ok(image.manifest.clone())
}

/// Returns other repositories of this registry that have the image, by its names.
fn beside(image: &ImageRecord, to: &Reference) -> Vec<String> {
    let names = image.names.iter().chain(&image.source);
    let mut beside: Vec<String> = names
        .filter_map(|name| Reference::parse(name).ok())
        .filter(|name| name.registry() == to.registry() && name.path() != to.path())
        .map(|name| name.path().to_owned())
        .collect();
    beside.sort();
    beside.dedup();
    beside
}

fn send_all(
    store: &Store,
    client: &Client,
    blobs: &BTreeMap<Digest, u64>,
    beside: &[String],
    progress: &Progress,
) -> Result<()> {
    let left = Mutex::new(blobs.iter());
    let work = || -> Result<()> {
        loop {
            let next = left.lock().map_or(None, |mut left| left.next());
            let Some((digest, size)) = next else { return Ok(()) };
            let bar = progress.blob("pushed", digest, *size);
            let passed = |bytes| bar.set(bytes);
            let sent = Upload { client, store, digest, size: *size, beside, passed: &passed }.run();
            match sent.with_context(|| format!("blob {digest}")) {
                Ok(true) => bar.done(),
                Ok(false) => {}
                Err(error) => {
                    // the other threads begin no further blob
                    if let Ok(mut left) = left.lock() {
                        left.by_ref().for_each(drop);
                    }
                    return Err(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL.min(blobs.len())).map(|_| scope.spawn(work)).collect();
        let mut result = Ok(());
        for worker in workers {
            match worker.join() {
                Ok(done) => result = result.and(done),
                Err(_) => bail!("a thread ended"),
            }
        }
        result
    })
}

fn put_manifest(client: &Client, version: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
    let url = client.url(&format!("manifests/{version}"))?;
    let headers = [("content-type", media_type.to_owned()), ("content-length", bytes.len().to_string())];
    client.timing().retry(|| {
        let answer = client.send(&Method::PUT, &url, &headers, &mut || Ok(Box::new(bytes)))?;
        match answer.status {
            200..=202 => {}
            429 | 500 | 502..=504 => return Err(answer.busy()),
            _ => return Err(anyhow::Error::new(answer.refused()).into()),
        }
        let digest = Digest::of(bytes);
        match answer.find("docker-content-digest") {
            Some(named) if named != digest.to_string() => {
                Err(anyhow::anyhow!("the registry has it under {named:?}, it is {digest}").into())
            }
            _ => Ok(()),
        }
    })
}
