//! Configurations that must be accepted although they look odd, and what becomes of them.

use std::fmt::Write as _;
use std::time::Instant;

use oci_spec::runtime::{Capability, LinuxSchedulerFlag};
use serde_json::json;

use super::super::{enums, parse_mounts, parse_process, parse_resources};
use super::{parse, set, with, without};

#[test]
fn cr_5_neither_process_nor_linux_is_needed() {
    let config = super::super::parse(br#"{"ociVersion":"1.0.0","root":{"path":"rootfs"}}"#).unwrap();
    assert!(config.spec.process().is_none() && config.spec.linux().is_none());
    assert!(config.warnings.is_empty());
}

#[test]
fn pr_13_an_unknown_capability_is_one_warning() {
    let mut document = with("process.capabilities.bounding", json!(["CAP_KILL", "CAP_FLY", "cap_chown"]));
    set(&mut document, "process.capabilities.effective", json!(["CAP_FLY"]));
    let config = parse(&document).unwrap();
    assert_eq!(
        config.warnings,
        ["process.capabilities.bounding: ignoring unknown or unavailable capabilities: [CAP_FLY]"]
    );
    let capabilities = config.spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(capabilities.bounding().clone().unwrap(), [Capability::Kill, Capability::Chown].into_iter().collect());
    assert!(capabilities.effective().clone().unwrap().is_empty());
}

#[test]
fn pr_12_every_known_capability_reaches_the_configuration() {
    let config = parse(&with("process.capabilities.bounding", json!(enums::CAPABILITIES))).unwrap();
    let capabilities = config.spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 41);
}

#[test]
fn every_name_the_parser_knows_is_known_to_oci_spec() {
    let rlimit = |typ| json!({"type": typ, "soft": 0, "hard": u64::MAX});
    let limits: Vec<_> = enums::RLIMITS.iter().map(rlimit).collect();
    parse(&with("process.rlimits", json!(limits))).unwrap();
    for class in enums::IO_CLASSES {
        parse(&with("process.ioPriority", json!({"class": class, "priority": 7}))).unwrap();
    }
    for policy in enums::SCHEDULER_POLICIES {
        let mut scheduler = json!({"policy": policy});
        if ["SCHED_FIFO", "SCHED_RR"].contains(policy) {
            scheduler["priority"] = json!(99);
        } else if *policy == "SCHED_DEADLINE" {
            scheduler["runtime"] = json!(1024);
            scheduler["deadline"] = json!((1u64 << 63) - 1);
        }
        parse(&with("process.scheduler", scheduler)).expect(policy);
    }
    for propagation in enums::PROPAGATIONS {
        parse(&with("linux.rootfsPropagation", json!(propagation))).unwrap();
    }
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65535, "architectures": enums::SECCOMP_ARCHS,
        "flags": enums::SECCOMP_FLAGS, "listenerPath": "/run/s", "listenerMetadata": "m",
        "syscalls": enums::SECCOMP_OPERATORS.iter().map(|op| json!({
            "names": ["ioctl"], "action": "SCMP_ACT_NOTIFY",
            "args": [{"index": 5, "value": u64::MAX, "valueTwo": 1, "op": op}],
        })).collect::<Vec<_>>(),
    });
    let config = parse(&with("linux.seccomp", seccomp)).unwrap();
    let seccomp = config.spec.linux().as_ref().unwrap().seccomp().clone().unwrap();
    assert_eq!(seccomp.architectures().as_ref().unwrap().len(), enums::SECCOMP_ARCHS.len());
    assert_eq!(seccomp.flags().as_ref().unwrap().len(), 4);
    for flag in enums::MEMORY_POLICY_FLAGS {
        parse(&with("linux.memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0-3,7", "flags": [flag]}))).unwrap();
    }
}

#[test]
fn pr_16_every_scheduler_flag_is_accepted() {
    let scheduler = json!({"policy": "SCHED_OTHER", "flags": enums::SCHEDULER_FLAGS});
    let config = parse(&with("process.scheduler", scheduler)).unwrap();
    let flags = config.spec.process().as_ref().unwrap().scheduler().clone().unwrap().flags().clone().unwrap();
    assert_eq!(flags.len(), enums::SCHEDULER_FLAGS.len());
    assert!(flags.contains(&LinuxSchedulerFlag::SchedFlagDLOverrun));
    assert_eq!(flags.iter().filter(|flag| **flag == LinuxSchedulerFlag::SchedResetOnFork).count(), 2);
}

#[test]
fn pr_6_no_user_or_group_at_all_is_root() {
    for absent in ["process.user", "process.user.gid"] {
        let config = parse(&without(absent)).unwrap();
        let user = config.spec.process().as_ref().unwrap().user().clone();
        assert_eq!((user.gid(), user.umask()), (0, None), "{absent}");
    }
}

#[test]
fn cf_4_what_is_unknown_is_ignored() {
    for (place, value) in [
        ("linux.intelRdt.enableCMT", json!("a string where 1.1 had a boolean")),
        ("windows", json!({"layerFolders": 5})),
        ("vm", json!("x")),
        ("process.future.nested", json!([{"a": null}])),
        ("uidMappings", json!("never existed")),
        ("process.rlimits", json!(null)),
        ("linux.seccomp", json!(null)),
        ("linux.rootfsPropagation", json!("")),
        ("linux.cgroupsPath", json!("")),
    ] {
        let config = parse(&with(place, value)).expect(place);
        assert!(config.warnings.is_empty(), "{place}: {:?}", config.warnings);
    }
    let config = parse(&with("linux.cgroupsPath", json!(""))).unwrap();
    assert!(config.spec.linux().as_ref().unwrap().cgroups_path().is_none());
}

#[test]
fn numbers_at_their_limits() {
    for (place, value) in [
        ("process.user.uid", json!(2_147_483_648_u64)),
        ("process.user.gid", json!(4_294_967_294_u64)),
        ("process.user.umask", json!(0o777)),
        ("process.oomScoreAdj", json!(-1000)),
        ("linux.resources.memory", json!({"limit": -1, "swap": 1})),
        ("linux.resources.memory", json!({"swap": -1})),
        ("linux.resources.memory", json!({"limit": 5, "swap": 5, "swappiness": 0})),
        ("linux.resources.cpu", json!({"quota": -1, "period": 0, "burst": 9, "shares": u64::MAX, "cpus": "0-3,7"})),
        ("linux.resources.blockIO", json!({"weight": 0})),
        ("linux.resources.hugepageLimits", json!([{"pageSize": "2MB", "limit": u64::MAX}])),
    ] {
        parse(&with(place, value.clone())).unwrap_or_else(|err| panic!("{place} = {value}: {err:#}"));
    }
}

#[test]
fn pi_1_an_empty_pids_object_is_no_limit_of_zero() {
    let pids = |value| {
        *parse(&with("linux.resources.pids", value))
            .unwrap()
            .spec
            .linux()
            .as_ref()
            .unwrap()
            .resources()
            .as_ref()
            .unwrap()
            .pids()
    };
    assert!(pids(json!({})).is_none());
    assert_eq!(pids(json!({"limit": 0})).unwrap().limit(), 0);
}

#[test]
fn dv_6_minus_one_is_any_device() {
    let rules = json!([{"allow": true, "type": "c", "major": -1, "minor": 3, "access": "r"}]);
    let config = parse(&with("linux.resources.devices", rules)).unwrap();
    let rule = config.spec.linux().as_ref().unwrap().resources().clone().unwrap().devices().clone().unwrap().remove(0);
    assert_eq!((rule.major(), rule.minor()), (None, Some(3)));
}

#[test]
fn names_in_every_form_are_accepted() {
    let mut document = with("linux.sysctl", json!({"net.ipv4.conf.eth0/1.x": "1\n", "kernel.sem": "1 2 3 4"}));
    set(&mut document, "linux.netDevices", json!({"eth1": {"name": "in%d"}, "eth0": {}}));
    set(&mut document, "linux.cgroupsPath", json!("system.slice:docker:x"));
    set(&mut document, "linux.memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0-1"}));
    set(&mut document, "process.execCPUAffinity", json!({"initial": "0, 2-3", "final": " "}));
    let spec = parse(&document).unwrap().spec;
    let affinity = spec.process().as_ref().unwrap().exec_cpu_affinity().clone().unwrap();
    assert_eq!((affinity.initial().as_deref(), affinity.cpu_affinity_final()), (Some("0,2-3"), &None));
}

#[test]
fn mt_2_a_relative_destination_is_a_warning() {
    let config = parse(&with("mounts", json!([{"destination": "data", "type": "tmpfs"}]))).unwrap();
    assert!(config.warnings.iter().any(|w| w.starts_with("mounts[0].destination: \"data\"")), "{:?}", config.warnings);
}

#[test]
fn mounts_below_proc_that_callers_rely_on() {
    for mount in [
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/proc", "type": "bind", "source": "/proc/", "options": ["rbind", "nosuid"]}),
        json!({"destination": "/proc/meminfo", "type": "bind", "source": "/lxcfs/meminfo", "options": ["bind"]}),
        json!({"destination": "/process", "type": "tmpfs", "source": "tmpfs", "options": [""]}),
    ] {
        parse(&with("mounts", json!([mount]))).unwrap();
    }
}

#[test]
fn um_1_mappings_of_a_joined_user_namespace_are_a_warning() {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 4_294_967_295_u64}]);
    let mut document = with("linux.uidMappings", map.clone());
    set(&mut document, "linux.gidMappings", map);
    let joined = json!([{"type": "user", "path": "/proc/1/ns/user"}, {"type": "mount"}, {"type": "uts"}]);
    set(&mut document, "linux.namespaces", joined);
    assert_eq!(parse(&document).unwrap().warnings.len(), 2);
}

#[test]
fn update_takes_what_callers_send_for_leave_alone() {
    let bytes =
        br#"{"memory":{"limit":67108864,"reservation":0,"swap":0,"kernel":0},"cpu":{"shares":0,"quota":0,"period":0},
        "pids":{"limit":0},"blockIO":{"weight":0},"devices":"whatever"}"#;
    let resources = parse_resources(bytes).unwrap();
    assert_eq!(resources.memory().as_ref().unwrap().limit(), Some(67_108_864));
    parse_resources(br#"{"memory":{"limit":-5,"swap":10}}"#).unwrap();
}

#[test]
fn mounts_for_a_live_container() {
    let list = br#"[{"destination":"/m","type":"tmpfs","source":"tmpfs"}]"#;
    assert_eq!(parse_mounts(list).unwrap().len(), 1);
    assert_eq!(parse_mounts(&[br#"{"mounts":"#.as_slice(), list, b"}"].concat()).unwrap().len(), 1);
}

#[test]
fn a_process_of_exec_keeps_its_limits() {
    let document =
        json!({"cwd": "/", "args": ["a"], "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}]});
    let process = parse_process(document.to_string().as_bytes()).unwrap().process;
    let limit = process.rlimits().as_ref().unwrap()[0];
    assert_eq!((limit.soft(), limit.hard()), (1, u64::MAX));
}

#[test]
fn o1_80_000_annotations_are_read_quickly() {
    let mut text = String::from(r#"{"ociVersion":"1.0.0","root":{"path":"rootfs"},"annotations":{"#);
    let value = "v".repeat(80);
    for index in 0..80_000 {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}\"org.example.annotation.{index:06}\":\"{value}\"").unwrap();
    }
    text.push_str("}}");
    assert!(text.len() > 8_800_000, "{}", text.len());
    let start = Instant::now();
    let config = super::super::parse(text.as_bytes()).unwrap();
    let taken = start.elapsed();
    assert_eq!(config.spec.annotations().as_ref().unwrap().len(), 80_000);
    // a build without optimisation on a busy machine; the fault test holds the release build to its limit
    assert!(taken.as_secs() < 5, "{taken:?}");
}

#[test]
fn the_default_configuration_is_valid_without_a_warning() {
    for (rootless, cgroup_v2) in [(None, true), (None, false), (Some((1000, 100)), true), (Some((1000, 100)), false)] {
        let document = crate::config::default_config(rootless, cgroup_v2);
        let config = parse(&document).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
        let namespaces = document["linux"]["namespaces"].as_array().unwrap();
        assert_eq!(namespaces.contains(&json!({"type": "cgroup"})), cgroup_v2);
    }
}

#[test]
fn a_property_in_other_letter_case_is_read_with_a_warning() {
    let mut document = with("linux.MaskedPaths", json!(["/proc/keys"]));
    document["linux"].as_object_mut().unwrap().remove("maskedPaths");
    document["Hostname"] = json!("ignored, because there is one of the exact name");
    let config = parse(&document).unwrap();
    assert_eq!(config.spec.linux().as_ref().unwrap().masked_paths().as_deref().unwrap(), ["/proc/keys"]);
    assert_eq!(config.warnings, ["linux.maskedPaths: is written \"MaskedPaths\""]);
    assert_ne!(config.spec.hostname().as_deref(), document["Hostname"].as_str());
}
