//! `corm build CONTEXT`: creates an image from a Containerfile.

use base::coded;
use base::error::{Code, Coding as _, describe};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{Context, manifest, print, remote};
use crate::builder;
use crate::builder::{Built, transfer};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::copy::{Location, Request, Side, copy};
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::registry;
use crate::store::ImageRecord;
use crate::store::Store;

/// Builds, and prints the ID of the image.
///
/// # Errors
/// As [`builder::build`]; the names keep their previous images then.
pub(super) fn run(context: &Context, args: &args::Build) -> Result<u8> {
    let store = context.store()?;
    for place in &args.cache_from {
        // a build without it takes longer, and the first build has none
        if let Err(err) = import(context, &store, args, place) {
            let text = describe(&err.context(format!("--cache-from {place:?}")));
            context.report(LogLevel::Warning, format_args!("corm: warning: {text}"));
        }
    }
    let (mut images, mut all_keys) = (Vec::new(), Vec::new());
    for args in each_platform(args)? {
        let pull = |name: &str, platform: Option<&str>| base(context, &store, &args, name, platform);
        let caller = builder::Caller { store: &store, pull: &pull, runtime: context.global.runtime.as_deref() };
        let Built { image, keys } = builder::build(&caller, &args)?;
        images.push(image);
        all_keys.extend(keys);
    }
    for place in &args.cache_to {
        export(context, &store, args, place, &all_keys)
            .with_code(Code::UsageValue, || format!("--cache-to {place:?}"))?;
    }
    finish(context, &store, args, &images)
}

/// Returns the builds: one, or one for each platform, whose names are those of the index.
fn each_platform(args: &args::Build) -> Result<Vec<args::Build>> {
    if args.platforms.is_empty() {
        return Ok(vec![args.clone()]);
    }
    ensure!(
        args.context != "-" && !args.files.contains(&PathBuf::from("-")),
        coded!(UsageArguments, "--platform: several need a context and a file, because standard input is read once")
    );
    ensure!(args.output.is_none(), coded!(UsageArguments, "--output: takes an image of one platform"));
    let one = |platform: &String| args::Build {
        platform: Some(platform.clone()),
        platforms: Vec::new(),
        tags: Vec::new(),
        ..args.clone()
    };
    Ok(args.platforms.iter().map(one).collect())
}

/// Adds the images to indexes, pushes them, writes the files, and prints the IDs.
fn finish(context: &Context, store: &Store, args: &args::Build, images: &[ImageRecord]) -> Result<u8> {
    let is_index = !args.platforms.is_empty();
    let mut lists: Vec<&String> = args.manifest.iter().collect();
    if is_index {
        lists.extend(&args.tags);
    }
    let mut index = None;
    for name in &lists {
        index = Some(manifest::add_images(store, name, images).with_context(|| format!("index {name:?}"))?);
    }
    if args.push {
        push(context, store, args, images, &lists)?;
    }
    let one = images.first().filter(|_| !is_index);
    // ID and digest: of the image, or of the index of several
    let result = match (one, &index) {
        (Some(image), _) => Some((&image.id, &image.manifest)),
        (None, index) => index.as_ref().map(|index| (index, index)),
    };
    if let Some(file) = &args.iidfile {
        let (id, _) = result
            .with_code(Code::UsageArguments, || "--iidfile: several platforms need --tag or --manifest".to_owned())?;
        write(file, "--iidfile", id.to_string().as_bytes())?;
    }
    if let Some(file) = &args.metadata_file {
        let names = if is_index { args.tags.clone() } else { images.iter().flat_map(|i| i.names.clone()).collect() };
        let mut value = json!({"image.name": names.join(",")});
        if let Some((_, digest)) = result {
            value["containerimage.digest"] = json!(digest);
        }
        if let Some(image) = one {
            value["containerimage.config.digest"] = json!(image.id);
        }
        write(file, "--metadata-file", format!("{value:#}\n").as_bytes())?;
    }
    images.iter().try_for_each(|image| print::line(image.id.hex()))?;
    Ok(0)
}

/// Pushes the image by each of its names, or the indexes.
fn push(context: &Context, store: &Store, args: &args::Build, images: &[ImageRecord], lists: &[&String]) -> Result<()> {
    ensure!(!args.tags.is_empty() || !lists.is_empty(), coded!(UsageArguments, "--push: needs a name: --tag"));
    let (options, progress) = (remote::options(&args.remote)?, remote::progress(context, args.quiet));
    for name in lists {
        let pushed = manifest::push(store, name, None, false, &args.remote, &progress);
        pushed.with_context(|| format!("--push {name:?}"))?;
    }
    if let (true, Some(image)) = (args.platforms.is_empty(), images.first()) {
        for name in &args.tags {
            let to = Reference::parse(name).and_then(|to| registry::push(store, image, &to, &options, &progress));
            to.with_context(|| format!("--push {name:?}"))?;
        }
    }
    Ok(())
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
    let wanted = platform.or(args.platform.as_deref()).map(Platform::parse).transpose()?;
    if let Some(place) = name.strip_prefix(builder::LAYOUT) {
        return of_layout(context, store, args, place, wanted).with_context(|| format!("{name:?}"));
    }
    let missing = match remote::in_store(store, name, args.pull, wanted.as_ref())? {
        Ok(image) => return Ok(image),
        Err(missing) => missing,
    };
    let platform = platform.map(str::to_owned).or_else(|| args.platform.clone());
    let pull = args::Pull { platform, quiet: args.quiet, remote: args.remote.clone(), ..args::Pull::default() };
    let pulled = remote::pull(context, store, name, &pull);
    match missing {
        Some(missing) => pulled.with_context(|| format!("{missing}, and it cannot be pulled")),
        None => pulled,
    }
}

/// Takes the image of a layout that `oci-layout://DIR[:TAG][@DIGEST]` names into the store, without a name.
fn of_layout(
    context: &Context,
    store: &Store,
    args: &args::Build,
    text: &str,
    platform: Option<Platform>,
) -> Result<ImageRecord> {
    let (place, digest) = text.split_once('@').map_or((text, None), |(place, digest)| (place, Some(digest)));
    let at = Location::parse(&format!("oci:{place}"))?;
    let options = remote::options(&args.remote)?;
    let name = format!("localhost/corm-build-base:{}", store.new_id()?.get(..16).unwrap_or_default());
    let here = Location::Store(name.clone());
    let (from, to) = (Side { at: &at, options: &options }, Side { at: &here, options: &options });
    let request = Request { platform, ..Request::default() };
    let copied = copy(store, &from, &to, &request, &remote::progress(context, args.quiet))?;
    let image = store.find_image(&name)?;
    store.untag(&name)?;
    let wanted = digest.map(Digest::parse).transpose()?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != copied && *wanted != image.manifest) {
        forget(store, &image)?;
        bail!(coded!(ImageInvalid, "the layout has {}, not {wanted}", image.manifest));
    }
    store.find_image(image.id.hex())
}

/// Writes a file that a flag names.
fn write(file: &Path, flag: &str, bytes: &[u8]) -> Result<()> {
    let context = || format!("{flag} {file:?}");
    // a symlink that another user may have planted is not followed
    let place = linux::place::Place::resolve(file).with_context(context)?;
    place.replace(bytes, 0o666).with_context(context)
}
