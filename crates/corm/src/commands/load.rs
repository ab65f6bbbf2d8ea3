//! `corm load PATH`: loads images from an OCI layout, a tar of one, or a docker archive.

use base::coded;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use anyhow::{Result, ensure};

use super::{Context, print, remote};
use crate::archive;

/// Loads images and prints their names, one a line; for an image without a name its ID.
///
/// # Errors
/// As [`archive::load`]; standard input is a terminal.
pub(super) fn run(context: &Context, path: &Path, name: Option<&str>, quiet: bool) -> Result<u8> {
    ensure!(
        path != Path::new("-") || !io::stdin().is_terminal(),
        coded!(UsageArguments, "no archive: give a path or standard input")
    );
    for image in archive::load(&context.store()?, path, name, &remote::progress(context, quiet))? {
        if image.names.is_empty() {
            print::line(image.id.hex())?;
        }
        image.names.iter().try_for_each(print::line)?;
    }
    Ok(0)
}
