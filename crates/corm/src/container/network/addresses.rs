//! Addresses of containers in a network: chosen here, because netavark has none of its own. `RUN/networks/NAME.addresses`
//! has the owner of each.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::container::run_dir::RunDir;

/// File name of the lock.
const LOCK: &str = "lock";

/// Ending of a file with addresses.
const ENDING: &str = ".addresses";

type Owners = BTreeMap<IpAddr, String>;

/// A subnet of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    first: u32,
    last: u32,
}

impl Subnet {
    /// Parses `ADDRESS/BITS`.
    ///
    /// # Errors
    /// Another form, too small for a gateway and a container, IPv6.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts =
            text.split_once('/').and_then(|(ip, bits)| Some((ip.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?)));
        match parts {
            Some((IpAddr::V4(ip), bits @ 8..=30)) => {
                let mask = u32::MAX << (32 - bits);
                let first = u32::from(ip) & mask;
                Ok(Self { first, last: first | !mask })
            }
            Some((IpAddr::V6(_), _)) => bail!("{text:?}: subnets of IPv6 are not built"),
            _ => bail!("{text:?}: not a subnet of the form 10.87.0.0/16, from /8 to /30"),
        }
    }

    /// Returns the addresses that a container or the gateway can have.
    fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.first.saturating_add(1)..self.last).map(Ipv4Addr::from)
    }

    /// Returns the usual address of the gateway, the first.
    pub(super) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first.saturating_add(1))
    }

    /// Returns whether a container can have the address.
    pub(super) fn has(self, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if (self.first + 1..self.last).contains(&u32::from(ip)))
    }

    /// Returns whether two subnets share addresses.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Chooses an address of `network` for the container `id`, or takes the wanted one.
///
/// # Errors
/// The wanted one is another container's or outside of the subnet; none is free.
pub(super) fn allocate(
    run: &RunDir,
    network: &str,
    (subnet, gateway): (Subnet, IpAddr),
    wanted: Option<IpAddr>,
    id: &str,
) -> Result<IpAddr> {
    let _lock = lock(run)?;
    let path = run.networks()?.join(format!("{network}{ENDING}"));
    let mut owners = read(&path)?;
    // those of containers that were killed with their supervisor and removed since
    for (ip, owner) in std::mem::take(&mut owners) {
        let file = run.network_file(&owner);
        if file.try_exists().with_context(|| format!("the owner of {ip}: {file:?}"))? {
            owners.insert(ip, owner);
        }
    }
    let free = |ip: &IpAddr| *ip != gateway && !owners.contains_key(ip);
    let ip = match wanted {
        Some(ip) => {
            ensure!(subnet.has(ip), "--ip {ip}: not an address for a container of the network {network:?}");
            ensure!(free(&ip), "--ip {ip}: in use");
            ip
        }
        None => subnet
            .hosts()
            .map(IpAddr::V4)
            .find(free)
            .with_context(|| format!("network {network:?}: no address is free"))?,
    };
    owners.insert(ip, id.to_owned());
    std::fs::write(&path, serde_json::to_vec(&owners)?).with_context(|| format!("write {path:?}"))?;
    Ok(ip)
}

/// Gives back the addresses of a container.
///
/// # Errors
/// The file system's.
pub(super) fn release(run: &RunDir, id: &str) -> Result<()> {
    let dir = run.networks()?;
    let _lock = lock(run)?;
    for entry in linux::open::read_dir(&dir).with_context(|| format!("read {dir:?}"))? {
        let path = entry.with_context(|| format!("read {dir:?}"))?.path();
        if !path.to_str().is_some_and(|path| path.ends_with(ENDING)) {
            continue;
        }
        let mut owners = read(&path)?;
        let before = owners.len();
        owners.retain(|_, owner| owner != id);
        if owners.len() != before {
            std::fs::write(&path, serde_json::to_vec(&owners)?).with_context(|| format!("write {path:?}"))?;
        }
    }
    Ok(())
}

/// Reads a file; a damaged one, after a kill, is empty: netavark refuses an address that is in use.
fn read(path: &Path) -> Result<Owners> {
    match std::fs::read(path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(Owners::new()),
        bytes => Ok(serde_json::from_slice(&bytes.with_context(|| format!("read {path:?}"))?).unwrap_or_default()),
    }
}

fn lock(run: &RunDir) -> Result<File> {
    let path = run.networks()?.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.with_context(|| format!("{path:?}"))?;
    file.lock().with_context(|| format!("lock {path:?}"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn subnets_have_bounds() {
        let subnet = Subnet::parse("10.87.3.9/30").unwrap();
        let all: Vec<String> = subnet.hosts().map(|ip| ip.to_string()).collect();
        assert_eq!(all, ["10.87.3.9", "10.87.3.10"]);
        assert!(subnet.has("10.87.3.10".parse().unwrap()) && !subnet.has("10.87.3.11".parse().unwrap()));
        assert!(!subnet.has("::1".parse().unwrap()));
        assert!(subnet.overlaps(Subnet::parse("10.87.0.0/16").unwrap()));
        assert!(!subnet.overlaps(Subnet::parse("10.87.3.0/29").unwrap()));
        for bad in ["10.87.0.0", "10.87.0.0/31", "10.87.0.0/7", "fd00::/64", "x/16", "10.87.0.0/16/2"] {
            assert!(Subnet::parse(bad).is_err(), "{bad}");
        }
    }
}
