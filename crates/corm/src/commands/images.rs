//! `corm images`: lists images, the newest first, a line for each name.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Context, print};
use crate::cli::args::Format;
use crate::model::digest::Digest;
use crate::store::ImageRecord;

/// Lists the images.
///
/// # Errors
/// A record is damaged.
pub(super) fn run(context: &Context, quiet: bool, format: Format) -> Result<u8> {
    let images = context.store()?.images()?;
    match (quiet, format) {
        (true, _) => {
            let mut seen = BTreeSet::new();
            for image in images.iter().filter(|image| seen.insert(&image.id)) {
                print::line(short(&image.id))?;
            }
        }
        (false, Format::Json) => print::json(&images)?,
        (false, Format::Table) => {
            print::table(&["IMAGE ID", "NAME", "CREATED", "SIZE", "SOURCE"], images.iter().flat_map(rows))?;
        }
    }
    Ok(0)
}

fn rows(image: &ImageRecord) -> Vec<Vec<String>> {
    let row = |name: &str| {
        let source = image.source.clone().unwrap_or_default();
        vec![short(&image.id), name.to_owned(), print::age(&image.created), print::size(image.size), source]
    };
    if image.names.is_empty() { vec![row("<none>")] } else { image.names.iter().map(|name| row(name)).collect() }
}

/// Returns the short form of an image ID.
pub(super) fn short(id: &Digest) -> String {
    id.hex().chars().take(12).collect()
}
