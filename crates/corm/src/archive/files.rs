//! Writing of images as files: an OCI layout (a directory, or a tar of one), or a directory as skopeo's `dir:`.

use base::coded;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::layout::{self, FULL_NAME, REF_NAME, VERSION};
use super::sink::Sink;
use crate::cli::args::Archive;
use crate::model::digest::{Digest, Hashing};
use crate::model::docker_form::docker_form;
use crate::model::parts::Parts;
use crate::store::Store;

/// Content of `version` in a directory of skopeo's form.
const DIRECTORY_VERSION: &[u8] = b"Directory Transport Version: 1.1\n";

/// Documents whose blobs are in the store, the named one last.
pub(crate) struct Files<'a> {
    /// The store.
    pub store: &'a Store,
    /// The documents, each after those that it refers to.
    pub documents: &'a [&'a Parts],
}

impl Files<'_> {
    /// Writes a new archive or directory with one name.
    ///
    /// # Errors
    /// A blob is missing or damaged, or the path cannot be written; an existing file is unchanged.
    pub(crate) fn write(&self, form: Archive, name: Option<&str>, path: &Path) -> Result<()> {
        let mut sink = match form {
            Archive::OciDir | Archive::DockerDir => Sink::directory(self.store, path)?,
            Archive::Oci | Archive::Docker => Sink::tar(self.store, path)?,
        };
        let Some(top) = self.documents.last() else { bail!(coded!(ArchiveInvalid, "nothing to write")) };
        if form == Archive::DockerDir {
            self.directory(&mut sink, &top.bytes)?;
        } else {
            self.layout(&mut sink, &[entry(top, name.map(|name| (name, None)))])?;
        }
        sink.finish()
    }

    /// Writes a layout with these entries of its index.
    pub(super) fn layout(&self, sink: &mut Sink, entries: &[Value]) -> Result<()> {
        let file = |sink: &mut Sink, name: &str, value: &Value| -> Result<()> {
            let bytes = serde_json::to_vec(value)?;
            sink.file(name, bytes.len() as u64, &mut bytes.as_slice())
        };
        file(sink, "oci-layout", &json!({ "imageLayoutVersion": VERSION }))?;
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
        });
        file(sink, "index.json", &index)?;
        let mut written = BTreeSet::new();
        for document in self.documents {
            for blob in document.blobs.iter().filter(|blob| written.insert(&blob.digest)) {
                blob_of(self.store, sink, &layout::path(&blob.digest), &blob.digest)?;
            }
            if written.insert(&document.digest) {
                let name = layout::path(&document.digest);
                sink.file(&name, document.bytes.len() as u64, &mut document.bytes.as_slice())?;
            }
        }
        Ok(())
    }

    /// Writes a directory of skopeo's form with this manifest.
    fn directory(&self, sink: &mut Sink, manifest: &[u8]) -> Result<()> {
        sink.file("version", DIRECTORY_VERSION.len() as u64, &mut &*DIRECTORY_VERSION)?;
        let mut written = BTreeSet::new();
        for document in self.documents {
            for blob in document.blobs.iter().filter(|blob| written.insert(&blob.digest)) {
                blob_of(self.store, sink, blob.digest.hex(), &blob.digest)?;
            }
        }
        let below = self.documents.split_last().map(|(_, below)| below).unwrap_or_default();
        for document in below {
            let name = format!("{}.manifest.json", document.digest.hex());
            sink.file(&name, document.bytes.len() as u64, &mut document.bytes.as_slice())?;
        }
        sink.file("manifest.json", manifest.len() as u64, &mut &*manifest)
    }

    /// Writes a new directory of skopeo's form with a manifest of Docker's form, where there is one.
    pub(super) fn docker_directory(&self, path: &Path) -> Result<()> {
        let Some(top) = self.documents.last() else { bail!(coded!(ArchiveInvalid, "nothing to write")) };
        let docker = docker_form(&top.bytes)?;
        let mut sink = Sink::directory(self.store, path)?;
        self.directory(&mut sink, docker.as_deref().unwrap_or(&top.bytes))?;
        sink.finish()
    }
}

/// Returns the entry of a layout's index for a document, with its name there and its full name.
pub(super) fn entry(document: &Parts, name: Option<(&str, Option<&str>)>) -> Value {
    let mut entry = json!({
        "mediaType": document.media_type, "digest": document.digest, "size": document.bytes.len(),
    });
    if let Some((name, full)) = name {
        entry["annotations"] = json!({ REF_NAME: name });
        if let Some(full) = full {
            entry["annotations"][FULL_NAME] = json!(full);
        }
    }
    entry
}

/// Copies a blob and verifies it, because the copy may become the only one.
pub(super) fn blob_of(store: &Store, sink: &mut Sink, name: &str, digest: &Digest) -> Result<()> {
    let size = store.has_blob(digest).with_context(|| format!("blob {digest} is not in the store"))?;
    let mut data = Hashing::new(store.open_blob(digest)?);
    sink.file(name, size, &mut data as &mut dyn Read)?;
    let (_, found, _) = data.finish();
    if found != *digest {
        bail!(coded!(StoreDamaged, "blob {digest} is damaged (see corm fsck)"));
    }
    Ok(())
}
