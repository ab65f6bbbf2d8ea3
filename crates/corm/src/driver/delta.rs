//! An unfinished layer of `LayerFormat::DeltaBuilder`, for overlay and aufs.

use std::ffi::CStr;
use std::fs::{DirBuilder, Permissions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::layout::{DriverDirs, TREE};
use super::{LayerBuilder, mount_util, set_root_defaults};
use crate::model::digest::Digest;
use base::fs::copy::copy_attributes_between;
use base::fs::remove::remove_tree;
use base::fs::staging::StagedEntry;

/// Mode of a root directory without an entry in the layer. No image has it: sticky, set-id and no permissions.
const MODE_WITHOUT_ENTRY: u32 = 0o7700;

/// Name of the directory with the data of a mount, beside the layer.
const WORK: &str = "work";

/// Returns whether an attribute of an upper directory is copied into a layer: of overlay's own only the opaque marker.
pub(super) fn is_layer_attribute(name: &CStr) -> bool {
    let name = name.to_bytes();
    let own = name.strip_prefix(b"trusted.overlay.").or_else(|| name.strip_prefix(b"user.overlay."));
    own.is_none_or(|own| own == b"opaque" || own.starts_with(b"overlay."))
}

/// Creates a directory of mode 0755.
pub(super) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new().mode(0o755).create(path).with_context(|| format!("create {path:?}"))
}

/// The layers below and an unfinished one as a mounted tree.
struct Merged {
    /// The root; the mount ends with its last descriptor.
    root: OwnedFd,
    /// Removes what the mount has left in the layer besides its changes.
    clean: fn(&Path) -> Result<()>,
}

/// An unfinished layer that has only its own changes.
pub(super) struct DeltaBuilder {
    dirs: DriverDirs,
    staged: StagedEntry,
    parent: Option<Digest>,
    merged: Option<Merged>,
}

impl DeltaBuilder {
    /// Creates an empty layer. The parent must exist only when it is finished.
    #[allow(clippy::disallowed_methods, reason = "no other user may write to a directory just created")]
    pub(super) fn begin(dirs: &DriverDirs, parent: Option<&Digest>) -> Result<Self> {
        let staged = dirs.stage()?;
        let tree = staged.path().join(TREE);
        make_dir(&tree)?;
        set_root_defaults(mount_util::open_dir(&tree)?.as_fd())?;
        if parent.is_some() {
            std::fs::set_permissions(&tree, Permissions::from_mode(MODE_WITHOUT_ENTRY))
                .with_context(|| format!("{tree:?}"))?;
        }
        Ok(Self { dirs: dirs.clone(), staged, parent: parent.cloned(), merged: None })
    }

    /// Mounts the layers below together with this one: `mount` is given the directories of the layer and of the
    /// mount's own data, and `clean` the former when the mount has ended.
    pub(super) fn merge(
        mut self,
        mount: impl FnOnce(PathBuf, PathBuf) -> Result<OwnedFd>,
        clean: fn(&Path) -> Result<()>,
    ) -> Result<Self> {
        let work = self.staged.path().join(WORK);
        make_dir(&work)?;
        let root = mount(self.staged.path().join(TREE), work)?;
        self.merged = Some(Merged { root, clean });
        Ok(self)
    }
}

impl LayerBuilder for DeltaBuilder {
    fn root(&self) -> Result<OwnedFd> {
        match &self.merged {
            Some(merged) => mount_util::reopen(merged.root.as_fd()),
            None => mount_util::open_dir(&self.staged.path().join(TREE)),
        }
    }

    fn complete(&mut self) -> Result<()> {
        let Some(Merged { root, clean }) = self.merged.take() else { return Ok(()) };
        drop(root);
        remove_tree(&self.staged.path().join(WORK))?;
        clean(&self.staged.path().join(TREE))
    }

    #[allow(clippy::disallowed_methods, reason = "no other user may write to a directory just created")]
    fn finish(mut self: Box<Self>, id: &Digest) -> Result<()> {
        self.complete()?;
        let tree = self.staged.path().join(TREE);
        let meta = std::fs::metadata(&tree).with_context(|| format!("{tree:?}"))?;
        // the layer had no entry for the root: its attributes are the parent's
        if meta.mode() & 0o7777 == MODE_WITHOUT_ENTRY
            && let Some(parent) = &self.parent
        {
            copy_attributes_between(&self.dirs.require_layer(parent)?, &tree, is_layer_attribute)?;
        }
        self.dirs.publish_layer(self.staged, id)
    }
}
