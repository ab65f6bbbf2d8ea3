//! `corm build CONTEXT`: creates an image from a Containerfile.

use base::coded;
use base::error::{Code, Coding as _, describe};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Context, print, remote};
use crate::builder;
use crate::builder::{Built, transfer};
use crate::cli::args;
use crate::cli::args::{LogLevel, PullPolicy};
use crate::copy::{Location, Request, Side, copy};
use crate::model::digest::Digest;
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
    for place in &args.cache_from {
        // a build without it takes longer, and the first build has none
        if let Err(err) = import(context, &store, args, place) {
            let text = describe(&err.context(format!("--cache-from {place:?}")));
            context.report(LogLevel::Warning, format_args!("corm: warning: {text}"));
        }
    }
    let Built { image, keys } = builder::build(&caller, args)?;
    for place in &args.cache_to {
        export(context, &store, args, place, &keys).with_code(Code::UsageValue, || format!("--cache-to {place:?}"))?;
    }
    if let Some(file) = &args.iidfile {
        write_id(file, &image)?;
    }
    print::line(image.id.hex())?;
    Ok(0)
}

/// Parses a place of a cache: one of `copy`, BuildKit's `type=registry,ref=REF` and `type=local,dest=DIR`, or a reference.
fn place(text: &str) -> Result<Location> {
    let fields: Vec<(&str, &str)> = text.split(',').filter_map(|field| field.split_once('=')).collect();
    let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    match field("type") {
        Some("local") => {
            let dir = field("dest").or_else(|| field("src")).context("needs dest=DIR or src=DIR")?;
            Location::parse(&format!("oci:{dir}:cache"))
        }
        Some("registry") => Location::parse(&format!("docker://{}", field("ref").context("needs ref=REF")?)),
        Some(other) => bail!(coded!(UsageValue, "type={other:?}: is neither local nor registry")),
        None => match Location::parse(text)? {
            Location::Store(name) => Location::parse(&format!("docker://{name}")),
            other => Ok(other),
        },
    }
}

/// Takes the entries of a cache elsewhere into that of the store.
fn import(context: &Context, store: &Store, args: &args::Build, text: &str) -> Result<()> {
    let (options, at) = (remote::options(&args.remote)?, place(text)?);
    let name = format!("localhost/corm-build-cache:{}", store.new_id()?.get(..16).unwrap_or_default());
    let here = Location::Store(name.clone());
    let (from, to) = (Side { at: &at, options: &options }, Side { at: &here, options: &options });
    copy(store, &from, &to, &Request::default(), &remote::progress(context, true))?;
    let image = store.find_image(&name)?;
    let read = transfer::unpack(store, &image);
    store.untag(&name)?;
    forget(store, &image)?;
    let count = read?;
    context.report(LogLevel::Debug, format_args!("{count} steps of the cache {text}"));
    Ok(())
}

/// Removes the image of a cache, unless it has a name.
fn forget(store: &Store, image: &ImageRecord) -> Result<()> {
    let now = store.find_image(image.id.hex())?;
    if now.names.is_empty() { store.remove_image(&image.id) } else { Ok(()) }
}

/// Writes the entries of these keys elsewhere.
fn export(context: &Context, store: &Store, args: &args::Build, text: &str, keys: &[Digest]) -> Result<()> {
    let (options, at) = (remote::options(&args.remote)?, place(text)?);
    let Some(image) = transfer::pack(store, keys)? else { return Ok(()) };
    let here = Location::Store(image.id.hex().to_owned());
    let (from, to) = (Side { at: &here, options: &options }, Side { at: &at, options: &options });
    let copied = copy(store, &from, &to, &Request::default(), &remote::progress(context, args.quiet));
    forget(store, &image)?;
    copied.map(drop)
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
