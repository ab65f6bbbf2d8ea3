//! Image records and names.
//!
//! A record is named by the digest of the image's configuration and keeps its meaning. One file maps names to images,
//! so that moving a name is one rename and the image that loses it stays.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::model::digest;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::manifest;
use crate::model::manifest::digest_of;
use crate::model::reference;
use crate::registries::Registries;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;
use base::suggest::nearest;

/// The record of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Image ID: the digest of the configuration.
    pub id: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the index that it was pulled by; the other images of the index are not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Names, sorted; stored in `names.json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Time of creation in the configuration (RFC 3339), else of the arrival in the store.
    pub created: String,
    /// Sum of all blob sizes in bytes: the size of a transfer.
    pub size: u64,
    /// Source: a directory, a file, a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Chain ID of its topmost layer; `None` without layers.
    pub chain: Option<Digest>,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

impl ImageRecord {
    /// Returns the chain IDs of its layers, lowest first.
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(self.layers.iter().map(|layer| &layer.diff_id))
    }
}

/// Computes the chain IDs of a list of DiffIDs.
pub fn chain_ids<'a>(diff_ids: impl Iterator<Item = &'a Digest>) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::new();
    for diff_id in diff_ids {
        chain.push(digest::chain(chain.last(), diff_id));
    }
    chain
}

type Names = BTreeMap<String, Digest>;

/// Returns the name of an image that may be meant by `text`, as it is written in short.
fn near_name<'a>(text: &str, names: &'a Names) -> Option<&'a str> {
    let forms = |name: &'a String| {
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        let last = |name: &'a str| name.rsplit_once('/').map_or(name, |(_, last)| last);
        [last(bare), last(name), bare, name]
    };
    nearest(text, names.keys().flat_map(forms))
}

impl Store {
    fn record_path(&self, id: &Digest) -> PathBuf {
        self.root.join("images").join(format!("{}.json", id.hex()))
    }

    pub(super) fn names(&self) -> Result<Names> {
        let path = self.root.join("names.json");
        match std::fs::read(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Names::new()),
            other => serde_json::from_slice(&other.with_context(|| format!("read {path:?}"))?)
                .with_code(Code::StoreDamaged, || format!("{path:?} is damaged (see corm fsck)")),
        }
    }

    pub(super) fn write_names(&self, names: &Names) -> Result<()> {
        atomic_file::write(&self.tmp(), &self.root.join("names.json"), &serde_json::to_vec(names)?, Durability::Full)
    }

    /// Returns the IDs of all records.
    pub(super) fn image_ids(&self) -> Result<Vec<Digest>> {
        super::digests_in(&self.root.join("images"))
    }

    /// Reads the record of an image, without names; `None` where there is none.
    pub(super) fn read_record(&self, id: &Digest) -> Result<Option<ImageRecord>> {
        let bytes = match std::fs::read(self.record_path(id)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("image {id}"))?,
        };
        let record: ImageRecord = serde_json::from_slice(&bytes)
            .with_code(Code::StoreDamaged, || format!("the record of image {id} is damaged (see corm fsck)"))?;
        if record.id != *id {
            bail!(coded!(StoreDamaged, "the record of image {id} is of {} (see corm fsck)", record.id));
        }
        Ok(Some(record))
    }

    /// Returns all images, the newest first.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        // names are read first, so that no name refers to an unread record; a name moved meanwhile counts at either
        // image
        let names = self.names()?;
        let mut images = Vec::new();
        for id in self.image_ids()? {
            // removed between listing and reading
            images.extend(self.read_record(&id)?.map(|record| with_names(record, &names)));
        }
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    /// Finds an image by name (as given, with `:latest`, or as a reference to the default registry), by `NAME@DIGEST`,
    /// by ID, or by a unique prefix of an ID.
    ///
    /// # Errors
    /// `No image named 'X' exists`, or the prefix is ambiguous.
    pub fn find_image(&self, text: &str) -> Result<ImageRecord> {
        let names = self.names()?;
        let missing = || match near_name(text, &names) {
            Some(near) => {
                anyhow::anyhow!(coded!(ImageNotFound, "No image named '{text}' exists (did you mean '{near}'?)"))
            }
            None if text.is_empty() => anyhow::anyhow!(coded!(ImageNotFound, "No image named '' exists")),
            None => {
                anyhow::anyhow!(coded!(ImageNotFound, "No image named '{text}' exists (`corm pull {text}` fetches it)"))
            }
        };
        if let Some(id) = reference::candidates(text).iter().find_map(|name| names.get(name)) {
            let record = self.read_record(id)?.ok_or_else(missing)?;
            return Ok(with_names(record, &names));
        }
        if let Some(record) = self.find_short(text, &names)? {
            return Ok(record);
        }
        if let Some((_, digest)) = text.rsplit_once('@') {
            let wanted = Digest::parse(digest).map_err(|err| coded!(ImageName, "{text:?}: {err}"))?;
            let is = |image: &ImageRecord| image.manifest == wanted || image.index.as_ref() == Some(&wanted);
            return self.images()?.into_iter().find(is).ok_or_else(missing);
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut found = self.image_ids()?.into_iter().filter(|id| id.hex().starts_with(prefix));
        let id = found.next().ok_or_else(missing)?;
        if found.next().is_some() {
            bail!(coded!(ImageInUse, "several images have an id that begins with '{text}'"));
        }
        Ok(with_names(self.read_record(&id)?.ok_or_else(missing)?, &names))
    }

    /// Finds an image by what registries.conf says of a short name.
    fn find_short(&self, text: &str, names: &Names) -> Result<Option<ImageRecord>> {
        if names.is_empty() || reference::short(text).is_none() {
            return Ok(None);
        }
        // several meanings are an error of a pull only
        let meanings = Registries::load()?.references(text).unwrap_or_default();
        let Some(id) = meanings.iter().find_map(|meaning| names.get(&meaning.name())) else { return Ok(None) };
        Ok(self.read_record(id)?.map(|record| with_names(record, names)))
    }

    /// Records the image of a manifest whose blobs are in the store, and sets these names. A name is moved from the
    /// image that has it.
    ///
    /// # Errors
    /// A blob is missing, or manifest and configuration do not match.
    pub fn put_image(&self, manifest: &Digest, names: &[String], source: Option<String>) -> Result<ImageRecord> {
        self.put_image_of(None, manifest, names, source)
    }

    /// Records an image as [`Store::put_image`] does, that was chosen from an index in the store.
    ///
    /// # Errors
    /// As [`Store::put_image`].
    pub fn put_image_of(
        &self,
        index: Option<&Digest>,
        manifest: &Digest,
        names: &[String],
        source: Option<String>,
    ) -> Result<ImageRecord> {
        let mut record = self.describe(manifest, source)?;
        self.sync()?;
        let _records = self.records()?;
        let path = self.record_path(&record.id);
        // when pulled later by its own digest, it keeps that index
        let before = self.read_record(&record.id)?.filter(|before| before.manifest == record.manifest);
        record.index = index.cloned().or(before.and_then(|before| before.index));
        atomic_file::write(&self.tmp(), &path, &serde_json::to_vec_pretty(&record)?, Durability::Full)?;
        let mut all = self.names()?;
        let before = all.clone();
        for name in names {
            all.insert(name.clone(), record.id.clone());
        }
        if all != before {
            self.write_names(&all)?;
        }
        Ok(with_names(record, &all))
    }

    /// Builds the record from the manifest and its blobs, which must exist.
    ///
    /// # Errors
    /// As [`Store::put_image`].
    pub fn describe(&self, manifest: &Digest, source: Option<String>) -> Result<ImageRecord> {
        let bytes = self.read_blob(manifest)?;
        let parsed =
            manifest::parse_manifest(&bytes).with_code(Code::ImageInvalid, || format!("manifest {manifest}"))?;
        let id = digest_of(parsed.config())?;
        let config_bytes = self.read_blob(&id)?;
        let config = manifest::parse_config(&config_bytes).with_context(|| format!("image configuration {id}"))?;
        let layers = manifest::layers(&parsed, &config).with_context(|| format!("image {id}"))?;
        let mut size = bytes.len() as u64 + config_bytes.len() as u64;
        for layer in &layers {
            let there = self.has_blob(&layer.blob);
            size += there.with_code(Code::ImageInvalid, || {
                format!("image {id}: its layer {} is not in the store", layer.blob)
            })?;
        }
        let created = match config.created() {
            Some(created) => created.clone(),
            None => jiff::Timestamp::now().to_string(),
        };
        let chain = chain_ids(layers.iter().map(|layer| &layer.diff_id)).pop();
        let (manifest, index, names) = (manifest.clone(), None, Vec::new());
        Ok(ImageRecord { id, manifest, index, names, created, size, source, chain, layers })
    }

    /// Adds a name to an image; an image that has it loses it.
    ///
    /// # Errors
    /// The image does not exist.
    pub fn tag(&self, id: &Digest, name: &str) -> Result<()> {
        let _records = self.records()?;
        if self.read_record(id)?.is_none() {
            bail!(coded!(ImageNotFound, "No image named '{id}' exists"));
        }
        let mut names = self.names()?;
        names.insert(name.to_owned(), id.clone());
        self.write_names(&names)
    }

    /// Removes a name in its stored form; the image stays.
    ///
    /// # Errors
    /// No image has the name.
    pub fn untag(&self, name: &str) -> Result<()> {
        let _records = self.records()?;
        let mut names = self.names()?;
        if names.remove(name).is_none() {
            bail!(coded!(ImageNotFound, "No image named '{name}' exists"));
        }
        self.write_names(&names)
    }

    /// Removes the names and the record of an image. [`Store::collect`] removes its blobs and layers.
    ///
    /// # Errors
    /// A container was created from it.
    pub fn remove_image(&self, id: &Digest) -> Result<()> {
        let _records = self.records()?;
        let users: Vec<String> =
            self.containers()?.into_iter().filter(|container| container.image == *id).map(|c| c.name).collect();
        if !users.is_empty() {
            bail!(coded!(
                ImageInUse,
                "image {:.12} is in use by {}: remove the container first",
                id.hex(),
                users.join(", ")
            ));
        }
        self.forget(id)
    }

    /// Removes the names first, because a name without a record would be inconsistent, while a record without a name is
    /// valid.
    pub(super) fn forget(&self, id: &Digest) -> Result<()> {
        let mut names = self.names()?;
        let before = names.len();
        names.retain(|_, named| named != id);
        if names.len() != before {
            self.write_names(&names)?;
        }
        let path = self.record_path(id);
        match std::fs::remove_file(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                bail!(coded!(ImageNotFound, "No image named '{id}' exists"))
            }
            other => other.with_context(|| format!("remove {path:?}"))?,
        }
        atomic_file::sync_dir(&self.root.join("images"))
    }
}

fn with_names(mut record: ImageRecord, names: &Names) -> ImageRecord {
    record.names = names.iter().filter(|(_, id)| **id == record.id).map(|(name, _)| name.clone()).collect();
    record
}
