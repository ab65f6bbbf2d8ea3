//! The network device part of the plan: the host's interfaces to move into the container, and their names there.
//!
//! Pure. `runtime::network` moves them; `config::validate` checks the names.

use anyhow::{Result, bail};
use base::coded;
use oci_spec::runtime::Linux;

/// A network interface to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Name in the runtime's network namespace.
    pub host: String,
    /// Name in the container; ends in `%d` where the first free number replaces `%d` (ND-2).
    pub name: String,
}

impl Device {
    /// Returns the name without `%d`; `None` for a fixed name.
    pub(crate) fn pattern(&self) -> Option<&str> {
        self.name.strip_suffix("%d")
    }
}

/// Plans the moves, always in the same order; `euid` is the runtime's. Fixed names are first, because a name with the
/// first free number must not be one of them.
///
/// # Errors
/// The container shares the runtime's network namespace; croci is not root; a name that no interface can have.
pub(crate) fn plan(linux: Option<&Linux>, own_net_ns: bool, euid: u32) -> Result<Vec<Device>> {
    let Some(map) = linux.and_then(|linux| linux.net_devices().as_ref()).filter(|map| !map.is_empty()) else {
        return Ok(Vec::new());
    };
    refuse(own_net_ns, euid)?;
    let mut devices: Vec<Device> = Vec::with_capacity(map.len());
    for (host, device) in map {
        let name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        for name in [host.as_str(), name] {
            if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0']) {
                bail!(coded!(NetDevice, "linux.netDevices: {name:?} is not the name of a network interface"));
            }
        }
        devices.push(Device { host: host.clone(), name: name.to_owned() });
    }
    devices.sort_by(|a, b| (a.pattern().is_some(), &a.host).cmp(&(b.pattern().is_some(), &b.host)));
    Ok(devices)
}

/// Refuses the moves for a shared network namespace or a user other than root (ND-1).
fn refuse(own_net_ns: bool, euid: u32) -> Result<()> {
    if !own_net_ns {
        bail!(coded!(NetDevice, "linux.netDevices: needs the container to have its own network namespace"));
    }
    if euid != 0 {
        bail!(coded!(NetDevice, "linux.netDevices: only root can move network interfaces"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn linux(devices: &str) -> Linux {
        serde_json::from_str(&format!(r#"{{"netDevices":{devices}}}"#)).unwrap()
    }

    #[test]
    fn nd_1_needs_a_namespace_of_its_own_and_root() {
        assert!(refuse(true, 0).is_ok());
        assert!(refuse(false, 0).unwrap_err().to_string().starts_with("linux.netDevices: needs"));
        assert!(refuse(true, 1000).unwrap_err().to_string().starts_with("linux.netDevices: only root"));
        let err = plan(Some(&linux(r#"{"eth9":{}}"#)), false, 0).unwrap_err();
        assert!(err.to_string().starts_with("linux.netDevices: needs"), "{err}");
    }

    #[test]
    fn nd_1_without_devices_any_namespace_is_accepted() {
        assert_eq!(plan(None, false, 0).unwrap(), []);
        assert_eq!(plan(Some(&linux("{}")), false, 0).unwrap(), []);
    }

    #[test]
    fn nd_1_the_default_name_is_the_same_and_patterns_are_last() {
        let config = linux(r#"{"c":{},"b":{"name":"net%d"},"a":{"name":"net%d"},"d":{"name":"eth0"}}"#);
        let wanted = [("c", "c"), ("d", "eth0"), ("a", "net%d"), ("b", "net%d")]
            .map(|(host, name)| Device { host: host.to_owned(), name: name.to_owned() });
        assert_eq!(plan(Some(&config), true, 0).unwrap(), wanted);
    }

    #[test]
    fn nd_1_impossible_names_do_not_reach_the_kernel() {
        for name in ["", "a/b", "sixteen-bytes-xx", "a\\u0000b"] {
            let config = linux(&format!(r#"{{"{name}":{{}}}}"#));
            assert!(plan(Some(&config), true, 0).is_err(), "{name:?}");
        }
    }
}
