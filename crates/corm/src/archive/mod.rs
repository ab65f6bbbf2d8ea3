//! Images in files: OCI layouts (a directory, or a tar of one) and what `docker save` makes, in and out.
//!
//! Archives are hostile. They are read once from beginning to end, whatever their order and size: small files are kept in
//! memory, large ones go to the store as blobs, and no name of theirs ever becomes a path.

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
    /// Its manifest.
    pub manifest: Digest,
    /// What the archive calls it, fit to be recorded.
    pub names: Vec<String>,
}
