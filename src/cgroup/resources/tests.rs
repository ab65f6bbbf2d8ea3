//! Tables: the property, the file, the bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use base::error::describe;

fn parse(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// `FILE=TEXT`, alternatives separated by `|`.
fn lines(json: &str, version: Version) -> Result<Vec<String>> {
    let settings = settings(&parse(json), version)?;
    let line = |setting: &Setting| {
        let choices: Vec<String> = setting.candidates.iter().map(|(file, text)| format!("{file}={text}")).collect();
        choices.join("|")
    };
    Ok(settings.list.iter().map(line).collect())
}

#[test]
fn part_22_shares_to_weight() {
    for (shares, weight) in [
        (0, 0),
        (1, 1),
        (2, 1),
        (3, 2),
        (200, 29),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(shares_to_weight(shares), weight, "cpu.shares {shares}");
    }
}

#[test]
fn part_22_block_weight() {
    for (weight, io) in [(0, 0), (10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
        assert_eq!(blkio_to_io_weight(weight), io, "blockIO.weight {weight}");
    }
}

#[test]
fn part_22_swap() {
    for (limit, swap, expected) in [
        (-1, 0, Some("max")),
        (0, -1, Some("max")),
        (4096, -1, Some("max")),
        (4096, 0, None),
        (0, 0, None),
        (-1, 4096, Some("4096")),
        (4096, 4096, Some("0")),
        (4096, 12288, Some("8192")),
    ] {
        assert_eq!(swap_max(limit, swap).unwrap().as_deref(), expected, "limit {limit} swap {swap}");
    }
    assert!(swap_max(0, 4096).is_err() && swap_max(4096, 4095).is_err());
}

#[test]
fn part_11_v2_files() {
    for (json, expected) in [
        ("{}", vec![]),
        (
            r#"{"memory":{"limit":4096,"swap":4096,"reservation":1024,"disableOOMKiller":false,"swappiness":60}}"#,
            vec!["memory.max=4096", "memory.swap.max=0", "memory.low=1024"],
        ),
        (r#"{"memory":{"limit":-1}}"#, vec!["memory.max=max", "memory.swap.max=max"]),
        (r#"{"memory":{"limit":0,"reservation":0,"swap":0,"kernel":0}}"#, vec![]),
        (r#"{"cpu":{"shares":1024,"quota":50000,"period":100000}}"#, vec!["cpu.weight=100", "cpu.max=50000 100000"]),
        (r#"{"cpu":{"quota":-1}}"#, vec!["cpu.max=max 100000"]),
        (r#"{"cpu":{"quota":-9999}}"#, vec!["cpu.max=max 100000"]),
        (r#"{"cpu":{"period":20000}}"#, vec!["cpu.max=max 20000"]),
        (r#"{"cpu":{"quota":2000,"burst":1000}}"#, vec!["cpu.max=2000 100000", "cpu.max.burst=1000"]),
        (r#"{"cpu":{"idle":1,"shares":1024}}"#, vec!["cpu.idle=1"]),
        (r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#, vec!["cpuset.cpus=0-1", "cpuset.mems=0"]),
        (r#"{"cpu":{"cpus":"","mems":"","shares":0,"quota":0,"period":0}}"#, vec![]),
        (r#"{"pids":{"limit":0}}"#, vec!["pids.max=1"]),
        (r#"{"pids":{"limit":-1}}"#, vec!["pids.max=max"]),
        (r#"{"pids":{"limit":-7}}"#, vec!["pids.max=max"]),
        (r#"{"blockIO":{"weight":0}}"#, vec![]),
        (
            r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":100}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
            vec![
                "io.bfq.weight=500|io.weight=4950",
                "io.bfq.weight=8:0 100|io.weight=8:0 910",
                "io.max=8:0 rbps=1000",
                "io.max=8:16 wiops=max",
            ],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            vec!["hugetlb.2MB.rsvd.max=4194304", "hugetlb.2MB.max=4194304"],
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3},"a":{"hcaHandles":1,"hcaObjects":2}}}"#,
            vec!["rdma.max=a hca_handle=1 hca_object=2", "rdma.max=mlx5_1 hca_handle=3"],
        ),
        (
            r#"{"unified":{"memory.high":"4096","io.max":"8:0 rbps=1\n8:16 wbps=2\n","cgroup.max.depth":"3","cpuset.cpus":""},"memory":{"limit":1}}"#,
            vec![
                "memory.max=1",
                "cgroup.max.depth=3",
                "cpuset.cpus=\n",
                "io.max=8:0 rbps=1",
                "io.max=8:16 wbps=2",
                "memory.high=4096",
            ],
        ),
    ] {
        assert_eq!(lines(json, Version::V2).unwrap(), expected, "{json}");
    }
}

#[test]
fn part_11_v1_files() {
    for (json, expected) in [
        (
            r#"{"memory":{"limit":4096,"swap":8192,"reservation":1024,"kernelTCP":512,"swappiness":50,"disableOOMKiller":true}}"#,
            vec![
                "memory.limit_in_bytes=4096",
                "memory.memsw.limit_in_bytes=8192",
                "memory.soft_limit_in_bytes=1024",
                "memory.kmem.tcp.limit_in_bytes=512",
                "memory.swappiness=50",
                "memory.oom_control=1",
            ],
        ),
        (r#"{"memory":{"limit":-1}}"#, vec!["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]),
        (
            r#"{"cpu":{"shares":300,"quota":-1,"period":100000,"burst":0,"cpus":"0"}}"#,
            vec![
                "cpu.shares=300",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=-1",
                "cpu.cfs_burst_us=0",
                "cpuset.cpus=0",
            ],
        ),
        (r#"{"cpu":{"idle":1,"shares":300}}"#, vec!["cpu.idle=1"]),
        (
            r#"{"cpu":{"realtimePeriod":1000000,"realtimeRuntime":950000}}"#,
            vec!["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"],
        ),
        (r#"{"pids":{"limit":0}}"#, vec!["pids.max=1"]),
        (
            r#"{"blockIO":{"weight":500,"leafWeight":300,"weightDevice":[{"major":8,"minor":0,"weight":100,"leafWeight":50}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}]}}"#,
            vec![
                "blkio.bfq.weight=500|blkio.weight=500",
                "blkio.leaf_weight=300",
                "blkio.bfq.weight_device=8:0 100|blkio.weight_device=8:0 100",
                "blkio.leaf_weight_device=8:0 50",
                "blkio.throttle.read_bps_device=8:0 1000",
            ],
        ),
        (
            r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
            vec!["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"1GB","limit":0}]}"#,
            vec!["hugetlb.1GB.rsvd.limit_in_bytes=0", "hugetlb.1GB.limit_in_bytes=0"],
        ),
    ] {
        assert_eq!(lines(json, Version::V1).unwrap(), expected, "{json}");
    }
}

#[test]
fn part_11_bad_values_name_their_field() {
    use Version::{V1, V2};
    for (json, versions, text) in [
        (r#"{"memory":{"swap":4096}}"#, &[V1, V2][..], "linux.resources.memory.swap: "),
        (r#"{"memory":{"limit":4096,"swap":1024}}"#, &[V1, V2], "linux.resources.memory.swap: 1024 is below"),
        (r#"{"memory":{"limit":-1,"swap":1024}}"#, &[V1], "linux.resources.memory.swap: "),
        (r#"{"memory":{"limit":-2}}"#, &[V1, V2], "linux.resources.memory.limit: -2"),
        (r#"{"memory":{"swappiness":101}}"#, &[V1, V2], "linux.resources.memory.swappiness: 101"),
        (r#"{"memory":{"swappiness":10}}"#, &[V2], "linux.resources.memory.swappiness: "),
        (r#"{"memory":{"disableOOMKiller":true}}"#, &[V2], "linux.resources.memory.disableOOMKiller: "),
        (r#"{"cpu":{"period":999}}"#, &[V1, V2], "linux.resources.cpu.period: 999"),
        (r#"{"cpu":{"quota":1000,"burst":1001}}"#, &[V1, V2], "linux.resources.cpu.burst: 1001"),
        (r#"{"cpu":{"idle":2}}"#, &[V1, V2], "linux.resources.cpu.idle: 2"),
        (r#"{"cpu":{"cpus":"0;1"}}"#, &[V1, V2], "linux.resources.cpu.cpus: "),
        (r#"{"cpu":{"realtimeRuntime":1}}"#, &[V2], "linux.resources.cpu.realtimeRuntime"),
        (r#"{"blockIO":{"weight":9}}"#, &[V1, V2], "linux.resources.blockIO.weight: 9"),
        (r#"{"blockIO":{"leafWeight":10}}"#, &[V2], "linux.resources.blockIO.leafWeight"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}"#,
            &[V1, V2],
            "linux.resources.blockIO.weightDevice[0]: neither",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}"#,
            &[V1, V2],
            "linux.resources.blockIO.throttleReadBpsDevice[0]: device -8:0",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"02MB","limit":1}]}"#,
            &[V1, V2],
            "linux.resources.hugepageLimits[0]: pageSize \"02MB\"",
        ),
        (r#"{"hugepageLimits":[{"pageSize":"2MB/../x","limit":1}]}"#, &[V1, V2], "linux.resources.hugepageLimits[0]: "),
        (r#"{"rdma":{"a":{}}}"#, &[V1, V2], "linux.resources.rdma[\"a\"]: neither"),
        (r#"{"network":{"classID":1}}"#, &[V2], "linux.resources.network.classID"),
        (r#"{"unified":{"memory.max":"1"}}"#, &[V1], "linux.resources.unified: needs cgroup v2"),
        (r#"{"unified":{"../x":"1"}}"#, &[V2], "linux.resources.unified[\"../x\"]: "),
        (r#"{"unified":{"":"1"}}"#, &[V2], "linux.resources.unified[\"\"]: "),
        (r#"{"unified":{"cgroup.procs":"1"}}"#, &[V2], "linux.resources.unified[\"cgroup.procs\"]: "),
    ] {
        for version in versions {
            let text_of = describe(&settings(&parse(json), *version).unwrap_err());
            assert!(text_of.starts_with(text), "{json} {version:?}: {text_of}");
        }
    }
}

#[test]
fn me_2_kernel_memory_is_ignored_with_a_warning() {
    let json = parse(r#"{"memory":{"kernel":4096}}"#);
    for version in [Version::V1, Version::V2] {
        let settings = settings(&json, version).unwrap();
        assert!(settings.list.is_empty() && settings.warnings.len() == 1, "{version:?}");
    }
}

#[test]
fn pi_1_limit_of_no_processes_waits_for_the_container_on_v2() {
    assert!(settings(&parse(r#"{"pids":{"limit":0}}"#), Version::V2).unwrap().list[0].deferred);
    assert!(!settings(&parse(r#"{"pids":{"limit":1}}"#), Version::V2).unwrap().list[0].deferred);
}

#[test]
fn up_1_zero_and_empty_leave_alone_and_the_rest_is_replaced() {
    let current = r#"{"memory":{"limit":4096,"swap":8192},"cpu":{"shares":512,"cpus":"0"},"pids":{"limit":5},
        "devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}],
        "blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":2}]}}"#;
    for (update, expected) in [
        (
            r#"{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0,"cpus":""},"blockIO":{"weight":0}}"#,
            current.to_owned(),
        ),
        (r#"{"devices":[{"allow":false,"access":"rwm"}]}"#, current.to_owned()),
        (r#"{"memory":{"limit":2048}}"#, current.replace("4096", "2048")),
        (r#"{"memory":{"limit":-1}}"#, current.replace("4096", "-1").replace("8192", "-1")),
        (r#"{"pids":{"limit":0}}"#, current.replace(r#""limit":5"#, r#""limit":0"#)),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":7}]}}"#,
            current.replace(r#""rate":2"#, r#""rate":7"#),
        ),
    ] {
        let merged = merge(&parse(current), &parse(update));
        for version in [Version::V1, Version::V2] {
            assert_eq!(settings(&merged, version).unwrap(), settings(&parse(&expected), version).unwrap(), "{update}");
        }
        assert_eq!(merged.devices(), parse(current).devices(), "{update}");
    }
}

/// `unified` is written last: an old entry there must not undo a newer value of the same file, for either manager.
#[test]
fn up_1_a_newer_property_supersedes_the_unified_entry_of_its_file() {
    let current = r#"{"memory":{"limit":4096,"swap":8192},"unified":{"memory.max":"1","memory.swap.max":"2",
        "memory.low":"3","memory.high":"4","cpu.weight":"5","cpu.max":"6 1000","cpuset.cpus":"0","pids.max":"7",
        "io.weight":"default 8\n8:0 9"}}"#;
    for (update, dropped) in [
        (r#"{"memory":{"limit":2048}}"#, vec!["memory.max=1"]),
        (r#"{"memory":{"limit":-1}}"#, vec!["memory.max=1", "memory.swap.max=2"]),
        (r#"{"memory":{"swap":16384,"reservation":512}}"#, vec!["memory.low=3", "memory.swap.max=2"]),
        (r#"{"memory":{"limit":0},"cpu":{"shares":0,"quota":0,"cpus":""},"blockIO":{"weight":0}}"#, vec![]),
        (r#"{"cpu":{"shares":1024}}"#, vec!["cpu.weight=5"]),
        (r#"{"cpu":{"quota":-5}}"#, vec!["cpu.max=6 1000"]),
        (r#"{"cpu":{"period":2000,"cpus":"1"}}"#, vec!["cpu.max=6 1000", "cpuset.cpus=0"]),
        (r#"{"pids":{"limit":0}}"#, vec!["pids.max=7"]),
        (r#"{"blockIO":{"weight":100}}"#, vec!["io.weight=default 8"]),
        (r#"{"pids":{"limit":9},"unified":{"pids.max":"10"}}"#, vec!["pids.max=7"]),
    ] {
        let merged = merge(&parse(current), &parse(update));
        let text = serde_json::to_string(&merged).unwrap();
        let before = lines(current, Version::V2).unwrap();
        let after = lines(&text, Version::V2).unwrap();
        let old = ["=1", "=2", "=3", "=4", "=5", "=6 1000", "=0", "=7", "=default 8", "=8:0 9"];
        let gone: Vec<&String> =
            before.iter().filter(|line| old.iter().any(|end| line.ends_with(end)) && !after.contains(line)).collect();
        assert_eq!(gone, dropped, "{update}: {after:?}");
    }
}

/// A written newline is a limit of 0 for the kernel in most files; only a cpuset has an empty value.
#[test]
fn un_1_an_empty_value_writes_nothing_but_for_cpusets() {
    let all =
        settings(&parse(r#"{"unified":{"memory.max":"","pids.max":" \n","cpuset.mems":""}}"#), Version::V2).unwrap();
    let files: Vec<&str> = all.list.iter().map(|setting| setting.candidates[0].0.as_ref()).collect();
    assert_eq!(files, ["cpuset.mems"]);
    assert_eq!(all.warnings.len(), 2, "{:?}", all.warnings);
}
