//! Limits: the values of the files and the properties of the unit; both are unchanged after systemd has written its
//! settings.

use super::{file, limited, no_reload, property, reload};
use crate::need_systemd;
use test_support::*;

/// A property of the unit and its value, and a file of cgroup v2 and its content.
type Expected = (&'static str, &'static str, &'static str, &'static str);

#[track_caller]
fn holds(c: &Container, expected: &[Expected]) {
    for (name, value, path, text) in expected {
        if !name.is_empty() {
            assert_eq!(property(c, name), *value, "{name}");
        }
        assert_eq!(file(c, path), *text, "{path}");
    }
}

#[test]
fn part_22_every_limit_has_its_property() {
    need_systemd!();
    if !cgroup::is_v2() {
        skip!("needs cgroup v2");
    }
    let c = limited(json!({
        "memory": { "limit": 67_108_864, "reservation": 16_777_216, "swap": 134_217_728 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 200_000 },
        "pids": { "limit": 99 },
        "unified": { "memory.high": "50331648", "memory.min": "4096" }
    }));
    let mut expected = vec![
        ("MemoryMax", "67108864", "memory.max", "67108864"),
        ("MemoryLow", "16777216", "memory.low", "16777216"),
        ("MemoryHigh", "50331648", "memory.high", "50331648"),
        ("MemoryMin", "4096", "memory.min", "4096"),
        ("CPUWeight", "59", "cpu.weight", "59"),
        ("CPUQuotaPerSecUSec", "250ms", "cpu.max", "50000 200000"),
        ("TasksMax", "99", "pids.max", "99"),
    ];
    if cgroup::dir("", &c.cgroup()).join("memory.swap.max").exists() {
        expected.push(("MemorySwapMax", "67108864", "memory.swap.max", "67108864"));
    }
    holds(&c, &expected);
    reload(&c);
    holds(&c, &expected);
}

#[test]
fn bl_1_weights_and_rates_of_block_devices() {
    need_systemd!();
    if !cgroup::is_v2() || !cgroup::has_controller("io") {
        skip!("needs the io controller of cgroup v2");
    }
    let Some(disk) = disk() else { skip!("no disk whose throughput could be limited") };
    let (major, minor) = disk.split_once(':').unwrap();
    let (major, minor): (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
    let c = limited(json!({ "blockIO": {
        "throttleReadBpsDevice": [{ "major": major, "minor": minor, "rate": 1_048_576 }],
        "throttleWriteIOPSDevice": [{ "major": major, "minor": minor, "rate": 50 }]
    } }));
    let expected = format!("{disk} rbps=1048576 wbps=max riops=max wiops=50");
    assert_eq!(file(&c, "io.max"), expected);
    let limits = property(&c, "IOReadBandwidthMax");
    assert!(limits.contains(&format!("/dev/block/{disk} 1048576")), "{limits}");
    reload(&c);
    assert_eq!(file(&c, "io.max"), expected);
}

/// Returns the numbers of a block device that is a whole disk, as `MAJOR:MINOR`.
fn disk() -> Option<String> {
    let entries = std::fs::read_dir("/sys/block").ok()?.flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.sort();
    names.iter().find_map(|path| Some(std::fs::read_to_string(path.join("dev")).ok()?.trim().to_owned()))
}

#[test]
fn cp_4_cpus_are_a_property_too() {
    need_systemd!();
    if !cgroup::is_v2() || !cgroup::has_controller("cpuset") {
        skip!("needs the cpuset controller of cgroup v2");
    }
    let c = limited(json!({ "cpu": { "cpus": "0", "mems": "0" } }));
    let expected = [("AllowedCPUs", "0", "cpuset.cpus", "0"), ("AllowedMemoryNodes", "0", "cpuset.mems", "0")];
    holds(&c, &expected);
    reload(&c);
    holds(&c, &expected);
}

#[test]
fn a_missing_controller_is_named_with_the_limit() {
    need_systemd!();
    if !cgroup::is_v2() || cgroup::has_controller("cpuset") {
        skip!("this kernel has the controller");
    }
    let c = Container::new(&["true"]).edit(|config| config["linux"]["resources"] = json!({ "cpu": { "cpus": "0" } }));
    c.create().fails().one_line().stderr_contains("linux.resources.cpu.cpus").stderr_contains("cpuset");
    c.nothing_left();
}

#[test]
fn cp_2_a_quota_is_exact_although_systemd_rounds() {
    need_systemd!();
    if !cgroup::is_v2() {
        skip!("needs cgroup v2");
    }
    let _exact = no_reload();
    let c = limited(json!({ "cpu": { "quota": 12_340, "period": 100_000 } }));
    holds(&c, &[("CPUQuotaPerSecUSec", "130ms", "cpu.max", "12340 100000")]);
    c.verb("update", &["--pids-limit", "50"]).out().ok();
    holds(&c, &[("CPUQuotaPerSecUSec", "130ms", "cpu.max", "12340 100000"), ("TasksMax", "50", "pids.max", "50")]);
}

#[test]
fn pi_1_small_limits_of_processes() {
    need_systemd!();
    let _exact = no_reload();
    for (limit, property, written) in [(-1, "infinity", "max"), (0, "1", "1"), (1, "1", "1"), (2, "2", "2")] {
        let c = limited(json!({ "pids": { "limit": limit } }));
        holds(&c, &[("TasksMax", property, "pids.max", written)]);
    }
}

#[test]
fn up_1_an_update_reaches_systemd() {
    need_systemd!();
    if !cgroup::is_v2() {
        skip!("needs cgroup v2");
    }
    let c = limited(json!({ "memory": { "limit": 67_108_864 }, "cpu": { "shares": 1024 } }));
    c.verb("update", &["--memory", "33554432", "--cpu-share", "2048", "--cpu-quota", "20000"]).out().ok();
    let expected = [
        ("MemoryMax", "33554432", "memory.max", "33554432"),
        ("CPUWeight", "174", "cpu.weight", "174"),
        ("CPUQuotaPerSecUSec", "200ms", "cpu.max", "20000 100000"),
    ];
    holds(&c, &expected);
    reload(&c);
    holds(&c, &expected);
    let document = r#"{"unified":{"memory.high":"20971520","pids.max":"33"},"memory":{"limit":-1}}"#;
    c.croci(["update", "--resources", "-", &c.id]).stdin(document).out().ok();
    let expected = [
        ("MemoryMax", "infinity", "memory.max", "max"),
        ("MemoryHigh", "20971520", "memory.high", "20971520"),
        ("TasksMax", "33", "pids.max", "33"),
        ("CPUWeight", "174", "cpu.weight", "174"),
    ];
    holds(&c, &expected);
    reload(&c);
    holds(&c, &expected);
    // a newer value supersedes what `unified` once set for the same file
    c.verb("update", &["--pids-limit", "44"]).out().ok();
    let expected = [("TasksMax", "44", "pids.max", "44"), ("MemoryHigh", "20971520", "memory.high", "20971520")];
    holds(&c, &expected);
    reload(&c);
    holds(&c, &expected);
}

#[test]
fn up_1_a_refused_update_leaves_both_as_they_were() {
    need_systemd!();
    if !cgroup::is_v2() {
        skip!("needs cgroup v2");
    }
    let c = limited(json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 40 } }));
    let document = r#"{"memory":{"limit":33554432},"unified":{"pids.max":"many"}}"#;
    c.croci(["update", "--resources", "-", &c.id]).stdin(document).out().fails().one_line().stderr_contains("pids.max");
    let expected = [("MemoryMax", "67108864", "memory.max", "67108864"), ("TasksMax", "40", "pids.max", "40")];
    holds(&c, &expected);
    reload(&c);
    holds(&c, &expected);
}
