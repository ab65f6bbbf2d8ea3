//! Creation of images from layers: blobs, configuration and manifest.

mod listing;
mod manifest;
mod recompress;

use std::io::Write;

use anyhow::Result;

use super::layer::{Compression, compress};
use super::model::layer::Layer;
use super::store::Store;

pub use listing::last_changes;
pub use manifest::{new_annotated, new_image, new_manifest};
pub use recompress::recompressed;

/// Stores the tar that `produce` writes as the blob of a layer; returns the layer and the size of its blob.
///
/// # Errors
/// As [`compress`]; nothing is stored then.
pub fn write_blob(store: &Store, produce: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<(Layer, u64)> {
    let (blob, diff_id, _) = compress(store.blob_writer()?, produce)?;
    let (blob, size) = blob.commit(None)?;
    let media_type = Compression::Gzip.media_type().to_owned();
    Ok((Layer { blob, media_type, diff_id }, size))
}
