//! netavark: called with a request on its standard input, and again with the same one for the removal.

use anyhow::{Result, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::programs::{self, AARDVARK, NETAVARK};
use super::{Made, addresses, networks};
use crate::config::network::{Attachment, Port};
use crate::config::short_id;
use crate::container::run_dir::RunDir;
use crate::container::userns;
use crate::store::{ContainerRecord, Store};

/// Name of an interface in the container without its number.
const INTERFACE: &str = "eth";

/// Checks that the networks can be used.
///
/// # Errors
/// One does not exist, netavark is missing, the caller is not root.
pub(super) fn check(store: &Store, attachments: &[Attachment]) -> Result<()> {
    ensure!(
        !userns::unprivileged(),
        coded!(NetworkFailed, "a bridge needs root: choose --network pasta or slirp4netns")
    );
    for Attachment { name, ips, .. } in attachments {
        let network = networks::find(store, name)?;
        programs::find(&NETAVARK)?;
        if network.dns_enabled {
            programs::find(&AARDVARK)?;
        }
        let pools = network.pools()?;
        for ip in ips {
            let inside = pools.iter().any(|pool| pool.subnet.has(*ip));
            ensure!(inside, coded!(UsageValue, "--ip {ip}: not an address for a container of the network {name:?}"));
        }
    }
    Ok(())
}

/// Returns the request for networks of a container, with addresses that are its own from now on. `taken` has the interfaces
/// that it has already.
///
/// # Errors
/// A network does not exist, no address is free.
pub(super) fn request(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    attachments: &[Attachment],
    (ports, mut taken): (&[Port], Vec<String>),
) -> Result<Value> {
    let (mut options, mut descriptions) = (Map::new(), Map::new());
    taken.extend(attachments.iter().filter_map(|attachment| attachment.interface.clone()));
    for attachment in attachments {
        let name = &attachment.name;
        let network = networks::find(store, name)?;
        let ips = addresses::allocate(run, name, &network.pools()?, &attachment.ips, &record.id)?;
        let aliases: Vec<&str> =
            std::iter::once(short_id(&record.id)).chain(attachment.aliases.iter().map(String::as_str)).collect();
        let interface = attachment.interface.clone().or_else(|| {
            (0..).map(|number| format!("{INTERFACE}{number}")).find(|interface| !taken.contains(interface))
        });
        let interface = interface.unwrap_or_default();
        let mut one = json!({"interface_name": interface, "static_ips": ips, "aliases": aliases});
        if let Some(mac) = &attachment.mac {
            one["static_mac"] = json!(mac);
        }
        taken.push(interface);
        options.insert(name.clone(), one);
        descriptions.insert(name.clone(), json!(network));
    }
    let mapping = |port: &Port| {
        json!({"host_ip": port.ip.map(|ip| ip.to_string()).unwrap_or_default(), "host_port": port.host,
            "container_port": port.container, "protocol": port.protocol, "range": port.count})
    };
    let mappings: Vec<Value> = ports.iter().map(mapping).collect();
    Ok(json!({
        "container_id": record.id, "container_name": record.name, "port_mappings": mappings,
        "networks": options, "network_info": descriptions,
    }))
}

/// Returns the request for the network `name` alone of one for several; `None` when it has none.
pub(super) fn part(request: &Value, name: &str) -> Option<Value> {
    let mut part = request.clone();
    for key in ["networks", "network_info"] {
        let own = request.get(key)?.get(name)?.clone();
        part[key] = json!({name: own});
    }
    Some(part)
}

/// Adds the networks of a request to another.
pub(super) fn add(all: &mut Value, more: &Value) {
    if all.is_null() {
        *all = more.clone();
    }
    for key in ["networks", "network_info"] {
        for (name, value) in more.get(key).and_then(Value::as_object).into_iter().flatten() {
            all[key][name] = value.clone();
        }
    }
}

/// Removes a network from a request.
pub(super) fn remove(all: &mut Value, name: &str) {
    for key in ["networks", "network_info"] {
        if let Some(Value::Object(networks)) = all.get_mut(key) {
            networks.remove(name);
        }
    }
}

/// Returns the interfaces of a request.
pub(super) fn interfaces(request: &Value) -> Vec<String> {
    let all = request.get("networks").and_then(Value::as_object).into_iter().flat_map(|networks| networks.values());
    all.filter_map(|network| network.get("interface_name").and_then(Value::as_str)).map(str::to_owned).collect()
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

/// Makes the networks of a request and keeps netavark's answer.
///
/// # Errors
/// netavark's.
pub(super) fn setup(run: &RunDir, netns: &Path, request: &Value, made: &mut Made) -> Result<()> {
    let output = call(run, "setup", netns, request)?;
    let answer: Map<String, Value> =
        serde_json::from_slice(&output).code(Code::NetworkFailed, "the answer of netavark")?;
    for (name, network) in answer {
        made.answer[name] = network;
    }
    read_answer(made);
    Ok(())
}

/// Reads the addresses and name servers from the answers.
pub(super) fn read_answer(made: &mut Made) {
    (made.addresses, made.name_servers, made.search) = (Vec::new(), Vec::new(), Vec::new());
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
    made.search.dedup();
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
