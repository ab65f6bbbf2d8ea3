//! `corm images`: lists images, the newest first, a line for each name.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::{Context, print};
use crate::cli::args::views::{ImageOrder, Images};
use crate::view::images;
use crate::view::listing::{Format, Listing};

/// Headings that are not the field's name.
const HEADINGS: [(&str, &str); 3] = [("ID", "IMAGE ID"), ("Id", "IMAGE ID"), ("ReadOnly", "R/O")];

/// Lists the images.
///
/// # Errors
/// A record is damaged, a filter or the format is wrong.
pub(super) fn run(context: &Context, args: &Images) -> Result<u8> {
    let mut rows = images::rows(&context.store()?, &args.list.filters)?;
    match args.order {
        ImageOrder::Created => {}
        ImageOrder::Id => rows.sort_by(|a, b| a.image.id.cmp(&b.image.id)),
        ImageOrder::Repository => rows.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag))),
        ImageOrder::Size => rows.sort_by_key(|row| row.image.size),
        ImageOrder::Tag => rows.sort_by(|a, b| a.tag.cmp(&b.tag)),
    }
    if args.list.quiet && args.list.format == Format::Default {
        let mut seen = BTreeSet::new();
        for row in rows.iter().filter(|row| seen.insert(&row.image.id)) {
            let id = &row.image.id;
            print::line(if args.list.no_trunc { id.to_string() } else { images::short(id) })?;
        }
        return Ok(0);
    }
    let own = if args.digests {
        "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.Created}}\t{{.Size}}"
    } else {
        "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Created}}\t{{.Size}}"
    };
    let listing = Listing { format: &args.list.format, own, noheading: args.list.noheading, headings: &HEADINGS };
    let fields: Vec<Value> = rows.iter().map(|row| row.fields(args.list.no_trunc)).collect();
    let text = listing.text(&fields, || rows.iter().map(images::Row::document).collect())?;
    print::write(text.as_bytes())?;
    Ok(0)
}
