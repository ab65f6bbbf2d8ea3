//! Rules between the fields of a configuration, checked before anything is created (CF-7).
//!
//! Pure: reads nothing of the machine. `schema` checks types, names and ranges of single values. The code that opens a
//! path checks that it exists and that a namespace file is one.

mod hooks;
mod linux;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;

pub use mounts::PROC_MOUNT_ALLOWLIST;
pub(super) use process::process;
pub(super) use resources::update as resources;

use base::coded;
use std::path::{Component, Path};

use anyhow::{Result, bail};
use oci_spec::runtime::{LinuxIdMapping, Mount, Spec};

use super::path::clean;
use super::version;
use namespaces::Namespaces;

/// Checks every rule that needs only the configuration.
///
/// # Errors
/// The first broken rule, with the name of the field.
pub(super) fn config(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    warnings.extend(version::check(spec.version())?);
    root(spec)?;
    let namespaces = Namespaces::of(spec);
    if let Some(process) = spec.process() {
        self::process(process)?;
    }
    namespaces::check(spec, &namespaces, warnings)?;
    mounts::check(spec.mounts().as_deref().unwrap_or_default(), namespaces.has_user(), warnings)?;
    hooks::check(spec)?;
    annotations(spec)?;
    if let Some(linux) = spec.linux() {
        linux::check(linux, &namespaces)?;
        if let Some(seccomp) = linux.seccomp() {
            seccomp::check(seccomp, warnings)?;
        }
        if let Some(resources) = linux.resources() {
            resources::create(resources)?;
        }
    }
    Ok(())
}

/// Checks mounts that are added to a running container.
///
/// # Errors
/// The same as [`config`].
pub(super) fn live_mounts(list: &[Mount], warnings: &mut Vec<String>) -> Result<()> {
    // only the caller knows whether the container has a user namespace; without one the kernel refuses the mount
    mounts::check(list, true, warnings)
}

fn root(spec: &Spec) -> Result<()> {
    let Some(root) = spec.root() else { bail!(coded!(ConfigRequired, "root: is required")) };
    let path = root.path();
    if path.as_os_str().is_empty() {
        bail!("root.path: is empty");
    }
    // RT-1: mounts and links would be created in the host's own root
    if path.is_absolute() && is_path(path, "/") {
        bail!("root.path: {path:?} is the root of the host");
    }
    Ok(())
}

fn annotations(spec: &Spec) -> Result<()> {
    if spec.annotations().iter().flatten().any(|(key, _)| key.is_empty()) {
        bail!("annotations: a key is empty");
    }
    Ok(())
}

/// Most lines that the kernel accepts in `uid_map` and `gid_map` (F8).
const MAX_MAPPINGS: usize = 340;

/// Checks ID mappings and names the wrong entry, because the kernel has only EINVAL (UM-1).
fn id_mappings(mappings: &[LinuxIdMapping], field: &str) -> Result<()> {
    if mappings.len() > MAX_MAPPINGS {
        bail!("{field}: has {} entries, the kernel takes at most {MAX_MAPPINGS}", mappings.len());
    }
    for (index, mapping) in mappings.iter().enumerate() {
        if mapping.size() == 0 {
            bail!("{field}[{index}].size: is 0, it must be 1 or more");
        }
        for (side, first) in [("containerID", mapping.container_id()), ("hostID", mapping.host_id())] {
            // 2³²-1 means "no ID" and cannot be mapped
            if u64::from(first) + u64::from(mapping.size()) > u64::from(u32::MAX) {
                bail!("{field}[{index}]: {side} {first} with size {} is beyond the last ID", mapping.size());
            }
        }
    }
    no_overlap(mappings, field, "containerID", LinuxIdMapping::container_id)?;
    no_overlap(mappings, field, "hostID", LinuxIdMapping::host_id)
}

fn no_overlap(mappings: &[LinuxIdMapping], field: &str, side: &str, first: fn(&LinuxIdMapping) -> u32) -> Result<()> {
    let mut ranges: Vec<_> =
        mappings.iter().enumerate().map(|(index, m)| (u64::from(first(m)), u64::from(m.size()), index)).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if let [(start, size, one), (next, _, other)] = pair
            && start + size > *next
        {
            bail!("{field}[{other}].{side}: range overlaps that of entry {one}");
        }
    }
    Ok(())
}

/// Compares two paths as text. A path with `..` never matches, because only the lookup shows where `..` leads.
fn is_path(path: &Path, other: &str) -> bool {
    !path.components().any(|part| part == Component::ParentDir) && clean(path) == Path::new(other)
}

/// Refuses a newline in a label or a value for a file that the kernel reads by lines (F7).
fn single_line(value: Option<&str>, field: &str) -> Result<()> {
    if value.is_some_and(|value| value.contains('\n')) {
        bail!("{field}: contains a newline");
    }
    Ok(())
}
