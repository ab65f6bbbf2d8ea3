//! `corm inspect`: prints the data of images and containers as a JSON array, or by a template for each.

use anyhow::Result;
use base::error::{Code, Coding as _, describe, escape};
use serde_json::Value;

use super::{Context, ImageOrContainer, find_image_or_container, print};
use crate::cli::args::LogLevel;
use crate::cli::args::views::{Inspect, Kind};
use crate::container::run_dir::RunDir;
use crate::store::Store;
use crate::view::document;
use crate::view::listing::Format;
use crate::view::template::Template;

/// Prints the documents: an image precedes a container, a container an image's ID.
///
/// # Errors
/// A name that neither has: the others are printed. The format is wrong.
pub(super) fn run(context: &Context, args: &Inspect) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let template = match &args.format {
        Format::Default | Format::Json => None,
        Format::Rows(text) | Format::Table(text) => Some(Template::parse(text).code(Code::UsageValue, "--format")?),
    };
    let (mut found, mut missing) = (Vec::new(), None);
    for name in &args.names {
        match one(&store, &run, args, name) {
            Ok(document) => found.push(document),
            Err(err) => {
                if let Some(before) = missing.replace(err) {
                    context.report(LogLevel::Error, format_args!("corm: {}", describe(&before)));
                }
            }
        }
    }
    match template {
        None => print::json(&found)?,
        Some(template) => {
            for document in &found {
                let text = template.render_line(document).code(Code::UsageValue, "--format")?;
                print::write(escape::output(&text).as_bytes())?;
            }
        }
    }
    missing.map_or(Ok(0), Err)
}

fn one(store: &Store, run: &RunDir, args: &Inspect, name: &str) -> Result<Value> {
    let found = match args.kind {
        Kind::All => find_image_or_container(store, name)?,
        Kind::Image => ImageOrContainer::Image(store.find_image(name)?),
        Kind::Container => ImageOrContainer::Container(Box::new(store.find_container(name)?)),
    };
    let mut document = match found {
        ImageOrContainer::Image(image) => document::of_image(store, &image)?,
        ImageOrContainer::Container(container) => document::of_container(store, run, &container, args.size)?,
    };
    // Go's name of the field, which templates use too
    if args.format != Format::Default
        && args.format != Format::Json
        && let Value::Object(fields) = &mut document
        && let Some(id) = fields.get("Id").cloned()
    {
        fields.insert("ID".to_owned(), id);
    }
    Ok(document)
}
