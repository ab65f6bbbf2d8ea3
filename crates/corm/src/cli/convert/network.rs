//! Conversion of the flags about networks.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::common::{filters, format};
use crate::cli::args::{NetworkVerb, Verb};
use crate::config::network::NetworkFlags;
use crate::config::new_network::NewNetwork;
use crate::view::{filter, networks};
use base::cli_parser::ParsedArgs;

/// Converts the flags of `run` about the network.
pub(super) fn flags(given: &mut ParsedArgs) -> Result<NetworkFlags> {
    Ok(NetworkFlags {
        modes: given.texts("network")?,
        publish: given.texts("publish")?,
        publish_all: given.switch("publish-all")?,
        expose: given.texts("expose")?,
        ip: given.text("ip")?,
        ip6: given.text("ip6")?,
        mac: given.text("mac-address")?,
        aliases: given.texts("network-alias")?,
    })
}

pub(in crate::cli) fn port(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(NetworkVerb::Port { container: given.id(), port: given.operands.pop() }.into())
}

pub(in crate::cli) fn list(given: &mut ParsedArgs) -> Result<Verb> {
    let (quiet, noheading) = (given.switch("quiet")?, given.switch("noheading")?);
    let no_trunc = given.switch("no-trunc")?;
    let filters = filters(given, &networks::FILTERS)?;
    Ok(NetworkVerb::List { quiet, noheading, no_trunc, filters, format: format(given)? }.into())
}

/// Converts `K=V` texts of a flag.
fn pairs(given: &mut ParsedArgs, name: &str) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split_once('=') {
        _ if text.is_empty() || text.starts_with('=') => bail!("--{name} {text:?}: must be KEY=VALUE"),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Ok((text.clone(), String::new())),
    };
    given.texts(name)?.iter().map(pair).collect()
}

pub(in crate::cli) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    let driver = given.text("driver")?;
    if let Some(driver) = driver.filter(|name| name != "bridge") {
        bail!("--driver {driver:?}: there is only bridge");
    }
    let wanted = NewNetwork {
        subnets: given.texts("subnet")?,
        gateways: given.texts("gateway")?,
        ranges: given.texts("ip-range")?,
        ipv6: given.switch("ipv6")?,
        internal: given.switch("internal")?,
        disable_dns: given.switch("disable-dns")?,
        labels: pairs(given, "label")?,
        options: pairs(given, "opt")?,
        ignore: given.switch("ignore")?,
    };
    Ok(NetworkVerb::Create(given.id(), wanted).into())
}

pub(in crate::cli) fn connect(given: &mut ParsedArgs) -> Result<Verb> {
    let flags = NetworkFlags {
        ip: given.text("ip")?,
        ip6: given.text("ip6")?,
        mac: given.text("mac-address")?,
        aliases: given.texts("alias")?,
        ..NetworkFlags::default()
    };
    let (network, container) = two(given);
    let place = flags.place(&network)?;
    Ok(NetworkVerb::Connect { container, place }.into())
}

pub(in crate::cli) fn disconnect(given: &mut ParsedArgs) -> Result<Verb> {
    // without it a container that runs is disconnected, too
    given.switch("force")?;
    let (network, container) = two(given);
    Ok(NetworkVerb::Disconnect { network, container }.into())
}

/// Takes the two operands.
fn two(given: &mut ParsedArgs) -> (String, String) {
    let container = given.operands.pop().unwrap_or_default();
    (given.id(), container)
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(NetworkVerb::Exists(given.id()).into())
}

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(NetworkVerb::Prune { force: given.switch("force")?, filters: filters(given, &filter::OF_PRUNE)? }.into())
}

pub(in crate::cli) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    let format = format(given)?;
    Ok(NetworkVerb::Inspect { names: std::mem::take(&mut given.operands), format }.into())
}

pub(in crate::cli) fn remove(given: &mut ParsedArgs) -> Result<Verb> {
    let force = given.switch("force")?;
    Ok(NetworkVerb::Remove { names: std::mem::take(&mut given.operands), force }.into())
}
