//! Conversion of the flags of verbs on images.

use base::coded;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::common::{filters, platform};
use super::registry::{compression, remote};
use crate::cli::args::{Archive, Config, ImageVerb, Pull, Push, Save, Verb};
use crate::view::images;
use base::cli_parser::ParsedArgs;

pub(in crate::cli) fn init(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Init { dir: given.id().into(), name: given.operands.pop() }.into())
}

pub(in crate::cli) fn import(given: &mut ParsedArgs) -> Result<Verb> {
    let (changes, message, quiet) = (given.texts("change")?, given.text("message")?, given.switch("quiet")?);
    let platform = platform(given)?;
    let (file, name) = (given.id().into(), given.operands.pop());
    Ok(ImageVerb::Import { file, name, changes, message, platform, quiet }.into())
}

pub(in crate::cli) fn load(given: &mut ParsedArgs) -> Result<Verb> {
    let (name, input, quiet) = (given.text("name")?, given.path("input"), given.switch("quiet")?);
    let path = given.operands.pop().map(PathBuf::from);
    ensure!(input.is_none() || path.is_none(), coded!(UsageArguments, "--input and a path are both given"));
    let path = input.or(path).unwrap_or_else(|| PathBuf::from("-"));
    Ok(ImageVerb::Load { path, name, quiet }.into())
}

pub(in crate::cli) fn pull(given: &mut ParsedArgs) -> Result<Verb> {
    let pull = Pull {
        platform: platform(given)?,
        all_tags: given.switch("all-tags")?,
        quiet: given.switch("quiet")?,
        remote: remote(given)?,
        references: std::mem::take(&mut given.operands),
    };
    Ok(ImageVerb::Pull(pull).into())
}

pub(in crate::cli) fn push(given: &mut ParsedArgs) -> Result<Verb> {
    let push = Push {
        compression: compression(given)?,
        digestfile: given.path("digestfile"),
        quiet: given.switch("quiet")?,
        remote: remote(given)?,
        image: given.id(),
        to: given.operands.pop(),
    };
    Ok(ImageVerb::Push(push).into())
}

pub(in crate::cli) fn save(given: &mut ParsedArgs) -> Result<Verb> {
    let formats = [
        ("oci-archive", Archive::Oci),
        ("oci-dir", Archive::OciDir),
        ("docker-archive", Archive::Docker),
        ("docker-dir", Archive::DockerDir),
    ];
    let (format, output) = (given.choice("format", &formats)?, given.path("output"));
    // a save prints nothing, and has no other form for several images
    let _accepted = (given.switch("quiet")?, given.switch("multi-image-archive")?);
    let compression = compression(given)?;
    ensure!(
        compression.is_none() || format != Archive::Docker,
        coded!(UsageValue, "--compression-format: the layers of a docker-archive are not compressed")
    );
    Ok(ImageVerb::Save(Save { images: std::mem::take(&mut given.operands), format, output, compression }).into())
}

pub(in crate::cli) fn export(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Export { output: given.path("output"), from: given.id() }.into())
}

pub(in crate::cli) fn tag(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Tag { image: given.id(), name: given.id() }.into())
}

pub(in crate::cli) fn untag(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Untag { image: given.id(), names: std::mem::take(&mut given.operands) }.into())
}

pub(in crate::cli) fn rmi(given: &mut ParsedArgs) -> Result<Verb> {
    let (all, images) = (given.switch("all")?, std::mem::take(&mut given.operands));
    ensure!(all || !images.is_empty(), coded!(UsageArguments, "image name or ID must be specified"));
    ensure!(
        !all || images.is_empty(),
        coded!(UsageArguments, "when using the --all switch, you may not pass any images names or IDs")
    );
    // nothing without a name is kept for another image
    given.switch("no-prune")?;
    Ok(ImageVerb::Rmi { all, force: given.switch("force")?, ignore: given.switch("ignore")?, images }.into())
}

pub(in crate::cli) fn config(given: &mut ParsedArgs) -> Result<Verb> {
    let (cmd, entrypoint) = (given.text("cmd")?, given.text("entrypoint")?);
    let (env, labels) = (given.texts("env")?, given.texts("label")?);
    let (user, workdir) = (given.text("user")?, given.text("workdir")?);
    Ok(ImageVerb::Config(Config { image: given.id(), name: given.id(), cmd, entrypoint, env, user, workdir, labels })
        .into())
}

pub(in crate::cli) fn bundle(given: &mut ParsedArgs) -> Result<Verb> {
    let tty = given.switch("tty")?;
    Ok(ImageVerb::Bundle { image: given.id(), dir: given.id().into(), tty }.into())
}

pub(in crate::cli) fn unbundle(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Unbundle(given.id().into()).into())
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Exists(given.id()).into())
}

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Prune {
        all: given.switch("all")?,
        force: given.switch("force")?,
        filters: filters(given, &images::FILTERS)?,
    }
    .into())
}
