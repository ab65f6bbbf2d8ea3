//! Comparison of `events --stats` and of a container's limits with an independent reader of cgroups: libcgroups, which
//! youki uses.
//!
//! The container is paused while its cgroups are read. Figures that libcgroups defines differently are not compared:
//! the swap counters of cgroup v2 (swap alone there, memory and swap together here), the failures and the page cache of
//! memory on v2 (it reads another event, and leaves the cache at 0).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use libcgroups::common::CgroupManager as _;
use std::path::PathBuf;
use test_support::*;

const MIB: u64 = 1 << 20;
/// Nanoseconds of a tick of 1/100 s, in which the kernel counts user and system CPU time on v1.
const TICK: u64 = 10_000_000;

/// A figure: its JSON pointers in our statistics and in those of libcgroups, and the number of our units in one of
/// theirs.
struct Figure {
    ours: &'static str,
    theirs: &'static str,
    unit: u64,
}

const fn figure(ours: &'static str, theirs: &'static str, unit: u64) -> Figure {
    Figure { ours, theirs, unit }
}

/// Returns the figures that the machine's version of cgroups has.
fn figures() -> Vec<Figure> {
    let (time, share) = if cgroup::is_v2() { (1000, 1000) } else { (1, TICK) };
    let mut figures = vec![
        figure("/pids/current", "/pids/current", 1),
        figure("/pids/limit", "/pids/limit", 1),
        figure("/cpu/usage/total", "/cpu/usage/usage_total", time),
        figure("/cpu/usage/user", "/cpu/usage/usage_user", share),
        figure("/cpu/usage/kernel", "/cpu/usage/usage_kernel", share),
        figure("/cpu/throttling/periods", "/cpu/throttling/periods", 1),
        figure("/cpu/throttling/throttledPeriods", "/cpu/throttling/throttled_periods", 1),
        figure("/cpu/throttling/throttledTime", "/cpu/throttling/throttled_time", time),
        figure("/memory/usage/usage", "/memory/memory/usage", 1),
        figure("/memory/usage/limit", "/memory/memory/limit", 1),
        figure("/memory/usage/max", "/memory/memory/max_usage", 1),
        figure("/memory/raw", "/memory/stats", 1),
    ];
    if !cgroup::is_v2() {
        figures.extend([
            figure("/cpu/usage/percpu", "/cpu/usage/per_core_usage_total", 1),
            figure("/cpu/usage/percpu_user", "/cpu/usage/per_core_usage_user", 1),
            figure("/cpu/usage/percpu_kernel", "/cpu/usage/per_core_usage_kernel", 1),
            figure("/memory/usage/failcnt", "/memory/memory/fail_count", 1),
            figure("/memory/cache", "/memory/cache", 1),
        ]);
        for (ours, theirs) in [("swap", "memswap"), ("kernel", "kernel"), ("kernelTCP", "kernel_tcp")] {
            for (our_field, their_field) in
                [("usage", "usage"), ("max", "max_usage"), ("limit", "limit"), ("failcnt", "fail_count")]
            {
                let path = |top: &str, field: &str| -> &'static str { format!("/memory/{top}/{field}").leak() };
                figures.push(figure(path(ours, our_field), path(theirs, their_field), 1));
            }
        }
    }
    figures
}

/// Returns the statistics of a cgroup as libcgroups reads them.
fn independent(cgroup: &str) -> Value {
    let path = PathBuf::from(format!("/{}", cgroup::place(cgroup)));
    let stats = if cgroup::is_v2() {
        libcgroups::v2::manager::Manager::new("/sys/fs/cgroup".into(), path).unwrap().stats().unwrap()
    } else {
        libcgroups::v1::Manager::new(&path).unwrap().stats().unwrap()
    };
    serde_json::to_value(stats).unwrap()
}

/// Returns a line for each figure that differs, or that one of the two does not have.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let differs = |figure: &Figure| {
        let (our_value, their_value) = (ours.pointer(figure.ours), theirs.pointer(figure.theirs));
        let in_our_unit = their_value.map(|value| match value.as_u64() {
            Some(number) => json!(number * figure.unit),
            None => value.clone(),
        });
        (our_value.is_none() || our_value != in_our_unit.as_ref())
            .then(|| format!("{}: {our_value:?}, libcgroups {in_our_unit:?}", figure.ours))
    };
    figures().iter().filter_map(differs).collect()
}

/// Returns our statistics and those of libcgroups, read when two readings of ours, one before and one after, are equal.
fn both(container: &Container) -> (Value, Value) {
    let ours = || container.verb("events", &["--stats"]).out().ok().json()["data"].take();
    wait_until("statistics that stay", || {
        let (before, theirs, after) = (ours(), independent(&container.cgroup()), ours());
        (before == after).then_some((before, theirs))
    })
}

/// Returns a paused container with limits, which has used memory, files and more CPU time than its quota allows.
fn busy() -> Container {
    let work = "dd if=/dev/zero of=/dev/shm/f bs=1M count=8 2>/dev/null; i=0; \
                while [ $i -lt 100000 ]; do i=$((i+1)); done; touch /tmp/done; exec sleep 1000";
    let container = Container::sh(work)
        .edit(|config| {
            config["linux"]["resources"] = json!({ "memory": { "limit": 64 * MIB }, "pids": { "limit": 17 },
                "cpu": { "quota": 20_000, "period": 100_000 } });
        })
        .up();
    container.exec(&["sh", "-c", "until [ -e /tmp/done ]; do sleep 0.1; done"]).ok();
    container.verb("pause", &[]).out().ok();
    container
}

#[test]
fn statistics_and_limits_are_those_of_an_independent_reader() {
    need_root!();
    if !is_croci() {
        skip!("another runtime's statistics");
    }
    let container = busy();
    let (ours, theirs) = both(&container);
    assert_eq!(differences(&ours, &theirs), Vec::<String>::new());
    // the configured limits, as libcgroups names them
    for (pointer, wanted) in [("/memory/memory/limit", 64 * MIB), ("/pids/limit", 17), ("/pids/current", 1)] {
        assert_eq!(theirs.pointer(pointer), Some(&json!(wanted)), "{pointer}");
    }
    for pointer in ["/cpu/throttling/throttled_periods", "/cpu/usage/usage_total", "/memory/memory/max_usage"] {
        assert!(theirs.pointer(pointer).and_then(Value::as_u64).is_some_and(|number| number > 0), "{pointer}");
    }
    // the comparison finds each figure that is off by one or missing
    for figure in figures() {
        for wrong in [json!(u64::MAX - 1), Value::Null] {
            let mut changed = ours.clone();
            *changed.pointer_mut(figure.ours).unwrap() = wrong;
            let found = differences(&changed, &theirs);
            assert_eq!(found.len(), 1, "{}: {found:?}", figure.ours);
            assert!(found[0].starts_with(figure.ours), "{found:?}");
        }
    }
    container.verb("resume", &[]).out().ok();
}

#[test]
fn changed_limits_are_read_by_an_independent_reader() {
    need_root!();
    let container = busy();
    container.verb("update", &["--memory", "33554432", "--pids-limit", "23"]).out().ok();
    let theirs = independent(&container.cgroup());
    assert_eq!(theirs["memory"]["memory"]["limit"], json!(32 * MIB));
    assert_eq!(theirs["pids"]["limit"], json!(23));
    container.verb("update", &["--pids-limit", "-1"]).out().ok();
    // libcgroups returns 0 for "no limit"
    assert_eq!(independent(&container.cgroup())["pids"]["limit"], json!(0));
    container.verb("resume", &[]).out().ok();
}
