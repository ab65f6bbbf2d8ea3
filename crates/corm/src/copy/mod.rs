//! Copies of images between registries, layouts, archives and the store, without unpacking: every byte of a manifest is
//! kept, every blob is verified by its digest, and one that the destination has is neither fetched nor sent.
//!
//! A blob passes through the store, where an interrupted download is continued; what no image of the store needs is
//! removed afterwards.

mod layout_dir;
mod location;
mod source;
mod target;

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeSet;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use base::thread::start_some;

use crate::build::recompressed;
use crate::layer::Compression;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::parts::{Part, Parts, parts};
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry::{AuthSource, Options};
use crate::store::{ImageList, Store};
pub use location::Location;
use source::Source;
use target::Target;

/// Number of blobs that are copied at a time.
const PARALLEL: usize = 3;

/// Maximum number of manifests and indexes of one copy.
const MAX_DOCUMENTS: usize = 1000;

/// Maximum nesting of indexes.
const MAX_DEPTH: usize = 4;

/// What is copied, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Every image of an index, and the index.
    pub all: bool,
    /// Platform of the image of an index; absent: this machine's.
    pub platform: Option<Platform>,
    /// Fail where the destination would have another digest.
    pub preserve_digests: bool,
    /// Compression of the layers and its level; absent: as they are.
    pub compression: Option<(Compression, Option<i32>)>,
}

/// One side of a copy.
pub struct Side<'a> {
    /// The place of the image.
    pub at: &'a Location,
    /// Access to a registry.
    pub options: &'a Options,
}

/// Copies an image; returns its digest at the destination.
///
/// # Errors
/// Something does not match its digest, or a side refuses; the name at the destination is unchanged then.
pub fn copy(store: &Store, from: &Side<'_>, to: &Side<'_>, request: &Request, progress: &Progress) -> Result<Digest> {
    // keeps blobs in the store while they are copied
    let _using = store.shared()?;
    let (source, top) = Source::open(store, from, progress)?;
    let mut documents = source.choose(top, request)?;
    if let Some((format, level)) = request.compression {
        for document in &mut documents {
            source.fetch_all(document, progress)?;
            *document = recompressed(store, document, format, level)?;
        }
    }
    let Some((top, below)) = documents.split_last() else { bail!(coded!(ArchiveInvalid, "nothing to copy")) };
    let target = Target::open(store, to, source.repository(), request)?;
    for document in below {
        transfer(&source, &target, document, progress)?;
        target.put_document(document)?;
    }
    transfer(&source, &target, top, progress)?;
    let digest = target.finish(top, progress)?;
    if request.preserve_digests && digest != top.digest {
        bail!(coded!(ImageDigest, "the destination has the digest {digest}, not {}", top.digest));
    }
    Ok(digest)
}

/// Copies a list of images and its index; returns the digest of the index.
///
/// # Errors
/// As [`copy`].
pub fn copy_list(store: &Store, list: &ImageList, to: &Side<'_>, progress: &Progress) -> Result<Digest> {
    let _using = store.shared()?;
    let request = Request { all: true, ..Request::default() };
    let target = Target::open(store, to, None, &request)?;
    let top = parts(list.document()?, None)?;
    // credentials of the command line are for the registry of the destination
    let auth = AuthSource { given: None, ..to.options.auth.clone() };
    let elsewhere = Options { auth, ..to.options.clone() };
    let registry = |at: &Location| match at {
        Location::Registry(reference) => Some(reference.registry().to_owned()),
        _ => None,
    };
    for entry in &list.entries {
        let at = match &entry.source {
            Some(source) => Location::Registry(Reference::parse(source)?),
            None => Location::Manifest(entry.digest.clone()),
        };
        let options = if registry(&at) == registry(to.at) { to.options } else { &elsewhere };
        let (source, document) = Source::open(store, &Side { at: &at, options }, progress)?;
        for document in source.choose(document, &request)? {
            transfer(&source, &target, &document, progress)?;
            target.put_document(&document)?;
        }
    }
    target.finish(&top, progress)
}

/// Copies the blobs of a manifest that the destination lacks.
fn transfer(source: &Source<'_>, target: &Target<'_>, document: &Parts, progress: &Progress) -> Result<()> {
    let mut seen = BTreeSet::new();
    let blobs: Vec<&Part> = document.blobs.iter().filter(|blob| seen.insert(&blob.digest)).collect();
    in_parallel(&blobs, |blob| {
        let copy = || -> Result<()> {
            if target.has(blob)? {
                return Ok(());
            }
            source.fetch(blob, progress)?;
            target.put(blob, progress)
        };
        copy().with_context(|| format!("blob {}", blob.digest))
    })
}

/// Runs `work` for each item in a few threads; after an error begins no further item.
fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let left = Mutex::new(items.iter());
    let next = || left.lock().map_or(None, |mut left| left.next());
    let run = || -> Result<()> {
        while let Some(item) = next() {
            if let Err(error) = work(item) {
                while next().is_some() {}
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = start_some(scope, ("copy", PARALLEL.min(items.len())), run)?;
        let done = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread failed"))));
        done.fold(Ok(()), Result::and)
    })
}

/// The choice of what is copied.
impl Source<'_> {
    /// Returns the documents to copy, those that others refer to first and the named one last.
    fn choose(&self, top: Parts, request: &Request) -> Result<Vec<Parts>> {
        let mut documents = Vec::new();
        if request.all {
            self.collect(top, &mut BTreeSet::new(), &mut documents, 0)?;
        } else {
            documents.push(self.of_platform(top, request.platform.as_ref().unwrap_or(&Platform::host()))?);
        }
        Ok(documents)
    }

    /// Appends a document after all that it refers to.
    fn collect(
        &self,
        document: Parts,
        seen: &mut BTreeSet<Digest>,
        documents: &mut Vec<Parts>,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH || documents.len() >= MAX_DOCUMENTS {
            bail!(coded!(
                ImageInvalid,
                "index {}: more than {MAX_DEPTH} levels or {MAX_DOCUMENTS} manifests",
                document.digest
            ));
        }
        for child in document.children.iter().flatten() {
            if seen.insert(child.digest.clone()) {
                self.collect(self.document(child)?, seen, documents, depth + 1)?;
            }
        }
        documents.push(document);
        Ok(())
    }

    /// Follows indexes to the manifest of a platform.
    fn of_platform(&self, mut document: Parts, platform: &Platform) -> Result<Parts> {
        for _ in 0..=MAX_DEPTH {
            if document.children.is_none() {
                return Ok(document);
            }
            let index = manifest::parse_index(&document.bytes)?;
            let entry = platform.choose(&index).with_code(Code::ImagePlatform, || platform.lacking(&index))?;
            let digest = manifest::digest_of(entry)?;
            let child = document.children.iter().flatten().find(|child| child.digest == digest);
            document = self.document(child.code(Code::ImageInvalid, "the index has no such entry")?)?;
        }
        bail!(coded!(ArchiveInvalid, "more than {MAX_DEPTH} indexes inside of each other"))
    }
}
