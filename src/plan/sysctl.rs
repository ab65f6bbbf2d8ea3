//! The sysctl part of the plan: names become paths below `/proc/sys`.

use std::collections::BTreeMap;

use anyhow::Result;
use oci_spec::runtime::Linux;

/// One kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// Name in the configuration.
    pub name: String,
    /// Path relative to `/proc`.
    pub path: String,
    /// Value to write.
    pub value: String,
}

/// Plans the sysctls, sorted by name. `config::validate` checks that they are of namespaces of the container.
///
/// # Errors
/// A name that would leave `/proc/sys`.
pub(crate) fn plan(linux: Option<&Linux>) -> Result<Vec<Sysctl>> {
    let Some(map) = linux.and_then(|linux| linux.sysctl().as_ref()) else { return Ok(Vec::new()) };
    let sorted: BTreeMap<&String, &String> = map.iter().collect();
    let one = |(name, value): (&String, &String)| -> Result<Sysctl> {
        let path = path(name);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
            anyhow::bail!("linux.sysctl.{name}: not a name of a kernel parameter");
        }
        Ok(Sysctl { name: name.clone(), path: format!("sys/{path}"), value: value.clone() })
    };
    sorted.into_iter().map(one).collect()
}

/// Converts `net.ipv4.ip_forward` or `net/ipv4/conf/eth0.100/forwarding` to a path. The first separator decides which
/// character separates; a `/` in a dotted name becomes a dot (sysctl.d(5)).
fn path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes().get(at) == Some(&b'.') => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sy_1_both_separators() {
        for (name, expected) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("kernel", "kernel"),
        ] {
            assert_eq!(path(name), expected);
        }
    }
}
