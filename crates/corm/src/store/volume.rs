//! Named volumes: `volumes/NAME/_data` has the content, `volume.json` beside it the record.
//!
//! A volume is published by one rename and removed by one. Content of an image is copied to `tmp/` first and takes the
//! place of the empty `_data` by a rename, so that a kill leaves an empty volume or a whole copy.

use base::coded;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use serde::{Deserialize, Serialize};

use super::{ContainerRecord, Store};
use crate::container::names;
use crate::driver::mount_util;
use base::fs::atomic_file;
use base::fs::copy;
use base::fs::lock::{How, Locked, lock};
use base::fs::staging::StagedEntry;

/// Directory of the volumes, below the store's root.
const DIR: &str = "volumes";

/// Name of a volume's record.
const RECORD: &str = "volume.json";

/// Name of the directory with a volume's content, as in Docker and Podman.
const DATA: &str = "_data";

/// The record of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Name, unique in the store.
    pub name: String,
    /// Time of creation, RFC 3339.
    pub created: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A held lock of a volume.
#[derive(Debug)]
#[must_use]
pub struct VolumeLock(#[expect(dead_code, reason = "held, never read")] Locked);

impl Store {
    fn volume_dir(&self, name: &str) -> PathBuf {
        self.root.join(DIR).join(name)
    }

    /// Returns the directory with a volume's content.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_dir(name).join(DATA)
    }

    /// Returns a volume by its name.
    ///
    /// # Errors
    /// There is none, or its record is damaged.
    pub fn find_volume(&self, name: &str) -> Result<VolumeRecord> {
        let missing = || coded!(VolumeNotFound, "no volume with name {name:?} found: no such volume");
        // before the name is used as that of a file
        names::check(name).ok().ok_or_else(missing)?;
        let bytes = match std::fs::read(self.volume_dir(name).join(RECORD)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => bail!(missing()),
            other => other.with_context(|| format!("volume {name}"))?,
        };
        serde_json::from_slice(&bytes).with_context(|| format!("the record of volume {name} is damaged"))
    }

    /// Returns whether there is a volume of this name.
    ///
    /// # Errors
    /// As stat(2).
    pub fn has_volume(&self, name: &str) -> Result<bool> {
        self.volume_dir(name).try_exists().with_context(|| format!("volume {name}"))
    }

    /// Returns all volumes, sorted by name.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        let dir = self.root.join(DIR);
        let entries = match linux::open::read_dir(&dir) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("read {dir:?}"))?,
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("read {dir:?}"))?.file_name();
            let Some(name) = name.to_str().filter(|name| names::check(name).is_ok()) else { continue };
            match self.find_volume(name) {
                Ok(volume) => volumes.push(volume),
                // removed meanwhile
                Err(_) if !self.has_volume(name)? => {}
                Err(err) => return Err(err),
            }
        }
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(volumes)
    }

    /// Creates an empty volume; returns `false` when there is one of this name. It is on the device when this returns.
    ///
    /// # Errors
    /// The name is invalid; no space.
    pub fn create_volume(&self, name: &str, labels: BTreeMap<String, String>) -> Result<bool> {
        names::check(name)?;
        let dir = self.root.join(DIR);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(|| format!("create {dir:?}"))?,
        }
        let record = VolumeRecord { name: name.to_owned(), created: jiff::Timestamp::now().to_string(), labels };
        let staged = StagedEntry::dir(&self.tmp())?;
        let data = staged.path().join(DATA);
        let context = || format!("create volume {name}");
        std::fs::create_dir(&data).with_context(context)?;
        // users of the container other than root may enter
        File::open(&data).and_then(|open| open.set_permissions(Permissions::from_mode(0o755))).with_context(context)?;
        std::fs::write(staged.path().join(RECORD), serde_json::to_vec_pretty(&record)?).with_context(context)?;
        atomic_file::sync_file_system(staged.path())?;
        let new = staged.publish_new(&self.volume_dir(name))?;
        atomic_file::sync_dir(&dir)?;
        Ok(new)
    }

    /// Takes the lock of a volume, which a creator of a container holds from before it looks at the volume's content
    /// until the container has a record.
    ///
    /// # Errors
    /// There is no such volume.
    pub fn lock_volume(&self, name: &str) -> Result<VolumeLock> {
        let path = self.volume_dir(name).join(RECORD);
        let file = File::open(&path).with_context(|| format!("{path:?}"))?;
        Ok(VolumeLock(lock(file, How::Exclusive).with_context(|| format!("lock {path:?}"))?))
    }

    /// Copies what the image has at a volume's destination into the volume, if that is empty and of no other container.
    /// The caller holds the volume's lock.
    ///
    /// # Errors
    /// The content cannot be copied; the volume is unchanged then.
    pub fn fill_volume(&self, name: &str, from: BorrowedFd<'_>, _lock: &VolumeLock) -> Result<()> {
        let data = self.volume_data(name);
        let mut entries = linux::open::read_dir(&data).with_context(|| format!("read {data:?}"))?;
        if entries.next().is_some() || !self.users_of_volume(name)?.is_empty() {
            return Ok(());
        }
        let staged = StagedEntry::dir(&self.tmp())?;
        let to = mount_util::open_dir(staged.path())?;
        copy::fill_tree_of(from, Path::new("the image's directory"), to, &copy::Options::default())?;
        atomic_file::sync_file_system(staged.path())?;
        staged.replace(&data)
    }

    /// Returns the containers that use a volume.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn users_of_volume(&self, name: &str) -> Result<Vec<ContainerRecord>> {
        let uses = |container: &ContainerRecord| container.setup.volumes.iter().any(|volume| volume.is_named(name));
        Ok(self.containers()?.into_iter().filter(uses).collect())
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// There is none, or a container uses it.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        self.find_volume(name)?;
        let staged = StagedEntry::dir(&self.tmp())?;
        {
            // so that no container with it gets a record meanwhile
            let _records = self.records()?;
            let users: Vec<String> = self.users_of_volume(name)?.into_iter().map(|container| container.id).collect();
            ensure!(
                users.is_empty(),
                coded!(
                    VolumeInUse,
                    "volume {name} is being used by the following container(s): {}: volume is being used",
                    users.join(", ")
                )
            );
            ensure!(
                staged.take(&self.volume_dir(name))?,
                coded!(VolumeNotFound, "no volume with name {name:?} found: no such volume")
            );
        }
        atomic_file::sync_dir(&self.root.join(DIR))?;
        staged.remove()
    }

    /// Checks that the volumes of a new container were not removed meanwhile; the caller holds the lock of records.
    pub(super) fn has_volumes(&self, record: &ContainerRecord) -> Result<()> {
        let names = record.setup.volumes.iter().filter_map(|volume| volume.name.as_deref());
        names.map(|name| self.find_volume(name)).try_for_each(|found| found.map(drop))
    }
}
