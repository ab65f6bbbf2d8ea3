//! Image files: OCI layouts (a directory, or a tar of one) and docker archives, read and written.
//!
//! Archives are untrusted. They are read once from start to end, in any order and of any size: small files are kept in
//! memory, large ones stored as blobs, and no name in an archive is used as a path.

mod contents;
mod docker;
mod layout;
mod load;
mod save;
mod sink;

pub use load::{Loaded, load};
pub use save::save;

use crate::model::digest::Digest;

/// An image whose blobs are in the store.
struct Imported {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its names in the archive, in valid form.
    pub names: Vec<String>,
}
