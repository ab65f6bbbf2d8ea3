//! The files of cgroup v1.

use anyhow::{Context as _, Result, ensure};
use base::coded;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice};

use super::{Setting, Settings, check_weight, device, hugepages, nonempty, nonzero, pids_max, rdma};

pub(super) fn settings(resources: &LinuxResources) -> Result<Settings> {
    let mut settings = Settings::default();
    let list = &mut settings.list;
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, list);
    }
    if let Some(memory) = resources.memory() {
        memory_settings(memory, list, &mut settings.warnings)?;
    }
    if let Some(pids) = resources.pids() {
        let limit = pids.limit();
        list.push(Setting::new("pids.limit", "pids", "pids.max", pids_max(limit)).default_if(limit < 0));
    }
    if let Some(block) = resources.block_io() {
        block_settings(block, list)?;
    }
    hugepages(resources, "rsvd.limit_in_bytes", "limit_in_bytes", list)?;
    if let Some(network) = resources.network() {
        network_settings(network, list)?;
    }
    rdma(resources, list)?;
    ensure!(
        resources.unified().as_ref().is_none_or(|map| map.is_empty()),
        coded!(
            CgroupController,
            "linux.resources.unified: needs cgroup v2, and the controllers of this machine are mounted as v1: invalid configuration"
        )
    );
    Ok(settings)
}

/// Adds the period before the quota, and the burst after it, because the burst must not be above the quota. `apply`
/// retries a setting that fails because of the old values.
fn cpu_settings(cpu: &LinuxCpu, list: &mut Vec<Setting>) {
    let mut add = |field, file, value: String| list.push(Setting::new(field, "cpu", file, value));
    if let Some(period) = nonzero(cpu.realtime_period()) {
        add("cpu.realtimePeriod", "cpu.rt_period_us", period.to_string());
    }
    if let Some(runtime) = nonzero(cpu.realtime_runtime()) {
        add("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime.to_string());
    }
    // an idle group has no shares to set: EINVAL (CP-5)
    if let Some(shares) = nonzero(cpu.shares()).filter(|_| cpu.idle() != Some(1)) {
        add("cpu.shares", "cpu.shares", shares.to_string());
    }
    if let Some(period) = nonzero(cpu.period()) {
        add("cpu.period", "cpu.cfs_period_us", period.to_string());
    }
    if let Some(quota) = nonzero(cpu.quota()) {
        add("cpu.quota", "cpu.cfs_quota_us", quota.max(-1).to_string());
    }
    if let Some(burst) = cpu.burst() {
        list.push(Setting::new("cpu.burst", "cpu", "cpu.cfs_burst_us", burst).default_if(burst == 0));
    }
    if let Some(idle) = cpu.idle() {
        let setting = Setting::new("cpu.idle", "cpu", "cpu.idle", idle).default_if(idle == 0);
        list.insert(0, setting.optional_if(idle == 0));
    }
    if let Some(cpus) = nonempty(cpu.cpus().as_ref()) {
        list.push(Setting::new("cpu.cpus", "cpuset", "cpuset.cpus", cpus));
    }
    if let Some(mems) = nonempty(cpu.mems().as_ref()) {
        list.push(Setting::new("cpu.mems", "cpuset", "cpuset.mems", mems));
    }
}

fn memory_settings(memory: &LinuxMemory, list: &mut Vec<Setting>, warnings: &mut Vec<String>) -> Result<()> {
    let limit = nonzero(memory.limit());
    // the kernel keeps a memory limit below that of memory and swap, so unlimited memory needs unlimited swap
    let swap = nonzero(memory.swap()).or(limit.filter(|limit| *limit == -1));
    ensure!(
        limit != Some(-1) || swap == Some(-1),
        "linux.resources.memory.swap: cgroup v1 limits swap only together with memory, which is unlimited"
    );
    let mut add = |field, file, value: i64| {
        list.push(Setting::new(field, "memory", file, value).default_if(value == -1));
    };
    if let Some(limit) = limit {
        add("memory.limit", "memory.limit_in_bytes", limit);
    }
    if let Some(swap) = swap {
        add("memory.swap", "memory.memsw.limit_in_bytes", swap);
    }
    if let Some(reservation) = nonzero(memory.reservation()) {
        add("memory.reservation", "memory.soft_limit_in_bytes", reservation);
    }
    if let Some(tcp) = nonzero(memory.kernel_tcp()) {
        add("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", tcp);
    }
    if let Some(swappiness) = memory.swappiness() {
        list.push(Setting::new("memory.swappiness", "memory", "memory.swappiness", swappiness));
    }
    if let Some(disable) = memory.disable_oom_killer() {
        let value = u8::from(disable);
        let setting = Setting::new("memory.disableOOMKiller", "memory", "memory.oom_control", value);
        list.push(setting.default_if(!disable));
    }
    if memory.use_hierarchy() == Some(true) {
        // false is every kernel's default or, since Linux 5.11, impossible
        list.push(Setting::new("memory.useHierarchy", "memory", "memory.use_hierarchy", 1));
    }
    if memory.kernel().is_some_and(|kernel| kernel > 0) {
        warnings.push("linux.resources.memory.kernel is ignored: the kernel has no such limit since Linux 5.16".into());
    }
    // a kernel without swap accounting does not limit swap
    for setting in list.iter_mut().filter(|setting| setting.field == "memory.swap") {
        setting.optional = swap == Some(-1);
    }
    Ok(())
}

fn block_settings(block: &LinuxBlockIo, list: &mut Vec<Setting>) -> Result<()> {
    if let Some(weight) = nonzero(block.weight()) {
        list.push(Setting::new("blockIO.weight", "blkio", "blkio.bfq.weight", weight).or("blkio.weight", weight));
    }
    if let Some(weight) = nonzero(block.leaf_weight()) {
        list.push(Setting::new("blockIO.leafWeight", "blkio", "blkio.leaf_weight", weight));
    }
    for (index, entry) in block.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        let key = device(entry.major(), entry.minor()).with_context(|| format!("linux.resources.{field}"))?;
        let (weight, leaf) = (nonzero(entry.weight()), nonzero(entry.leaf_weight()));
        ensure!(weight.or(leaf).is_some(), "linux.resources.{field}: neither weight nor leafWeight is given");
        for weight in [weight, leaf] {
            check_weight(weight).with_context(|| format!("linux.resources.{field}"))?;
        }
        if let Some(weight) = weight {
            let line = format!("{key} {weight}");
            let setting = Setting::new("", "blkio", "blkio.bfq.weight_device", &line).or("blkio.weight_device", &line);
            list.push(setting.for_field(field.clone()).keyed(key.clone(), "0"));
        }
        if let Some(leaf) = leaf {
            let setting = Setting::new("", "blkio", "blkio.leaf_weight_device", format!("{key} {leaf}"));
            list.push(setting.for_field(field).keyed(key, "0"));
        }
    }
    throttle("throttleReadBpsDevice", "blkio.throttle.read_bps_device", block.throttle_read_bps_device(), list)?;
    throttle("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", block.throttle_write_bps_device(), list)?;
    throttle("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", block.throttle_read_iops_device(), list)?;
    throttle("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", block.throttle_write_iops_device(), list)
}

fn throttle(
    name: &str,
    file: &'static str,
    devices: &Option<Vec<LinuxThrottleDevice>>,
    list: &mut Vec<Setting>,
) -> Result<()> {
    for (index, entry) in devices.iter().flatten().enumerate() {
        let field = format!("blockIO.{name}[{index}]");
        let key = device(entry.major(), entry.minor()).with_context(|| format!("linux.resources.{field}"))?;
        let line = format!("{key} {}", entry.rate());
        list.push(Setting::new("", "blkio", file, line).for_field(field).keyed(key, "0"));
    }
    Ok(())
}

fn network_settings(network: &LinuxNetwork, list: &mut Vec<Setting>) -> Result<()> {
    if let Some(class) = nonzero(network.class_id()) {
        list.push(Setting::new("network.classID", "net_cls", "net_cls.classid", class));
    }
    for (index, entry) in network.priorities().iter().flatten().enumerate() {
        let field = format!("network.priorities[{index}]");
        let name = entry.name();
        ensure!(
            !name.is_empty() && !name.contains(char::is_whitespace),
            "linux.resources.{field}: {name:?} is not an interface"
        );
        let line = format!("{name} {}", entry.priority());
        list.push(Setting::new("", "net_prio", "net_prio.ifpriomap", line).for_field(field).keyed(name.clone(), "0"));
    }
    Ok(())
}
