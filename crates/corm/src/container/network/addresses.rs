//! Addresses of containers in a network: chosen here, because netavark has none of its own. `RUN/networks/NAME.addresses`
//! has the owner of each.

use base::coded;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::container::run_dir::RunDir;

/// File name of the lock.
const LOCK: &str = "lock";

/// Ending of a file with addresses.
const ENDING: &str = ".addresses";

type Owners = BTreeMap<IpAddr, String>;

/// A subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    /// First and last address, as numbers.
    first: u128,
    last: u128,
    /// Whether it is of IPv6.
    v6: bool,
}

/// Returns an address as a number.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

impl Subnet {
    /// Parses `ADDRESS/BITS`.
    ///
    /// # Errors
    /// Another form, too small for a gateway and a container, too large.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts =
            text.split_once('/').and_then(|(ip, bits)| Some((ip.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?)));
        let (ip, host_bits) = match parts {
            Some((ip @ IpAddr::V4(_), bits @ 8..=30)) => (ip, 32 - bits),
            Some((ip @ IpAddr::V6(_), bits @ 16..=126)) => (ip, 128 - bits),
            Some((IpAddr::V6(_), _)) => bail!(coded!(UsageValue, "{text:?}: a subnet of IPv6 is from /16 to /126")),
            _ => bail!(coded!(UsageValue, "{text:?}: not a subnet of the form 10.87.0.0/16, from /8 to /30")),
        };
        let rest = (1_u128 << host_bits) - 1;
        let first = number(ip) & !rest;
        Ok(Self { first, last: first | rest, v6: ip.is_ipv6() })
    }

    fn ip(self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(number) if !self.v6 => IpAddr::V4(Ipv4Addr::from(number)),
            _ => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }

    /// Returns the addresses that a container or the gateway can have.
    fn hosts(self) -> impl Iterator<Item = IpAddr> {
        (self.first.saturating_add(1)..self.last).map(move |number| self.ip(number))
    }

    /// Returns the usual address of the gateway, the first.
    pub(super) fn gateway(self) -> IpAddr {
        self.ip(self.first.saturating_add(1))
    }

    /// Returns whether a container can have the address.
    pub(super) fn has(self, ip: IpAddr) -> bool {
        ip.is_ipv6() == self.v6 && (self.first + 1..self.last).contains(&number(ip))
    }

    /// Returns the first and the last address that a container can have.
    pub(super) fn bounds(self) -> (IpAddr, IpAddr) {
        (self.ip(self.first.saturating_add(1)), self.ip(self.last.saturating_sub(1)))
    }

    /// Returns whether an address is in it, the first and the last one included.
    pub(super) fn has_inside(self, ip: IpAddr) -> bool {
        ip.is_ipv6() == self.v6 && (self.first..=self.last).contains(&number(ip))
    }

    /// Returns whether two subnets share addresses.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.v6 == other.v6 && self.first <= other.last && other.first <= self.last
    }
}

/// A subnet with what containers do not get of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    /// Subnet.
    pub subnet: Subnet,
    /// Address of the bridge.
    pub gateway: IpAddr,
    /// First and last address that is given to a container that chooses none.
    pub range: Option<(IpAddr, IpAddr)>,
}

impl Pool {
    fn gives(&self, ip: &IpAddr) -> bool {
        *ip != self.gateway && self.range.is_none_or(|(first, last)| first <= *ip && *ip <= last)
    }
}

/// Chooses an address of each subnet of `network` for the container `id`, or takes the wanted ones.
///
/// # Errors
/// A wanted one is another container's or outside of the subnets; none is free.
pub(super) fn allocate(
    run: &RunDir,
    network: &str,
    pools: &[Pool],
    wanted: &[IpAddr],
    id: &str,
) -> Result<Vec<IpAddr>> {
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
    let mut chosen = Vec::with_capacity(pools.len());
    for pool in pools {
        let free = |ip: &IpAddr| *ip != pool.gateway && !owners.contains_key(ip);
        let ip = match wanted.iter().copied().find(|ip| pool.subnet.has(*ip)) {
            Some(ip) => {
                ensure!(free(&ip), coded!(UsageValue, "--ip {ip}: in use"));
                ip
            }
            None => {
                let first = pool.range.map_or(pool.subnet.first, |(first, _)| number(first).saturating_sub(1));
                let all = Subnet { first: first.max(pool.subnet.first), ..pool.subnet };
                let found = all.hosts().take_while(|ip| pool.range.is_none_or(|(_, last)| *ip <= last));
                found
                    .filter(|ip| pool.gives(ip))
                    .find(free)
                    .with_context(|| format!("network {network:?}: no address is free"))?
            }
        };
        owners.insert(ip, id.to_owned());
        chosen.push(ip);
    }
    std::fs::write(&path, serde_json::to_vec(&owners)?).with_context(|| format!("write {path:?}"))?;
    Ok(chosen)
}

/// Gives back the addresses of a container in one network.
///
/// # Errors
/// The file system's.
pub(super) fn release_of(run: &RunDir, network: &str, id: &str) -> Result<()> {
    let _lock = lock(run)?;
    drop_owner(&run.networks()?.join(format!("{network}{ENDING}")), id)
}

fn drop_owner(path: &Path, id: &str) -> Result<()> {
    let mut owners = read(path)?;
    let before = owners.len();
    owners.retain(|_, owner| owner != id);
    if owners.len() == before {
        return Ok(());
    }
    std::fs::write(path, serde_json::to_vec(&owners)?).with_context(|| format!("write {path:?}"))
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
        drop_owner(&path, id)?;
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
    lock_file(&run.networks()?.join(LOCK))
}

/// Locks the network of a container.
///
/// # Errors
/// The file system's.
pub(super) fn lock_of(run: &RunDir, id: &str) -> Result<File> {
    lock_file(&run.container_dir(id).join("network.lock"))
}

fn lock_file(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
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
        let six = Subnet::parse("fd00:1::5/64").unwrap();
        assert_eq!(six.gateway().to_string(), "fd00:1::1");
        assert!(
            six.has("fd00:1::ffff".parse().unwrap()) && !six.has("fd00:2::1".parse().unwrap()) && !six.overlaps(subnet)
        );
        for bad in ["10.87.0.0", "10.87.0.0/31", "10.87.0.0/7", "fd00::/127", "x/16", "10.87.0.0/16/2"] {
            assert!(Subnet::parse(bad).is_err(), "{bad}");
        }
    }
}
