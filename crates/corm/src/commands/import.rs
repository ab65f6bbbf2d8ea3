//! `corm import FILE|- [NAME]`: creates an image from a tar, plain, gzip or zstd.

use std::path::Path;

use anyhow::Result;

use super::{Context, print};
use crate::create::{self, Described};
use crate::model::reference;

/// Creates the image and prints its ID.
///
/// # Errors
/// As [`create::from_tar`].
pub(super) fn run(context: &Context, file: &Path, name: Option<&str>, described: &Described) -> Result<u8> {
    let names: Vec<_> = name.map(reference::local_name).transpose()?.into_iter().collect();
    let (tar, source) = create::open_tar(file)?;
    let image = create::from_tar(&context.store()?, tar, &names, (source, described))?;
    print::line(image.id.hex())?;
    Ok(0)
}
