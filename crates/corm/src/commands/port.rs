//! `corm port`: prints the published ports of a container.

use anyhow::{Context as _, Result};
use base::coded;

use super::{Context, print};
use crate::config::network::Port;
use crate::container::network;
use crate::container::run_dir::RunDir;

/// Prints a line `PORT/PROTOCOL -> ADDRESS:PORT` for each, or only the addresses of one port.
///
/// # Errors
/// The container does not exist, or the port is not published.
pub(super) fn run(context: &Context, name: &str, wanted: Option<&str>) -> Result<u8> {
    let store = context.store()?;
    let record = store.find_container(name)?;
    let made = network::made(&RunDir::of(store.root())?, &record.id);
    let ports = made.map_or(record.setup.network.ports, |made| made.ports);
    let wanted = wanted.map(|text| Port::parse(text).with_context(|| format!("{text:?}"))).transpose()?;
    let mut found = wanted.is_none();
    for port in &ports {
        for step in 0..port.count {
            let own = u32::from(port.container) + u32::from(step);
            let address = port.ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
            let host = format!("{address}:{}", u32::from(port.host) + u32::from(step));
            match &wanted {
                None => print::line(format_args!("{own}/{} -> {host}", port.protocol))?,
                Some(wanted) if wanted.protocol == port.protocol && u32::from(wanted.container) == own => {
                    found = true;
                    print::line(host)?;
                }
                Some(_) => {}
            }
        }
    }
    anyhow::ensure!(found, coded!(UsageValue, "container '{}' does not publish this port", record.name));
    Ok(0)
}
