//! The network of a running container: a network namespace at `RUN/ID/netns`, and what the programs of others make in it.
//!
//! netavark makes bridges, addresses, NAT and published ports (as root); pasta or slirp4netns forward through sockets of the
//! user. corm calls them, gives them addresses and removes their work: at the container's end, or, when its supervisor was
//! killed, by the next `start`, `rm` or `prune`. What there is to remove is in `RUN/ID/network.json`, which is written
//! before anything is made.

mod addresses;
pub mod connection;
mod namespace;
mod netavark;
pub mod networks;
mod programs;
mod reserved;
mod usermode;

use base::coded;
use base::error::{Code, Coding as _};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::run_dir::RunDir;
use super::userns;
use crate::config::network::Mode;
use crate::config::network::{Network, Port};
use crate::store::{ContainerRecord, Store};

/// Marks the line of the container's addresses in its `/etc/hosts`.
const HOSTS_MARK: &str = "# network";

/// What was made for a container, for its removal and for `inspect`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// Mode.
    pub mode: Mode,
    /// Published ports, with those of the host.
    pub ports: Vec<Port>,
    /// Request to netavark, which its removal gets again.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub request: Value,
    /// What netavark answered: the interfaces of each network.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// Addresses of the container.
    pub addresses: Vec<IpAddr>,
    /// Name servers to ask first.
    pub name_servers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
}

/// What a supervisor holds while the container runs; the programs end and the ports are free when it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    /// Sockets bound to the published ports.
    pub ports: Vec<OwnedFd>,
    /// The other end of the descriptor whose closing ends slirp4netns.
    pub exit: Option<OwnedFd>,
}

/// Returns what was made for a container, if its network is still there.
pub fn made(run: &RunDir, id: &str) -> Option<Made> {
    serde_json::from_slice(&std::fs::read(run.network_file(id)).ok()?).ok()
}

/// Returns the path of the namespace in the container's configuration; `None` for one that the runtime makes, or for the
/// host's.
pub fn namespace_path(run: Option<&RunDir>, network: &Network, id: &str) -> Option<PathBuf> {
    match &network.mode {
        Mode::None | Mode::Host => None,
        Mode::Path(path) => Some(path.clone()),
        Mode::Container(_) | Mode::Bridge(_) | Mode::Pasta | Mode::Slirp => run.map(|run| run.netns(id)),
    }
}

/// Checks before anything is created that the network can be made; another container's name becomes its ID.
///
/// # Errors
/// A program is missing, a mode needs root, another container or network does not exist.
pub fn check(store: &Store, run: &RunDir, network: &mut Network) -> Result<()> {
    let given = network.mode.to_string();
    let mut check = || match &network.mode {
        Mode::None | Mode::Host | Mode::Path(_) => Ok(()),
        Mode::Container(name) => {
            let other = store.find_container(name)?;
            let mode = &other.setup.network.mode;
            ensure!(
                *mode != Mode::Host,
                coded!(NetworkFailed, "container '{}' has the host's network: choose --network host", other.name)
            );
            ensure!(!userns::unprivileged(), coded!(NetworkFailed, "the namespaces of another container need root"));
            ensure!(
                run.pid(&other.id)?.is_some(),
                coded!(ContainerNotRunning, "container '{}' does not run", other.name)
            );
            network.mode = Mode::Container(other.id);
            Ok(())
        }
        Mode::Bridge(_) => netavark::check(store, &network.places()),
        Mode::Pasta => programs::find(&programs::PASTA).map(drop),
        Mode::Slirp => programs::find(&programs::SLIRP).map(drop),
    };
    check().with_code(Code::UsageValue, || format!("--network {given}"))
}

/// Makes the network of a container before its runtime is called, and completes its `hosts` and `resolv.conf`.
///
/// # Errors
/// Those of the program; what was made is removed again.
pub fn setup(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<Held> {
    let network = &record.setup.network;
    if matches!(network.mode, Mode::None | Mode::Host | Mode::Path(_)) {
        return Ok(Held::default());
    }
    // left by a killed supervisor
    teardown(run, &record.id)?;
    let result = make(store, run, record).with_context(|| format!("network {}", network.mode));
    if result.is_err() {
        // the reason is reported
        let _ = teardown(run, &record.id);
    }
    result
}

fn make(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<Held> {
    let network = &record.setup.network;
    let (ports, sockets) = reserved::reserve(&network.ports)?;
    let mut held = Held { ports: sockets, exit: None };
    let mut made = Made { mode: network.mode.clone(), ports, ..Made::default() };
    write(run, &record.id, &made)?;
    let netns = run.netns(&record.id);
    match &network.mode {
        Mode::Container(other) => {
            let other = store.find_container(other)?;
            let pid = run.pid(&other.id)?.with_context(|| format!("container '{}' does not run", other.name))?;
            return namespace::join(&netns, pid).map(|()| held);
        }
        Mode::Bridge(_) => {
            namespace::create(&netns)?;
            let request = netavark::request(store, run, record, &network.places(), (&made.ports, Vec::new()))?;
            made.request = request.clone();
            write(run, &record.id, &made)?;
            netavark::setup(run, &netns, &request, &mut made)?;
        }
        Mode::Pasta => {
            namespace::create(&netns)?;
            // pasta binds the ports itself
            held.ports.clear();
            usermode::pasta(run, &record.id, &mut made)?;
        }
        Mode::Slirp => {
            namespace::create(&netns)?;
            held.ports.clear();
            held.exit = Some(usermode::slirp(run, &record.id, &mut made)?);
        }
        Mode::None | Mode::Host | Mode::Path(_) => {}
    }
    write(run, &record.id, &made)?;
    write_names(store, record, &made)?;
    Ok(held)
}

fn write(run: &RunDir, id: &str, made: &Made) -> Result<()> {
    let path = run.network_file(id);
    std::fs::write(&path, serde_json::to_vec(made)?).with_context(|| format!("write {path:?}"))
}

/// Removes the network of a container; does nothing when there is none.
///
/// # Errors
/// netavark's, the file system's.
pub fn teardown(run: &RunDir, id: &str) -> Result<()> {
    let file = run.network_file(id);
    if !file.try_exists().with_context(|| format!("{file:?}"))? {
        return Ok(());
    }
    // not while a network is connected
    let _lock = addresses::lock_of(run, id)?;
    let made = match std::fs::read(&file) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        // nothing was made before the whole file was written
        bytes => serde_json::from_slice(&bytes.with_context(|| format!("read {file:?}"))?).ok(),
    };
    let netns = run.netns(id);
    let removed = match made {
        Some(made) if !made.request.is_null() => netavark::teardown(run, &netns, &made.request),
        Some(Made { mode: Mode::Pasta, .. }) => usermode::end_pasta(run, id),
        _ => Ok(()),
    };
    addresses::release(run, id)?;
    namespace::remove(&netns)?;
    // of slirp4netns, which may not have made one
    let _ = std::fs::remove_file(run.network_socket(id));
    match std::fs::remove_file(run.network_file(id)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err).context("remove network.json"),
        _ => removed,
    }
}

/// Adds the addresses to the container's `hosts`, and the name servers to its `resolv.conf`.
fn write_names(store: &Store, record: &ContainerRecord, made: &Made) -> Result<()> {
    let dir = store.container_dir(&record.id);
    let hostname = std::fs::read_to_string(dir.join("hostname")).context("hostname")?;
    let mut names = vec![hostname.trim(), record.name.as_str()];
    names.extend(record.setup.network.aliases());
    names.dedup();
    let path = dir.join("hosts");
    let hosts = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let mut lines: Vec<String> = hosts.lines().filter(|line| !line.ends_with(HOSTS_MARK)).map(str::to_owned).collect();
    for address in &made.addresses {
        lines.push(format!("{address}\t{} {HOSTS_MARK}", names.join(" ")));
    }
    // in place, because a bind mount of the file then shows the new content
    std::fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("write {path:?}"))?;
    let path = dir.join("resolv.conf");
    let old = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    std::fs::write(&path, resolv_conf(&old, made)).with_context(|| format!("write {path:?}"))
}

/// Returns a resolv.conf with the network's name servers before those of the host that can be reached from it.
fn resolv_conf(old: &str, made: &Made) -> String {
    let mut lines: Vec<String> = made.name_servers.iter().map(|server| format!("nameserver {server}")).collect();
    if !made.search.is_empty() {
        lines.push(format!("search {}", made.search.join(" ")));
    }
    for line in old.lines() {
        let server = line.trim().strip_prefix("nameserver").map(str::trim);
        let loopback = |server: &str| server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let repeated = server.is_some_and(|server| made.name_servers.iter().any(|own| own.to_string() == server));
        // a name server of the host's loopback interface is none of another network
        if !server.is_some_and(loopback) && !repeated {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn name_servers_of_the_network_come_first() {
        let old = "# of the host\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch example.org\n";
        let made = Made { name_servers: vec!["10.0.2.3".parse().unwrap()], ..Made::default() };
        let want = "nameserver 10.0.2.3\n# of the host\nnameserver 192.0.2.1\nsearch example.org\n";
        let once = resolv_conf(old, &made);
        assert_eq!(once, want);
        assert_eq!(resolv_conf(&once, &made).matches("10.0.2.3").count(), 1);
    }
}
