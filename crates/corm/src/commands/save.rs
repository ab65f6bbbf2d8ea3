//! `corm save IMAGE -o PATH`: writes an image to a file or directory.

use anyhow::Result;

use super::Context;
use crate::archive;
use crate::cli::args;

/// Saves the image.
///
/// # Errors
/// As [`archive::save`].
pub(super) fn run(context: &Context, args: &args::Save) -> Result<u8> {
    let store = context.store()?;
    let image = store.find_image(&args.image)?;
    archive::save(&store, &image, &args.image, args.format, &args.output)?;
    Ok(0)
}
