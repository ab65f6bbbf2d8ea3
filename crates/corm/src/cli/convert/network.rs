//! Conversion of the flags about networks.

use anyhow::Result;

use crate::cli::args::{NetworkVerb, Verb};
use crate::config::network::NetworkFlags;
use crate::view::listing::Format;
use base::cli_parser::ParsedArgs;

/// Converts the flags of `run` about the network.
pub(super) fn flags(given: &mut ParsedArgs) -> Result<NetworkFlags> {
    Ok(NetworkFlags {
        mode: given.text("network")?,
        publish: given.texts("publish")?,
        publish_all: given.switch("publish-all")?,
        expose: given.texts("expose")?,
        ip: given.text("ip")?,
        mac: given.text("mac-address")?,
        aliases: given.texts("network-alias")?,
    })
}

fn format(given: &mut ParsedArgs) -> Result<Format> {
    Ok(given.text("format")?.map(|text| Format::parse(&text)).unwrap_or_default())
}

pub(in crate::cli) fn port(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(NetworkVerb::Port { container: given.id(), port: given.operands.pop() }.into())
}

pub(in crate::cli) fn list(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(NetworkVerb::List { quiet: given.switch("quiet")?, format: format(given)? }.into())
}

pub(in crate::cli) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    let (subnet, internal) = (given.text("subnet")?, given.switch("internal")?);
    let disable_dns = given.switch("disable-dns")?;
    Ok(NetworkVerb::Create { name: given.id(), subnet, internal, disable_dns }.into())
}

pub(in crate::cli) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    let format = format(given)?;
    Ok(NetworkVerb::Inspect { names: std::mem::take(&mut given.operands), format }.into())
}

pub(in crate::cli) fn remove(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(NetworkVerb::Remove(std::mem::take(&mut given.operands)).into())
}
