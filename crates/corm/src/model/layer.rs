//! A layer of an image, and how its deletions are kept.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// A layer as the manifest and the configuration tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What was transferred: usually compressed.
    pub blob: Digest,
    /// How it is packed.
    pub media_type: String,
    /// The tar itself.
    pub diff_id: Digest,
}

/// How a deleted name is kept in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhiteoutFormat {
    /// By deleting it: the layer is a whole tree.
    Delete,
    /// A character device 0:0, and `trusted.overlay.opaque` on directories.
    OverlayDevice,
    /// A character device 0:0, which anybody may make (Linux 5.8), and `user.overlay.opaque` on directories: without
    /// privileges.
    OverlayXattr,
    /// Files `.wh.NAME` and `.wh..wh..opq`, as in the layer itself.
    Aufs,
}
