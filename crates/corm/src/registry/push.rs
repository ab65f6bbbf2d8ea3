//! Push of an image to a registry, with an unchanged manifest.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use base::thread::start_some;
use ureq::http::Method;

use super::client::{Access, Client, Options};
use super::http::HttpError;
use super::pull::PARALLEL;
use super::upload::Upload;
use crate::model::digest::Digest;
use crate::model::docker_form::docker_form;
use crate::model::manifest;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::store::ImageRecord;
use crate::store::Store;

/// Pushes an image; returns its digest in the registry. A registry that refuses OCI manifests gets one of Docker's form.
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
        bail!(coded!(ImageDigest, "{to}: the image here has the digest {}, not {wanted}", image.manifest));
    }
    let mut blobs = BTreeMap::new();
    for descriptor in parsed.layers().iter().chain([parsed.config()]) {
        let digest = manifest::digest_of(descriptor)?;
        let present = store.has_blob(&digest).with_context(|| format!("blob {digest} is not in the store"))?;
        if present != descriptor.size() {
            bail!(coded!(
                StoreDamaged,
                "blob {digest}: {present} bytes, {} by the manifest (see corm fsck)",
                descriptor.size()
            ));
        }
        blobs.insert(digest, present);
    }
    let mount_from = mount_from(image, to);
    let client = Client::connect(&options.registries.to_write(to)?, Access::Push, &mount_from, options)?;
    send_all(store, &client, &blobs, &mount_from, progress).with_context(|| to.to_string())?;
    let media_type = parsed.media_type().as_ref().map_or("application/vnd.oci.image.manifest.v1+json", AsRef::as_ref);
    put_image(&client, to, media_type, &bytes, progress)
}

/// Puts the manifest of an image, in Docker's form where the registry refuses OCI's; returns the digest there.
///
/// # Errors
/// The registry refuses.
pub(crate) fn put_image(
    client: &Client,
    to: &Reference,
    media_type: &str,
    bytes: &[u8],
    progress: &Progress,
) -> Result<Digest> {
    let put = put_manifest(client, &to.version(), media_type, bytes);
    let docker = match &put {
        // with a digest in its name it cannot be another one
        Err(error) if refuses(error) && to.digest().is_none() => docker_form(bytes)?,
        _ => None,
    };
    let Some(docker) = docker else {
        put.with_code(Code::ImageInvalid, || format!("{to}: manifest"))?;
        return Ok(Digest::of(bytes));
    };
    put_manifest(client, &to.version(), manifest::DOCKER_MANIFEST, &docker).with_code(Code::ImageInvalid, || {
        format!("{to}: manifest, in Docker's form because the registry refuses OCI's")
    })?;
    progress
        .warn(&format!("{to}: the registry refuses OCI manifests, so the image has Docker's form and another digest"));
    Ok(Digest::of(&docker))
}

/// Returns whether a registry has refused the type of a manifest.
fn refuses(error: &anyhow::Error) -> bool {
    error.downcast_ref::<HttpError>().is_some_and(|error| matches!(error.status, 400 | 405 | 406 | 415 | 422))
}

/// Returns other repositories of this registry that have the image, by its names.
fn mount_from(image: &ImageRecord, to: &Reference) -> Vec<String> {
    let names = image.names.iter().chain(&image.source);
    let mut mount_from: Vec<String> = names
        .filter_map(|name| Reference::parse(name).ok())
        .filter(|name| name.registry() == to.registry() && name.path() != to.path())
        .map(|name| name.path().to_owned())
        .collect();
    mount_from.sort();
    mount_from.dedup();
    mount_from
}

fn send_all(
    store: &Store,
    client: &Client,
    blobs: &BTreeMap<Digest, u64>,
    mount_from: &[String],
    progress: &Progress,
) -> Result<()> {
    let left = Mutex::new(blobs.iter());
    let work = || -> Result<()> {
        loop {
            let next = left.lock().map_or(None, |mut left| left.next());
            let Some((digest, size)) = next else { return Ok(()) };
            let bar = progress.blob("pushed", digest, *size);
            let on_progress = |bytes| bar.set(bytes);
            let sent = Upload { client, store, digest, size: *size, mount_from, progress: &on_progress }.run();
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
        let workers = start_some(scope, ("push", PARALLEL.min(blobs.len())), work)?;
        let mut result = Ok(());
        for worker in workers {
            match worker.join() {
                Ok(done) => result = result.and(done),
                Err(_) => bail!(coded!(RegistryAnswer, "a thread failed")),
            }
        }
        result
    })
}

/// Puts a manifest or an index under a tag or its digest.
///
/// # Errors
/// The registry refuses, or reports another digest.
pub(crate) fn put_manifest(client: &Client, version: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
    let url = client.url(&format!("manifests/{version}"))?;
    let headers = [("content-type", media_type.to_owned()), ("content-length", bytes.len().to_string())];
    client.timing().retry(|| {
        let response = client.send(&Method::PUT, &url, &headers, &mut || Ok(Box::new(bytes)))?;
        match response.status {
            200..=202 => {}
            429 | 500 | 502..=504 => return Err(response.into_transient_error()),
            _ => return Err(response.into_error().into()),
        }
        let digest = Digest::of(bytes);
        match response.find("docker-content-digest") {
            Some(named) if named != digest.to_string() => Err(anyhow::anyhow!(coded!(
                RegistryAnswer,
                "the registry reports the digest {named:?}, it is {digest}"
            ))
            .into()),
            _ => Ok(()),
        }
    })
}
