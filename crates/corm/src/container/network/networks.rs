//! Networks with a bridge: files of Podman's format in `STORE/networks`, and one that is always there.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::addresses::{Pool, Subnet};
use crate::config::network::{DEFAULT_NETWORK, check_name};
use crate::config::new_network::NewNetwork;
use crate::model::digest::Digest;
use crate::store::{ContainerRecord, Store};
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;

/// Subnet of the default network: none of Podman's (10.88, 10.89) and Docker's (172.17 and up).
const DEFAULT_SUBNET: &str = "10.87.0.0/16";

/// Interface of the default network.
const DEFAULT_INTERFACE: &str = "corm0";

/// Maximum size of a network's file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSubnet {
    /// `ADDRESS/BITS`.
    pub subnet: String,
    /// Address of the bridge.
    pub gateway: IpAddr,
    /// Addresses for containers that choose none; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
}

/// A range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRange {
    /// First address.
    pub start_ip: IpAddr,
    /// Last address.
    pub end_ip: IpAddr,
}

/// A network, with the keys of Podman's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Name.
    pub name: String,
    /// ID, 64 hexadecimal digits.
    pub id: String,
    /// Driver: `bridge`.
    pub driver: String,
    /// Interface of the host.
    pub network_interface: String,
    /// Time of creation, RFC 3339.
    pub created: String,
    /// Subnets; a container has an address in each.
    pub subnets: Vec<NetworkSubnet>,
    /// Whether it has addresses of IPv6.
    pub ipv6_enabled: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether aardvark-dns resolves the names of its containers.
    pub dns_enabled: bool,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Where addresses come from.
    pub ipam_options: serde_json::Value,
}

impl Description {
    /// Returns its subnets.
    ///
    /// # Errors
    /// There is none, or one is malformed.
    pub(super) fn pools(&self) -> Result<Vec<Pool>> {
        ensure!(!self.subnets.is_empty(), coded!(NetworkFailed, "network {:?} has no subnet", self.name));
        let pool = |own: &NetworkSubnet| {
            let subnet = Subnet::parse(&own.subnet).with_context(|| format!("network {:?}", self.name))?;
            ensure!(
                subnet.has(own.gateway),
                coded!(NetworkFailed, "network {:?}: the gateway is not in the subnet", self.name)
            );
            let range = own.lease_range.as_ref().map(|range| (range.start_ip, range.end_ip));
            Ok(Pool { subnet, gateway: own.gateway, range })
        };
        self.subnets.iter().map(pool).collect()
    }
}

fn describe(name: &str, interface: &str, subnets: Vec<NetworkSubnet>, dns_enabled: bool) -> Description {
    Description {
        name: name.to_owned(),
        id: Digest::of(name.as_bytes()).hex().to_owned(),
        driver: "bridge".to_owned(),
        network_interface: interface.to_owned(),
        created: jiff::Timestamp::now().to_string(),
        ipv6_enabled: subnets.iter().any(|subnet| subnet.gateway.is_ipv6()),
        subnets,
        internal: false,
        dns_enabled,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
        ipam_options: serde_json::json!({"driver": "host-local"}),
    }
}

fn dir(store: &Store) -> PathBuf {
    store.root().join("networks")
}

/// Returns all networks by name, the default one first.
///
/// # Errors
/// A file cannot be read.
pub fn all(store: &Store) -> Result<Vec<Description>> {
    let mut names = Vec::new();
    match linux::open::read_dir(dir(store)) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries.context("networks")? {
                let name = entry.context("networks")?.file_name().into_string();
                names.extend(name.ok().and_then(|name| Some(name.strip_suffix(".json")?.to_owned())));
            }
        }
    }
    names.retain(|name| name != DEFAULT_NETWORK && check_name(name).is_ok());
    names.sort();
    std::iter::once(DEFAULT_NETWORK.to_owned()).chain(names).map(|name| find(store, &name)).collect()
}

/// Finds a network by name.
///
/// # Errors
/// `No network named 'X' exists`; its file is damaged.
pub fn find(store: &Store, name: &str) -> Result<Description> {
    use std::io::Read as _;
    check_name(name)?;
    let path = dir(store).join(format!("{name}.json"));
    let file = match std::fs::File::open(&path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound && name == DEFAULT_NETWORK => {
            let gateway = Subnet::parse(DEFAULT_SUBNET)?.gateway();
            let subnet = NetworkSubnet { subnet: DEFAULT_SUBNET.to_owned(), gateway, lease_range: None };
            return Ok(describe(name, DEFAULT_INTERFACE, vec![subnet], false));
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!(coded!(NetworkNotFound, "No network named '{name}' exists"));
        }
        file => file.with_context(|| format!("{path:?}"))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).with_context(|| format!("{path:?}"))?;
    let found: Description = serde_json::from_slice(&bytes).with_context(|| format!("{path:?}: not a network"))?;
    ensure!(found.name == name, coded!(NetworkFailed, "{path:?}: has the name {:?}", found.name));
    ensure!(
        found.driver == "bridge",
        coded!(NetworkFailed, "network {name:?}: the driver {:?} is not built", found.driver)
    );
    Ok(found)
}

/// Returns the subnets with their gateways and ranges; `is_free` is false for those of other networks.
fn subnets(wanted: &NewNetwork, is_free: &dyn Fn(&Subnet) -> bool) -> Result<Vec<NetworkSubnet>> {
    let mut parsed: Vec<(String, Subnet)> = Vec::new();
    for text in &wanted.subnets {
        let subnet = Subnet::parse(text).code(Code::UsageValue, "--subnet")?;
        let own = parsed.iter().all(|(_, other)| !other.overlaps(subnet));
        ensure!(own && is_free(&subnet), coded!(UsageValue, "--subnet {text}: another network has a part of it"));
        parsed.push((text.clone(), subnet));
    }
    let mut free = |form: fn(u32) -> String| -> Result<()> {
        let mut candidates = (0..=255).filter_map(|number| Some((form(number), Subnet::parse(&form(number)).ok()?)));
        let found = candidates.find(|(_, subnet)| is_free(subnet)).context("no subnet is free: give --subnet")?;
        parsed.push(found);
        Ok(())
    };
    if wanted.subnets.is_empty() {
        free(|third| format!("10.86.{third}.0/24"))?;
    }
    if wanted.ipv6 && !wanted.subnets.iter().any(|text| text.contains("::")) {
        // of the range for local use (RFC 4193)
        free(|number| format!("fd86:c0:4d:{:x}::/64", number + 1))?;
    }
    let mut made = Vec::with_capacity(parsed.len());
    for (text, subnet) in parsed {
        made.push(NetworkSubnet { gateway: subnet.gateway(), subnet: text, lease_range: None });
    }
    set_gateways(&wanted.gateways, &mut made)?;
    set_ranges(&wanted.ranges, &mut made)?;
    Ok(made)
}

/// Sets the addresses of the bridge in the subnets that have them.
fn set_gateways(gateways: &[String], made: &mut [NetworkSubnet]) -> Result<()> {
    for text in gateways {
        let ip: IpAddr =
            text.parse().with_code(Code::UsageValue, || format!("--gateway {text:?}: not an IP address"))?;
        let has = |own: &&mut NetworkSubnet| Subnet::parse(&own.subnet).is_ok_and(|subnet| subnet.has(ip));
        made.iter_mut()
            .find(has)
            .with_code(Code::UsageValue, || format!("--gateway {text}: is in no subnet"))?
            .gateway = ip;
    }
    Ok(())
}

/// Sets the ranges of addresses that are given to containers.
fn set_ranges(ranges: &[String], made: &mut [NetworkSubnet]) -> Result<()> {
    for text in ranges {
        let context = || format!("--ip-range {text:?}");
        let (start_ip, end_ip) = match text.split_once('-') {
            Some((first, last)) => (first.parse().with_context(context)?, last.parse().with_context(context)?),
            None => Subnet::parse(text).with_context(context)?.bounds(),
        };
        let has = |own: &&mut NetworkSubnet| {
            Subnet::parse(&own.subnet).is_ok_and(|subnet| subnet.has_inside(start_ip) && subnet.has_inside(end_ip))
        };
        let own =
            made.iter_mut().find(has).with_code(Code::UsageValue, || format!("{}: is not in a --subnet", context()))?;
        ensure!(start_ip <= end_ip, coded!(NetworkFailed, "{}: is empty", context()));
        own.lease_range = Some(LeaseRange { start_ip, end_ip });
    }
    Ok(())
}

/// Creates a network; without a subnet it gets one that no other has.
///
/// # Errors
/// The name is taken, the subnet is another network's.
pub fn create(store: &Store, name: &str, wanted: &NewNetwork) -> Result<Description> {
    check_name(name)?;
    // the words of --network
    ensure!(
        !["none", "host", "bridge", "pasta", "slirp4netns", "default"].contains(&name),
        coded!(NetworkFailed, "{name:?}: is a mode of --network")
    );
    for option in wanted.options.keys() {
        ensure!(
            ["mtu", "vlan", "isolate"].contains(&option.as_str()),
            coded!(UsageValue, "--opt {option}: must be mtu, vlan or isolate")
        );
    }
    let _lock = store.exclusive()?;
    let others = all(store)?;
    if let Some(there) = others.iter().find(|other| other.name == name) {
        ensure!(wanted.ignore, coded!(NameTaken, "a network named '{name}' exists already"));
        return Ok(there.clone());
    }
    let taken: Vec<Subnet> =
        others.iter().filter_map(|other| other.pools().ok()).flatten().map(|pool| pool.subnet).collect();
    let subnets = subnets(wanted, &|subnet| taken.iter().all(|other| !other.overlaps(*subnet)))?;
    let used = |interface: &str| others.iter().any(|other| other.network_interface == interface);
    let interface = (1..).map(|number| format!("corm{number}")).find(|name| !used(name)).unwrap_or_default();
    let mut made = describe(name, &interface, subnets, !wanted.disable_dns && !wanted.internal);
    (made.internal, made.labels, made.options) = (wanted.internal, wanted.labels.clone(), wanted.options.clone());
    let dir = dir(store);
    std::fs::create_dir_all(&dir).with_context(|| format!("create {dir:?}"))?;
    let path = dir.join(format!("{name}.json"));
    atomic_file::write(&store.tmp(), &path, &serde_json::to_vec_pretty(&made)?, Durability::Full)?;
    Ok(made)
}

/// Returns the containers that use a network.
///
/// # Errors
/// A record cannot be read.
pub fn users(store: &Store, name: &str) -> Result<Vec<ContainerRecord>> {
    let mut all = store.containers()?;
    all.retain(|container| container.setup.network.names().iter().any(|own| own == name));
    Ok(all)
}

/// Removes a network that no container uses.
///
/// # Errors
/// It does not exist, is the default one, or a container uses it.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    find(store, name)?;
    ensure!(name != DEFAULT_NETWORK, coded!(NetworkFailed, "network '{name}' is always there"));
    let _lock = store.exclusive()?;
    let users: Vec<String> = users(store, name)?.into_iter().map(|container| container.name).collect();
    ensure!(
        users.is_empty(),
        coded!(NetworkInUse, "network '{name}' is in use by {}: remove the container first", users.join(", "))
    );
    let dir = dir(store);
    let path = dir.join(format!("{name}.json"));
    std::fs::remove_file(&path).with_context(|| format!("remove {path:?}"))?;
    // so that a power cut does not bring it back
    atomic_file::sync_dir(&dir)
}
