//! The files of cgroup v2, v1-style properties converted by part 22 of the checklist.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::{
    Setting, Settings, blkio_to_io_weight, check_weight, device, hugepages, nonempty, nonzero, or_max, pids_max, rdma,
    shares_to_weight, swap_max,
};

pub(super) fn settings(resources: &LinuxResources) -> Result<Settings> {
    let mut settings = Settings::default();
    let list = &mut settings.list;
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, list)?;
    }
    if let Some(memory) = resources.memory() {
        memory_settings(memory, list, &mut settings.warnings)?;
    }
    if let Some(pids) = resources.pids() {
        let limit = pids.limit();
        let mut setting = Setting::new("pids.limit", "pids", "pids.max", pids_max(limit)).default_if(limit < 0);
        setting.deferred = limit == 0; // the clone into the cgroup would exceed the limit
        list.push(setting);
    }
    if let Some(block) = resources.block_io() {
        block_settings(block, list)?;
    }
    hugepages(resources, "rsvd.max", "max", list)?;
    if let Some(network) = resources.network() {
        ensure!(
            nonzero(network.class_id()).is_none(),
            coded!(ConfigUnsupported, "linux.resources.network.classID: cgroup v2 has no such property")
        );
        ensure!(
            network.priorities().as_ref().is_none_or(Vec::is_empty),
            coded!(ConfigUnsupported, "linux.resources.network.priorities: cgroup v2 has no such property")
        );
    }
    rdma(resources, list)?;
    unified(resources, &mut settings)?;
    Ok(settings)
}

fn cpu_settings(cpu: &LinuxCpu, list: &mut Vec<Setting>) -> Result<()> {
    ensure!(
        nonzero(cpu.realtime_runtime()).is_none() && nonzero(cpu.realtime_period()).is_none(),
        coded!(
            ConfigUnsupported,
            "linux.resources.cpu.realtimeRuntime, realtimePeriod: cgroup v2 has no such property"
        )
    );
    if let Some(idle) = cpu.idle() {
        let setting = Setting::new("cpu.idle", "cpu", "cpu.idle", idle).default_if(idle == 0);
        list.push(setting.optional_if(idle == 0));
    }
    // an idle group has no weight to set: EINVAL (CP-5)
    if let Some(shares) = nonzero(cpu.shares()).filter(|_| cpu.idle() != Some(1)) {
        list.push(Setting::new("cpu.shares", "cpu", "cpu.weight", shares_to_weight(shares)));
    }
    let (quota, period) = (nonzero(cpu.quota()), nonzero(cpu.period()));
    if quota.is_some() || period.is_some() {
        let text = format!("{} {}", or_max(quota.unwrap_or(-1)), period.unwrap_or(100_000));
        let field = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        list.push(Setting::new(field, "cpu", "cpu.max", text));
    }
    if let Some(burst) = cpu.burst() {
        list.push(Setting::new("cpu.burst", "cpu", "cpu.max.burst", burst).default_if(burst == 0));
    }
    if let Some(cpus) = nonempty(cpu.cpus().as_ref()) {
        list.push(Setting::new("cpu.cpus", "cpuset", "cpuset.cpus", cpus));
    }
    if let Some(mems) = nonempty(cpu.mems().as_ref()) {
        list.push(Setting::new("cpu.mems", "cpuset", "cpuset.mems", mems));
    }
    Ok(())
}

fn memory_settings(memory: &LinuxMemory, list: &mut Vec<Setting>, warnings: &mut Vec<String>) -> Result<()> {
    let field = "linux.resources.memory";
    if let Some(limit) = nonzero(memory.limit()) {
        list.push(Setting::new("memory.limit", "memory", "memory.max", or_max(limit)).default_if(limit == -1));
    }
    let swap = swap_max(memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    if let Some(swap) = swap.with_context(|| format!("{field}.swap"))? {
        let (none, all) = (swap == "0", swap == "max");
        let setting = Setting::new("memory.swap", "memory", "memory.swap.max", swap);
        list.push(setting.default_if(all).optional_if(none || all)); // a kernel without swap accounting
    }
    if let Some(low) = nonzero(memory.reservation()) {
        list.push(Setting::new("memory.reservation", "memory", "memory.low", or_max(low)));
    }
    // 60 is the kernel's own default, which callers write as well
    ensure!(
        matches!(memory.swappiness(), None | Some(60)),
        coded!(ConfigUnsupported, "{field}.swappiness: cgroup v2 has no such property")
    );
    ensure!(
        memory.disable_oom_killer() != Some(true),
        coded!(ConfigUnsupported, "{field}.disableOOMKiller: cgroup v2 has no such property")
    );
    for (name, value) in [("kernel", memory.kernel()), ("kernelTCP", memory.kernel_tcp())] {
        if value.is_some_and(|value| value > 0) {
            warnings.push(format!("{field}.{name} is ignored: cgroup v2 counts it as memory"));
        }
    }
    Ok(())
}

fn block_settings(block: &LinuxBlockIo, list: &mut Vec<Setting>) -> Result<()> {
    let field = "linux.resources.blockIO";
    ensure!(
        nonzero(block.leaf_weight()).is_none(),
        coded!(ConfigUnsupported, "{field}.leafWeight: cgroup v2 has no such property")
    );
    if let Some(weight) = nonzero(block.weight()) {
        let setting = Setting::new("blockIO.weight", "io", "io.bfq.weight", weight);
        list.push(setting.or("io.weight", blkio_to_io_weight(weight)));
    }
    for (index, entry) in block.weight_device().iter().flatten().enumerate() {
        let name = format!("blockIO.weightDevice[{index}]");
        let (weight, leaf) = (nonzero(entry.weight()), nonzero(entry.leaf_weight()));
        ensure!(weight.or(leaf).is_some(), "linux.resources.{name}: neither weight nor leafWeight is given");
        ensure!(leaf.is_none(), "linux.resources.{name}: cgroup v2 has no leafWeight");
        check_weight(weight).with_context(|| format!("linux.resources.{name}"))?;
        let key = device(entry.major(), entry.minor()).with_context(|| format!("linux.resources.{name}"))?;
        let weight = weight.unwrap_or_default();
        let setting = Setting::new("", "io", "io.bfq.weight", format!("{key} {weight}"))
            .or("io.weight", format!("{key} {}", blkio_to_io_weight(weight)));
        list.push(setting.for_field(name).keyed(key, "default"));
    }
    for (name, key, devices) in [
        ("throttleReadBpsDevice", "rbps", block.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", block.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", block.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", block.throttle_write_iops_device()),
    ] {
        for (index, entry) in devices.iter().flatten().enumerate() {
            let field = format!("blockIO.{name}[{index}]");
            let number = device(entry.major(), entry.minor()).with_context(|| format!("linux.resources.{field}"))?;
            let rate = if entry.rate() == 0 { "max".to_owned() } else { entry.rate().to_string() };
            let setting = Setting::new("", "io", "io.max", format!("{number} {key}={rate}")).for_field(field);
            list.push(setting.keyed(number, "rbps=max wbps=max riops=max wiops=max"));
        }
    }
    Ok(())
}

/// Files that move or kill processes or prevent the creation of the cgroup, and set no resource limit (UN-1).
const FORBIDDEN_UNIFIED: [&str; 6] =
    ["cgroup.procs", "cgroup.threads", "cgroup.type", "cgroup.subtree_control", "cgroup.kill", "cgroup.freeze"];

/// Adds `unified` last, so that it overrides other properties, sorted by file, with one write a line (UN-1…3).
///
/// An empty value resets a cpuset, to that of the parent. In other files it would be a limit of 0 (`memory.max`), so
/// that it is skipped: the empty write of other runtimes does nothing.
fn unified(resources: &LinuxResources, Settings { list, warnings }: &mut Settings) -> Result<()> {
    let mut entries: Vec<_> = resources.unified().iter().flatten().collect();
    entries.sort();
    for (file, value) in entries {
        let field = format!("unified[{file:?}]");
        if file.is_empty()
            || file.contains(['/', '\0'])
            || file.starts_with('.')
            || FORBIDDEN_UNIFIED.contains(&file.as_str())
        {
            bail!("linux.resources.{field}: not a file that may be set");
        }
        let controller = file.split('.').next().unwrap_or_default();
        let controller = if controller == "cgroup" { "" } else { controller };
        let mut lines: Vec<&str> = value.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() && !matches!(file.as_str(), "cpuset.cpus" | "cpuset.mems" | "cpuset.cpus.exclusive") {
            warnings.push(format!("linux.resources.{field} is ignored: the value is empty"));
            continue;
        }
        if lines.is_empty() {
            lines.push("\n"); // because the kernel ignores a write of no bytes
        }
        list.extend(lines.into_iter().map(|line| Setting {
            field: field.clone().into(),
            controller: controller.to_owned().into(),
            candidates: vec![(file.clone().into(), line.to_owned())],
            keyed: None,
            default: false,
            optional: false,
            deferred: file == "pids.max" && line.trim() == "0",
        }));
    }
    Ok(())
}
