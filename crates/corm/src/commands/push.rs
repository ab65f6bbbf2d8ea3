//! `corm push IMAGE [REF]`: pushes an image to a registry.

use anyhow::{Context as _, Result};

use super::{Context, print, remote};
use crate::cli::args;
use crate::copy::{Location, Request, Side, copy};
use crate::model::reference::{Reference, candidates};
use crate::registry;
use crate::registry::Options;
use crate::store::ImageRecord;

/// Pushes the image and prints its digest in the registry.
///
/// # Errors
/// As [`registry::push`].
pub(super) fn run(context: &Context, args: &args::Push) -> Result<u8> {
    let (store, options) = (context.store()?, remote::options(&args.remote)?);
    let (image, progress) = (store.find_image(&args.image)?, remote::progress(context, args.quiet));
    let to = match &args.to {
        Some(to) => to.clone(),
        None => own_name(&image, &args.image, &options)?.name(),
    };
    let other = match Location::parse(&to) {
        Ok(Location::Store(_)) | Err(_) => None,
        Ok(other) => Some(other),
    };
    let digest = match (other, args.compression) {
        (None, None) => registry::push(&store, &image, &Reference::parse(&to)?, &options, &progress)?,
        (other, compression) => {
            let at = other.map_or_else(|| Reference::parse(&to).map(Location::Registry), Ok)?;
            let request =
                Request { compression: compression.map(|wanted| (wanted.format, wanted.level)), ..Request::default() };
            let from = Location::Store(args.image.clone());
            let (from, to) = (Side { at: &from, options: &options }, Side { at: &at, options: &options });
            let copied = copy(&store, &from, &to, &request, &progress);
            if compression.is_some() {
                // the layers of the other form
                store.collect()?;
            }
            copied?
        }
    };
    remote::write_digest(args.digestfile.as_deref(), &digest)?;
    print::line(digest)?;
    Ok(0)
}

/// Returns the full name that the caller's name of the image means.
fn own_name(image: &ImageRecord, given: &str, options: &Options) -> Result<Reference> {
    if let Some(name) = candidates(given).into_iter().find(|name| image.names.contains(name)) {
        return Reference::parse(&name);
    }
    let wanted = options.registries.references(given).unwrap_or_default();
    let full = |name: &String| Reference::parse(name).ok().filter(|name| wanted.contains(name));
    image.names.iter().find_map(full).with_context(|| format!("{given:?}: is no name: give a destination"))
}
