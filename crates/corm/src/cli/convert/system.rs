//! Conversion of the flags of verbs on the store as a whole.

use anyhow::Result;

use super::common::{filters, format};
use crate::cli::args::{SystemPrune, SystemVerb, Verb};
use crate::view::filter;
use base::cli_parser::ParsedArgs;

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    given.switch("force")?;
    let prune = SystemPrune {
        all: given.switch("all")?,
        volumes: given.switch("volumes")?,
        filters: filters(given, &filter::OF_PRUNE)?,
    };
    Ok(SystemVerb::SystemPrune(prune).into())
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
