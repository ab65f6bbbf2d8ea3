//! Container records: how a container was created. Its status is not recorded, because the runtime knows it.

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::container::survival::{self, Synced};
use crate::container::{Purpose, Setup};
use crate::model::digest::Digest;
use base::cli_parser::LATEST_WORD;
use base::fs::atomic_file::{self, Durability};
use base::fs::staging::StagedEntry;
use base::suggest::nearest;

/// Mount point of a container's tree below its directory, for drivers that need a mount.
pub const ROOTFS: &str = "rootfs";

/// File of a record in the container's directory.
const RECORD: &str = "record.json";

/// File of the record of a build's step, which is not synced: after a power cut it may be empty, and counts as none.
const STEP_RECORD: &str = "step.json";

/// Number of digits of a container ID.
const ID_LENGTH: usize = 64;

/// The record of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Container ID, 64 hexadecimal digits.
    pub id: String,
    /// Name, given or generated, unique in the store.
    pub name: String,
    /// ID of its image.
    pub image: Digest,
    /// Name of its image at creation.
    pub image_name: String,
    /// Chain ID of the topmost layer below it.
    pub chain: Option<Digest>,
    /// Command line of its program.
    pub command: Vec<String>,
    /// Time of creation, RFC 3339.
    pub created: String,
    /// Path of its bundle.
    pub bundle: PathBuf,
    /// Run options.
    #[serde(default)]
    pub setup: Setup,
}

impl Store {
    /// Returns the directory of a container: its record and its run-time files.
    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// Returns whether a container has a record, also a damaged one.
    ///
    /// # Errors
    /// As stat(2).
    pub fn has_container(&self, id: &str) -> Result<bool> {
        let dir = self.container_dir(id);
        let exists = |name: &str| dir.join(name).try_exists().with_context(|| format!("container {id}"));
        Ok(exists(RECORD)? || exists(STEP_RECORD)?)
    }

    /// Returns the IDs in `containers/`, with or without a record.
    pub(super) fn container_ids(&self) -> Result<Vec<String>> {
        let dir = self.root.join("containers");
        let mut ids = Vec::new();
        for entry in linux::open::read_dir(&dir).with_context(|| format!("read {dir:?}"))? {
            let name = entry.with_context(|| format!("read {dir:?}"))?.file_name();
            ids.extend(name.into_string().ok().filter(|name| is_id(name)));
        }
        ids.sort();
        Ok(ids)
    }

    /// Returns the record of a container by its whole ID; `None` where there is none.
    ///
    /// # Errors
    /// The record is damaged, or cannot be read.
    pub fn read_container(&self, id: &str) -> Result<Option<ContainerRecord>> {
        let dir = self.container_dir(id);
        let read = |name: &str| match std::fs::read(dir.join(name)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).with_context(|| format!("container {id}")),
        };
        let record: ContainerRecord = if let Some(bytes) = read(RECORD)? {
            serde_json::from_slice(&bytes)
                .with_code(Code::StoreDamaged, || format!("the record of container {id} is damaged (see corm fsck)"))?
        } else {
            let step = read(STEP_RECORD)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let Some(record) = step else { return Ok(None) };
            record
        };
        if record.id != id {
            bail!(coded!(StoreDamaged, "the record of container {id} is of {:?} (see corm fsck)", record.id));
        }
        Ok(Some(record))
    }

    /// Returns all containers, the newest first.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        let mut containers = Vec::new();
        for id in self.container_ids()? {
            // without a record the container is being created or removed
            containers.extend(self.read_container(&id)?);
        }
        containers.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(containers)
    }

    /// Finds a container by name, by ID, by a unique prefix of an ID, or the newest by the flag `--latest`.
    ///
    /// # Errors
    /// `No container named 'X' exists`, or the prefix is ambiguous.
    pub fn find_container(&self, text: &str) -> Result<ContainerRecord> {
        let mut all = self.containers()?;
        if text == LATEST_WORD {
            // the newest is the first
            all.truncate(1);
            return all.pop().context("No container exists");
        }
        if let Some(at) = all.iter().position(|container| container.name == text) {
            return Ok(all.swap_remove(at));
        }
        let near = nearest(text, all.iter().map(|container| container.name.as_str()));
        let hint = near.map_or("`corm ps --all` lists them".to_owned(), |near| format!("did you mean '{near}'?"));
        let mut found = all.into_iter().filter(|container| !text.is_empty() && container.id.starts_with(text));
        let container = found
            .next()
            .with_code(Code::ContainerNotFound, || format!("No container named '{text}' exists ({hint})"))?;
        if found.next().is_some() {
            bail!(coded!(ContainerNotFound, "several containers have an id that begins with '{text}'"));
        }
        Ok(container)
    }

    /// Writes a new or changed record. The caller has held [`Store::shared`] since before the driver created the tree,
    /// because a removal deletes trees without a record.
    ///
    /// # Errors
    /// Another container has the name; the image of a new container was removed meanwhile.
    pub fn put_container(&self, record: &ContainerRecord) -> Result<()> {
        if !is_id(&record.id) {
            bail!("container id {:?}: not {ID_LENGTH} digits of 0-9a-f", record.id);
        }
        let of_build = record.setup.purpose == Purpose::Build;
        let synced = Synced::before_record(record.setup.purpose, record.setup.remove, self.driver.kind());
        if synced == Synced::FileSystem {
            self.note_unsynced();
        }
        // the layers below a step of a build are synced with its image
        if !of_build {
            self.sync()?;
        }
        let _records = self.records()?;
        if self.containers()?.iter().any(|other| other.name == record.name && other.id != record.id) {
            bail!(coded!(NameTaken, "a container named '{}' exists already", record.name));
        }
        // the steps of a build have layers without an image
        if !of_build && self.read_container(&record.id)?.is_none() && self.read_record(&record.image)?.is_none() {
            bail!(coded!(ImageNotFound, "No image named '{}' exists", record.image_name));
        }
        self.has_volumes(record)?;
        let dir = self.container_dir(&record.id);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(|| format!("create {dir:?}"))?,
        }
        self.write_container(record)
    }

    /// Changes the record of a container.
    ///
    /// # Errors
    /// Those of `change`; the container was removed; another one has its new name.
    pub fn change_container(
        &self,
        id: &str,
        change: impl FnOnce(&mut ContainerRecord) -> Result<()>,
    ) -> Result<ContainerRecord> {
        let _records = self.records()?;
        let mut record = self
            .read_container(id)?
            .with_code(Code::ContainerNotFound, || format!("No container named '{id}' exists"))?;
        change(&mut record)?;
        if self.containers()?.iter().any(|other| other.name == record.name && other.id != record.id) {
            bail!(coded!(NameTaken, "a container named '{}' exists already", record.name));
        }
        self.write_container(&record)?;
        Ok(record)
    }

    fn write_container(&self, record: &ContainerRecord) -> Result<()> {
        let durability = survival::of_record(&record.setup);
        let name = if durability == Durability::None { STEP_RECORD } else { RECORD };
        let file = self.container_dir(&record.id).join(name);
        atomic_file::write(&self.tmp(), &file, &serde_json::to_vec_pretty(record)?, durability)
    }

    /// Writes the removal of containers to the device, so that a power cut does not bring them back.
    ///
    /// # Errors
    /// The device failed.
    pub fn sync_removals(&self) -> Result<()> {
        atomic_file::sync_dir(&self.root.join("containers"))
    }

    /// Removes a stopped container whose tree is not mounted: its record, its files and its tree. Returns false when
    /// nothing of it was there.
    ///
    /// # Errors
    /// As unlink(2). The record is removed first: the next removal deletes the rest.
    pub fn remove_container(&self, id: &str) -> Result<bool> {
        let staged = StagedEntry::dir(&self.tmp())?;
        if !staged.take(&self.container_dir(id))? && !self.driver.containers()?.iter().any(|there| there == id) {
            return Ok(false);
        }
        self.driver.destroy(id)?;
        staged.remove().map(|()| true)
    }
}

/// Returns whether a text is a container ID, because it is used as a file name.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
