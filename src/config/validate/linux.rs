//! The rest of `linux`: devices, paths, sysctls, network devices, resctrl, NUMA policy, personality.

use anyhow::{Context, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxIntelRdt, LinuxMemoryPolicy, LinuxNamespaceType, MemoryPolicyFlagType,
    MemoryPolicyModeType,
};

use super::namespaces::{Namespaces, type_name};
use super::single_line;
use crate::config::names::CgroupPath;
use crate::config::names::ClosId;
use crate::config::names::IfName;
use crate::config::names::SysctlKey;
use base::cpu_set::CpuSet;

pub(super) fn check(linux: &Linux, namespaces: &Namespaces<'_>) -> Result<()> {
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        self::device(device, &format!("linux.devices[{index}]"))?;
    }
    // LX-6: only absolute paths; relative readonlyPaths are taken below the container's root, as by the peers
    for (index, path) in linux.masked_paths().iter().flatten().enumerate() {
        if !path.starts_with('/') {
            bail!("linux.maskedPaths[{index}]: {path:?} is not an absolute path");
        }
    }
    single_line(linux.mount_label().as_deref(), "linux.mountLabel")?;
    // LX-5: the specification defines no flag
    if let Some(flag) = linux.personality().iter().flat_map(|p| p.flags().iter().flatten()).next() {
        bail!(coded!(
            ConfigUnknown,
            "linux.personality.flags: unknown flag {flag:?} (the specification defines none: leave it out)"
        ));
    }
    if let Some(path) = linux.cgroups_path() {
        CgroupPath::new(&path.to_string_lossy()).context("linux.cgroupsPath")?;
    }
    sysctls(linux, namespaces)?;
    net_devices(linux, namespaces)?;
    if let Some(rdt) = linux.intel_rdt() {
        clos_id(rdt)?;
    }
    if let Some(policy) = linux.memory_policy() {
        memory_nodes(policy)?;
    }
    Ok(())
}

/// Checks a device (DV-1).
fn device(device: &LinuxDevice, field: &str) -> Result<()> {
    let path = device.path();
    if !path.is_absolute() {
        bail!("{field}.path: {path:?} is not an absolute path");
    }
    if path.components().any(|part| part == std::path::Component::ParentDir) || path.file_name().is_none() {
        bail!("{field}.path: {path:?} does not name a file");
    }
    if let Some(mode) = device.file_mode().filter(|mode| *mode > 0o777) {
        bail!("{field}.fileMode: {mode} is out of range (0 to 511)");
    }
    Ok(())
}

/// Checks the sysctls (SY-2), sorted so that the first error is always the same.
fn sysctls(linux: &Linux, namespaces: &Namespaces<'_>) -> Result<()> {
    let mut entries: Vec<_> = linux.sysctl().iter().flatten().collect();
    entries.sort_unstable();
    for (name, value) in entries {
        let key = SysctlKey::new(name).context("linux.sysctl")?;
        if !namespaces.has(key.namespace()) {
            bail!(
                "linux.sysctl: {name:?} needs the container to have its own {} namespace",
                type_name(key.namespace())
            );
        }
        single_line(Some(value.trim_end_matches('\n')), &format!("linux.sysctl[{name:?}]"))?;
    }
    Ok(())
}

/// Checks the network devices (ND-1, ND-2).
fn net_devices(linux: &Linux, namespaces: &Namespaces<'_>) -> Result<()> {
    let mut entries: Vec<_> = linux.net_devices().iter().flatten().collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    if !entries.is_empty() && !namespaces.has(LinuxNamespaceType::Network) {
        bail!(coded!(NetDevice, "linux.netDevices: needs the container to have its own network namespace"));
    }
    let mut names: Vec<IfName> = Vec::with_capacity(entries.len());
    for (name, device) in entries {
        IfName::new(name).code(Code::NetDevice, "linux.netDevices")?;
        let inside = device.name().as_deref().unwrap_or(name);
        let inside =
            IfName::new_pattern(inside).with_code(Code::NetDevice, || format!("linux.netDevices[{name:?}].name"))?;
        if !inside.as_str().ends_with("%d") && names.contains(&inside) {
            bail!(coded!(NetDevice, "linux.netDevices[{name:?}].name: {:?} is given twice", inside.as_str()));
        }
        names.push(inside);
    }
    Ok(())
}

/// Checks the resctrl group and its schemata (RD-11, RD-12).
fn clos_id(rdt: &LinuxIntelRdt) -> Result<()> {
    let field = "linux.intelRdt";
    single_line(rdt.l3_cache_schema().as_deref(), &format!("{field}.l3CacheSchema"))?;
    single_line(rdt.mem_bw_schema().as_deref(), &format!("{field}.memBwSchema"))?;
    if let Some(schema) = rdt.mem_bw_schema().as_ref().filter(|schema| !schema.starts_with("MB:")) {
        bail!("{field}.memBwSchema: {schema:?} does not start with \"MB:\"");
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        single_line(Some(line), &format!("{field}.schemata[{index}]"))?;
    }
    rdt.clos_id().as_deref().map(ClosId::new).transpose().context("linux.intelRdt.closID").map(drop)
}

/// Refuses the combinations that set_mempolicy(2) refuses with EINVAL (MP-2).
fn memory_nodes(policy: &LinuxMemoryPolicy) -> Result<()> {
    use MemoryPolicyModeType::{MpolDefault, MpolLocal, MpolPreferred};
    let field = "linux.memoryPolicy";
    let nodes = CpuSet::parse(policy.nodes().as_deref().unwrap_or_default()).context("linux.memoryPolicy.nodes")?;
    let mode = policy.mode();
    match mode {
        MpolDefault | MpolLocal if !nodes.is_empty() => bail!(
            "{field}.nodes: {mode} takes no nodes: mode requires 0 nodes but got {}",
            nodes.words().iter().map(|word| word.count_ones()).sum::<u32>()
        ),
        MpolDefault | MpolLocal | MpolPreferred => {}
        _ if nodes.is_empty() => bail!("{field}.nodes: {mode} needs at least one node"),
        _ => {}
    }
    let has = |flag| policy.flags().iter().flatten().any(|given| *given == flag);
    if has(MemoryPolicyFlagType::MpolFRelativeNodes) && has(MemoryPolicyFlagType::MpolFStaticNodes) {
        bail!("{field}.flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other");
    }
    Ok(())
}
