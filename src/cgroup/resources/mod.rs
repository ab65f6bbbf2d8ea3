//! Conversion of `linux.resources` to the values of cgroup files, in order. Pure.
//!
//! `v1` and `v2` have the files of each version; this module has the conversions (checklist part 22), the checks for
//! both versions, and the overlay of `update`. Device rules are in `cgroup::device`; `cgroup::apply` writes.

mod merge;
mod v1;
mod v2;

use std::borrow::Cow;
use std::fmt::Display;

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxRdma, LinuxResources};

pub(crate) use merge::merge;

/// The cgroup version whose files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// cgroup v1 (also in a hybrid layout).
    V1,
    /// cgroup v2.
    V2,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The property below `linux.resources`: `memory.limit`, `unified["memory.high"]`.
    pub field: Cow<'static, str>,
    /// The controller that must be mounted (v1) or enabled (v2); empty for `cgroup.*` files.
    pub controller: Cow<'static, str>,
    /// File and text, in order of preference: only the first file that exists is written.
    pub candidates: Vec<(Cow<'static, str>, String)>,
    /// The key and the text that resets its line, for a file with a line for each key (`8:0 …`).
    pub keyed: Option<(String, &'static str)>,
    /// The value is that of a new cgroup.
    pub default: bool,
    /// A kernel without the file has the same effect, so that a missing file is no error.
    pub optional: bool,
    /// The value is written when init is ready for the program, because before it would prevent or delay its creation.
    pub deferred: bool,
}

/// All settings of a resources object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The settings in the order in which they are written.
    pub list: Vec<Setting>,
    /// Warnings for the log about properties without effect.
    pub warnings: Vec<String>,
}

impl Setting {
    fn new(
        field: &'static str,
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl Display,
    ) -> Setting {
        Setting {
            field: field.into(),
            controller: controller.into(),
            candidates: vec![(file.into(), value.to_string())],
            keyed: None,
            default: false,
            optional: false,
            deferred: false,
        }
    }

    fn or(mut self, file: &'static str, value: impl Display) -> Setting {
        self.candidates.push((file.into(), value.to_string()));
        self
    }

    fn for_field(mut self, field: String) -> Setting {
        self.field = field.into();
        self
    }

    fn keyed(mut self, key: String, reset: &'static str) -> Setting {
        self.keyed = Some((key, reset));
        self
    }

    fn default_if(mut self, default: bool) -> Setting {
        self.default = default;
        self
    }

    fn optional_if(mut self, optional: bool) -> Setting {
        self.optional = optional;
        self
    }
}

/// Checks the resources and converts them.
///
/// # Errors
/// A value out of range, or a property that the version does not have; the error names the field.
pub(crate) fn settings(resources: &LinuxResources, version: Version) -> Result<Settings> {
    if let Some(memory) = resources.memory() {
        check_memory(memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        check_cpu(cpu)?;
    }
    if let Some(block) = resources.block_io() {
        for (name, weight) in [("weight", block.weight()), ("leafWeight", block.leaf_weight())] {
            check_weight(weight).with_context(|| format!("linux.resources.blockIO.{name}"))?;
        }
    }
    match version {
        Version::V1 => v1::settings(resources),
        Version::V2 => v2::settings(resources),
    }
}

/// Returns a number that is not 0, because callers write 0 for "unchanged".
fn nonzero<T: PartialEq + Default>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn nonempty(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|list| !list.is_empty())
}

fn check_memory(memory: &LinuxMemory) -> Result<()> {
    let field = "linux.resources.memory";
    for (name, value) in [
        ("limit", memory.limit()),
        ("reservation", memory.reservation()),
        ("swap", memory.swap()),
        ("kernel", memory.kernel()),
        ("kernelTCP", memory.kernel_tcp()),
    ] {
        ensure!(value.unwrap_or(0) >= -1, "{field}.{name}: {} is neither a size nor -1", value.unwrap_or(0));
    }
    if let Some(swap) = memory.swap().filter(|swap| *swap > 0) {
        match memory.limit() {
            None | Some(0) => bail!("{field}.swap: a limit of memory and swap needs {field}.limit"),
            Some(limit) if swap < limit => bail!("{field}.swap: {swap} is below the memory limit {limit}"),
            Some(_) => {}
        }
    }
    if let Some(swappiness) = memory.swappiness() {
        ensure!(swappiness <= 100, "{field}.swappiness: {swappiness} is not between 0 and 100");
    }
    Ok(())
}

fn check_cpu(cpu: &LinuxCpu) -> Result<()> {
    let field = "linux.resources.cpu";
    if let Some(period) = nonzero(cpu.period()) {
        ensure!((1000..=1_000_000).contains(&period), "{field}.period: {period} is not between 1000 and 1000000");
    }
    let quota = cpu.quota().unwrap_or(0);
    if let Some(burst) = cpu.burst() {
        ensure!(quota <= 0 || burst <= quota.unsigned_abs(), "{field}.burst: {burst} is above the quota {quota}");
    }
    ensure!(matches!(cpu.idle(), None | Some(0 | 1)), "{field}.idle: {} is neither 0 nor 1", cpu.idle().unwrap_or(0));
    for (name, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        let list = list.as_deref().unwrap_or_default();
        let fits = list.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ' '));
        ensure!(fits, "{field}.{name}: {list:?} is not a list of numbers and ranges");
    }
    Ok(())
}

fn check_weight(weight: Option<u16>) -> Result<()> {
    ensure!(matches!(weight, None | Some(0 | 10..=1000)), "{} is not between 10 and 1000", weight.unwrap_or(0));
    Ok(())
}

/// Formats the numbers of a device: `8:0`.
fn device(major: i64, minor: i64) -> Result<String> {
    ensure!(major >= 0 && minor >= 0, "device {major}:{minor}: the numbers must not be negative");
    Ok(format!("{major}:{minor}"))
}

/// Formats a limit for v2: -1, "no limit" in the configuration, is `max`, as any other negative number.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Formats `pids.limit`: 0, which leaves room for init alone, is 1, as in runc, because systemd has no `TasksMax=0` and a
/// limit must not depend on the manager.
fn pids_max(limit: i64) -> String {
    or_max(if limit == 0 { 1 } else { limit })
}

fn check_page_size(limit: &LinuxHugepageLimit) -> Result<()> {
    let size = limit.page_size();
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
    let fits = !number.starts_with('0') && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    ensure!(fits, "pageSize {size:?} is not a number followed by KB, MB or GB");
    Ok(())
}

/// Converts `hugepageLimits`: the file for reservations, which is optional, and the file for faults.
fn hugepages(resources: &LinuxResources, rsvd: &str, plain: &str, list: &mut Vec<Setting>) -> Result<()> {
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let field = format!("hugepageLimits[{index}]");
        check_page_size(limit).with_context(|| format!("linux.resources.{field}"))?;
        for (suffix, optional) in [(rsvd, true), (plain, false)] {
            let value = if plain.ends_with("max") { or_max(limit.limit()) } else { limit.limit().to_string() };
            let file = format!("hugetlb.{}.{suffix}", limit.page_size());
            let setting = Setting::new("", "hugetlb", file, value);
            list.push(setting.for_field(field.clone()).optional_if(optional));
        }
    }
    Ok(())
}

/// Converts `rdma`: the same file in both versions, with a line for each device.
fn rdma(resources: &LinuxResources, list: &mut Vec<Setting>) -> Result<()> {
    let mut devices: Vec<(&String, &LinuxRdma)> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("rdma[{name:?}]");
        ensure!(!name.is_empty() && !name.contains(char::is_whitespace), "linux.resources.{field}: not a device name");
        let parts = [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())];
        let parts: Vec<String> =
            parts.iter().filter_map(|(key, value)| value.map(|value| format!("{key}={value}"))).collect();
        ensure!(!parts.is_empty(), "linux.resources.{field}: neither hcaHandles nor hcaObjects is given");
        let line = format!("{name} {}", parts.join(" "));
        let setting = Setting::new("", "rdma", "rdma.max", line).for_field(field);
        list.push(setting.keyed(name.clone(), "hca_handle=max hca_object=max"));
    }
    Ok(())
}

/// Converts `cpu.shares` (2–262144, default 1024) to `cpu.weight` (1–10000, default 100) by the curve through both ends
/// and the default. 0 is "not set".
pub(crate) fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0 => 0, // unset
        1 | 2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// Converts `blkio.weight` (10–1000) to `io.weight` (1–10000). 0 is "not set".
pub(crate) fn blkio_to_io_weight(weight: u16) -> u64 {
    if weight == 0 { 0 } else { 1 + u64::from(weight.saturating_sub(10)) * 9999 / 990 }
}

/// Converts `memory.swap`, which counts memory and swap, to `memory.swap.max`, which counts swap. `None`: not set.
pub(crate) fn swap_max(limit: i64, swap: i64) -> Result<Option<String>> {
    Ok(Some(match (limit, swap) {
        (-1, 0) | (_, -1) => "max".to_owned(),
        (_, 0) => return Ok(None),
        (-1, swap) => swap.to_string(),
        (0, _) => bail!("a limit of memory and swap needs a limit of memory"),
        (limit, swap) if swap < limit => bail!("{swap} is below the memory limit {limit}"),
        (limit, swap) => (swap - limit).to_string(),
    }))
}

#[cfg(test)]
mod tests;
