//! Conversion of the flags of verbs on volumes.

use anyhow::{Result, bail, ensure};
use base::coded;

use super::common::{filters, format};
use crate::cli::args::{Verb, VolumeCreate, VolumeList, VolumeVerb};
use crate::view::volumes;
use base::cli_parser::ParsedArgs;

pub(in crate::cli) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    let driver = given.text("driver")?;
    if let Some(driver) = driver.filter(|name| name != "local") {
        bail!(coded!(UsageValue, "--driver {driver:?}: there is only local"));
    }
    let create = VolumeCreate {
        labels: given.texts("label")?,
        ignore: given.switch("ignore")?,
        name: given.operands.pop().filter(|name| !name.is_empty()),
    };
    Ok(VolumeVerb::Create(create).into())
}

pub(in crate::cli) fn list(given: &mut ParsedArgs) -> Result<Verb> {
    let list = VolumeList {
        quiet: given.switch("quiet")?,
        noheading: given.switch("noheading")?,
        filters: filters(given, &volumes::FILTERS)?,
        format: format(given)?,
    };
    Ok(VolumeVerb::List(list).into())
}

/// Converts `--all` and the names of volumes: one of the two is given.
fn names(given: &mut ParsedArgs) -> Result<(Vec<String>, bool)> {
    let (all, names) = (given.switch("all")?, std::mem::take(&mut given.operands));
    ensure!(all == names.is_empty(), coded!(UsageValue, "choose either one or more volumes or all"));
    Ok((names, all))
}

pub(in crate::cli) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    let (names, all) = names(given)?;
    Ok(VolumeVerb::Inspect { names, all, format: format(given)? }.into())
}

pub(in crate::cli) fn export(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(VolumeVerb::Export { output: given.path("output"), name: given.id() }.into())
}

pub(in crate::cli) fn import(given: &mut ParsedArgs) -> Result<Verb> {
    let file = given.operands.pop().unwrap_or_default();
    Ok(VolumeVerb::Import { name: given.id(), file }.into())
}

pub(in crate::cli) fn remove(given: &mut ParsedArgs) -> Result<Verb> {
    let (names, all) = names(given)?;
    Ok(VolumeVerb::Remove { names, all, force: given.switch("force")? }.into())
}

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    // as in Podman all are removed that no container uses
    let _ = given.switch("all")?;
    Ok(VolumeVerb::Prune { force: given.switch("force")?, filters: filters(given, &volumes::FILTERS)? }.into())
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(VolumeVerb::Exists(given.id()).into())
}
