//! Networks with a bridge: files of Podman's format in `STORE/networks`, and one that is always there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::addresses::Subnet;
use crate::config::network::{DEFAULT_NETWORK, check_name};
use crate::model::digest::Digest;
use crate::store::Store;
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
    /// Subnets; the first one is used.
    pub subnets: Vec<NetworkSubnet>,
    /// Whether it has addresses of IPv6.
    pub ipv6_enabled: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether aardvark-dns resolves the names of its containers.
    pub dns_enabled: bool,
    /// Where addresses come from.
    pub ipam_options: serde_json::Value,
}

impl Description {
    /// Returns its first subnet.
    ///
    /// # Errors
    /// There is none, or it is malformed.
    pub(super) fn subnet(&self) -> Result<(Subnet, IpAddr)> {
        let first = self.subnets.first().with_context(|| format!("network {:?} has no subnet", self.name))?;
        let subnet = Subnet::parse(&first.subnet).with_context(|| format!("network {:?}", self.name))?;
        ensure!(subnet.has(first.gateway), "network {:?}: the gateway is not in the subnet", self.name);
        Ok((subnet, first.gateway))
    }
}

fn describe(name: &str, interface: &str, subnet: &str, gateway: Ipv4Addr, dns_enabled: bool) -> Description {
    Description {
        name: name.to_owned(),
        id: Digest::of(name.as_bytes()).hex().to_owned(),
        driver: "bridge".to_owned(),
        network_interface: interface.to_owned(),
        created: jiff::Timestamp::now().to_string(),
        subnets: vec![NetworkSubnet { subnet: subnet.to_owned(), gateway: IpAddr::V4(gateway) }],
        ipv6_enabled: false,
        internal: false,
        dns_enabled,
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
            let subnet = Subnet::parse(DEFAULT_SUBNET)?;
            return Ok(describe(name, DEFAULT_INTERFACE, DEFAULT_SUBNET, subnet.gateway(), false));
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!("No network named '{name}' exists");
        }
        file => file.with_context(|| format!("{path:?}"))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).with_context(|| format!("{path:?}"))?;
    let found: Description = serde_json::from_slice(&bytes).with_context(|| format!("{path:?}: not a network"))?;
    ensure!(found.name == name, "{path:?}: has the name {:?}", found.name);
    ensure!(found.driver == "bridge", "network {name:?}: the driver {:?} is not built", found.driver);
    Ok(found)
}

/// Creates a network; without a subnet it gets one that no other has.
///
/// # Errors
/// The name is taken, the subnet is another network's.
pub fn create(store: &Store, name: &str, subnet: Option<&str>, internal: bool, dns: bool) -> Result<Description> {
    check_name(name)?;
    // the words of --network
    ensure!(
        !["none", "host", "bridge", "pasta", "slirp4netns", "default"].contains(&name),
        "{name:?}: is a mode of --network"
    );
    let _lock = store.exclusive()?;
    let others = all(store)?;
    ensure!(others.iter().all(|other| other.name != name), "a network named '{name}' exists already");
    let taken: Vec<Subnet> = others.iter().filter_map(|other| Some(other.subnet().ok()?.0)).collect();
    let is_free = |subnet: &Subnet| taken.iter().all(|other| !other.overlaps(*subnet));
    let (text, parsed) = match subnet {
        Some(text) => {
            let parsed = Subnet::parse(text).context("--subnet")?;
            ensure!(is_free(&parsed), "--subnet {text}: another network has a part of it");
            (text.to_owned(), parsed)
        }
        None => {
            let mut candidates = (0..=255).filter_map(|third| {
                let text = format!("10.86.{third}.0/24");
                Some((text.clone(), Subnet::parse(&text).ok()?))
            });
            candidates.find(|(_, subnet)| is_free(subnet)).context("no subnet is free: give --subnet")?
        }
    };
    let used = |interface: &str| others.iter().any(|other| other.network_interface == interface);
    let interface = (1..).map(|number| format!("corm{number}")).find(|name| !used(name)).unwrap_or_default();
    let mut made = describe(name, &interface, &text, parsed.gateway(), dns && !internal);
    made.internal = internal;
    let dir = dir(store);
    std::fs::create_dir_all(&dir).with_context(|| format!("create {dir:?}"))?;
    let path = dir.join(format!("{name}.json"));
    atomic_file::write(&store.tmp(), &path, &serde_json::to_vec_pretty(&made)?, Durability::Full)?;
    Ok(made)
}

/// Removes a network that no container uses.
///
/// # Errors
/// It does not exist, is the default one, or a container uses it.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    use crate::config::network::Mode;
    find(store, name)?;
    ensure!(name != DEFAULT_NETWORK, "network '{name}' is always there");
    let _lock = store.exclusive()?;
    let users: Vec<String> = store
        .containers()?
        .into_iter()
        .filter(|container| container.setup.network.mode == Mode::Bridge(name.to_owned()))
        .map(|container| container.name)
        .collect();
    ensure!(users.is_empty(), "network '{name}' is in use by {}: remove the container first", users.join(", "));
    let path = dir(store).join(format!("{name}.json"));
    std::fs::remove_file(&path).with_context(|| format!("remove {path:?}"))
}
