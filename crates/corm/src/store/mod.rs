//! Where images and containers are kept: blobs, records, names, locks, and the driver that keeps the trees.
//!
//! ```text
//! ROOT/store.json        format and driver, written once
//! ROOT/lock              store-wide lock            ROOT/records.lock   for changing records and names
//! ROOT/blobs/sha256/HEX  manifests, configurations, layers as they came
//! ROOT/partial/HEX       downloads to take up again
//! ROOT/images/HEX.json   a record for each image    ROOT/names.json     which name is which image
//! ROOT/containers/ID/    record.json and what belongs to a container
//! ROOT/layers/HEX/       the driver's layers, by chain id
//! ROOT/trees/ID/         the driver's containers
//! ROOT/tmp/              in the making; renamed when whole
//! ```
//! Everything appears by one rename and disappears by one: a kill at any instant leaves the old state or the new one,
//! and rubbish in `tmp/`, `layers/`, `blobs/` and `trees/` that no record names, which the next removal takes along.

mod ancestors;
mod blob;
mod check;
mod container;
mod gc;
mod image;
mod lock;
mod partial;
mod unpack;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

pub use blob::BlobWriter;
pub use check::Problem;
pub use container::{ContainerRecord, ROOTFS};
pub use gc::Freed;
pub use image::ImageRecord;
pub use lock::Lock;
pub use partial::Partial;
pub use unpack::Progress;

use super::driver::{self, Driver, DriverKind, DriverPaths};
use crate::model::digest::Digest;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;
use base::fs::staging;

/// The form of a store that this version makes; a newer one is refused.
const FORMAT: u32 = 1;

/// The directories of a store, below its root.
const DIRS: [&str; 9] = ["", "blobs", "blobs/sha256", "partial", "images", "containers", "layers", "trees", "tmp"];

/// How to open a store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Where; by default `$CORM_ROOT`, else as [`default_root`] says.
    pub root: Option<PathBuf>,
    /// Which driver a new store gets; an old one must have it. By default the best that works there.
    pub driver: Option<DriverKind>,
}

/// What `store.json` holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Meta {
    format: u32,
    driver: DriverKind,
    /// The overlay driver was chosen without privileges: whiteouts are told by user attributes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    user_xattrs: bool,
}

/// An open store. Cheap to open; holds no lock.
pub struct Store {
    root: PathBuf,
    driver: Box<dyn Driver>,
}

impl Store {
    /// Opens the store, and makes it when there is none.
    ///
    /// # Errors
    /// It belongs to another user, others may write to it, it has another driver than wanted or a newer format, or it
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
            bail!("store {root:?} was made with the driver {}, not {wanted}: use another --root for it", meta.driver);
        }
        let driver = driver::open(meta.driver, &places(&root), meta.user_xattrs)?;
        Ok(Self { root, driver })
    }

    /// What keeps the trees.
    pub fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    /// Where the store is: an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where things are created before they are renamed to their places.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// An id for a container: 64 hexadecimal digits, never used before.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn new_id(&self) -> Result<String> {
        staging::random_id()
    }
}

/// `$CORM_ROOT`; `/var/lib/corm` for root; else `$XDG_DATA_HOME/corm` or `~/.local/share/corm`.
///
/// # Errors
/// An unprivileged user without a home.
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
        bail!("store {root:?} has format {}, this corm knows {FORMAT}: use the newer corm", version.format);
    }
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{path:?} is damaged"))
}

/// Makes the directories of a store and chooses its driver. Two processes may do it at once: the one that writes
/// `store.json` first has chosen.
fn make(root: &Path, wanted: Option<DriverKind>) -> Result<Meta> {
    let context = || format!("make the store {root:?} (choose another place with --root)");
    if let Some(above) = root.parent() {
        std::fs::create_dir_all(above).with_context(context)?;
    }
    // what is in an image may be set-user-ID and old: no other user may enter it
    for below in DIRS {
        match DirBuilder::new().mode(0o700).create(root.join(below)) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(context)?,
        }
    }
    ancestors::check(root).with_context(context)?;
    check_owners(root)?;
    let _lock = lock::take(root, "records.lock", nix::fcntl::FlockArg::LockExclusive)?;
    if let Some(meta) = read_meta(root)? {
        return Ok(meta);
    }
    let chosen = driver::detect::choose(&places(root), wanted)?;
    let meta = Meta { format: FORMAT, driver: chosen.kind, user_xattrs: chosen.user_xattrs };
    atomic_file::write(&root.join("tmp"), &root.join("store.json"), &serde_json::to_vec(&meta)?, Durability::Full)
        .with_context(context)?;
    Ok(meta)
}

/// Checks the directories that are there, before anything in them is believed: a store that others may write to would
/// let them choose what our containers run.
fn check_owners(root: &Path) -> Result<()> {
    let me = linux::process::euid();
    for below in DIRS {
        let dir = if below.is_empty() { root.to_owned() } else { root.join(below) };
        let meta = match dir.metadata() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            other => other.with_context(|| format!("store {dir:?}"))?,
        };
        if !meta.is_dir() {
            bail!("store {dir:?}: is not a directory");
        }
        if meta.uid() != me {
            bail!("store {dir:?}: belongs to user {}, not to {me}", meta.uid());
        }
        if meta.mode() & 0o022 != 0 {
            bail!("store {dir:?}: others may write to it (mode {:04o})", meta.mode() & 0o7777);
        }
    }
    Ok(())
}

/// The names in a directory that are digests.
fn digests_in(dir: &Path) -> Result<Vec<Digest>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {dir:?}"))? {
        let name = entry.with_context(|| format!("read {dir:?}"))?.file_name();
        let hex = name.to_str().map(|name| name.strip_suffix(".json").unwrap_or(name));
        found.extend(hex.and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok()));
    }
    found.sort();
    Ok(found)
}
