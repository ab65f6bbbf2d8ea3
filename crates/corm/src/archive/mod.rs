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
    /// Image ID: the digest of its configuration.
    pub id: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its names in the archive, in valid form.
    pub names: Vec<String>,
}

/// Prints a warning.
fn warn(message: &str) {
    use std::io::Write as _;
    // write errors are ignored: standard error may be closed
    let _ = writeln!(std::io::stderr(), "corm: warning: {}", base::error::escape::one_line(message));
}
