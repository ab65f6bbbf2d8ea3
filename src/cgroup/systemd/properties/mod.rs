//! Unit properties for systemd, converted from the cgroup v2 settings. Pure.
//!
//! croci writes the same values to the files afterwards, because a property may round (CPU quotas to 1 %) and most
//! files in `unified` have no property. systemd writes the properties again after `daemon-reload` or when a sibling
//! unit changes, so no property may be narrower than the container's limit.

use base::cpu_set::CpuSet;
use serde::{Deserialize, Serialize};

use super::wire::Value;
use crate::cgroup::device::DeviceList;
use crate::cgroup::device::DeviceType;
use crate::cgroup::device::Rule;
use crate::cgroup::resources::Setting;

/// One property of a unit.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    /// The name, such as `MemoryMax`.
    pub name: String,
    /// The value.
    pub value: Value,
    /// An older systemd may not have the property or the value. croci omits it where systemd refuses it, because the
    /// file has the value.
    pub newer: bool,
}

impl Property {
    /// Creates a property of every systemd that runs on a kernel which croci supports.
    pub(crate) fn new(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value, newer: false }
    }

    fn newer(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value, newer: true }
    }
}

/// Converts settings of cgroup v2. Of several values for one property the last is used, as in the files.
pub(crate) fn from_settings(settings: &[Setting]) -> Vec<Property> {
    let mut list: Vec<Property> = Vec::new();
    for (file, text) in settings.iter().flat_map(|setting| &setting.candidates) {
        for property in from_file(file, text.trim()) {
            match list.iter_mut().find(|other| other.name == property.name) {
                Some(Property { value: Value::Rates(all), .. }) => {
                    let Value::Rates(new) = property.value else { continue };
                    all.retain(|(device, _)| new.iter().all(|(other, _)| other != device));
                    all.extend(new);
                }
                Some(other) => *other = property,
                None => list.push(property),
            }
        }
    }
    list
}

/// Converts a line of a cgroup file; empty where no property has that meaning.
fn from_file(file: &str, text: &str) -> Vec<Property> {
    let number = || if text == "max" { Some(u64::MAX) } else { text.parse().ok() };
    let one = |name: &str| number().map(|value| Property::new(name, Value::U64(value))).into_iter().collect();
    match file {
        "cpu.weight" => one("CPUWeight"),
        // weight 0 means idle since systemd 252
        "cpu.idle" if text == "1" => vec![Property::newer("CPUWeight", Value::U64(0))],
        "cpu.max" => quota(text),
        "cpuset.cpus" => mask(text).map(|mask| Property::newer("AllowedCPUs", mask)).into_iter().collect(),
        "cpuset.mems" => mask(text).map(|mask| Property::newer("AllowedMemoryNodes", mask)).into_iter().collect(),
        "memory.max" => one("MemoryMax"),
        "memory.high" => one("MemoryHigh"),
        "memory.low" => one("MemoryLow"),
        "memory.min" => one("MemoryMin"),
        "memory.swap.max" => one("MemorySwapMax"),
        // systemd cannot say 0 (PI-1)
        "pids.max" => {
            let limit = number().map(|limit: u64| Property::new("TasksMax", Value::U64(limit.max(1))));
            limit.into_iter().collect()
        }
        "io.weight" => io_weight(text),
        "io.max" => io_max(text),
        _ => Vec::new(),
    }
}

/// Converts `50000 100000` to systemd's microseconds per second, which it writes to the kernel as whole percents. Rounds
/// up, because the container may have divided its quota among its own cgroups.
fn quota(text: &str) -> Vec<Property> {
    let (quota, period) = text.split_once(' ').unwrap_or((text, "100000"));
    let Ok(period) = period.trim().parse::<u64>() else { return Vec::new() };
    let share = match quota.parse::<u64>() {
        _ if quota == "max" => u64::MAX,
        Ok(quota) if period > 0 => (quota.saturating_mul(1_000_000) / period).next_multiple_of(10_000),
        _ => return Vec::new(),
    };
    vec![
        Property::new("CPUQuotaPerSecUSec", Value::U64(share)),
        Property::newer("CPUQuotaPeriodUSec", Value::U64(period)),
    ]
}

/// Converts `0-2,5` to a mask, the lowest byte first.
fn mask(text: &str) -> Option<Value> {
    // wrong text is reported by the write to the file
    let bytes = CpuSet::parse(text).ok()?.bytes();
    (!bytes.is_empty()).then_some(Value::Bytes(bytes))
}

/// Converts `100`, `default 100` or `8:0 100`.
fn io_weight(text: &str) -> Vec<Property> {
    let (device, weight) = text.split_once(' ').unwrap_or(("default", text));
    let Ok(weight) = weight.trim().parse() else { return Vec::new() };
    vec![match node(device) {
        Some(node) => Property::new("IODeviceWeight", Value::Rates(vec![(node, weight)])),
        None => Property::new("IOWeight", Value::U64(weight)),
    }]
}

/// Converts `8:0 rbps=1048576 wiops=max`.
fn io_max(text: &str) -> Vec<Property> {
    let mut words = text.split_whitespace();
    let Some(node) = words.next().and_then(node) else { return Vec::new() };
    let property = |word: &str| {
        let (key, rate) = word.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        let rate = if rate == "max" { u64::MAX } else { rate.parse().ok()? };
        Some(Property::new(name, Value::Rates(vec![(node.clone(), rate)])))
    };
    words.filter_map(property).collect()
}

fn node(device: &str) -> Option<String> {
    let (major, minor) = device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("/dev/block/{major}:{minor}"))
}

/// Converts the device list: the allowed devices by number, so that no node need exist. The result is wider than the
/// list where a rule denies again what an earlier rule allows; croci's own program, which stays attached, is exact.
pub(crate) fn from_devices(devices: &DeviceList) -> Vec<Property> {
    if devices.base_allow {
        return vec![Property::new("DevicePolicy", Value::Text("auto".to_owned()))];
    }
    let mut allowed: Vec<(String, String)> = Vec::new();
    for rule in devices.rules.iter().filter(|rule| rule.allow) {
        let entry = (device(rule), rule.letters());
        if !allowed.contains(&entry) {
            allowed.push(entry);
        }
    }
    vec![
        Property::new("DevicePolicy", Value::Text("strict".to_owned())),
        Property::new("DeviceAllow", Value::Pairs(allowed)),
    ]
}

fn device(rule: &Rule) -> String {
    let kind = if rule.kind == DeviceType::Block { "block" } else { "char" };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        // systemd has no form for a minor number of any major
        (None, _) => format!("{kind}-*"),
    }
}

#[cfg(test)]
mod tests;
