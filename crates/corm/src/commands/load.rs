//! `corm load PATH`: loads images from an OCI layout, a tar of one, or a docker archive.

use std::path::Path;

use anyhow::Result;

use super::{Context, print};
use crate::archive;
use crate::progress::Progress;

/// Loads images and prints their names, one a line; for an image without a name its ID.
///
/// # Errors
/// As [`archive::load`].
pub(super) fn run(context: &Context, path: &Path, name: Option<&str>) -> Result<u8> {
    let progress = Progress::new(context.global.log_level);
    for image in archive::load(&context.store()?, path, name, &progress)? {
        if image.names.is_empty() {
            print::line(image.id.hex())?;
        }
        image.names.iter().try_for_each(print::line)?;
    }
    Ok(0)
}
