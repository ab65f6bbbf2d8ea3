//! The destination of a copy.

use base::coded;
use base::error::{Code, Coding as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail, ensure};

use super::layout_dir::LayoutDir;
use super::location::Location;
use super::{Request, Side};
use crate::archive::{self, Files};
use crate::cli::args::Archive;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::parts::{Part, Parts};
use crate::model::reference;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry::{Access, Client, Upload, put_image, put_manifest};
use crate::store::Store;

/// An open destination.
pub(super) struct Target<'a> {
    store: &'a Store,
    kind: Kind,
    /// Documents below the named one.
    below: Mutex<Vec<Parts>>,
}

/// Kind of a destination.
enum Kind {
    Registry {
        client: Box<Client>,
        name: Reference,
        mount_from: Vec<String>,
        exact: bool,
    },
    Layout(LayoutDir, Option<String>),
    /// Files that are written from the store at the end.
    Files {
        path: PathBuf,
        name: Option<String>,
        form: Archive,
    },
    Store(String),
}

impl<'a> Target<'a> {
    /// Opens a destination. `source` is the repository that a registry may mount blobs from.
    ///
    /// # Errors
    /// It exists and must not, or cannot be written, or has no room for what is requested.
    pub(super) fn open(store: &'a Store, to: &Side<'_>, source: Option<&Reference>, request: &Request) -> Result<Self> {
        let files =
            |path: &PathBuf, name: &Option<String>, form| Kind::Files { path: path.clone(), name: name.clone(), form };
        let kind = match to.at {
            Location::Registry(name) => {
                let mount_from = source.filter(|from| from.registry() == name.registry() && from.path() != name.path());
                let mount_from: Vec<String> = mount_from.map(|from| from.path().to_owned()).into_iter().collect();
                let place = to.options.registries.to_write(name)?;
                let client = Box::new(Client::connect(&place, Access::Push, &mount_from, to.options)?);
                Kind::Registry {
                    client,
                    name: name.clone(),
                    mount_from,
                    exact: request.all || request.preserve_digests,
                }
            }
            Location::Layout(path, tag) => Kind::Layout(LayoutDir::open(path)?, tag.clone()),
            Location::OciArchive(path, tag) => files(path, tag, Archive::Oci),
            Location::Directory(path) => files(path, &None, Archive::DockerDir),
            Location::DockerArchive(path, name) => {
                ensure!(!request.all, coded!(UsageValue, "--all: a docker archive has no index"));
                ensure!(
                    !request.preserve_digests,
                    coded!(ImageInvalid, "--preserve-digests: a docker archive has no manifest")
                );
                files(path, &name.as_deref().map(reference::local_name).transpose()?, Archive::Docker)
            }
            Location::Manifest(_) => bail!(coded!(ImageInvalid, "a manifest of the store is no destination")),
            Location::Store(name) => {
                ensure!(!request.all, coded!(UsageValue, "--all: the store keeps one image of an index"));
                Kind::Store(reference::local_name(name)?)
            }
        };
        Ok(Self { store, kind, below: Mutex::default() })
    }

    fn upload<'u>(
        &'u self,
        client: &'u Client,
        part: &'u Part,
        mount_from: &'u [String],
        progress: &'u (dyn Fn(u64) + Sync),
    ) -> Upload<'u> {
        Upload { client, store: self.store, digest: &part.digest, size: part.size, mount_from, progress }
    }

    /// Returns whether the destination has a blob.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn has(&self, part: &Part) -> Result<bool> {
        match &self.kind {
            Kind::Registry { client, mount_from, .. } => self.upload(client, part, mount_from, &|_| {}).is_there(),
            Kind::Layout(dir, _) => dir.has(&part.digest, part.size),
            Kind::Files { .. } | Kind::Store(_) => Ok(self.store.has_blob(&part.digest) == Some(part.size)),
        }
    }

    /// Writes a blob of the store, which the destination lacks.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn put(&self, part: &Part, progress: &Progress) -> Result<()> {
        match &self.kind {
            Kind::Registry { client, mount_from, .. } => {
                let bar = progress.blob("pushed", &part.digest, part.size);
                self.upload(client, part, mount_from, &|bytes| bar.set(bytes)).send_it()?;
                bar.done();
                Ok(())
            }
            Kind::Layout(dir, _) => dir.put(&part.digest, part.size, &mut self.store.open_blob(&part.digest)?),
            // from the store, at the end
            Kind::Files { .. } | Kind::Store(_) => Ok(()),
        }
    }

    /// Writes a document that the named one refers to, after its blobs.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn put_document(&self, document: &Parts) -> Result<()> {
        match &self.kind {
            Kind::Registry { client, name, .. } => {
                put_manifest(client, &document.digest.to_string(), &document.media_type, &document.bytes)
                    .with_code(Code::ImageInvalid, || format!("{name}: manifest {}", document.digest))
            }
            Kind::Layout(dir, _) => dir.put_document(document),
            Kind::Files { .. } | Kind::Store(_) => {
                self.below.lock().unwrap_or_else(PoisonError::into_inner).push(document.clone());
                Ok(())
            }
        }
    }

    /// Writes the named document; returns its digest there.
    ///
    /// # Errors
    /// It cannot be written; the name is unchanged then.
    pub(super) fn finish(self, top: &Parts, progress: &Progress) -> Result<Digest> {
        let below = self.below.into_inner().unwrap_or_else(PoisonError::into_inner);
        let documents: Vec<&Parts> = below.iter().chain([top]).collect();
        match self.kind {
            Kind::Registry { client, name, exact, .. } => {
                if let Some(wanted) = name.digest().filter(|wanted| **wanted != top.digest) {
                    bail!(coded!(ImageDigest, "{name}: the image has the digest {}, not {wanted}", top.digest));
                }
                if exact || top.children.is_some() {
                    put_manifest(&client, &name.version(), &top.media_type, &top.bytes)
                        .with_code(Code::ImageInvalid, || format!("{name}: manifest"))?;
                    return Ok(top.digest.clone());
                }
                put_image(&client, &name, &top.media_type, &top.bytes, progress)
            }
            Kind::Layout(dir, tag) => dir.finish(top, tag.as_deref()).map(|()| top.digest.clone()),
            Kind::Files { path, name, form: Archive::Docker } => {
                let (manifest, _) = self.store.put_blob(&top.bytes)?;
                let image = self.store.describe(&manifest, None)?;
                archive::save_docker(self.store, &image, name.as_deref(), &path)?;
                Ok(top.digest.clone())
            }
            Kind::Files { path, name, form } => {
                Files { store: self.store, documents: &documents }.write(form, name.as_deref(), &path)?;
                Ok(top.digest.clone())
            }
            Kind::Store(name) => {
                let (manifest, _) = self.store.put_blob(&top.bytes)?;
                let parsed = manifest::parse_manifest(&top.bytes)?;
                let config = manifest::parse_config(&self.store.read_blob(&manifest::digest_of(parsed.config())?)?)?;
                progress.unpack(self.store, &manifest::layers(&parsed, &config)?)?;
                self.store.put_image(&manifest, &[name], None)?;
                Ok(manifest)
            }
        }
    }
}
