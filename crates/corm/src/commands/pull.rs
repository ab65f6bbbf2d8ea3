//! `corm pull REF...`: pulls images from registries and unpacks them.

use anyhow::{Context as _, Result, ensure};
use base::coded;

use super::{Context, for_each, print, remote};
use crate::cli::args;
use crate::registry::{Access, Client};

/// Pulls the images and prints the ID of each.
///
/// # Errors
/// As [`crate::registry::pull`]; the other images are pulled.
pub(super) fn run(context: &Context, args: &args::Pull) -> Result<u8> {
    let store = context.store()?;
    let one = |name: &str| print::line(remote::pull(context, &store, name, args)?.id.hex());
    for_each(context, &args.references, |name| {
        if !args.all_tags {
            return one(name);
        }
        let mut failed = Ok(());
        for tagged in all_tags(name, args)? {
            failed = failed.and(one(&tagged));
        }
        failed
    })
}

/// Returns the names of all tags of a repository.
fn all_tags(name: &str, args: &args::Pull) -> Result<Vec<String>> {
    let options = remote::options(&args.remote)?;
    let text = name.strip_prefix(remote::DOCKER).unwrap_or(name);
    let first = options.registries.references(text)?.into_iter().next().context("no registry to look in")?;
    let tagged = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    ensure!(!tagged, coded!(UsageValue, "{name}: --all-tags is for a name without a tag or digest"));
    let place = options.registries.to_read(&first)?.pop().context("no place to read it from")?;
    let tags = Client::connect(&place, Access::Pull, &[], &options)?.tags().with_context(|| first.to_string())?;
    ensure!(!tags.is_empty(), coded!(RegistryNotFound, "{name}: the repository has no tags"));
    Ok(tags.iter().map(|tag| format!("{}/{}:{tag}", first.registry(), first.path())).collect())
}
