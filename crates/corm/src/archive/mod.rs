//! Image files: OCI layouts (a directory, or a tar of one) and docker archives, read and written.
//!
//! Archives are untrusted. They are read once from start to end, in any order and of any size: small files are kept in
//! memory, large ones stored as blobs, and no name in an archive is used as a path.

mod contents;
mod docker;
mod files;
mod layout;
mod load;
mod save;
mod sink;

use anyhow::Result;

pub(crate) use contents::Contents;
pub(crate) use files::Files;
pub(crate) use layout::{REF_NAME, VERSION, path as layout_path};
pub(crate) use load::open as open_contents;
pub use load::{Loaded, load};
pub use save::{Named, save, save_docker};

use crate::model::digest::Digest;
use crate::store::Store;

/// An image whose blobs are in the store.
struct Imported {
    /// Image ID: the digest of its configuration.
    pub id: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its names in the archive, in valid form.
    pub names: Vec<String>,
}

/// Imports the images of a docker archive into the store; returns the manifest of each and its names.
///
/// # Errors
/// The archive is invalid.
pub(crate) fn docker_images(store: &Store, contents: &Contents) -> Result<Vec<(Digest, Vec<String>)>> {
    let images = docker::import(store, contents, &[])?;
    Ok(images.into_iter().map(|image| (image.manifest, image.names)).collect())
}

/// Prints a warning.
fn warn(message: &str) {
    use std::io::Write as _;
    // write errors are ignored: standard error may be closed
    let _ = writeln!(std::io::stderr(), "corm: warning: {}", base::error::escape::one_line(message));
}
