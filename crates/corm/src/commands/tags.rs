//! `corm tags`, `corm delete`: tags of a repository, and the removal of images from registries.

use anyhow::{Context as _, Result, ensure};
use base::coded;
use serde_json::{Value, json};

use super::{Context, for_each, print, remote};
use crate::cli::args;
use crate::registry::{Access, Client};
use crate::view::listing::{Format, Listing};

/// Prints the tags, one a line, or skopeo's JSON.
///
/// # Errors
/// As [`crate::registry::Client::tags`].
pub(super) fn run(repository: &str, format: &Format, access: &args::Remote) -> Result<u8> {
    let (options, name) = (remote::options(access)?, remote::reference(repository)?);
    ensure!(name.tag() == Some("latest"), coded!(UsageValue, "{repository}: a repository has no tag or digest"));
    let place = options.registries.to_write(&name)?;
    let client = Client::connect(&place, Access::Pull, &[], &options)?;
    let tags = client.tags().with_context(|| repository.to_owned())?;
    let repository = format!("{}/{}", name.registry(), name.path());
    match format {
        Format::Json => print::json(&json!({ "Repository": repository, "Tags": tags }))?,
        Format::Default => tags.iter().try_for_each(print::line)?,
        Format::Rows(_) | Format::Table(_) => {
            let rows: Vec<Value> = tags.iter().map(|tag| json!({"Name": repository, "Tag": tag})).collect();
            let listing = Listing { format, own: "", noheading: false, headings: &[] };
            print::write(listing.text(&rows, || Value::Null)?.as_bytes())?;
        }
    }
    Ok(0)
}

/// Removes each image and prints its digest.
///
/// # Errors
/// As [`Client::delete`]; the others are removed.
pub(super) fn delete(context: &Context, references: &[String], access: &args::Remote) -> Result<u8> {
    let options = remote::options(access)?;
    for_each(context, references, |text| {
        let name = remote::reference(text)?;
        let client = Client::connect(&options.registries.to_write(&name)?, Access::Delete, &[], &options)?;
        print::line(client.delete(&name).with_context(|| name.to_string())?)
    })
}
