//! All counters from one directory, for fuzz targets.

use super::{Dir, Failed, v1, v2};

/// Names of the files that the counters are read from, of both versions.
pub(crate) const FILES: &[&str] = &[
    "blkio.bfq.io_service_bytes_recursive",
    "blkio.bfq.io_serviced_recursive",
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_serviced_recursive",
    "cpu.pressure",
    "cpu.stat",
    "cpuacct.stat",
    "cpuacct.usage",
    "cpuacct.usage_percpu",
    "cpuacct.usage_percpu_sys",
    "cpuacct.usage_percpu_user",
    "hugetlb.2MB.current",
    "hugetlb.2MB.events",
    "hugetlb.2MB.failcnt",
    "hugetlb.2MB.usage_in_bytes",
    "io.pressure",
    "io.stat",
    "memory.current",
    "memory.events",
    "memory.failcnt",
    "memory.limit_in_bytes",
    "memory.max",
    "memory.max_usage_in_bytes",
    "memory.peak",
    "memory.pressure",
    "memory.stat",
    "memory.swap.current",
    "memory.swap.max",
    "memory.usage_in_bytes",
    "memory.use_hierarchy",
    "pids.current",
    "pids.max",
];

/// Reads the counters of both versions from the files in a directory, and writes them as `events` does.
pub(crate) fn stats(dir: &str) {
    let failed = Failed::default();
    let at = || Dir { path: dir.to_owned(), failed: &failed };
    for stats in [v1::stats(&|_| Some(at())), v2::stats(&at())] {
        let text = serde_json::to_string(&stats);
        assert!(text.is_ok_and(|text| serde_json::from_str::<serde_json::Value>(&text).is_ok()));
    }
}
