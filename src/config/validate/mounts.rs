//! `mounts[]`: destinations that must not be covered, options that contradict each other.
//!
//! Destinations are checked as text. The resolver in the child makes sure that no symlink leads elsewhere.

use base::coded;
use std::path::Path;

use anyhow::{Result, bail};
use oci_spec::runtime::Mount;

use super::{id_mappings, is_path};
use crate::config::path::clean;

/// Files below /proc that a mount may cover: lxcfs and similar programs replace them with the container's own numbers.
pub const PROC_MOUNT_ALLOWLIST: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

pub(super) fn check(mounts: &[Mount], has_user_namespace: bool, warnings: &mut Vec<String>) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        destination(mount, &field, warnings)?;
        options(mount, &field)?;
        mappings(mount, &field, has_user_namespace)?;
    }
    Ok(())
}

/// Reports whether the options make the mount a bind; the type does not matter (MT-5).
fn is_bind(mount: &Mount) -> bool {
    options_of(mount).any(|option| option == "bind" || option == "rbind")
}

fn options_of(mount: &Mount) -> impl Iterator<Item = &str> {
    mount.options().iter().flatten().map(String::as_str)
}

fn destination(mount: &Mount, field: &str, warnings: &mut Vec<String>) -> Result<()> {
    let path = mount.destination().to_string_lossy();
    if path.is_empty() {
        bail!(coded!(MountDestination, "{field}.destination: is empty"));
    }
    if !path.starts_with('/') {
        warnings.push(format!("{field}.destination: {path:?} is not absolute, which is deprecated"));
    }
    let cleaned = clean(mount.destination());
    if cleaned == Path::new("/") && !is_bind(mount) && !options_of(mount).any(|option| option == "remount") {
        bail!(coded!(
            MountDestination,
            "{field}.destination: {path:?} would cover the root file system; only a bind can be the root"
        ));
    }
    if cleaned == Path::new("/proc") {
        // C2, C3: labels and sysctls are written below /proc, where a fake procfs would swallow them. The host's own
        // is as good: a rootless caller who shares the host's pid namespace has no other.
        let from_host = is_bind(mount) && mount.source().as_ref().is_some_and(|source| is_path(source, "/proc"));
        let new = !is_bind(mount) && mount.typ().as_deref() == Some("proc");
        if !new && !from_host {
            bail!(coded!(MountDestination, "{field}.destination: only a \"proc\" may be mounted on /proc"));
        }
    } else if cleaned.starts_with("/proc") && !PROC_MOUNT_ALLOWLIST.iter().any(|path| cleaned == Path::new(path)) {
        bail!(coded!(MountDestination, "{field}.destination: {path:?} is inside /proc"));
    }
    Ok(())
}

fn options(mount: &Mount, field: &str) -> Result<()> {
    for (index, option) in options_of(mount).enumerate() {
        if option.contains('\n') {
            bail!(coded!(MountOptions, "{field}.options[{index}]: contains a newline"));
        }
    }
    if mount.typ().as_deref() == Some("bind") && !is_bind(mount) {
        bail!(coded!(MountOptions, "{field}.type: \"bind\" needs the option \"bind\" or \"rbind\""));
    }
    if is_bind(mount) && mount.source().is_none() {
        bail!(coded!(ConfigRequired, "{field}.source: is required for a bind mount"));
    }
    Ok(())
}

/// Checks the ID mappings of a mount (MI-1 to MI-3).
fn mappings(mount: &Mount, field: &str, has_user_namespace: bool) -> Result<()> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    match (uids.is_empty(), gids.is_empty()) {
        (false, true) => bail!(coded!(ConfigRequired, "{field}.gidMappings: is required together with uidMappings")),
        (true, false) => bail!(coded!(ConfigRequired, "{field}.uidMappings: is required together with gidMappings")),
        _ => {}
    }
    id_mappings(uids, &format!("{field}.uidMappings"))?;
    id_mappings(gids, &format!("{field}.gidMappings"))?;
    let requested = options_of(mount).find(|option| *option == "idmap" || *option == "ridmap");
    if let Some(option) = requested.filter(|_| uids.is_empty() && !has_user_namespace) {
        bail!(coded!(
            ConfigRequired,
            "{field}.options: {option:?} needs uidMappings and gidMappings, or a user namespace"
        ));
    }
    Ok(())
}
