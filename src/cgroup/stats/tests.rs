//! Counters against files written by hand: the kernel's formats, the form that callers parse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use serde_json::json;

struct Files(String);

impl Files {
    fn with(files: &[(&str, &str)]) -> Files {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("croci-stats-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        Files(dir.to_str().unwrap().to_owned())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at<'a>(path: &str, failed: &'a Failed) -> super::Dir<'a> {
    super::Dir { path: path.to_owned(), failed }
}

fn json(stats: &Stats) -> Value {
    serde_json::to_value(stats).unwrap()
}

/// The names of an object's members, in the order of the text.
fn order(text: &str, names: &[&str]) -> bool {
    let places: Vec<_> = names.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
    places.is_sorted()
}

#[test]
fn the_members_are_in_runcs_order() {
    let dir = Files::with(&[
        ("cpu.stat", "usage_usec 7\n"),
        (
            "cpu.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ),
        ("memory.current", "1\n"),
        ("pids.current", "1\n"),
    ]);
    let text = serde_json::to_string(&v2::stats(&at(&dir.0, &Failed::default()))).unwrap();
    assert!(order(&text, &["cpu", "memory", "pids", "blkio", "hugetlb"]), "{text}");
    assert!(order(&text, &["usage", "total", "kernel", "user", "throttling", "psi", "some", "full"]), "{text}");
    assert!(
        order(&text, &["avg10", "avg60", "avg300"]) && order(&text, &["cache", "limit", "max", "swap", "raw"]),
        "{text}"
    );
}

#[test]
fn v2_counters_have_the_shape_and_units_of_runc() {
    let dir = Files::with(&[
        ("cpu.stat", "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 5\nnr_throttled 2\nthrottled_usec 9\n"),
        ("cpu.pressure", "some avg10=0.50 avg60=0.00 avg300=0.00 total=11\n"),
        ("memory.current", "4096\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "8192\n"),
        ("memory.events", "low 0\nmax 3\noom 1\noom_kill 1\n"),
        ("memory.swap.current", "1\n"),
        ("memory.swap.max", "10\n"),
        ("memory.stat", "anon 1\nfile 2048\n"),
        ("pids.current", "2\n"),
        ("pids.max", "50\n"),
        ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:0 \n"),
        ("hugetlb.2MB.current", "0\n"),
        ("hugetlb.2MB.events", "max 1\n"),
        ("hugetlb.2MB.rsvd.current", "0\n"),
    ]);
    let stats = json(&v2::stats(&at(&dir.0, &Failed::default())));
    for (pointer, expected) in [
        ("/cpu/usage/total", json!(7000)),
        ("/cpu/usage/kernel", json!(3000)),
        ("/cpu/throttling/throttledTime", json!(9000)),
        ("/cpu/psi/some/avg10", json!(0.5)),
        ("/memory/usage", json!({"limit": u64::MAX, "usage": 4096, "max": 8192, "failcnt": 3})),
        ("/memory/swap/usage", json!(4097)),
        ("/memory/cache", json!(2048)),
        ("/memory/raw/anon", json!(1)),
        ("/pids", json!({"current": 2, "limit": 50})),
        ("/blkio/ioServiceBytesRecursive/1", json!({"major": 8, "minor": 0, "op": "Write", "value": 20})),
        ("/hugetlb", json!({"2MB": {"usage": 0, "failcnt": 1}})),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&expected), "{pointer} in {stats}");
    }
}

#[test]
fn v1_counters_have_the_shape_and_units_of_runc() {
    let dir = Files::with(&[
        ("cpuacct.usage", "77\n"),
        ("cpuacct.usage_percpu", "70 7 \n"),
        ("cpuacct.stat", "user 3\nsystem 4\n"),
        ("cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 3\n"),
        ("memory.usage_in_bytes", "4096\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.max_usage_in_bytes", "5000\n"),
        ("memory.failcnt", "6\n"),
        ("memory.stat", "cache 12\nrss 13\n"),
        ("pids.current", "1\n"),
        ("pids.max", "max\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 5\n8:0 Total 5\nTotal 5\n"),
        ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
    ]);
    let failed = Failed::default();
    let stats = json(&v1::stats(&|name| (name != "hugetlb").then(|| at(&dir.0, &failed))));
    for (pointer, expected) in [
        ("/cpu/usage/total", json!(77)),
        ("/cpu/usage/percpu", json!([70, 7])),
        ("/cpu/usage/kernel", json!(40_000_000)),
        ("/cpu/throttling/throttledTime", json!(3)),
        ("/memory/usage", json!({"limit": 9_223_372_036_854_771_712_u64, "usage": 4096, "max": 5000, "failcnt": 6})),
        ("/memory/raw/rss", json!(13)),
        ("/pids", json!({"current": 1, "limit": 0})),
        (
            "/blkio/ioServiceBytesRecursive",
            json!([
            {"major": 8, "minor": 0, "op": "Read", "value": 5}, {"major": 8, "minor": 0, "op": "Total", "value": 5}]),
        ),
        ("/hugetlb", json!({})),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&expected), "{pointer} in {stats}");
    }
}

#[test]
fn a_cgroup_that_is_gone_has_no_counters_and_no_error() {
    let stats = json(&v2::stats(&at("/sys/fs/cgroup/no/such/cgroup", &Failed::default())));
    assert_eq!((&stats["memory"], &stats["pids"], &stats["hugetlb"]), (&json!({}), &json!({}), &json!({})));
}
