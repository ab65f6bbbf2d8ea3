//! The overlay of `update`: a value replaces the old one; 0 and the empty string keep the old one (UP-1).

use std::collections::HashMap;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::{nonempty, nonzero};

/// Returns the resources of a container after an update. Devices stay as they are, because Podman and CRI send "deny
/// all" every time, which would take the devices away from the container.
pub(crate) fn merge(current: &LinuxResources, update: &LinuxResources) -> LinuxResources {
    let mut merged = current.clone();
    if let Some(new) = update.memory() {
        merged.set_memory(Some(memory(current.memory().unwrap_or_default(), new)));
    }
    if let Some(new) = update.cpu() {
        merged.set_cpu(Some(cpu(current.cpu().clone().unwrap_or_default(), new)));
    }
    if update.pids().is_some() {
        merged.set_pids(*update.pids());
    }
    if let Some(new) = update.block_io() {
        merged.set_block_io(Some(block(current.block_io().clone().unwrap_or_default(), new)));
    }
    let pages = lists(current.hugepage_limits(), update.hugepage_limits(), |limit| limit.page_size().clone());
    merged.set_hugepage_limits(pages);
    if let Some(new) = update.network() {
        let mut network = current.network().clone().unwrap_or_default();
        network.set_class_id(nonzero(new.class_id()).or(network.class_id()));
        let priorities = lists(network.priorities(), new.priorities(), |entry| entry.name().clone());
        network.set_priorities(priorities);
        merged.set_network(Some(network));
    }
    merged.set_rdma(maps(current.rdma(), update.rdma()));
    let mut unified = current.unified().clone();
    if let Some(map) = &mut unified {
        superseded(update).into_iter().for_each(|file| drop_value(map, file));
    }
    merged.set_unified(maps(&unified, update.unified()));
    merged
}

/// Returns the files for which an update has a new typed value: `unified` is written last, and an old entry for the same
/// file would undo the newer value. `io.max`, which has a line for each device, is not among them.
fn superseded(update: &LinuxResources) -> Vec<&'static str> {
    let mut files = Vec::new();
    let mut add = |named: bool, names: &[&'static str]| files.extend(names.iter().filter(|_| named));
    if let Some(memory) = update.memory() {
        add(nonzero(memory.limit()).is_some(), &["memory.max"]);
        // unlimited memory implies unlimited swap
        add(nonzero(memory.swap()).is_some() || memory.limit() == Some(-1), &["memory.swap.max"]);
        add(nonzero(memory.reservation()).is_some(), &["memory.low"]);
    }
    if let Some(cpu) = update.cpu() {
        add(nonzero(cpu.shares()).is_some(), &["cpu.weight", "cpu.weight.nice"]);
        add(nonzero(cpu.quota()).is_some() || nonzero(cpu.period()).is_some(), &["cpu.max"]);
        add(cpu.burst().is_some(), &["cpu.max.burst"]);
        add(cpu.idle().is_some(), &["cpu.idle"]);
        add(nonempty(cpu.cpus().as_ref()).is_some(), &["cpuset.cpus"]);
        add(nonempty(cpu.mems().as_ref()).is_some(), &["cpuset.mems"]);
    }
    add(update.pids().is_some(), &["pids.max"]);
    let weight = update.block_io().as_ref().and_then(|block| nonzero(block.weight()));
    add(weight.is_some(), &["io.weight", "io.bfq.weight"]);
    files
}

/// Drops the value of a file; of `io.weight` only the default, because the lines of devices have other meanings.
fn drop_value(unified: &mut HashMap<String, String>, file: &str) {
    let Some(value) = unified.remove(file) else { return };
    let of_devices = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit()) && line.contains(':');
    let kept: Vec<&str> = value.lines().filter(of_devices).collect();
    if !kept.is_empty() {
        unified.insert(file.to_owned(), kept.join("\n"));
    }
}

fn memory(mut memory: LinuxMemory, new: &LinuxMemory) -> LinuxMemory {
    if new.limit() == Some(-1) && nonzero(new.swap()).is_none() {
        memory.set_swap(Some(-1)); // the old limit of memory and swap together would still limit memory
    }
    memory.set_limit(nonzero(new.limit()).or(memory.limit()));
    memory.set_reservation(nonzero(new.reservation()).or(memory.reservation()));
    memory.set_swap(nonzero(new.swap()).or(memory.swap()));
    memory.set_kernel(nonzero(new.kernel()).or(memory.kernel()));
    memory.set_kernel_tcp(nonzero(new.kernel_tcp()).or(memory.kernel_tcp()));
    memory.set_swappiness(new.swappiness().or(memory.swappiness()));
    memory.set_disable_oom_killer(new.disable_oom_killer().or(memory.disable_oom_killer()));
    memory.set_use_hierarchy(new.use_hierarchy().or(memory.use_hierarchy()));
    memory.set_check_before_update(new.check_before_update().or(memory.check_before_update()));
    memory
}

fn cpu(mut cpu: LinuxCpu, new: &LinuxCpu) -> LinuxCpu {
    cpu.set_shares(nonzero(new.shares()).or(cpu.shares()));
    cpu.set_quota(nonzero(new.quota()).or(cpu.quota()));
    cpu.set_period(nonzero(new.period()).or(cpu.period()));
    cpu.set_burst(new.burst().or(cpu.burst()));
    cpu.set_idle(new.idle().or(cpu.idle()));
    cpu.set_realtime_runtime(nonzero(new.realtime_runtime()).or(cpu.realtime_runtime()));
    cpu.set_realtime_period(nonzero(new.realtime_period()).or(cpu.realtime_period()));
    let text = |value: &Option<String>| value.clone().filter(|list| !list.is_empty());
    cpu.set_cpus(text(new.cpus()).or(cpu.cpus().clone()));
    cpu.set_mems(text(new.mems()).or(cpu.mems().clone()));
    cpu
}

fn block(mut block: LinuxBlockIo, new: &LinuxBlockIo) -> LinuxBlockIo {
    block.set_weight(nonzero(new.weight()).or(block.weight()));
    block.set_leaf_weight(nonzero(new.leaf_weight()).or(block.leaf_weight()));
    let weights = lists(block.weight_device(), new.weight_device(), |entry| (entry.major(), entry.minor()));
    block.set_weight_device(weights);
    let number = |entry: &oci_spec::runtime::LinuxThrottleDevice| (entry.major(), entry.minor());
    let rates = lists(block.throttle_read_bps_device(), new.throttle_read_bps_device(), number);
    block.set_throttle_read_bps_device(rates);
    let rates = lists(block.throttle_write_bps_device(), new.throttle_write_bps_device(), number);
    block.set_throttle_write_bps_device(rates);
    let rates = lists(block.throttle_read_iops_device(), new.throttle_read_iops_device(), number);
    block.set_throttle_read_iops_device(rates);
    let rates = lists(block.throttle_write_iops_device(), new.throttle_write_iops_device(), number);
    block.set_throttle_write_iops_device(rates);
    block
}

/// Returns the entries of the old list that the new list does not name, then the new list.
fn lists<T: Clone, K: PartialEq>(old: &Option<Vec<T>>, new: &Option<Vec<T>>, key: impl Fn(&T) -> K) -> Option<Vec<T>> {
    let Some(new) = new else { return old.clone() };
    let kept = old.iter().flatten().filter(|entry| new.iter().all(|other| key(other) != key(entry)));
    Some(kept.chain(new).cloned().collect())
}

fn maps<V: Clone>(old: &Option<HashMap<String, V>>, new: &Option<HashMap<String, V>>) -> Option<HashMap<String, V>> {
    let Some(new) = new else { return old.clone() };
    let mut merged = old.clone().unwrap_or_default();
    merged.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
    Some(merged)
}
