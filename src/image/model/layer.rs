//! A layer of an image.

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
