//! What a container uses, as its runtime tells it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Use of resources since a container's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Duration,
    /// Memory in bytes.
    pub memory: u64,
    /// Limit of the memory in bytes; the machine's where there is none.
    pub memory_limit: u64,
    /// Number of processes.
    pub pids: u64,
    /// Bytes received from and sent to the network, but for the loopback device.
    pub network: (u64, u64),
    /// Bytes read from and written to block devices.
    pub block: (u64, u64),
}

/// Operation on a block device in the runtime's statistics.
#[derive(Debug, Deserialize)]
struct BlockEntry {
    #[serde(default)]
    op: String,
    #[serde(default)]
    value: u64,
}

impl Usage {
    /// Converts the statistics that `events --stats` prints, and reads the network devices of the first process.
    pub fn new(event: &Value, pid: i32) -> Self {
        let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64);
        let total = memory_of_host();
        let limit = number("/data/memory/usage/limit").filter(|limit| *limit > 0);
        let entries: Vec<BlockEntry> = event
            .pointer("/data/blkio/ioServiceBytesRecursive")
            .and_then(|list| serde_json::from_value(list.clone()).ok())
            .unwrap_or_default();
        let of = |name: &str| {
            entries.iter().filter(|entry| entry.op.eq_ignore_ascii_case(name)).map(|entry| entry.value).sum()
        };
        Self {
            cpu: Duration::from_nanos(number("/data/cpu/usage/total").unwrap_or_default()),
            memory: number("/data/memory/usage/usage").unwrap_or_default(),
            memory_limit: limit.map_or(total, |limit| limit.min(total)),
            pids: number("/data/pids/current").unwrap_or_default(),
            network: network(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default()),
            block: (of("read"), of("write")),
        }
    }
}

/// Returns the machine's memory in bytes.
fn memory_of_host() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes << 10)
}

/// Sums received and sent bytes of the devices in the form of /proc/net/dev.
fn network(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':').filter(|(name, _)| name.trim() != "lo") else { continue };
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let (Some(received), Some(sent), false) = (numbers.first(), numbers.get(8), name.contains('|')) {
            sum = (sum.0.saturating_add(*received), sum.1.saturating_add(*sent));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_statistics_become_numbers() {
        let event = serde_json::json!({"type": "stats", "data": {
            "cpu": {"usage": {"total": 1_500_000_000_u64}},
            "memory": {"usage": {"usage": 4096, "limit": 8192}},
            "pids": {"current": 3},
            "blkio": {"ioServiceBytesRecursive": [
                {"op": "Read", "value": 5}, {"op": "Write", "value": 7}, {"op": "read", "value": 1}, {"op": "Total"}]},
        }});
        let usage = Usage::new(&event, i32::MAX);
        assert_eq!((usage.cpu, usage.memory, usage.memory_limit), (Duration::from_millis(1500), 4096, 8192));
        assert_eq!((usage.pids, usage.block, usage.network), (3, (6, 7), (0, 0)));
        let none = Usage::new(&Value::Null, i32::MAX);
        assert!(none.memory_limit > 0 && none.cpu == Duration::ZERO);
    }

    #[test]
    fn the_loopback_device_is_not_the_network() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n\
                    eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (11, 22));
    }
}
