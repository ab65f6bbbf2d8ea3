//! The btrfs driver: a layer is a read-only snapshot of its parent with its changes, a container a writable snapshot.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, ResolveFlag};

use super::layout::{DriverDirs, TREE};
use super::tree_diff::{Scan, compare};
use super::{Driver, DriverKind, LayerBuilder, View, mount_util, set_root_defaults};
use crate::model::change::Change;
use crate::model::digest::Digest;
use base::fs::copy::copy_attributes_between;
use base::fs::copy::copy_tree;
use base::fs::remove::remove_tree;
use base::fs::staging::StagedEntry;
use linux::btrfs;
use linux::resolve::{OpenHow, openat2};

/// The btrfs driver.
pub(super) struct Btrfs {
    dirs: DriverDirs,
}

impl Btrfs {
    /// Creates a driver with its trees at `dirs`.
    pub(super) fn new(dirs: DriverDirs) -> Self {
        Self { dirs }
    }

    /// Stages a new subvolume: a snapshot of `of`, or an empty one.
    fn start(&self, of: Option<&Path>) -> Result<StagedEntry> {
        let staged = self.dirs.stage()?;
        let dir = mount_util::open_dir(staged.path())?;
        match of {
            Some(of) => btrfs::snapshot(mount_util::open_dir(of)?.as_fd(), dir.as_fd(), c"tree")
                .with_context(|| format!("snapshot of {of:?}"))?,
            None => {
                btrfs::create(dir.as_fd(), c"tree").context("create a subvolume")?;
                set_root_defaults(mount_util::open_dir(&staged.path().join(TREE))?.as_fd())?;
            }
        }
        Ok(staged)
    }

    fn publish(&self, staged: StagedEntry, id: &Digest) -> Result<()> {
        let tree = mount_util::open_dir(&staged.path().join(TREE))?;
        btrfs::set_readonly(tree.as_fd(), true).context("make a subvolume read-only")?;
        self.dirs.publish_layer(staged, id)
    }
}

impl Driver for Btrfs {
    fn kind(&self) -> DriverKind {
        DriverKind::Btrfs
    }

    fn dirs(&self) -> &DriverDirs {
        &self.dirs
    }

    fn keeps_each(&self) -> bool {
        true
    }

    fn begin(&self, parent: Option<&Digest>) -> Result<Box<dyn LayerBuilder>> {
        let parent = parent.map(|parent| self.dirs.require_layer(parent)).transpose()?;
        let staged = self.start(parent.as_deref())?;
        Ok(Box::new(SnapshotBuilder { dirs: self.dirs.clone(), staged }))
    }

    fn create(&self, container: &str, chain: &[Digest], sync: bool) -> Result<()> {
        let top = chain.last().map(|top| self.dirs.require_layer(top)).transpose()?;
        self.dirs.publish_container(self.start(top.as_deref())?, (container, chain), sync)
    }

    fn mount(&self, container: &str, _target: &Path) -> Result<PathBuf> {
        Ok(self.dirs.container_tree(container))
    }

    fn changes(&self, container: &str) -> Result<(OwnedFd, Vec<Change>)> {
        let tree = mount_util::open_dir(&self.dirs.container_tree(container))?;
        let below = self.dirs.top(&self.dirs.base(container)?)?;
        let changes = compare(Scan::of(mount_util::open_dir(&below)?)?, Scan::of(mount_util::reopen(tree.as_fd())?)?)
            .with_context(|| format!("changes of container {container}"))?;
        Ok((tree, changes))
    }

    fn commit(&self, container: &str, id: &Digest) -> Result<()> {
        let tree = self.dirs.container_tree(container);
        let staged = self.start(Some(&tree))?;
        let source = mount_util::open_dir(&tree)?;
        // a snapshot has an empty directory in place of a nested subvolume
        let nested = btrfs::nested(source.as_fd()).context("list the container's subvolumes")?;
        let copy = mount_util::open_dir(&staged.path().join(TREE))?;
        for path in nested {
            copy_nested(source.as_fd(), copy.as_fd(), Path::new(OsStr::from_bytes(path.to_bytes())))
                .with_context(|| format!("copy the subvolume {path:?}"))?;
        }
        self.publish(staged, id)
    }

    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>> {
        mount_util::view_of(&self.dirs.top(chain)?)
    }
}

/// Copies the subvolume at `path` over the empty directory in the snapshot.
fn copy_nested(source: BorrowedFd<'_>, copy: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let open = |root: BorrowedFd<'_>, path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(root, path, how)
    };
    let link = |dir: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    let (from, from_above, to_above) = (open(source, path)?, open(source, above)?, open(copy, above)?);
    let to = link(&to_above).join(name);
    remove_tree(&to)?;
    copy_tree(&link(&from), &to)?;
    // copying its entries has changed its times
    copy_attributes_between(&link(&from_above), &link(&to_above), |_| false)
}

/// An unfinished layer: a writable snapshot that becomes read-only.
struct SnapshotBuilder {
    dirs: DriverDirs,
    staged: StagedEntry,
}

impl LayerBuilder for SnapshotBuilder {
    fn root(&self) -> Result<OwnedFd> {
        mount_util::open_dir(&self.staged.path().join(TREE))
    }

    fn finish(self: Box<Self>, id: &Digest) -> Result<()> {
        let this = *self;
        Btrfs::new(this.dirs).publish(this.staged, id)
    }
}
