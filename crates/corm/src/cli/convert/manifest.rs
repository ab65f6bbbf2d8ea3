//! Conversion of the flags of the verbs on lists of images.

use anyhow::Result;

use super::registry::remote;
use crate::cli::args::{EntryChange, ManifestVerb, Verb};
use base::cli_parser::ParsedArgs;

fn done(verb: ManifestVerb) -> Result<Verb> {
    Ok(verb.into())
}

fn change(given: &mut ParsedArgs) -> Result<EntryChange> {
    Ok(EntryChange {
        os: given.text("os")?,
        arch: given.text("arch")?,
        variant: given.text("variant")?,
        os_version: given.text("os-version")?,
        os_features: given.texts("os-features")?,
        annotations: given.texts("annotation")?,
    })
}

pub(in crate::cli) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    let (all, amend, annotations) = (given.switch("all")?, given.switch("amend")?, given.texts("annotation")?);
    let (remote, list) = (remote(given)?, given.id());
    done(ManifestVerb::Create { list, images: std::mem::take(&mut given.operands), all, amend, annotations, remote })
}

pub(in crate::cli) fn add(given: &mut ParsedArgs) -> Result<Verb> {
    let (all, change, remote) = (given.switch("all")?, change(given)?, remote(given)?);
    done(ManifestVerb::Add { list: given.id(), image: given.id(), all, change, remote })
}

pub(in crate::cli) fn annotate(given: &mut ParsedArgs) -> Result<Verb> {
    let change = change(given)?;
    done(ManifestVerb::Annotate { list: given.id(), image: given.id(), change })
}

pub(in crate::cli) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    let remote = remote(given)?;
    done(ManifestVerb::Inspect { list: given.id(), remote })
}

pub(in crate::cli) fn push(given: &mut ParsedArgs) -> Result<Verb> {
    let (rm, quiet) = (given.switch("rm")?, given.switch("quiet")?);
    // all images are pushed always, which is Podman's default
    given.switch("all")?;
    let (digestfile, remote) = (given.path("digestfile"), remote(given)?);
    done(ManifestVerb::Push { list: given.id(), to: given.operands.pop(), rm, quiet, digestfile, remote })
}

pub(in crate::cli) fn remove(given: &mut ParsedArgs) -> Result<Verb> {
    done(ManifestVerb::Remove { list: given.id(), image: given.id() })
}

pub(in crate::cli) fn rm(given: &mut ParsedArgs) -> Result<Verb> {
    done(ManifestVerb::Rm(std::mem::take(&mut given.operands)))
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    done(ManifestVerb::Exists(given.id()))
}
