//! `corm import FILE|- [NAME]`: an image of a tar, plain, gzip or zstd.

use std::path::Path;

use anyhow::Result;

use super::{Context, print};
use crate::create;
use crate::model::reference;

/// Prints the image's id.
///
/// # Errors
/// As [`create::from_tar`].
pub(super) fn run(context: &Context, file: &Path, name: Option<&str>) -> Result<u8> {
    let names: Vec<_> = name.map(reference::local_name).transpose()?.into_iter().collect();
    let (tar, source) = create::open_tar(file)?;
    let image = create::from_tar(&context.store()?, tar, &names, source)?;
    print::line(image.id.hex())?;
    Ok(0)
}
