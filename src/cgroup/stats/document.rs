//! The document of the counters: structures whose fields are in the order of runc's.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// All counters of a container.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Part<Memory>,
    /// Processes and threads.
    pub pids: Part<Pids>,
    /// Block devices.
    pub blkio: Part<Blkio>,
    /// Huge pages, by their size.
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// The counters of a controller; an empty object without it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Part<T> {
    /// The controller is there.
    Known(T),
    /// It is not.
    Absent {},
}

impl<T> From<Option<T>> for Part<T> {
    fn from(part: Option<T>) -> Self {
        part.map_or(Part::Absent {}, Part::Known)
    }
}

/// CPU time and its limits.
#[derive(Debug, Serialize)]
pub struct Cpu {
    /// CPU time used.
    pub usage: CpuUsage,
    /// What the quota took away.
    pub throttling: Throttling,
    /// Pressure, where the kernel measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Times in nanoseconds; the lists, an entry for each CPU, are of v1 only.
#[derive(Debug, Default, Serialize)]
pub struct CpuUsage {
    /// All of it.
    pub total: u64,
    /// Time by CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percpu: Option<Vec<u64>>,
    /// Time in the kernel by CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percpu_kernel: Option<Vec<u64>>,
    /// Time in user mode by CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percpu_user: Option<Vec<u64>>,
    /// Time in the kernel.
    pub kernel: u64,
    /// Time in user mode.
    pub user: u64,
}

/// What the CPU quota took away.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which a process was runnable.
    pub periods: u64,
    /// Periods whose quota was used up.
    pub throttled_periods: u64,
    /// Nanoseconds.
    pub throttled_time: u64,
}

/// Memory of a cgroup.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Page cache in bytes.
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// Kernel memory, of v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<MemoryEntry>,
    /// Memory of TCP buffers, of v1.
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<MemoryEntry>,
    /// `memory.stat`.
    pub raw: Map<String, Value>,
    /// Pressure, where the kernel measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
    /// `memory.events` of v2, which runc does not print.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Map<String, Value>>,
}

/// Bytes, and the number of times that the limit was hit.
#[derive(Debug, Serialize)]
pub struct MemoryEntry {
    /// Limit.
    pub limit: u64,
    /// Usage now.
    pub usage: u64,
    /// Highest usage.
    pub max: u64,
    /// Number of failures.
    pub failcnt: u64,
}

/// Number of processes and threads.
#[derive(Debug, Serialize)]
pub struct Pids {
    /// Number now.
    pub current: u64,
    /// 0: no limit.
    pub limit: u64,
}

/// Requests to block devices.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Requests.
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Pressure, where the kernel measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of request to one device.
#[derive(Debug, Serialize)]
pub struct BlkioEntry {
    /// Major number of the device.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Discard` and others.
    pub op: String,
    /// Bytes or requests.
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Debug, Serialize)]
pub struct Hugetlb {
    /// Usage in bytes.
    pub usage: u64,
    /// v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Number of failures.
    pub failcnt: u64,
}

/// Pressure stall information of one resource.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some tasks waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub some: Option<PressureLine>,
    /// All tasks waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<PressureLine>,
}

/// Part of the time in percent, over the last seconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct PressureLine {
    /// Over 10 s.
    pub avg10: f64,
    /// Over 60 s.
    pub avg60: f64,
    /// Over 300 s.
    pub avg300: f64,
    /// Microseconds since the cgroup exists.
    pub total: u64,
}
