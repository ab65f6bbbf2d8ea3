//! Conversion of the flags of verbs on the store as a whole.

use anyhow::Result;

use super::common::format;
use crate::cli::args::{SystemVerb, Verb};
use base::cli_parser::ParsedArgs;

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    given.switch("force")?;
    Ok(SystemVerb::SystemPrune { all: given.switch("all")?, volumes: given.switch("volumes")? }.into())
}

pub(in crate::cli) fn fsck(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(SystemVerb::Fsck { repair: given.switch("repair")? }.into())
}

pub(in crate::cli) fn explain(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(SystemVerb::Explain(std::mem::take(&mut given.operands)).into())
}

pub(in crate::cli) fn version(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(SystemVerb::Version { format: format(given)? }.into())
}

pub(in crate::cli) fn info(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(SystemVerb::Info { format: format(given)? }.into())
}
