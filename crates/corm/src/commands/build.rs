//! `corm build CONTEXT`: creates an image from a Containerfile.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Context, print, remote};
use crate::builder;
use crate::cli::args;
use crate::cli::args::PullPolicy;
use crate::store::ImageRecord;
use crate::store::Store;

/// Builds, and prints the ID of the image.
///
/// # Errors
/// As [`builder::build`]; the names keep their previous images then.
pub(super) fn run(context: &Context, args: &args::Build) -> Result<u8> {
    let store = context.store()?;
    let pull = |name: &str, platform: Option<&str>| base(context, &store, args, name, platform);
    let caller = builder::Caller { store: &store, pull: &pull, runtime: context.global.runtime.as_deref() };
    let image = builder::build(&caller, args)?;
    if let Some(file) = &args.iidfile {
        write_id(file, &image)?;
    }
    print::line(image.id.hex())?;
    Ok(0)
}

/// Returns a base image, pulled where the store has none or the caller wants it.
fn base(
    context: &Context,
    store: &Store,
    args: &args::Build,
    name: &str,
    platform: Option<&str>,
) -> Result<ImageRecord> {
    let missing = match (store.find_image(name), args.pull) {
        (Ok(image), PullPolicy::Missing | PullPolicy::Never) => return Ok(image),
        (Err(err), PullPolicy::Never) => return Err(err),
        // an ambiguous ID or a damaged record is no reason to pull
        (Err(err), _) if !err.to_string().starts_with("No image named") => return Err(err),
        (found, _) => found.err(),
    };
    let platform = platform.map(str::to_owned).or_else(|| args.platform.clone());
    let pull = args::Pull { platform, quiet: args.quiet, remote: args.remote.clone(), ..args::Pull::default() };
    let pulled = remote::pull(context, store, name, &pull);
    match missing {
        Some(missing) => pulled.with_context(|| format!("{missing}, and it cannot be pulled")),
        None => pulled,
    }
}

/// Writes the ID of the image.
fn write_id(file: &Path, image: &ImageRecord) -> Result<()> {
    let context = || format!("--iidfile {file:?}");
    // a symlink that another user may have planted is not followed
    let place = linux::place::Place::resolve(file).with_context(context)?;
    place.replace(image.id.to_string().as_bytes(), 0o666).with_context(context)
}
