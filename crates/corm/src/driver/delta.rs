//! An unfinished layer of `LayerFormat::DeltaBuilder`, for overlay and aufs.

use std::ffi::CStr;
use std::fs::{DirBuilder, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::layout::{DriverDirs, TREE};
use super::{LayerBuilder, mount_util};
use crate::model::digest::Digest;
use base::fs::copy::copy_attributes_between;
use base::fs::staging::StagedEntry;

/// Mode of a root directory without an entry in the layer. No image has it: sticky, set-id and no permissions.
const MODE_WITHOUT_ENTRY: u32 = 0o7700;

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

/// An unfinished layer that has only its own changes.
pub(super) struct DeltaBuilder {
    dirs: DriverDirs,
    staged: StagedEntry,
    parent: Option<Digest>,
}

impl DeltaBuilder {
    /// Creates an empty layer. The parent must exist only when it is finished.
    #[allow(clippy::disallowed_methods, reason = "no other user may write to a directory just created")]
    pub(super) fn begin(dirs: &DriverDirs, parent: Option<&Digest>) -> Result<Self> {
        let staged = dirs.stage()?;
        let tree = staged.path().join(TREE);
        make_dir(&tree)?;
        std::fs::set_permissions(&tree, Permissions::from_mode(MODE_WITHOUT_ENTRY))
            .with_context(|| format!("{tree:?}"))?;
        Ok(Self { dirs: dirs.clone(), staged, parent: parent.cloned() })
    }
}

impl LayerBuilder for DeltaBuilder {
    fn root(&self) -> Result<OwnedFd> {
        mount_util::open_dir(&self.staged.path().join(TREE))
    }

    #[allow(clippy::disallowed_methods, reason = "no other user may write to a directory just created")]
    fn finish(self: Box<Self>, id: &Digest) -> Result<()> {
        let tree = self.staged.path().join(TREE);
        let meta = std::fs::metadata(&tree).with_context(|| format!("{tree:?}"))?;
        // the layer had no entry for the root: its attributes are the parent's, or the default
        if meta.mode() & 0o7777 == MODE_WITHOUT_ENTRY {
            match &self.parent {
                Some(parent) => copy_attributes_between(&self.dirs.require_layer(parent)?, &tree, is_layer_attribute)?,
                None => std::fs::set_permissions(&tree, Permissions::from_mode(0o755))
                    .with_context(|| format!("{tree:?}"))?,
            }
        }
        self.dirs.publish_layer(self.staged, id)
    }
}
