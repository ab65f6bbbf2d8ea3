//! Where trees are kept: what each kind of file system gives to layers and containers.
//!
//! A layer is named by its chain id (what it is on top of all below it), a container by its id. A driver knows
//! directories and file systems; blobs, records, names and locks are `store`.

mod aufs;
mod btrfs;
mod copy;
mod delta;
pub mod detect;
mod diff_upper;
mod layout;
pub mod mount_util;
mod overlay;
mod tree_diff;
mod usage;

use std::ffi::CString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use self::layout::DriverDirs;
use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::layer::WhiteoutFormat;

/// The kinds of drivers, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// Snapshots of subvolumes.
    Btrfs,
    /// Lower directories and an upper one, joined by the kernel.
    Overlay,
    /// Branches, on kernels with the AUFS patches.
    Aufs,
    /// Copies, by reference where the file system can.
    Copy,
}

impl DriverKind {
    /// All, best first.
    pub const ALL: [DriverKind; 4] = [DriverKind::Btrfs, DriverKind::Overlay, DriverKind::Aufs, DriverKind::Copy];

    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            DriverKind::Btrfs => "btrfs",
            DriverKind::Overlay => "overlay",
            DriverKind::Aufs => "aufs",
            DriverKind::Copy => "copy",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DriverKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match DriverKind::ALL.into_iter().find(|kind| kind.name() == text) {
            Some(kind) => Ok(kind),
            None => bail!("driver {text:?}: not one of btrfs, overlay, aufs, copy"),
        }
    }
}

/// What a finished layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerFormat {
    /// The whole tree up to this layer; whiteouts are carried out while it is created.
    Tree,
    /// Only what this layer changes; whiteouts are kept, in the way of [`Driver::whiteouts`].
    Delta,
}

/// A layer in the making: a directory that no other process knows. What is not finished is removed by `Drop` or, after a
/// kill, by the next sweep.
pub trait LayerBuilder: Send {
    /// Where entries are applied.
    fn root(&self) -> Result<OwnedFd>;

    /// Makes it the layer `id` at once; when another process finished the same layer first, theirs stays.
    ///
    /// # Errors
    /// The file system's; nothing is left then.
    fn finish(self: Box<Self>, id: &Digest) -> Result<()>;
}

/// Where a driver keeps its trees: directories of one file system.
#[derive(Debug, Clone)]
pub struct DriverPaths {
    /// Layers, by chain id.
    pub layers: PathBuf,
    /// Containers, by id.
    pub trees: PathBuf,
    /// What is being created or removed.
    pub tmp: PathBuf,
}

/// The driver of this kind at these places; `user_xattrs` as [`detect::choose`] found.
///
/// # Errors
/// What it needs is not there any more.
pub fn open(kind: DriverKind, places: &DriverPaths, user_xattrs: bool) -> Result<Box<dyn Driver>> {
    let shelf = DriverDirs::new(places);
    Ok(match kind {
        DriverKind::Overlay => Box::new(overlay::Overlay::new(shelf, user_xattrs)),
        DriverKind::Btrfs => Box::new(btrfs::Btrfs::new(shelf)),
        DriverKind::Aufs => Box::new(aufs::Aufs::new(shelf)),
        DriverKind::Copy => Box::new(copy::Copied::new(shelf)),
    })
}

fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// One kind of storage, at one place. What all kinds do alike is provided: their trees are directories of the `DriverDirs`.
pub trait Driver: Send + Sync {
    /// Which one.
    fn kind(&self) -> DriverKind;

    /// Where it keeps its trees.
    fn shelf(&self) -> &DriverDirs;

    /// What its layers hold.
    fn form(&self) -> LayerFormat;

    /// How its layers keep deleted names.
    fn whiteouts(&self) -> WhiteoutFormat;

    /// Whether every layer of a chain is kept. Where not (`copy`), a whole chain is applied to one tree, and only that
    /// is a layer.
    fn keeps_each(&self) -> bool;

    /// Begins a layer on top of `parent`: of the form `Tree` it starts as the parent's tree, of the form `Delta` empty.
    fn begin(&self, parent: Option<&Digest>) -> Result<Box<dyn LayerBuilder>>;

    /// Whether the layer is there, whole.
    fn has(&self, layer: &Digest) -> bool {
        self.shelf().has(layer)
    }

    /// All layers that are there.
    fn layers(&self) -> Result<Vec<Digest>> {
        self.shelf().layers()
    }

    /// Removes a layer that nothing is built on.
    fn remove(&self, layer: &Digest) -> Result<()> {
        self.shelf().remove_atomically(Tree::Layer(layer))
    }

    /// A writable tree for a container on top of `chain`: all its layers, lowest first; none gives an empty tree.
    /// Nothing is copied where the file system has snapshots or unions.
    fn create(&self, container: &str, chain: &[Digest]) -> Result<()>;

    /// Makes the container's tree appear at `target`, an empty directory; the path at which it is then (`target`, or
    /// where the driver keeps it if that needs no mount). Done again after a reboot.
    fn mount(&self, container: &str, target: &Path) -> Result<PathBuf>;

    /// Undoes `mount`; no error when nothing is mounted.
    fn unmount(&self, _container: &str, target: &Path) -> Result<()> {
        mount_util::detach(target)
    }

    /// Removes the container's tree, all of it; no error when there is none.
    fn destroy(&self, container: &str) -> Result<()> {
        self.shelf().remove_atomically(Tree::Container(container))
    }

    /// Containers whose trees are there, of records or not.
    fn containers(&self) -> Result<Vec<String>> {
        self.shelf().containers()
    }

    /// The chain a container was created on, lowest first: layers that must stay as long as it does. None where there is
    /// no such tree.
    fn base(&self, container: &str) -> Result<Vec<Digest>> {
        self.shelf().base(container)
    }

    /// What the container changed of the chain it was created on, sorted, and the directory to read the new content
    /// from. Exact only while nothing writes to it.
    fn changes(&self, container: &str) -> Result<(OwnedFd, Vec<Change>)>;

    /// Makes what the container's tree is now the layer `id`, on top of the chain it was created on; the container goes
    /// on. With snapshots nothing is copied.
    fn commit(&self, container: &str, id: &Digest) -> Result<()>;

    /// Shows a chain of layers read-only, as one tree; gone when the value is dropped.
    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>>;

    /// Bytes on disk of a layer or a container, as well as that is known.
    fn usage(&self, of: Tree<'_>) -> Result<u64> {
        usage::of(&self.shelf().path(of))
    }
}

/// One of the trees of a driver.
#[derive(Debug, Clone, Copy)]
pub enum Tree<'a> {
    /// A layer.
    Layer(&'a Digest),
    /// A container's.
    Container(&'a str),
}

/// A tree to read.
pub trait View {
    /// Its root.
    fn root(&self) -> Result<OwnedFd>;
}
