//! Counters of cgroup v1; each controller has its own directory.

use std::collections::BTreeMap;

use super::document::{Blkio, BlkioEntry, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, Pids, Stats, Throttling};
use super::{Dir, blkio_entry, device, get, number, page_sizes, table, text};

/// The unit of `cpuacct.stat` in nanoseconds: 1/`USER_HZ`, which is 1/100 s in every kernel's interface.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn stats<'a>(path: &dyn Fn(&str) -> Option<Dir<'a>>) -> Stats {
    Stats {
        cpu: cpu(path("cpuacct"), path("cpu")),
        memory: path("memory").map(|dir| memory(&dir)).into(),
        pids: path("pids").map(|dir| pids(&dir)).into(),
        blkio: path("blkio").map(|dir| blkio(&dir)).into(),
        hugetlb: path("hugetlb").map(|dir| hugetlb(&dir)).unwrap_or_default(),
    }
}

fn cpu(acct: Option<Dir<'_>>, cpu: Option<Dir<'_>>) -> Cpu {
    let mut usage = CpuUsage::default();
    if let Some(dir) = acct {
        let ticks = table(&dir, "cpuacct.stat");
        let numbers = |file| -> Option<Vec<u64>> {
            Some(text(&dir, file).unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect())
        };
        usage = CpuUsage {
            total: number(&dir, "cpuacct.usage").unwrap_or_default(),
            percpu: numbers("cpuacct.usage_percpu"),
            percpu_kernel: numbers("cpuacct.usage_percpu_sys"),
            percpu_user: numbers("cpuacct.usage_percpu_user"),
            kernel: get(&ticks, "system").saturating_mul(NANOSECONDS_PER_TICK),
            user: get(&ticks, "user").saturating_mul(NANOSECONDS_PER_TICK),
        };
    }
    let stat = cpu.map(|dir| table(&dir, "cpu.stat")).unwrap_or_default();
    let throttling = Throttling {
        periods: get(&stat, "nr_periods"),
        throttled_periods: get(&stat, "nr_throttled"),
        throttled_time: get(&stat, "throttled_time"),
    };
    Cpu { usage, throttling, psi: None }
}

fn memory(dir: &Dir<'_>) -> Memory {
    let raw = table(dir, "memory.stat");
    let entry = |prefix: &str| {
        let field = |name: &str| number(dir, &format!("{prefix}.{name}")).unwrap_or_default();
        MemoryEntry {
            limit: field("limit_in_bytes"),
            usage: field("usage_in_bytes"),
            max: field("max_usage_in_bytes"),
            failcnt: field("failcnt"),
        }
    };
    Memory {
        cache: get(&raw, "cache"),
        usage: entry("memory"),
        swap: entry("memory.memsw"),
        kernel: Some(entry("memory.kmem")),
        kernel_tcp: Some(entry("memory.kmem.tcp")),
        raw,
        psi: None,
        events: None,
    }
}

fn pids(dir: &Dir<'_>) -> Pids {
    // 0 means "no limit" here, as in runc
    let limit = number(dir, "pids.max").filter(|limit| *limit != super::UNLIMITED).unwrap_or_default();
    Pids { current: number(dir, "pids.current").unwrap_or_default(), limit }
}

/// Reads the counters of BFQ where that scheduler is in use, otherwise those of the throttle layer.
fn blkio(dir: &Dir<'_>) -> Blkio {
    let entries = |files: [&str; 2]| -> Vec<BlkioEntry> {
        let texts = files.iter().filter_map(|file| text(dir, file));
        texts
            .map(|text| text.lines().filter_map(blkio_line).collect::<Vec<_>>())
            .find(|list| !list.is_empty())
            .unwrap_or_default()
    };
    Blkio {
        io_service_bytes_recursive: entries([
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ]),
        io_serviced_recursive: entries(["blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"]),
        psi: None,
    }
}

/// Parses `8:0 Read 4096`; `None` for the total at the end, which has no device.
fn blkio_line(line: &str) -> Option<BlkioEntry> {
    let mut words = line.split_whitespace();
    let device = device(words.next()?)?;
    let (op, value) = (words.next()?, words.next()?.parse().ok()?);
    Some(blkio_entry(device, op, value))
}

fn hugetlb(dir: &Dir<'_>) -> BTreeMap<String, Hugetlb> {
    let size = |size: String| {
        let field = |name: &str| number(dir, &format!("hugetlb.{size}.{name}")).unwrap_or_default();
        let (usage, max) = (field("usage_in_bytes"), Some(field("max_usage_in_bytes")));
        let entry = Hugetlb { usage, max, failcnt: field("failcnt") };
        (size, entry)
    };
    page_sizes(dir, ".usage_in_bytes").into_iter().map(size).collect()
}
