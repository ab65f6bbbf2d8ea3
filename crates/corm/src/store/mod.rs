//! The store of images and containers: blobs, records, names, locks, and the driver with the trees.
//!
//! ```text
//! ROOT/store.json        format and driver, written once
//! ROOT/lock              store-wide lock            ROOT/records.lock   for changing records and names
//! ROOT/blobs/sha256/HEX  manifests, configurations, layers as transferred
//! ROOT/partial/HEX       resumable downloads
//! ROOT/images/HEX.json   a record for each image    ROOT/names.json     names of images
//! ROOT/lists.json        lists of images that are being made
//! ROOT/containers/ID/    record.json (step.json of a build's step) and other files of a container
//! ROOT/layers/HEX/       the driver's layers, by chain id
//! ROOT/trees/ID/         the driver's containers
//! ROOT/volumes/NAME/     named volumes             ROOT/build-cache/HEX.json   what steps of builds made
//! ROOT/tmp/              unfinished entries; renamed when complete; notes about those beside an output path
//! ```
//! Every entry is published by one rename and removed by one: a kill at any time leaves the old state or the new one,
//! and perhaps orphans in `tmp/`, `layers/`, `blobs/` and `trees/`, deleted by the next removal. What a record names is on
//! the device before the record is (`durable`), so that a power cut does the same.

mod ancestors;
mod blob;
mod build_cache;
mod compare;
mod container;
mod durable;
mod fsck;
mod gc;
mod image;
mod list;
mod lock;
mod output;
mod partial;
mod unpack;
mod volume;

use base::coded;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

pub use blob::{BlobWriter, hash_file};
pub use build_cache::CacheEntry;
pub use container::{ContainerRecord, ROOTFS, is_id};
use durable::Unsynced;
pub use fsck::Problem;
pub use gc::Freed;
pub use image::{ImageRecord, chain_ids};
pub use list::{Annotations, ImageList, ListEntry, Lists};
pub use lock::Lock;
pub use output::OutputNote;
pub use partial::Partial;
pub use unpack::Progress;
pub use volume::{VolumeLock, VolumeRecord};

use super::driver::{self, Driver, DriverKind, DriverPaths};
use crate::model::digest::Digest;
use crate::model::limits::Limits;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;
use base::fs::staging;

/// Version of the store's format; a newer one is refused.
const FORMAT: u32 = 1;

/// Directories of a store, below its root.
const DIRS: [&str; 9] = ["", "blobs", "blobs/sha256", "partial", "images", "containers", "layers", "trees", "tmp"];

/// Options for opening a store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Root directory; by default `$CORM_ROOT`, else [`default_root`].
    pub root: Option<PathBuf>,
    /// Driver of a new store, or required driver of an existing one. By default the best that works.
    pub driver: Option<DriverKind>,
}

/// Content of `store.json`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Meta {
    format: u32,
    driver: DriverKind,
    /// Whether overlay marks whiteouts by user attributes, because the store was created without privileges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    user_xattrs: bool,
}

/// An open store. Opening is cheap and takes no lock.
pub struct Store {
    root: PathBuf,
    driver: Box<dyn Driver>,
    limits: Limits,
    /// Shared with the writers of blobs.
    unsynced: Arc<Unsynced>,
}

impl Store {
    /// Opens the store; creates it when it does not exist.
    ///
    /// # Errors
    /// The store is another user's or writable by others, has another driver than requested or a newer format, or
    /// cannot be created (read-only, no space).
    pub fn open(options: &StoreOptions) -> Result<Self> {
        let root = match &options.root {
            Some(root) => root.clone(),
            None => default_root()?,
        };
        let root = std::path::absolute(&root).with_context(|| format!("store {root:?}"))?;
        ancestors::check(&root).with_context(|| format!("store {root:?}"))?;
        check_owners(&root)?;
        let meta = match read_meta(&root)? {
            Some(meta) => meta,
            None => make(&root, options.driver)?,
        };
        if let Some(wanted) = options.driver.filter(|&wanted| wanted != meta.driver) {
            bail!(coded!(
                StoreUnsafe,
                "store {root:?} has the driver {}, not {wanted}: use another --root",
                meta.driver
            ));
        }
        let driver = driver::open(meta.driver, &places(&root), meta.user_xattrs)?;
        Ok(Self { root, driver, limits: Limits::default(), unsynced: Arc::default() })
    }

    /// Sets the limits of layers that are unpacked.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the limits of layers.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the driver.
    pub fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    /// Returns the root directory, an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of unfinished entries.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Returns a new container ID: 64 random hexadecimal digits.
    ///
    /// # Errors
    /// As getrandom(2).
    pub fn new_id(&self) -> Result<String> {
        staging::random_id()
    }
}

/// Returns `$CORM_ROOT`; `/var/lib/corm` for root; else `$XDG_DATA_HOME/corm` or `~/.local/share/corm`.
///
/// # Errors
/// An unprivileged user has no home directory.
pub fn default_root() -> Result<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(root) = given("CORM_ROOT") {
        return Ok(root);
    }
    if linux::process::euid() == 0 {
        return Ok(PathBuf::from("/var/lib/corm"));
    }
    given("XDG_DATA_HOME")
        .or_else(|| given("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("corm"))
        .context("neither HOME nor XDG_DATA_HOME is set: give --root")
}

fn places(root: &Path) -> DriverPaths {
    DriverPaths { layers: root.join("layers"), trees: root.join("trees"), tmp: root.join("tmp") }
}

fn read_meta(root: &Path) -> Result<Option<Meta>> {
    let path = root.join("store.json");
    let bytes = match std::fs::read(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("read {path:?}"))?,
    };
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_slice(&bytes).with_context(|| format!("{path:?} is damaged"))?;
    if version.format > FORMAT {
        bail!(coded!(
            StoreUnsafe,
            "store {root:?} has format {}, this corm supports {FORMAT}: use a newer corm",
            version.format
        ));
    }
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{path:?} is damaged"))
}

/// Creates the directories of a store and chooses its driver. Of two concurrent processes the one that writes
/// `store.json` first decides.
fn make(root: &Path, wanted: Option<DriverKind>) -> Result<Meta> {
    let context = || format!("create the store {root:?} (--root sets another directory)");
    if let Some(above) = root.parent() {
        std::fs::create_dir_all(above).with_context(context)?;
    }
    // an image may have vulnerable set-user-ID programs: no other user may enter the store
    for below in DIRS {
        match DirBuilder::new().mode(0o700).create(root.join(below)) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(context)?,
        }
    }
    ancestors::check(root).with_context(context)?;
    check_owners(root)?;
    let _lock = lock::take(root, "records.lock", base::fs::lock::How::Exclusive)?;
    if let Some(meta) = read_meta(root)? {
        return Ok(meta);
    }
    let chosen = driver::detect::choose(&places(root), wanted)?;
    // the directories must not be lost while the file that says that they exist is kept
    atomic_file::sync_file_system(root).with_context(context)?;
    let meta = Meta { format: FORMAT, driver: chosen.kind, user_xattrs: chosen.user_xattrs };
    atomic_file::write(&root.join("tmp"), &root.join("store.json"), &serde_json::to_vec(&meta)?, Durability::Full)
        .with_context(context)?;
    Ok(meta)
}

/// Checks the owners of existing directories before any file in them is used, because users who may write to a store
/// would choose what containers run.
fn check_owners(root: &Path) -> Result<()> {
    let me = linux::process::euid();
    for below in DIRS {
        let dir = if below.is_empty() { root.to_owned() } else { root.join(below) };
        let meta = match dir.metadata() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            other => other.with_context(|| format!("store {dir:?}"))?,
        };
        if !meta.is_dir() {
            bail!(coded!(StoreUnsafe, "store {dir:?}: is not a directory"));
        }
        if meta.uid() != me {
            bail!(coded!(StateUnsafe, "store {dir:?}: belongs to user {}, not to {me}", meta.uid()));
        }
        if meta.mode() & 0o022 != 0 {
            bail!(coded!(StateUnsafe, "store {dir:?}: others may write to it (mode {:04o})", meta.mode() & 0o7777));
        }
    }
    Ok(())
}

/// Returns the names in a directory that are digests.
fn digests_in(dir: &Path) -> Result<Vec<Digest>> {
    let mut found = Vec::new();
    for entry in linux::open::read_dir(dir).with_context(|| format!("read {dir:?}"))? {
        let name = entry.with_context(|| format!("read {dir:?}"))?.file_name();
        let hex = name.to_str().map(|name| name.strip_suffix(".json").unwrap_or(name));
        found.extend(hex.and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok()));
    }
    found.sort();
    Ok(found)
}
