//! Network devices that move into the container (checklist part 9).
//!
//! Every case works in a network namespace of its own, with devices of its own: it cannot reach the host's.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::container::Container;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, OwnNamespace, expect, need_program};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "ND-1", title: "a device moves into the container under its own name", run: nd_1 },
    Test { id: "ND-1", title: "a device moves under a new name", run: nd_1_name },
    Test { id: "ND-1", title: "a device that is missing is an error", run: nd_1_missing },
    Test { id: "ND-1", title: "a device without a network namespace to move to is an error", run: nd_1_namespace },
    Test { id: "ND-1", title: "names that no device can have are errors", run: nd_1_names },
    Test { id: "ND-2", title: "a name that is in use in the container is an error", run: nd_2 },
    Test { id: "ND-2", title: "a name with %d gets a number", run: nd_2_pattern },
    Test { id: "ND-3", title: "a device keeps its hardware address and its MTU", run: nd_3_attributes },
    Test { id: "ND-3", title: "a device keeps its permanent global addresses of both families", run: nd_3_addresses },
    Test { id: "ND-4", title: "a device is up after it has moved", run: nd_4 },
    Test { id: "ND-5", title: "delete does not bring a device back", run: nd_5 },
    Test { id: "OP-3", title: "a create that fails leaves the device where it was, as it was", run: op_3_device },
];

/// A network namespace of the case's own with a veth pair, mine0 and mine1.
struct Net {
    ip: std::path::PathBuf,
    _own: OwnNamespace,
}

impl Net {
    fn new() -> Result<Self> {
        let ip = need_program("ip")?;
        let net = Self { ip, _own: OwnNamespace::network()? };
        if let Err(err) = net.ip(&["link", "add", "mine0", "type", "veth", "peer", "name", "mine1"]) {
            return skip(&format!("this kernel has no veth devices: {err:#}"));
        }
        Ok(net)
    }

    /// Runs `ip` and returns its output.
    fn ip(&self, args: &[&str]) -> Result<String> {
        let done = Command::new(&self.ip).args(args).output()?;
        let err = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "ip {}: {}", args.join(" "), err.trim());
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Returns the names of the devices of this namespace.
    fn names(&self) -> Result<Vec<String>> {
        let listed = self.ip(&["-o", "link"])?;
        let name =
            |line: &str| line.split(": ").nth(1).map(|name| name.split('@').next().unwrap_or_default().to_owned());
        let mut names: Vec<_> = listed.lines().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// Prepares a container into which these devices have to move.
fn with<'a>(b: &'a Harness, devices: Value) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    c.config["linux"]["netDevices"] = devices;
    Ok(c)
}

/// Returns the names of the container's devices, from its /proc/net/dev.
fn inside(facts: &Facts) -> Result<Vec<String>> {
    let listed = facts.read("net/dev")?;
    let mut names: Vec<_> = listed.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect();
    names.sort_unstable();
    Ok(names)
}

fn nd_1(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    let c = with(b, json!({"mine1": {}}))?;
    let facts = Facts::run(&c)?;
    expect("the container's devices", inside(&facts)?, vec!["lo".to_owned(), "mine1".into()])?;
    expect("the devices that stayed", net.names()?, vec!["lo".to_owned(), "mine0".into()])
}

fn nd_1_name(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    let c = with(b, json!({"mine0": {"name": "renamed0"}, "mine1": {"name": "renamed1"}}))?;
    let facts = Facts::run(&c)?;
    expect("the container's devices", inside(&facts)?, ["lo", "renamed0", "renamed1"].map(str::to_owned).to_vec())?;
    expect("the devices that stayed", net.names()?, vec!["lo".to_owned()])
}

fn nd_1_missing(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    with(b, json!({"mine0": {}, "none0": {}}))?.must_be_refused()?;
    expect("the devices", net.names()?, ["lo", "mine0", "mine1"].map(str::to_owned).to_vec())
}

fn nd_1_namespace(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    let mut c = with(b, json!({"mine0": {}}))?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    c.config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}]);
    c.must_be_refused()?;
    expect("the devices", net.names()?, ["lo", "mine0", "mine1"].map(str::to_owned).to_vec())
}

fn nd_1_names(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    for name in ["sixteen-letters-", "a/b", "a b", "..", "a:b"] {
        with(b, json!({"mine0": {"name": name}}))?.must_be_refused().with_context(|| format!("name {name:?}"))?;
    }
    expect("the devices", net.names()?, ["lo", "mine0", "mine1"].map(str::to_owned).to_vec())
}

fn nd_2(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    for devices in [json!({"mine0": {"name": "lo"}}), json!({"mine0": {"name": "same"}, "mine1": {"name": "same"}})] {
        with(b, devices.clone())?.must_be_refused().with_context(|| devices.to_string())?;
        expect("the devices", net.names()?, ["lo", "mine0", "mine1"].map(str::to_owned).to_vec())?;
    }
    Ok(())
}

fn nd_2_pattern(b: &Harness) -> Result<()> {
    let _net = Net::new()?;
    let c = with(b, json!({"mine0": {"name": "eth%d"}, "mine1": {"name": "eth%d"}}))?;
    let facts = Facts::run(&c)?;
    expect("the container's devices", inside(&facts)?, ["eth0", "eth1", "lo"].map(str::to_owned).to_vec())
}

/// Runs `ip` in the container's network namespace and returns its output.
fn ip_inside(net: &Net, facts: &Facts, args: &[&str]) -> Result<String> {
    let nsenter = need_program("nsenter")?;
    let done = Command::new(nsenter)
        .arg(format!("--net={}", facts.path("ns/net").display()))
        .arg(&net.ip)
        .args(args)
        .output()?;
    ensure!(done.status.success(), "ip {} inside: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn nd_3_attributes(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    net.ip(&["link", "set", "mine0", "mtu", "1234", "address", "02:01:02:03:04:05"])?;
    let c = with(b, json!({"mine0": {"name": "moved"}}))?;
    let shown = ip_inside(&net, &Facts::run(&c)?, &["-o", "link", "show", "moved"])?;
    for wanted in ["mtu 1234 ", "link/ether 02:01:02:03:04:05 "] {
        ensure!(shown.contains(wanted), "expected {wanted:?}, seen {shown:?}");
    }
    Ok(())
}

fn nd_3_addresses(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    net.ip(&["addr", "add", "10.11.12.13/29", "dev", "mine0"])?;
    net.ip(&["addr", "add", "192.0.2.1/32", "dev", "mine0"])?;
    let v6 = net.ip(&["addr", "add", "2001:db8::7/64", "dev", "mine0", "nodad"]).is_ok();
    // an address of scope link, and one with a lifetime: the container gets neither
    net.ip(&["addr", "add", "169.254.7.7/16", "dev", "mine0", "scope", "link"])?;
    net.ip(&["addr", "add", "10.99.99.99/24", "dev", "mine0", "valid_lft", "500", "preferred_lft", "500"])?;
    let c = with(b, json!({"mine0": {}}))?;
    let shown = ip_inside(&net, &Facts::run(&c)?, &["-o", "addr", "show", "mine0"])?;
    for wanted in ["inet 10.11.12.13/29 ", "inet 192.0.2.1/32 "] {
        ensure!(shown.contains(wanted), "expected {wanted:?}, seen {shown:?}");
    }
    ensure!(!v6 || shown.contains("inet6 2001:db8::7/64 scope global"), "the address of version 6 is lost: {shown:?}");
    for wrong in ["169.254.7.7", "10.99.99.99"] {
        ensure!(!shown.contains(wrong), "{wrong} has moved too: {shown:?}");
    }
    Ok(())
}

fn nd_4(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    net.ip(&["link", "set", "mine1", "up"])?;
    let c = with(b, json!({"mine0": {}}))?;
    let shown = ip_inside(&net, &Facts::run(&c)?, &["-o", "link", "show", "mine0"])?;
    let flags = shown.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(flags, _)| flags);
    ensure!(flags.split(',').any(|flag| flag == "UP"), "its flags are {flags:?}");
    Ok(())
}

fn nd_5(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    // a namespace that outlives the container keeps the device
    let holder = Container::new(b)?;
    let held = Facts::run(&holder)?;
    let mut c = with(b, json!({"mine0": {"name": "moved"}}))?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    c.config["linux"]["namespaces"] =
        json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": held.path("ns/net")}]);
    Facts::run(&c)?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    expect("the devices that stayed", net.names()?, ["lo", "mine1"].map(str::to_owned).to_vec())?;
    expect("the namespace's devices", inside(&held)?, ["lo", "moved"].map(str::to_owned).to_vec())
}

fn op_3_device(b: &Harness) -> Result<()> {
    let net = Net::new()?;
    net.ip(&["addr", "add", "10.11.12.13/29", "dev", "mine0"])?;
    let before = net.ip(&["-o", "addr", "show", "mine0"])?;
    let holder = Container::new(b)?;
    let held = Facts::run(&holder)?;
    let mut c = with(b, json!({"mine0": {"name": "moved"}}))?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    c.config["linux"]["namespaces"] =
        json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": held.path("ns/net")}]);
    // the device has moved before the hook fails
    c.config["hooks"] = json!({"createContainer": [{"path": c.path("/bin/busybox"), "args": ["false"]}]});
    c.must_be_refused()?;
    expect("the devices", net.names()?, ["lo", "mine0", "mine1"].map(str::to_owned).to_vec())?;
    expect("the device's addresses", net.ip(&["-o", "addr", "show", "mine0"])?, before)
}
