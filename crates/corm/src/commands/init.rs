//! `corm init DIR [NAME]`: creates an image from a directory.

use std::path::Path;

use anyhow::Result;

use super::{Context, print};
use crate::create;
use crate::model::reference;

/// Creates the image and prints `Created: ID`.
///
/// # Errors
/// As [`create::from_dir`].
pub(super) fn run(context: &Context, dir: &Path, name: Option<&str>) -> Result<u8> {
    let names: Vec<_> = name.map(reference::local_name).transpose()?.into_iter().collect();
    let image = create::from_dir(&context.store()?, dir, &names)?;
    print::line(format_args!("Created: {}", image.id.hex()))?;
    Ok(0)
}
