//! Storage drivers: how each kind of file system stores layers and containers.
//!
//! A layer is named by its chain ID, a container by its ID. A driver knows directories and file systems; `store` has
//! blobs, records, names and locks.

mod aufs;
mod btrfs;
mod copy;
mod delta;
pub mod detect;
mod diff_upper;
pub mod layout;
pub mod mount_util;
mod overlay;
mod tree_diff;
mod usage;

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use self::layout::DriverDirs;
use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::layer::WhiteoutFormat;
use linux::path;

/// Kinds of drivers, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// Snapshots of btrfs subvolumes.
    Btrfs,
    /// Overlay mounts of lower directories and an upper one.
    Overlay,
    /// Aufs branches, on kernels with the aufs patches.
    Aufs,
    /// Copies, by reflink where the file system supports it.
    Copy,
}

impl DriverKind {
    /// All kinds, best first.
    pub const ALL: [DriverKind; 4] = [DriverKind::Btrfs, DriverKind::Overlay, DriverKind::Aufs, DriverKind::Copy];

    /// Returns the name on the command line.
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

/// Content of an unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerFormat {
    /// The whole tree up to this layer; whiteouts are applied while it is unpacked.
    Tree,
    /// The changes of this layer only; whiteouts are stored in the format of [`Driver::whiteouts`].
    Delta,
}

/// An unfinished layer: a directory private to this process. `Drop` removes it, or after a kill the next sweep.
pub trait LayerBuilder: Send {
    /// Opens the directory to which entries are applied.
    fn root(&self) -> Result<OwnedFd>;

    /// Ends the mount of the layers below that [`Driver::begin_whole`] has made, if any: the root is the layer alone then.
    ///
    /// # Errors
    /// The attributes that the mount has left cannot be removed.
    fn complete(&mut self) -> Result<()> {
        Ok(())
    }

    /// Publishes the directory as the layer `id`, atomically; a layer that another process finished first is kept.
    ///
    /// # Errors
    /// As rename(2); the directory is removed then.
    fn finish(self: Box<Self>, id: &Digest) -> Result<()>;
}

/// Directories of a driver, on one file system.
#[derive(Debug, Clone)]
pub struct DriverPaths {
    /// Layers, by chain ID.
    pub layers: PathBuf,
    /// Containers, by ID.
    pub trees: PathBuf,
    /// Entries that are being created or removed.
    pub tmp: PathBuf,
}

/// Opens the driver of this kind at these paths; `user_xattrs` as [`detect::choose`] returned.
///
/// # Errors
/// A feature that it needs is not available any more.
pub fn open(kind: DriverKind, paths: &DriverPaths, user_xattrs: bool) -> Result<Box<dyn Driver>> {
    let dirs = DriverDirs::new(paths);
    Ok(match kind {
        DriverKind::Overlay => Box::new(overlay::Overlay::new(dirs, user_xattrs)),
        DriverKind::Btrfs => Box::new(btrfs::Btrfs::new(dirs)),
        DriverKind::Aufs => Box::new(aufs::Aufs::new(dirs)),
        DriverKind::Copy => Box::new(copy::CopyDriver::new(dirs)),
    })
}

/// Sets mode and times of the root of a tree in which no layer has an entry for it. They are fixed, so that an image is
/// the same tree everywhere.
fn set_root_defaults(root: BorrowedFd<'_>) -> Result<()> {
    let epoch = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    path::fchmod(root, 0o755).context("mode of the root")?;
    path::set_times(root, c".", &[epoch, epoch]).context("times of the root")
}

fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// A storage driver of one store. Methods common to all drivers are provided: their trees are directories of the
/// `DriverDirs`.
pub trait Driver: Send + Sync {
    /// Returns the kind.
    fn kind(&self) -> DriverKind;

    /// Returns the directories of the trees.
    fn dirs(&self) -> &DriverDirs;

    /// Returns the content of its layers: whole trees, unless the kernel joins deltas.
    fn form(&self) -> LayerFormat {
        LayerFormat::Tree
    }

    /// Returns the format of whiteouts in its layers; whole trees have none.
    fn whiteouts(&self) -> WhiteoutFormat {
        WhiteoutFormat::Delete
    }

    /// Returns whether every layer of a chain is stored. If not (`copy`), a whole chain is applied to one tree, and
    /// only the topmost layer is stored.
    fn keeps_each(&self) -> bool;

    /// Begins a layer on top of `parent`: with `Tree` it starts as the parent's tree, with `Delta` empty.
    fn begin(&self, parent: Option<&Digest>) -> Result<Box<dyn LayerBuilder>>;

    /// Begins a layer on top of the complete layers `below` as a whole tree, also with `Delta`: it is mounted then, and
    /// whiteouts are applied to it while it is unpacked. Slower than [`Driver::begin`] there, and right for every layer.
    fn begin_whole(&self, below: &[Digest]) -> Result<Box<dyn LayerBuilder>> {
        self.begin(below.last())
    }

    /// Returns whether the complete layer exists.
    fn has(&self, layer: &Digest) -> bool {
        self.dirs().has(layer)
    }

    /// Returns whether the layer is on the device, as its mark says.
    fn is_durable(&self, layer: &Digest) -> bool {
        self.dirs().is_durable(layer)
    }

    /// Opens the tree of an existing layer.
    fn layer_root(&self, layer: &Digest) -> Result<OwnedFd> {
        mount_util::open_dir(&self.dirs().require_layer(layer)?)
    }

    /// Returns all existing layers.
    fn layers(&self) -> Result<Vec<Digest>> {
        self.dirs().layers()
    }

    /// Removes a layer that is no other's parent.
    fn remove(&self, layer: &Digest) -> Result<()> {
        self.dirs().remove_atomically(Tree::Layer(layer))
    }

    /// Creates a writable tree for a container on top of `chain`: all its layers, lowest first; an empty chain gives an
    /// empty tree. Data is copied only where the file system has neither snapshots nor unions.
    ///
    /// `sync`: what is needed to remove it is on the device afterwards; else the caller sees to that, or nothing of the
    /// container has to survive a power cut.
    fn create(&self, container: &str, chain: &[Digest], sync: bool) -> Result<()>;

    /// Mounts the container's tree at `target`, an empty directory, and returns its path: `target`, or the driver's own
    /// directory if no mount is needed. Must be repeated after a reboot.
    fn mount(&self, container: &str, target: &Path) -> Result<PathBuf>;

    /// Mounts the container's tree at `target`, an empty directory, with the IDs that a user namespace maps.
    ///
    /// # Errors
    /// The kernel maps no IDs of this file system.
    fn mount_mapped(&self, container: &str, target: &Path, ids: &Ids<'_>) -> Result<()> {
        let tree = mount_util::clone_mapped(&self.dirs().container_tree(container), ids.userns)?;
        mount_util::at(tree.as_fd(), target)
    }

    /// Returns the container's tree with the owners of the image, also while it is mounted with others.
    fn content(&self, container: &str) -> Result<Box<dyn View>> {
        mount_util::view_of(&self.dirs().container_tree(container))
    }

    /// Unmounts the tree; no error when it is not mounted.
    fn unmount(&self, _container: &str, target: &Path) -> Result<()> {
        mount_util::detach(target)
    }

    /// Removes the container's tree; no error when it does not exist.
    fn destroy(&self, container: &str) -> Result<()> {
        self.dirs().remove_atomically(Tree::Container(container))
    }

    /// Returns the containers with a tree, whether they have a record or not.
    fn containers(&self) -> Result<Vec<String>> {
        self.dirs().containers()
    }

    /// Returns the chain that a container was created on, lowest first: these layers must exist as long as the
    /// container. Empty for an unknown container.
    fn base(&self, container: &str) -> Result<Vec<Digest>> {
        self.dirs().base(container)
    }

    /// Returns the container's changes to its chain, sorted, and the directory with the new content. Exact only while
    /// no process writes to the tree.
    fn changes(&self, container: &str) -> Result<(OwnedFd, Vec<Change>)>;

    /// Stores the container's current tree as the layer `id`, on top of the chain it was created on; the container is
    /// unchanged. With snapshots nothing is copied.
    fn commit(&self, container: &str, id: &Digest) -> Result<()>;

    /// Stores the tree of a container that is not mounted as [`Driver::commit`] does. Nothing but its removal is possible
    /// afterwards, so that the tree itself may become the layer.
    fn seal(&self, container: &str, id: &Digest) -> Result<()> {
        self.commit(container, id)
    }

    /// Returns a read-only view of a chain as one tree; `Drop` releases it.
    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>>;

    /// Returns the disk usage of a layer or a container in bytes, approximately.
    fn usage(&self, of: Tree<'_>) -> Result<u64> {
        usage::of(&self.dirs().path(of))
    }
}

/// The IDs of a user namespace.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// The user namespace.
    pub userns: BorrowedFd<'a>,
    /// User and group that its root is in this process's.
    pub root: (u32, u32),
}

/// A tree of a driver.
#[derive(Debug, Clone, Copy)]
pub enum Tree<'a> {
    /// The tree of a layer.
    Layer(&'a Digest),
    /// The tree of a container.
    Container(&'a str),
}

/// A read-only tree.
pub trait View {
    /// Opens its root.
    fn root(&self) -> Result<OwnedFd>;
}
