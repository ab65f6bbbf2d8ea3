//! Tables: lines of files to properties, device rules to what systemd can express of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::cgroup::resources::Version;
use crate::cgroup::resources::settings;

fn of(json: &str) -> Vec<(String, Value)> {
    let resources = serde_json::from_str(json).unwrap();
    let list = from_settings(&settings(&resources, Version::V2).unwrap().list);
    list.into_iter().map(|property| (property.name, property.value)).collect()
}

fn number(name: &str, value: u64) -> (String, Value) {
    (name.to_owned(), Value::U64(value))
}

fn check(table: &[(&str, Vec<(String, Value)>)]) {
    for (json, expected) in table {
        assert_eq!(of(json), *expected, "{json}");
    }
}

#[test]
fn part_22_memory_and_pids_become_properties() {
    check(&[
        (
            r#"{"memory":{"limit":16777216,"swap":33554432,"reservation":8388608}}"#,
            vec![number("MemoryMax", 16_777_216), number("MemorySwapMax", 16_777_216), number("MemoryLow", 8_388_608)],
        ),
        (
            r#"{"memory":{"limit":-1,"swap":-1}}"#,
            vec![number("MemoryMax", u64::MAX), number("MemorySwapMax", u64::MAX)],
        ),
        (r#"{"pids":{"limit":0}}"#, vec![number("TasksMax", 1)]),
        (r#"{"pids":{"limit":-1}}"#, vec![number("TasksMax", u64::MAX)]),
    ]);
}

#[test]
fn part_22_cpu_and_cpuset_become_properties() {
    check(&[
        (r#"{"cpu":{"shares":1024}}"#, vec![number("CPUWeight", 100)]),
        (
            r#"{"cpu":{"quota":50000,"period":100000}}"#,
            vec![number("CPUQuotaPerSecUSec", 500_000), number("CPUQuotaPeriodUSec", 100_000)],
        ),
        // systemd rounds 12.34 % up to 13 %
        (
            r#"{"cpu":{"quota":12340}}"#,
            vec![number("CPUQuotaPerSecUSec", 130_000), number("CPUQuotaPeriodUSec", 100_000)],
        ),
        (
            r#"{"cpu":{"quota":-1,"period":20000}}"#,
            vec![number("CPUQuotaPerSecUSec", u64::MAX), number("CPUQuotaPeriodUSec", 20_000)],
        ),
        (r#"{"cpu":{"idle":1,"shares":2048}}"#, vec![number("CPUWeight", 0)]),
        (
            r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
            vec![
                ("AllowedCPUs".into(), Value::Bytes(vec![7, 2])),
                ("AllowedMemoryNodes".into(), Value::Bytes(vec![1])),
            ],
        ),
    ]);
}

#[test]
fn part_22_block_io_becomes_properties() {
    check(&[
        (r#"{"blockIO":{"weight":500}}"#, vec![number("IOWeight", 4950)]),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7},{"major":8,"minor":16,"rate":0}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":9}]}}"#,
            vec![
                ("IODeviceWeight".into(), Value::Rates(vec![("/dev/block/8:0".into(), 1)])),
                (
                    "IOReadBandwidthMax".into(),
                    Value::Rates(vec![("/dev/block/8:0".into(), 7), ("/dev/block/8:16".into(), u64::MAX)]),
                ),
                ("IOWriteIOPSMax".into(), Value::Rates(vec![("/dev/block/8:0".into(), 9)])),
            ],
        ),
    ]);
}

#[test]
fn part_22_unified_comes_last_and_wins() {
    check(&[
        (
            r#"{"pids":{"limit":5},"unified":{"pids.max":"7","memory.high":"max","memory.min":"4096","cpu.weight":"9",
             "cpu.max":"10000 20000","io.max":"8:0 rbps=1 wbps=max\n8:16 riops=2","hugetlb.2MB.max":"0","memory.oom.group":"1"}}"#,
            vec![
                number("TasksMax", 7),
                number("CPUQuotaPerSecUSec", 500_000),
                number("CPUQuotaPeriodUSec", 20_000),
                number("CPUWeight", 9),
                ("IOReadBandwidthMax".into(), Value::Rates(vec![("/dev/block/8:0".into(), 1)])),
                ("IOWriteBandwidthMax".into(), Value::Rates(vec![("/dev/block/8:0".into(), u64::MAX)])),
                ("IOReadIOPSMax".into(), Value::Rates(vec![("/dev/block/8:16".into(), 2)])),
                number("MemoryHigh", u64::MAX),
                number("MemoryMin", 4096),
            ],
        ),
        // left to the kernel, whose error names the file
        (
            r#"{"unified":{"cpu.max":"fast","cpuset.cpus":"x","io.max":"disk rbps=1","io.weight":"","memory.max":"1G"}}"#,
            vec![],
        ),
    ]);
}

#[test]
fn cg_5_devices_are_named_by_number() {
    let config = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
        {"allow":true,"type":"b","major":8,"access":"r"},{"allow":false,"type":"b","major":8,"minor":1,"access":"r"},
        {"allow":true,"type":"c","minor":5,"access":"r"},{"allow":true,"type":"a","major":7,"minor":2}]"#;
    let properties = from_devices(&DeviceList::new(&serde_json::from_str::<Vec<_>>(config).unwrap()).unwrap());
    assert_eq!(properties[0], Property::new("DevicePolicy", Value::Text("strict".into())));
    let Value::Pairs(allowed) = &properties[1].value else { panic!("{properties:?}") };
    let allowed: Vec<(&str, &str)> = allowed.iter().map(|(node, access)| (node.as_str(), access.as_str())).collect();
    let configured = [
        ("/dev/char/10:229", "rw"),
        ("block-8", "r"),
        ("char-*", "r"),
        ("/dev/char/7:2", "rwm"),
        ("/dev/block/7:2", "rwm"),
    ];
    assert_eq!(allowed[..5], configured);
    for default in
        [("char-*", "m"), ("block-*", "m"), ("/dev/char/1:3", "rwm"), ("char-136", "rwm"), ("/dev/char/10:200", "rwm")]
    {
        assert!(allowed.contains(&default), "{default:?} in {allowed:?}");
    }
}

#[test]
fn cg_5_a_list_of_what_is_denied_is_left_to_our_own_program() {
    let config = r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":8,"access":"w"}]"#;
    let list = DeviceList::new(&serde_json::from_str::<Vec<_>>(config).unwrap()).unwrap();
    assert_eq!(from_devices(&list), [Property::new("DevicePolicy", Value::Text("auto".into()))]);
}
