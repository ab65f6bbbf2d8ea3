//! Lists of images: indexes that are being made, by name, in one file.
//!
//! An entry is an image of the store, whose blobs stay while the list has it, or one of a registry, of which only the
//! manifest is here.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::io;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Store;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::parts::parts;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;

/// Annotations by key.
pub type Annotations = BTreeMap<String, String>;

/// A list of images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageList {
    /// Annotations of the index.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The images, in the order in which they were added.
    pub entries: Vec<ListEntry>,
}

/// An image of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Size of the manifest in bytes.
    pub size: u64,
    /// Media type of the manifest.
    pub media_type: String,
    /// Platform in the form of an index; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Value>,
    /// Annotations of the entry.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Reference by digest in a registry; `None` for an image of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Lists by name.
pub type Lists = BTreeMap<String, ImageList>;

impl ImageList {
    /// Returns the index.
    ///
    /// # Errors
    /// It is no valid index, or too large.
    pub fn document(&self) -> Result<Vec<u8>> {
        let entry = |entry: &ListEntry| {
            let mut value = json!({ "mediaType": entry.media_type, "digest": entry.digest, "size": entry.size });
            if let Some(platform) = &entry.platform {
                value["platform"] = platform.clone();
            }
            if !entry.annotations.is_empty() {
                value["annotations"] = json!(entry.annotations);
            }
            value
        };
        let mut index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.entries.iter().map(entry).collect::<Vec<_>>(),
        });
        if !self.annotations.is_empty() {
            index["annotations"] = json!(self.annotations);
        }
        let bytes = serde_json::to_vec(&index)?;
        manifest::parse_index(&bytes)?;
        Ok(bytes)
    }
}

impl Store {
    /// Returns all lists.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn lists(&self) -> Result<Lists> {
        let path = self.root().join("lists.json");
        match std::fs::read(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Lists::new()),
            other => serde_json::from_slice(&other.with_context(|| format!("read {path:?}"))?)
                .with_context(|| format!("{path:?} is damaged")),
        }
    }

    /// Returns a list.
    ///
    /// # Errors
    /// `No manifest list named 'X' exists`.
    pub fn list(&self, name: &str) -> Result<ImageList> {
        self.lists()?.remove(name).with_code(Code::ImageNotFound, || format!("No manifest list named '{name}' exists"))
    }

    /// Changes the lists; nothing is written after an error.
    ///
    /// # Errors
    /// Those of `change`; no space.
    pub fn change_lists<T>(&self, change: impl FnOnce(&mut Lists) -> Result<T>) -> Result<T> {
        self.sync()?;
        let _records = self.records()?;
        let mut lists = self.lists()?;
        let done = change(&mut lists)?;
        let to = self.root().join("lists.json");
        atomic_file::write(&self.tmp(), &to, &serde_json::to_vec(&lists)?, Durability::Full)?;
        Ok(done)
    }

    /// Returns the blobs that lists need: the manifests, and what those of the store refer to.
    pub(super) fn blobs_of_lists(&self) -> Result<Vec<Digest>> {
        let mut blobs = Vec::new();
        for entry in self.lists()?.into_values().flat_map(|list| list.entries) {
            if entry.source.is_none() {
                let document = parts(self.read_blob(&entry.digest)?, None)?;
                if document.children.is_some() {
                    bail!(coded!(ImageInvalid, "manifest list: {} is an index of the store", entry.digest));
                }
                blobs.extend(document.blobs.into_iter().map(|blob| blob.digest));
            }
            blobs.push(entry.digest);
        }
        Ok(blobs)
    }
}
