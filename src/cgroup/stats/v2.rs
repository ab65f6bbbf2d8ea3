//! Counters of cgroup v2, all in one directory.

use serde_json::{Map, Value, json};

use super::{UNLIMITED, blkio_entry, device, get, number, page_sizes, table, text};

pub(super) fn stats(dir: &str) -> Value {
    json!({"cpu": cpu(dir), "memory": memory(dir), "pids": pids(dir), "blkio": io(dir), "hugetlb": hugetlb(dir)})
}

/// Converts the kernel's microseconds to nanoseconds, as on v1.
fn cpu(dir: &str) -> Value {
    let stat = table(dir, "cpu.stat");
    let nanoseconds = |key| get(&stat, key).saturating_mul(1000);
    with_pressure(
        dir,
        "cpu.pressure",
        json!({
            "usage": {"total": nanoseconds("usage_usec"), "kernel": nanoseconds("system_usec"), "user": nanoseconds("user_usec")},
            "throttling": {"periods": get(&stat, "nr_periods"), "throttledPeriods": get(&stat, "nr_throttled"),
                           "throttledTime": nanoseconds("throttled_usec")},
        }),
    )
}

fn memory(dir: &str) -> Value {
    let Some(usage) = number(dir, "memory.current") else { return json!({}) };
    let raw = table(dir, "memory.stat");
    let limit = number(dir, "memory.max").unwrap_or(UNLIMITED);
    let peak = number(dir, "memory.peak").unwrap_or_default(); // Linux 5.19
    let events = table(dir, "memory.events");
    // callers expect v1's counter, which counts memory and swap together
    let swap = number(dir, "memory.swap.current").unwrap_or_default();
    let swap_limit = number(dir, "memory.swap.max").unwrap_or_default();
    with_pressure(
        dir,
        "memory.pressure",
        json!({
            "cache": get(&raw, "file"),
            "usage": {"limit": limit, "usage": usage, "max": peak, "failcnt": get(&events, "max")},
            "swap": {"limit": limit.saturating_add(swap_limit), "usage": usage.saturating_add(swap), "max": 0, "failcnt": 0},
            "raw": raw,
            "events": events,
        }),
    )
}

fn pids(dir: &str) -> Value {
    let Some(current) = number(dir, "pids.current") else { return json!({}) };
    // 0 means "no limit" here, as in runc
    let limit = number(dir, "pids.max").filter(|limit| *limit != UNLIMITED).unwrap_or_default();
    json!({"current": current, "limit": limit})
}

fn io(dir: &str) -> Value {
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
    with_pressure(dir, "io.pressure", json!({"ioServiceBytesRecursive": bytes, "ioServicedRecursive": requests}))
}

fn hugetlb(dir: &str) -> Value {
    let size = |size: String| {
        let usage = number(dir, &format!("hugetlb.{size}.current")).unwrap_or_default();
        let failures = get(&table(dir, &format!("hugetlb.{size}.events")), "max");
        (size, json!({"usage": usage, "failcnt": failures}))
    };
    page_sizes(dir, ".current").into_iter().map(size).collect()
}

/// Adds `psi` where the kernel measures pressure; a line is `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn with_pressure(dir: &str, file: &str, mut entry: Value) -> Value {
    let text = text(dir, file).unwrap_or_default();
    let psi: Map<String, Value> = text.lines().filter_map(pressure_line).collect();
    if let (Some(entry), false) = (entry.as_object_mut(), psi.is_empty()) {
        entry.insert("psi".into(), Value::Object(psi));
    }
    entry
}

fn pressure_line(line: &str) -> Option<(String, Value)> {
    let (kind, rest) = line.split_once(' ')?;
    let mut values = Map::new();
    for (key, value) in rest.split(' ').filter_map(|word| word.split_once('=')) {
        let value = if key == "total" { json!(value.parse::<u64>().ok()?) } else { json!(value.parse::<f64>().ok()?) };
        values.insert(key.to_owned(), value);
    }
    Some((kind.to_owned(), Value::Object(values)))
}
