//! Conversion of the flags of verbs on images.

use anyhow::{Context as _, Result, ensure};

use super::common::{FORMATS, tls_verify};
use crate::cli::args::{Archive, Config, ImageVerb, Pull, Push, Save, Verb};
use base::cli_parser::ParsedArgs;

pub(in crate::cli) fn init(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Init { dir: given.id().into(), name: given.operands.pop() }.into())
}

pub(in crate::cli) fn import(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Import { file: given.id().into(), name: given.operands.pop() }.into())
}

pub(in crate::cli) fn load(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Load { name: given.text("name")?, path: given.id().into() }.into())
}

pub(in crate::cli) fn pull(given: &mut ParsedArgs) -> Result<Verb> {
    let (platform, tls_verify) = (given.text("platform")?, tls_verify(given)?);
    Ok(ImageVerb::Pull(Pull { reference: given.id(), platform, tls_verify }).into())
}

pub(in crate::cli) fn push(given: &mut ParsedArgs) -> Result<Verb> {
    let tls_verify = tls_verify(given)?;
    Ok(ImageVerb::Push(Push { image: given.id(), reference: given.id(), tls_verify }).into())
}

pub(in crate::cli) fn save(given: &mut ParsedArgs) -> Result<Verb> {
    let formats = [("oci-archive", Archive::Oci), ("oci-dir", Archive::OciDir), ("docker-archive", Archive::Docker)];
    let format = given.choice("format", &formats)?;
    let output = given.path("output").context("-o PATH is missing: where to write it")?;
    Ok(ImageVerb::Save(Save { image: given.id(), format, output }).into())
}

pub(in crate::cli) fn export(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Export { output: given.path("output"), from: given.id() }.into())
}

pub(in crate::cli) fn images(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Images { quiet: given.switch("quiet")?, format: given.choice("format", FORMATS)? }.into())
}

pub(in crate::cli) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Inspect(given.id()).into())
}

pub(in crate::cli) fn history(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::History { format: given.choice("format", FORMATS)?, image: given.id() }.into())
}

pub(in crate::cli) fn diff(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Diff(given.id()).into())
}

pub(in crate::cli) fn tag(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Tag { image: given.id(), name: given.id() }.into())
}

pub(in crate::cli) fn rmi(given: &mut ParsedArgs) -> Result<Verb> {
    let (all, images) = (given.switch("all")?, std::mem::take(&mut given.operands));
    ensure!(all || !images.is_empty(), "image name or ID must be specified");
    ensure!(!all || images.is_empty(), "when using the --all switch, you may not pass any images names or IDs");
    Ok(ImageVerb::Rmi { all, force: given.switch("force")?, images }.into())
}

pub(in crate::cli) fn config(given: &mut ParsedArgs) -> Result<Verb> {
    let (cmd, entrypoint) = (given.text("cmd")?, given.text("entrypoint")?);
    let (env, labels) = (given.texts("env")?, given.texts("label")?);
    let (user, workdir) = (given.text("user")?, given.text("workdir")?);
    Ok(ImageVerb::Config(Config { image: given.id(), name: given.id(), cmd, entrypoint, env, user, workdir, labels })
        .into())
}

pub(in crate::cli) fn bundle(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Bundle { image: given.id(), dir: given.id().into() }.into())
}

pub(in crate::cli) fn unbundle(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Unbundle(given.id().into()).into())
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Exists(given.id()).into())
}

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::Prune { all: given.switch("all")?, force: given.switch("force")? }.into())
}
