//! The overlay driver: a layer is a directory with its changes, a container an upper directory on top of its chain.
//!
//! `mount` creates overlay mounts; `driver::diff_upper` reads the changes in the upper directory. Without privileges
//! the driver uses user attributes (`userxattr`) in a user namespace.

mod mount;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::delta::{DeltaBuilder, is_layer_attribute, make_dir};
use super::diff_upper::{self, WhiteoutStyle};
use super::layout::{DriverDirs, TREE};
use super::{Driver, DriverKind, LayerBuilder, LayerFormat, View, mount_util};
use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::layer::WhiteoutFormat;
use base::fs::copy;
use base::fs::copy::copy_attributes_between;
use base::fs::copy::copy_tree_with;

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

    fn create(&self, container: &str, chain: &[Digest]) -> Result<()> {
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
        self.dirs.publish_container(staged, container, chain)
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

    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>> {
        Ok(Box::new(OverlayView(self.joined_lowers(chain)?)))
    }
}

/// A mounted chain, unmounted with the last descriptor.
struct OverlayView(OwnedFd);

impl View for OverlayView {
    fn root(&self) -> Result<OwnedFd> {
        mount_util::reopen(self.0.as_fd())
    }
}
