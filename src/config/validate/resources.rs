//! `linux.resources`: the rules of both cgroup versions. `cgroup` checks the rest, because it knows the machine.

use anyhow::{Context, Result, bail};
use base::coded;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use crate::config::names::IfName;
use crate::config::names::UnifiedKey;
use base::cpu_set::CpuSet;

/// Checks the resources of a new container.
///
/// # Errors
/// The first broken rule.
pub(super) fn create(resources: &LinuxResources) -> Result<()> {
    if let Some(memory) = resources.memory() {
        self::memory(memory)?;
    }
    update(resources)
}

/// Checks changes of a running container. Here 0 and an absent field mean "unchanged", so that limits which depend on
/// each other are not compared.
///
/// # Errors
/// The first broken rule.
pub(crate) fn update(resources: &LinuxResources) -> Result<()> {
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu)?;
    }
    if let Some(io) = resources.block_io() {
        block_io(io)?;
    }
    for (index, rule) in resources.devices().iter().flatten().enumerate() {
        let access = rule.access().as_deref().unwrap_or_default();
        if let Some(letter) = access.chars().find(|letter| !"rwma".contains(*letter)) {
            bail!(coded!(
                ConfigUnknown,
                "linux.resources.devices[{index}].access: unknown access {:?} (the letters are r, w and m)",
                letter.to_string()
            ));
        }
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        if !is_page_size(limit.page_size()) {
            bail!(
                "linux.resources.hugepageLimits[{index}].pageSize: {:?} is not a size such as \"2MB\"",
                limit.page_size()
            );
        }
    }
    for (index, priority) in resources.network().iter().flat_map(|n| n.priorities().iter().flatten()).enumerate() {
        IfName::new(priority.name()).with_context(|| format!("linux.resources.network.priorities[{index}].name"))?;
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        let field = format!("linux.resources.rdma[{device:?}]");
        if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c.is_control()) {
            bail!("{field}: not the name of a device");
        }
        if limit.hca_handles().is_none() && limit.hca_objects().is_none() {
            bail!("{field}: needs hcaHandles or hcaObjects");
        }
    }
    for key in resources.unified().iter().flat_map(|unified| unified.keys()) {
        UnifiedKey::new(key).context("linux.resources.unified")?;
    }
    Ok(())
}

/// Checks memory limits in bytes: -1 is "unlimited", 0 is "not set" (ME-1).
fn memory(memory: &LinuxMemory) -> Result<()> {
    let field = "linux.resources.memory";
    let limit = memory.limit().unwrap_or(0);
    let swap = memory.swap().unwrap_or(0);
    for (name, value) in [("limit", limit), ("swap", swap), ("reservation", memory.reservation().unwrap_or(0))] {
        if value < -1 {
            bail!("{field}.{name}: {value} is below -1 (unlimited)");
        }
    }
    if swap > 0 && limit == 0 {
        bail!(coded!(ConfigRequired, "{field}.swap: memory.limit is required together with it"));
    }
    // `swap` limits memory and swap together
    if swap > 0 && swap < limit {
        bail!("{field}.swap: {swap} is below the memory limit {limit}");
    }
    Ok(())
}

/// Checks CPU limits against the ranges of the kernel's scheduler, times in microseconds (CP-2).
fn cpu(cpu: &LinuxCpu) -> Result<()> {
    let field = "linux.resources.cpu";
    let period = cpu.period().unwrap_or(0);
    if period != 0 && !(1_000..=1_000_000).contains(&period) {
        bail!("{field}.period: {period} is out of range (1000 to 1000000)");
    }
    let quota = cpu.quota().unwrap_or(0);
    if (1..1_000).contains(&quota) {
        bail!("{field}.quota: {quota} is below 1000");
    }
    let burst = cpu.burst().unwrap_or(0);
    if u64::try_from(quota).is_ok_and(|quota| quota > 0 && burst > quota) {
        bail!("{field}.burst: {burst} is above the quota {quota}");
    }
    for (name, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        CpuSet::parse(list.as_deref().unwrap_or_default()).with_context(|| format!("{field}.{name}"))?;
    }
    Ok(())
}

/// Checks block I/O weights (BL-1, BL-2).
fn block_io(io: &LinuxBlockIo) -> Result<()> {
    let field = "linux.resources.blockIO";
    weight(io.weight(), || format!("{field}.weight"))?;
    weight(io.leaf_weight(), || format!("{field}.leafWeight"))?;
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        weight(device.weight(), || format!("{field}.weightDevice[{index}].weight"))?;
        weight(device.leaf_weight(), || format!("{field}.weightDevice[{index}].leafWeight"))?;
        if device.weight().is_none() && device.leaf_weight().is_none() {
            bail!("{field}.weightDevice[{index}]: needs weight or leafWeight");
        }
    }
    Ok(())
}

fn weight(weight: Option<u16>, field: impl FnOnce() -> String) -> Result<()> {
    match weight {
        // 0 is "not set": Docker sends it with every update
        None | Some(0 | 10..=1000) => Ok(()),
        Some(weight) => bail!("{}: {weight} is out of range (10 to 1000)", field()),
    }
}

/// Matches `^[1-9][0-9]*[KMG]B$`.
fn is_page_size(size: &str) -> bool {
    let digits = size.strip_suffix('B').and_then(|size| size.strip_suffix(['K', 'M', 'G']));
    digits.is_some_and(|digits| {
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
