//! The overlay driver: a layer is a directory with its changes, a container an upper directory on top of its chain.
//!
//! `mount` creates overlay mounts; `driver::diff_upper` reads the changes in the upper directory. Without privileges
//! the driver uses user attributes (`userxattr`) in a user namespace.

mod mount;

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::delta::{DeltaBuilder, is_layer_attribute, make_dir};
use super::diff_upper::{self, WhiteoutStyle};
use super::layout::{DriverDirs, TREE};
use super::{Driver, DriverKind, Ids, LayerBuilder, LayerFormat, View, mount_util};
use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::layer::WhiteoutFormat;
use base::fs::copy;
use base::fs::copy::copy_attributes_between;
use base::fs::copy::copy_tree_with;
use base::fs::proc_path;
use base::fs::walk::{MAX_DEPTH, Step, Walk, open_subdir};
use linux::cred;
use linux::file;
use linux::path;
use linux::process;

pub(super) use mount::{Branches, join};

/// The overlay driver.
pub(super) struct Overlay {
    dirs: DriverDirs,
    user_xattrs: bool,
}

impl Overlay {
    /// Creates a driver with its trees at `dirs`.
    pub(super) fn new(dirs: DriverDirs, user_xattrs: bool) -> Self {
        Self { dirs, user_xattrs }
    }

    /// Returns the directories of a chain, topmost first.
    fn lowers(&self, chain: &[Digest]) -> Result<Vec<PathBuf>> {
        chain.iter().rev().map(|layer| self.dirs.require_layer(layer)).collect()
    }

    fn upper(&self, container: &str) -> PathBuf {
        self.dirs.container(container).join("upper")
    }

    fn joined_lowers(&self, chain: &[Digest]) -> Result<OwnedFd> {
        let empty = self.dirs.empty()?;
        if chain.is_empty() {
            return mount_util::open_dir(&empty);
        }
        let branches = Branches { lowers: self.lowers(chain)?, empty, upper: None, user_xattrs: self.user_xattrs };
        join(&branches, &self.dirs)
    }
}

impl Driver for Overlay {
    fn kind(&self) -> DriverKind {
        DriverKind::Overlay
    }

    fn dirs(&self) -> &DriverDirs {
        &self.dirs
    }

    fn form(&self) -> LayerFormat {
        LayerFormat::Delta
    }

    fn whiteouts(&self) -> WhiteoutFormat {
        if self.user_xattrs { WhiteoutFormat::OverlayXattr } else { WhiteoutFormat::OverlayDevice }
    }

    fn keeps_each(&self) -> bool {
        true
    }

    fn begin(&self, parent: Option<&Digest>) -> Result<Box<dyn LayerBuilder>> {
        Ok(Box::new(DeltaBuilder::begin(&self.dirs, parent)?))
    }

    fn begin_whole(&self, below: &[Digest]) -> Result<Box<dyn LayerBuilder>> {
        let mount = |upper, work| {
            let (lowers, empty) = (self.lowers(below)?, self.dirs.empty()?);
            let branches = Branches { lowers, empty, upper: Some((upper, work)), user_xattrs: self.user_xattrs };
            join(&branches, &self.dirs)
        };
        Ok(Box::new(DeltaBuilder::begin(&self.dirs, below.last())?.merge(mount, remove_own_attributes)?))
    }

    fn create(&self, container: &str, chain: &[Digest], sync: bool) -> Result<()> {
        let staged = self.dirs.stage()?;
        for name in ["upper", "work"] {
            make_dir(&staged.path().join(name))?;
        }
        // the merged root has the attributes of the upper directory
        let top = self.dirs.top(chain)?;
        copy_attributes_between(&top, &staged.path().join("upper"), is_layer_attribute)?;
        for layer in chain {
            self.dirs.require_layer(layer)?;
        }
        self.dirs.publish_container(staged, (container, chain), sync)
    }

    fn mount(&self, container: &str, target: &Path) -> Result<PathBuf> {
        if mount_util::is_mounted(target)? {
            return Ok(target.to_owned());
        }
        let branches = Branches {
            lowers: self.lowers(&self.dirs.base(container)?)?,
            empty: self.dirs.empty()?,
            upper: Some((self.upper(container), self.dirs.container(container).join("work"))),
            user_xattrs: self.user_xattrs,
        };
        mount_util::at(join(&branches, &self.dirs)?.as_fd(), target)?;
        Ok(target.to_owned())
    }

    fn mount_mapped(&self, container: &str, target: &Path, ids: &Ids<'_>) -> Result<()> {
        let own = mount::Mapped::at(&self.dirs, self.dirs.container(container), ids.userns)?;
        let layers = mount::Mapped::at(&self.dirs, self.dirs.all_layers(), ids.userns)?;
        let base = self.dirs.base(container)?;
        let branches = Branches {
            lowers: self.lowers(&base)?.iter().map(|lower| layers.path(lower)).collect::<Result<_>>()?,
            empty: layers.path(&self.dirs.empty()?)?,
            upper: Some((own.path(&self.upper(container))?, own.path(&self.dirs.container(container).join("work"))?)),
            user_xattrs: self.user_xattrs,
        };
        // overlay keeps the creator's IDs and makes files by them: an ID-mapped mount has none for another user
        cred::become_fs_user(ids.root.0, ids.root.1).context("become the root user of the user namespace")?;
        let joined = join(&branches, &self.dirs);
        cred::become_fs_user(process::euid(), nix::unistd::getegid().as_raw()).context("become the own user again")?;
        // it has clones of the mapped mounts, which end here
        mount_util::at(joined?.as_fd(), target)
    }

    fn content(&self, container: &str) -> Result<Box<dyn View>> {
        let mut lowers = vec![self.upper(container)];
        lowers.extend(self.lowers(&self.dirs.base(container)?)?);
        let branches = Branches { lowers, empty: self.dirs.empty()?, upper: None, user_xattrs: self.user_xattrs };
        Ok(Box::new(OverlayView(join(&branches, &self.dirs)?)))
    }

    fn changes(&self, container: &str) -> Result<(OwnedFd, Vec<Change>)> {
        let upper = mount_util::open_dir(&self.upper(container))?;
        let lower = mount_util::reopen(self.joined_lowers(&self.dirs.base(container)?)?.as_fd())?;
        let style = if self.user_xattrs { WhiteoutStyle::OverlayUser } else { WhiteoutStyle::Overlay };
        let list = diff_upper::of(upper.as_fd(), lower.as_fd(), style)
            .with_context(|| format!("changes of container {container}"))?;
        Ok((upper, list))
    }

    fn commit(&self, container: &str, id: &Digest) -> Result<()> {
        let staged = self.dirs.stage()?;
        copy_tree_with(
            &self.upper(container),
            &staged.path().join(TREE),
            &copy::Options { keep_attribute: is_layer_attribute, ..copy::Options::default() },
        )?;
        self.dirs.publish_layer(staged, id)
    }

    fn seal(&self, container: &str, id: &Digest) -> Result<()> {
        let staged = self.dirs.stage()?;
        let (upper, tree) = (self.upper(container), staged.path().join(TREE));
        std::fs::rename(&upper, &tree).with_context(|| format!("rename {upper:?}"))?;
        remove_own_attributes(&tree)?;
        self.dirs.publish_layer(staged, id)
    }

    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>> {
        Ok(Box::new(OverlayView(self.joined_lowers(chain)?)))
    }
}

/// Removes the attributes that overlay has set on the files of an upper directory, except the opaque markers.
fn remove_own_attributes(upper: &Path) -> Result<()> {
    let root = mount_util::open_dir(upper)?;
    let names = path::read_dir_names(root.as_fd())?;
    remove_attributes_of(root.as_fd(), c".")?;
    let mut walk = Walk::new(MAX_DEPTH);
    walk.enter(root, PathBuf::new(), names, ())?;
    while let Some(step) = walk.step() {
        let Step::Name(parent, name) = step else { continue };
        let path = parent.path_of(&name);
        let context = || format!("{path:?}");
        remove_attributes_of(parent.fd.as_fd(), &name).with_context(context)?;
        if path::stat_at(parent.fd.as_fd(), &name, false).with_context(context)?.is_dir() {
            let dir = open_subdir(parent.fd.as_fd(), &name).with_context(context)?;
            let names = path::read_dir_names(dir.as_fd()).with_context(context)?;
            walk.enter(dir, path, names, ())?;
        }
    }
    Ok(())
}

/// Removes overlay's attributes from the file `name` of `dir`.
fn remove_attributes_of(dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let path = proc_path(dir, OsStr::from_bytes(name.to_bytes()))?;
    for attribute in file::list_xattr(&path)?.iter().filter(|attribute| !is_layer_attribute(attribute)) {
        file::remove_xattr(&path, attribute)?;
    }
    Ok(())
}

/// A mounted chain, unmounted with the last descriptor.
struct OverlayView(OwnedFd);

impl View for OverlayView {
    fn root(&self) -> Result<OwnedFd> {
        mount_util::reopen(self.0.as_fd())
    }
}
