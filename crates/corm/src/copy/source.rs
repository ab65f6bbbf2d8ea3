//! The source of a copy: its documents, and its blobs, which it brings into the store.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use oci_spec::image::Descriptor;

use super::location::Location;
use super::{Side, in_parallel};
use crate::archive::{Contents, REF_NAME, docker_images, layout_path, open_contents};
use crate::model::digest::Digest;
use crate::model::manifest::{self, MAX_DOCUMENT};
use crate::model::parts::{Part, Parts, parts};
use crate::model::reference;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry::{Client, Fetch, at_first};
use crate::store::Store;

/// An open source.
pub(super) struct Source<'a> {
    store: &'a Store,
    kind: Kind,
}

/// Kind of a source.
enum Kind {
    Registry {
        client: Box<Client>,
        name: Reference,
    },
    Layout(Contents),
    Directory(Contents),
    /// All documents and blobs are in the store.
    Store,
}

impl<'a> Source<'a> {
    /// Opens a source; also returns the document of its name.
    ///
    /// # Errors
    /// There is none, or it is invalid.
    pub(super) fn open(store: &'a Store, from: &Side<'_>, progress: &Progress) -> Result<(Self, Parts)> {
        let of = |kind| Self { store, kind };
        match from.at {
            Location::Registry(name) => {
                let find = |client: &Client| client.raw_manifest(&name.version());
                let (client, (bytes, declared)) =
                    at_first(name, from.options, progress, find).with_context(|| name.to_string())?;
                let top = parts(bytes, declared.as_deref()).with_context(|| name.to_string())?;
                Ok((of(Kind::Registry { client: Box::new(client), name: name.clone() }), top))
            }
            Location::Layout(path, tag) | Location::OciArchive(path, tag) => {
                let contents = open_contents(store, path)?;
                let source = of(Kind::Layout(contents));
                let entry = source.entry(tag.as_deref()).with_context(|| format!("{path:?}: index.json"))?;
                let top = source.document(&entry)?;
                Ok((source, top))
            }
            Location::DockerArchive(path, name) => {
                let manifest = docker_archive(store, path, name.as_deref())?;
                Ok((of(Kind::Store), parts(store.read_blob(&manifest)?, None)?))
            }
            Location::Directory(path) => {
                let contents = open_contents(store, path)?;
                let bytes = contents.read(store, "manifest.json", MAX_DOCUMENT).with_context(|| format!("{path:?}"))?;
                Ok((of(Kind::Directory(contents)), parts(bytes, None)?))
            }
            Location::Manifest(digest) => Ok((of(Kind::Store), parts(store.read_blob(digest)?, None)?)),
            Location::Store(name) => {
                let image = store.find_image(name)?;
                Ok((of(Kind::Store), parts(store.read_blob(&image.manifest)?, None)?))
            }
        }
    }

    /// Returns the name of the repository in a registry.
    pub(super) fn repository(&self) -> Option<&Reference> {
        match &self.kind {
            Kind::Registry { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Returns the entry of a layout's index: that of the tag, or the only one.
    fn entry(&self, tag: Option<&str>) -> Result<Part> {
        let Kind::Layout(contents) = &self.kind else { bail!(coded!(ArchiveInvalid, "no layout")) };
        let index = manifest::parse_index(&contents.read(self.store, "index.json", MAX_DOCUMENT)?)?;
        let name = |entry: &Descriptor| entry.annotations().as_ref().and_then(|all| all.get(REF_NAME)).cloned();
        let found: Vec<&Descriptor> =
            index.manifests().iter().filter(|entry| tag.is_none() || name(entry).as_deref() == tag).collect();
        let entry = match (found.as_slice(), tag) {
            ([], Some(tag)) => bail!(coded!(ImageNotFound, "no image has the tag {tag:?}")),
            ([], None) => bail!(coded!(ArchiveInvalid, "no image in it")),
            ([first, rest @ ..], _) if rest.iter().all(|entry| entry.digest() == first.digest()) => first,
            (several, _) => {
                let names: Vec<String> = several.iter().filter_map(|entry| name(entry)).collect();
                bail!(coded!(ArchiveInvalid, "{} images: name one by its tag ({})", several.len(), names.join(", ")))
            }
        };
        let media_type = entry.media_type().to_string();
        Ok(Part { digest: manifest::digest_of(entry)?, size: entry.size(), media_type, urls: Vec::new() })
    }

    /// Reads a document that another refers to, and verifies it.
    ///
    /// # Errors
    /// It is missing, or does not match.
    pub(super) fn document(&self, part: &Part) -> Result<Parts> {
        let read = || -> Result<Parts> {
            let bytes = match &self.kind {
                Kind::Registry { client, .. } => client.raw_manifest(&part.digest.to_string())?.0,
                Kind::Layout(contents) => contents.read(self.store, &layout_path(&part.digest), MAX_DOCUMENT)?,
                Kind::Directory(contents) => {
                    contents.read(self.store, &format!("{}.manifest.json", part.digest.hex()), MAX_DOCUMENT)?
                }
                Kind::Store => self.store.read_blob(&part.digest)?,
            };
            let found = Digest::of(&bytes);
            ensure!(
                found == part.digest && bytes.len() as u64 == part.size,
                coded!(ImageDigest, "{} bytes with the digest {found} instead of {}", bytes.len(), part.size)
            );
            parts(bytes, Some(&part.media_type).filter(|text| !text.is_empty()).map(String::as_str))
        };
        read().with_code(Code::ImageInvalid, || format!("manifest {}", part.digest))
    }

    /// Brings a blob into the store, verified.
    ///
    /// # Errors
    /// It is missing, or does not match.
    pub(super) fn fetch(&self, part: &Part, progress: &Progress) -> Result<()> {
        let expected = Some((&part.digest, part.size));
        match &self.kind {
            Kind::Registry { client, .. } => Fetch { store: self.store, client, progress, stopped: &|| Ok(()) }
                .run((&part.digest, part.size), &part.urls),
            Kind::Layout(contents) => contents.blob(self.store, &layout_path(&part.digest), expected).map(drop),
            Kind::Directory(contents) => contents.blob(self.store, part.digest.hex(), expected).map(drop),
            Kind::Store => {
                let present = self.store.has_blob(&part.digest).context("not in the store")?;
                ensure!(
                    present == part.size,
                    coded!(StoreDamaged, "{present} bytes, {} by the manifest (see corm fsck)", part.size)
                );
                Ok(())
            }
        }
    }

    /// Brings all blobs of a manifest into the store.
    ///
    /// # Errors
    /// As [`Source::fetch`].
    pub(super) fn fetch_all(&self, document: &Parts, progress: &Progress) -> Result<()> {
        in_parallel(&document.blobs, |blob| self.fetch(blob, progress).with_context(|| format!("blob {}", blob.digest)))
    }
}

/// Imports a docker archive into the store; returns the manifest of the named image, or of the only one.
fn docker_archive(store: &Store, path: &std::path::Path, name: Option<&str>) -> Result<Digest> {
    let images = docker_images(store, &open_contents(store, path)?).with_context(|| format!("{path:?}"))?;
    let full = |name: &str| Reference::parse(name).map(|name| name.name()).ok();
    let named = |names: &[String]| {
        name.is_none_or(|wanted| {
            reference::candidates(wanted).iter().any(|wanted| names.contains(wanted))
                || names.iter().any(|own| full(own) == full(wanted))
        })
    };
    let mut found = images.into_iter().filter(|(_, names)| named(names));
    match (found.next(), found.next()) {
        (Some((manifest, _)), None) => Ok(manifest),
        (None, _) => bail!(coded!(ImageNotFound, "{path:?}: no image of the name {:?}", name.unwrap_or_default())),
        (Some(_), Some(_)) => bail!(coded!(ArchiveInvalid, "{path:?}: several images: name one")),
    }
}
