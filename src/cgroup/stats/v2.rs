//! Counters of cgroup v2, all in one directory.

use std::collections::BTreeMap;

use super::document::{
    Blkio, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, Pids, Pressure, PressureLine, Stats, Throttling,
};
use super::{Dir, UNLIMITED, blkio_entry, device, get, number, page_sizes, table, text};

pub(super) fn stats(dir: &Dir<'_>) -> Stats {
    Stats {
        cpu: cpu(dir),
        memory: memory(dir).into(),
        pids: pids(dir).into(),
        blkio: Some(io(dir)).into(),
        hugetlb: hugetlb(dir),
    }
}

/// Converts the kernel's microseconds to nanoseconds, as on v1.
fn cpu(dir: &Dir<'_>) -> Cpu {
    let stat = table(dir, "cpu.stat");
    let nanoseconds = |key| get(&stat, key).saturating_mul(1000);
    Cpu {
        usage: CpuUsage {
            total: nanoseconds("usage_usec"),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: get(&stat, "nr_periods"),
            throttled_periods: get(&stat, "nr_throttled"),
            throttled_time: nanoseconds("throttled_usec"),
        },
        psi: pressure(dir, "cpu.pressure"),
    }
}

fn memory(dir: &Dir<'_>) -> Option<Memory> {
    let usage = number(dir, "memory.current")?;
    let raw = table(dir, "memory.stat");
    let limit = number(dir, "memory.max").unwrap_or(UNLIMITED);
    let peak = number(dir, "memory.peak").unwrap_or_default(); // Linux 5.19
    let events = table(dir, "memory.events");
    // callers expect v1's counter, which counts memory and swap together
    let swap = number(dir, "memory.swap.current").unwrap_or_default();
    let swap_limit = number(dir, "memory.swap.max").unwrap_or_default();
    let (with_swap, swap_limit) = (usage.saturating_add(swap), limit.saturating_add(swap_limit));
    Some(Memory {
        cache: get(&raw, "file"),
        usage: MemoryEntry { limit, usage, max: peak, failcnt: get(&events, "max") },
        swap: MemoryEntry { limit: swap_limit, usage: with_swap, max: 0, failcnt: 0 },
        kernel: None,
        kernel_tcp: None,
        raw,
        psi: pressure(dir, "memory.pressure"),
        events: Some(events),
    })
}

fn pids(dir: &Dir<'_>) -> Option<Pids> {
    let current = number(dir, "pids.current")?;
    // 0 means "no limit" here, as in runc
    let limit = number(dir, "pids.max").filter(|limit| *limit != UNLIMITED).unwrap_or_default();
    Some(Pids { current, limit })
}

fn io(dir: &Dir<'_>) -> Blkio {
    let (mut bytes, mut requests) = (Vec::new(), Vec::new());
    for line in text(dir, "io.stat").unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let Some(device) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut requests, "Read"),
                "wios" => (&mut requests, "Write"),
                "dios" => (&mut requests, "Discard"),
                _ => continue,
            };
            list.push(blkio_entry(device, op, value.parse().unwrap_or_default()));
        }
    }
    Blkio { io_service_bytes_recursive: bytes, io_serviced_recursive: requests, psi: pressure(dir, "io.pressure") }
}

fn hugetlb(dir: &Dir<'_>) -> BTreeMap<String, Hugetlb> {
    let size = |size: String| {
        let usage = number(dir, &format!("hugetlb.{size}.current")).unwrap_or_default();
        let failures = get(&table(dir, &format!("hugetlb.{size}.events")), "max");
        (size, Hugetlb { usage, max: None, failcnt: failures })
    };
    page_sizes(dir, ".current").into_iter().map(size).collect()
}

/// Reads a file of pressure; `None` where the kernel does not measure it. A line is
/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn pressure(dir: &Dir<'_>, file: &str) -> Option<Pressure> {
    let text = text(dir, file)?;
    let line = |kind: &str| text.lines().find_map(|line| pressure_line(line.strip_prefix(kind)?));
    Some(Pressure { some: line("some "), full: line("full ") }).filter(|pressure| *pressure != Pressure::default())
}

fn pressure_line(line: &str) -> Option<PressureLine> {
    let mut values = PressureLine::default();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => values.avg10 = value.parse().ok()?,
            "avg60" => values.avg60 = value.parse().ok()?,
            "avg300" => values.avg300 = value.parse().ok()?,
            "total" => values.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(values)
}
