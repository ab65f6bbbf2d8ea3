//! Counters of cgroup v1; each controller has its own directory.

use serde_json::{Map, Value, json};

use super::{blkio_entry, device, get, number, page_sizes, table, text};

/// The unit of `cpuacct.stat` in nanoseconds: 1/`USER_HZ`, which is 1/100 s in every kernel's interface.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn stats(path: &dyn Fn(&str) -> Option<String>) -> Value {
    let mut data = Map::new();
    data.insert("cpu".into(), cpu(path("cpuacct"), path("cpu")));
    data.insert("memory".into(), path("memory").map_or_else(|| json!({}), |dir| memory(&dir)));
    data.insert("pids".into(), path("pids").map_or_else(|| json!({}), |dir| pids(&dir)));
    data.insert("blkio".into(), path("blkio").map_or_else(|| json!({}), |dir| blkio(&dir)));
    data.insert("hugetlb".into(), path("hugetlb").map_or_else(|| json!({}), |dir| hugetlb(&dir)));
    Value::Object(data)
}

fn cpu(acct: Option<String>, cpu: Option<String>) -> Value {
    let mut usage = json!({"total": 0, "kernel": 0, "user": 0});
    if let Some(dir) = acct {
        let ticks = table(&dir, "cpuacct.stat");
        let numbers = |file| -> Vec<u64> {
            text(&dir, file).unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect()
        };
        usage = json!({
            "total": number(&dir, "cpuacct.usage").unwrap_or_default(),
            "percpu": numbers("cpuacct.usage_percpu"),
            "percpu_kernel": numbers("cpuacct.usage_percpu_sys"),
            "percpu_user": numbers("cpuacct.usage_percpu_user"),
            "kernel": get(&ticks, "system").saturating_mul(NANOSECONDS_PER_TICK),
            "user": get(&ticks, "user").saturating_mul(NANOSECONDS_PER_TICK),
        });
    }
    let stat = cpu.map(|dir| table(&dir, "cpu.stat")).unwrap_or_default();
    let throttling = json!({
        "periods": get(&stat, "nr_periods"),
        "throttledPeriods": get(&stat, "nr_throttled"),
        "throttledTime": get(&stat, "throttled_time"),
    });
    json!({"usage": usage, "throttling": throttling})
}

fn memory(dir: &str) -> Value {
    let raw = table(dir, "memory.stat");
    let entry = |prefix: &str| {
        let field = |name: &str| number(dir, &format!("{prefix}.{name}")).unwrap_or_default();
        json!({"limit": field("limit_in_bytes"), "usage": field("usage_in_bytes"),
               "max": field("max_usage_in_bytes"), "failcnt": field("failcnt")})
    };
    json!({
        "cache": get(&raw, "cache"),
        "usage": entry("memory"),
        "swap": entry("memory.memsw"),
        "kernel": entry("memory.kmem"),
        "kernelTCP": entry("memory.kmem.tcp"),
        "raw": raw,
    })
}

fn pids(dir: &str) -> Value {
    // 0 means "no limit" here, as in runc
    let limit = number(dir, "pids.max").filter(|limit| *limit != super::UNLIMITED).unwrap_or_default();
    json!({"current": number(dir, "pids.current").unwrap_or_default(), "limit": limit})
}

/// Reads the counters of BFQ where that scheduler is in use, otherwise those of the throttle layer.
fn blkio(dir: &str) -> Value {
    let entries = |files: [&str; 2]| -> Vec<Value> {
        let texts = files.iter().filter_map(|file| text(dir, file));
        texts
            .map(|text| text.lines().filter_map(blkio_line).collect::<Vec<_>>())
            .find(|list| !list.is_empty())
            .unwrap_or_default()
    };
    json!({
        "ioServiceBytesRecursive":
            entries(["blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"]),
        "ioServicedRecursive": entries(["blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"]),
    })
}

/// Parses `8:0 Read 4096`; `None` for the total at the end, which has no device.
fn blkio_line(line: &str) -> Option<Value> {
    let mut words = line.split_whitespace();
    let device = device(words.next()?)?;
    let (op, value) = (words.next()?, words.next()?.parse().ok()?);
    Some(blkio_entry(device, op, value))
}

fn hugetlb(dir: &str) -> Value {
    let size = |size: String| {
        let field = |name: &str| number(dir, &format!("hugetlb.{size}.{name}")).unwrap_or_default();
        let entry =
            json!({"usage": field("usage_in_bytes"), "max": field("max_usage_in_bytes"), "failcnt": field("failcnt")});
        (size, entry)
    };
    page_sizes(dir, ".usage_in_bytes").into_iter().map(size).collect()
}
