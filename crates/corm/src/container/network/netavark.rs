//! netavark: called with a request on its standard input, and again with the same one for the removal.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::programs::{self, AARDVARK, NETAVARK};
use super::{Made, addresses, networks};
use crate::config::network::Port;
use crate::config::short_id;
use crate::container::run_dir::RunDir;
use crate::container::userns;
use crate::store::{ContainerRecord, Store};

/// Interface in the container.
const INTERFACE: &str = "eth0";

/// Checks that a network can be used.
///
/// # Errors
/// It does not exist, netavark is missing, the caller is not root.
pub(super) fn check(store: &Store, name: &str, ip: Option<IpAddr>) -> Result<()> {
    ensure!(!userns::unprivileged(), "a bridge needs root: choose --network pasta or slirp4netns");
    let network = networks::find(store, name)?;
    programs::find(&NETAVARK)?;
    if network.dns_enabled {
        programs::find(&AARDVARK)?;
    }
    let (subnet, _) = network.subnet()?;
    ensure!(ip.is_none_or(|ip| subnet.has(ip)), "--ip: not an address for a container of the network {name:?}");
    Ok(())
}

/// Returns the request for a container, with an address that is its own from now on.
///
/// # Errors
/// The network does not exist, no address is free.
pub(super) fn request(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    name: &str,
    ports: &[Port],
) -> Result<Value> {
    let network = networks::find(store, name)?;
    let wanted = record.setup.network.ip;
    let ip = addresses::allocate(run, name, network.subnet()?, wanted, &record.id)?;
    let aliases: Vec<&str> =
        std::iter::once(short_id(&record.id)).chain(record.setup.network.aliases.iter().map(String::as_str)).collect();
    let mut options = json!({"interface_name": INTERFACE, "static_ips": [ip], "aliases": aliases});
    if let Some(mac) = &record.setup.network.mac {
        options["static_mac"] = json!(mac);
    }
    let mapping = |port: &Port| {
        json!({"host_ip": port.ip.map(|ip| ip.to_string()).unwrap_or_default(), "host_port": port.host,
            "container_port": port.container, "protocol": port.protocol, "range": port.count})
    };
    let mappings: Vec<Value> = ports.iter().map(mapping).collect();
    Ok(json!({
        "container_id": record.id, "container_name": record.name, "port_mappings": mappings,
        "networks": {name: options}, "network_info": {name: network},
    }))
}

fn call(run: &RunDir, verb: &str, netns: &Path, request: &Value) -> Result<Vec<u8>> {
    let path = programs::find(&NETAVARK)?;
    let mut command = Command::new(&path);
    command.arg("--config").arg(run.networks()?).args(["--rootless", "false"]);
    if let Ok(aardvark) = programs::find(&AARDVARK) {
        command.arg("--aardvark-binary").arg(aardvark);
    }
    command.arg(verb).arg(netns);
    programs::call(&path, command, request.to_string().as_bytes())
}

/// Makes the network and keeps netavark's answer.
///
/// # Errors
/// netavark's.
pub(super) fn setup(run: &RunDir, netns: &Path, made: &mut Made) -> Result<()> {
    let output = call(run, "setup", netns, &made.request)?;
    made.answer = serde_json::from_slice(&output).context("the answer of netavark")?;
    for network in made.answer.as_object().into_iter().flat_map(|networks| networks.values()) {
        let list =
            |name: &str| network.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        made.name_servers.extend(list("dns_server_ips").filter_map(|text| text.parse::<IpAddr>().ok()));
        made.search.extend(list("dns_search_domains").map(str::to_owned));
        let interfaces = network.get("interfaces").and_then(Value::as_object);
        for subnet in interfaces.into_iter().flat_map(|all| all.values()).flat_map(subnets) {
            made.addresses.extend(subnet.split('/').next().and_then(|ip| ip.parse::<IpAddr>().ok()));
        }
    }
    Ok(())
}

fn subnets(interface: &Value) -> impl Iterator<Item = &str> {
    let all = interface.get("subnets").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|subnet| subnet.get("ipnet").and_then(Value::as_str))
}

/// Removes what [`setup`] made.
///
/// # Errors
/// netavark's.
pub(super) fn teardown(run: &RunDir, netns: &Path, request: &Value) -> Result<()> {
    call(run, "teardown", netns, request).map(drop)
}
