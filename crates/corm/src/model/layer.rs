//! Layers of an image, and the formats of whiteouts.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// A layer as manifest and configuration describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the transferred blob, usually compressed.
    pub blob: Digest,
    /// Media type of the blob.
    pub media_type: String,
    /// Digest of the uncompressed tar (DiffID).
    pub diff_id: Digest,
}

/// Format of whiteouts in an unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhiteoutFormat {
    /// No whiteouts: the layer is a whole tree, in which names are deleted.
    Delete,
    /// A character device 0:0, and `trusted.overlay.opaque` on directories.
    OverlayDevice,
    /// A character device 0:0, which unprivileged users may create (Linux 5.8), and `user.overlay.opaque` on
    /// directories.
    OverlayXattr,
    /// Files `.wh.NAME` and `.wh..wh..opq`, as in the layer's tar.
    Aufs,
}
