//! `corm save IMAGE...`: writes images to a file, a directory or standard output.

use base::coded;
use std::io::{self, IsTerminal as _};

use anyhow::{Result, ensure};

use super::Context;
use crate::archive;
use crate::archive::Named;
use crate::cli::args;

/// Saves the images.
///
/// # Errors
/// As [`archive::save`]; standard output is a terminal.
pub(super) fn run(context: &Context, args: &args::Save) -> Result<u8> {
    ensure!(
        args.output.is_some() || !io::stdout().is_terminal(),
        coded!(UsageValue, "standard output is a terminal: -o PATH is missing: where to write it")
    );
    let store = context.store()?;
    let named = |name: &String| Ok(Named { image: store.find_image(name)?, given: name.clone() });
    let images = args.images.iter().map(named).collect::<Result<Vec<_>>>()?;
    let compression = args.compression.map(|wanted| (wanted.format, wanted.level));
    archive::save(&store, &images, args.format, compression, args.output.as_deref())?;
    if let Some(path) = &args.output {
        context.note(format_args!("{} saved to {}", args.images.join(", "), path.display()));
    }
    if compression.is_some() {
        // the layers of the other form
        store.collect()?;
    }
    Ok(0)
}
