//! Configurations that must be refused, with the field that the message must name.

use serde_json::{Value, json};

use super::super::{parse_mounts, parse_process, parse_resources};
use super::{parse, set, with, without};
use base::error::describe;

/// Sets the value at the place in a valid configuration; the error must start with the text.
#[track_caller]
fn refused(table: &[(&str, Value, &str)]) {
    for (place, value, want) in table {
        let err = parse(&with(place, value.clone())).expect_err(&format!("{place} = {value}"));
        let text = describe(&err);
        assert!(text.starts_with(want), "{place} = {value}: {text:?} should start with {want:?}");
        assert!(!text.contains('\n'), "{text:?} is one line");
    }
}

#[test]
fn cf_5_required_fields() {
    for (place, want) in [
        ("ociVersion", "ociVersion: is required"),
        ("root", "root: is required"),
        ("root.path", "root.path: is required"),
        ("process.cwd", "process.cwd: is required"),
        ("process.user.uid", "process.user.uid: is required"),
    ] {
        assert_eq!(describe(&parse(&without(place)).expect_err(place)), want);
    }
    assert_eq!(describe(&super::super::parse(b"{}").unwrap_err()), "ociVersion: is required");
}

#[test]
fn top_level() {
    refused(&[
        ("ociVersion", json!(1), "ociVersion: expected a string, found a number"),
        ("ociVersion", json!("9.0.0"), "ociVersion: version \"9.0.0\" is not supported"),
        ("root.path", json!(""), "root.path: is empty"),
        ("root.path", json!("/./"), "root.path: \"/./\" is the root of the host"),
        ("hostname", json!("a\0b"), "hostname: contains a NUL byte"),
        ("hostname", json!("x".repeat(65)), "hostname: has 65 bytes"),
        ("domainname", json!("x".repeat(65)), "domainname: has 65 bytes"),
        ("annotations", json!({"": "x"}), "annotations: a key is empty"),
        ("annotations", json!({"a": 1}), "annotations.a: expected a string, found a number"),
        ("annotations", json!([]), "annotations: expected an object of strings, found a list"),
    ]);
}

#[test]
fn process() {
    refused(&[
        ("process", json!([]), "process: expected an object, found a list"),
        ("process.args", json!([]), "process.args: must not be empty"),
        ("process.args", json!(null), "process.args: must not be empty"),
        ("process.args", json!([""]), "process.args[0]: exec: \"\": executable file not found in $PATH"),
        ("process.args", json!("sh"), "process.args: expected a list of strings, found a string"),
        ("process.args", json!(["sh", 1]), "process.args[1]: expected a string, found a number"),
        ("process.args", json!(["sh", "a\0"]), "process.args[1]: contains a NUL byte"),
        ("process.cwd", json!("tmp"), "process.cwd: \"tmp\" is not an absolute path"),
        ("process.cwd", json!(""), "process.cwd: \"\" is not an absolute path"),
        ("process.cwd", json!("/a\0"), "process.cwd: contains a NUL byte"),
        ("process.env", json!(["PATH"]), "process.env[0]: \"PATH\" has no \"=\""),
        ("process.env", json!(["A=1", "=x"]), "process.env[1]: \"=x\" has no name"),
        ("process.env", json!(["A=\0"]), "process.env[0]: contains a NUL byte"),
        ("process.terminal", json!("yes"), "process.terminal: expected true or false, found a string"),
        ("process.user.uid", json!(-1), "process.user.uid: -1 is out of range (0 to 4294967294)"),
        ("process.user.uid", json!(4_294_967_295_u64), "process.user.uid: 4294967295 is out of range"),
        ("process.user.gid", json!(4_294_967_295_u64), "process.user.gid: 4294967295 is out of range"),
        ("process.user.gid", json!("root"), "process.user.gid: expected an integer, found a string"),
        ("process.user.additionalGids", json!([0, -1]), "process.user.additionalGids[1]: -1 is out of range"),
        ("process.user.umask", json!(512), "process.user.umask: 512 is out of range (0 to 511)"),
        ("process.oomScoreAdj", json!(1001), "process.oomScoreAdj: 1001 is out of range (-1000 to 1000)"),
        (
            "process.capabilities.bounding",
            json!("CAP_KILL"),
            "process.capabilities.bounding: expected a list of strings",
        ),
        ("process.ioPriority", json!({"class": "X"}), "process.ioPriority.class: unknown I/O priority class \"X\""),
        ("process.ioPriority", json!({"priority": 1}), "process.ioPriority.class: is required"),
        (
            "process.ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "process.ioPriority.priority: 8 is out of range (0 to 7)",
        ),
        ("process.execCPUAffinity.initial", json!("3-1"), "process.execCPUAffinity.initial: range \"3-1\""),
        ("process.execCPUAffinity.final", json!("x"), "process.execCPUAffinity.final: expected a list"),
        ("process.execCPUAffinity.final", json!("0,1\n"), "process.execCPUAffinity.final: expected a list"),
        ("process.execCPUAffinity.initial", json!("\t"), "process.execCPUAffinity.initial: expected a list"),
        ("process.apparmorProfile", json!("a\nb"), "process.apparmorProfile: contains a newline"),
        ("process.selinuxLabel", json!("a\nb"), "process.selinuxLabel: contains a newline"),
    ]);
}

#[test]
fn times_of_a_deadline() {
    let deadline = |runtime: u64, deadline: u64, period: u64| json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period});
    refused(&[
        (
            "process.scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 4096}),
            "process.scheduler.deadline: sched_setattr: `SCHED_DEADLINE` requires `deadline`",
        ),
        (
            "process.scheduler",
            json!({"policy": "SCHED_DEADLINE", "deadline": 4096}),
            "process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` requires `runtime`",
        ),
        (
            "process.scheduler",
            deadline(0, 9, 0),
            "process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0",
        ),
        (
            "process.scheduler",
            deadline(4096, 2048, 0),
            "process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime (4096) must be <= deadline (2048)",
        ),
        (
            "process.scheduler",
            deadline(2048, 4096, 2048),
            "process.scheduler.deadline: sched_setattr: `SCHED_DEADLINE` deadline (4096) must be <= period (2048)",
        ),
        (
            "process.scheduler",
            deadline(1023, 4096, 0),
            "process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime (1023) must be between 1024 and 9223372036854775807",
        ),
        (
            "process.scheduler",
            deadline(2048, 1 << 63, 0),
            "process.scheduler.deadline: sched_setattr: `SCHED_DEADLINE` deadline (9223372036854775808) must be between",
        ),
    ]);
}

#[test]
fn rlimits_and_scheduler() {
    let limit = |typ: &str, soft: Value, hard: Value| json!({"type": typ, "soft": soft, "hard": hard});
    let scheduler = |policy: &str, name: &str, value: i64| json!({"policy": policy, name: value});
    refused(&[
        (
            "process.rlimits",
            json!([limit("RLIMIT_X", json!(1), json!(1))]),
            "process.rlimits[0].type: unknown resource limit",
        ),
        ("process.rlimits", json!([{"type": "RLIMIT_CPU", "soft": 1}]), "process.rlimits[0].hard: is required"),
        (
            "process.rlimits",
            json!([limit("RLIMIT_CPU", json!(2), json!(1))]),
            "process.rlimits[0].soft: 2 is above the hard",
        ),
        (
            "process.rlimits",
            json!([limit("RLIMIT_CPU", json!(-1), json!(1))]),
            "process.rlimits[0].soft: -1 is out of range",
        ),
        (
            "process.rlimits",
            json!([limit("RLIMIT_CPU", json!(1), json!(1)), limit("RLIMIT_CPU", json!(1), json!(1))]),
            "process.rlimits[1].type: RLIMIT_CPU is given twice",
        ),
        (
            "process.rlimits",
            json!([limit("RLIMIT_CPU", json!(1), json!(1e20))]),
            "process.rlimits[0].hard: expected an integer",
        ),
        ("process.scheduler", json!({"policy": "FIFO"}), "process.scheduler.policy: unknown scheduler policy \"FIFO\""),
        ("process.scheduler", json!({"policy": ""}), "process.scheduler.policy: unknown scheduler policy \"\""),
        ("process.scheduler", json!({"nice": 1}), "process.scheduler.policy: is required"),
        (
            "process.scheduler",
            scheduler("SCHED_OTHER", "nice", 20),
            "process.scheduler.nice: 20 is out of range (-20 to 19)",
        ),
        ("process.scheduler", scheduler("SCHED_OTHER", "priority", 1), "process.scheduler.priority: 1 has no meaning"),
        ("process.scheduler", scheduler("SCHED_RR", "priority", 0), "process.scheduler.priority: must be 1 to 99"),
        ("process.scheduler", scheduler("SCHED_OTHER", "runtime", 5), "process.scheduler.runtime: has no meaning"),
        (
            "process.scheduler",
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}),
            "process.scheduler.flags[0]: unknown scheduler flag \"SCHED_FLAG_X\"",
        ),
    ]);
}

#[test]
fn namespaces_and_mappings() {
    let types = |types: &[&str]| types.iter().map(|typ| json!({"type": typ})).collect::<Value>();
    let map = |container: u64, host: u64, size: u64| json!({"containerID": container, "hostID": host, "size": size});
    let user = |uids: Value| {
        let namespaces = types(&["mount", "uts", "user"]);
        json!({"namespaces": namespaces, "uidMappings": uids, "gidMappings": [map(0, 0, 1)]})
    };
    let many: Value = (0..9000).map(|id| map(id, id, 1)).collect();
    refused(&[
        ("linux.namespaces", json!({}), "linux.namespaces: expected a list of objects, found an object"),
        ("linux.namespaces", types(&["mount", "uts", "foo"]), "linux.namespaces[2].type: unknown namespace \"foo\""),
        ("linux.namespaces", types(&["mount", "uts", "mount"]), "linux.namespaces[2].type: mount is given twice"),
        (
            "linux.namespaces",
            json!([{"type": "pid", "path": "x"}]),
            "linux.namespaces[0].path: \"x\" is not an absolute",
        ),
        ("linux.namespaces", json!([{"path": "/x"}]), "linux.namespaces[0].type: is required"),
        ("linux.namespaces", types(&["mount"]), "hostname: needs a uts namespace"),
        ("linux.namespaces", types(&["uts"]), "linux.maskedPaths: needs a mount namespace"),
        ("linux.uidMappings", json!([map(0, 0, 1)]), "linux.uidMappings: needs a user namespace"),
        (
            "linux",
            json!({"namespaces": types(&["mount", "uts", "user"]), "uidMappings": [map(0, 0, 1)]}),
            "linux.gidMappings",
        ),
        ("linux", user(json!([map(0, 0, 0)])), "linux.uidMappings[0].size: is 0"),
        ("linux", user(json!([map(0, 4_294_967_290, 10)])), "linux.uidMappings[0]: hostID 4294967290 with size 10"),
        ("linux", user(json!([map(0, 0, 4_294_967_296)])), "linux.uidMappings[0].size: 4294967296 is out of range"),
        ("linux", user(json!([map(5, 100, 1), map(0, 0, 10)])), "linux.uidMappings[0].containerID: range overlaps"),
        (
            "linux",
            user(json!([map(0, 0, 10), map(20, 9, 1)])),
            "linux.uidMappings[1].hostID: range overlaps that of entry 0",
        ),
        ("linux", user(json!([map(1, 0, 10)])), "process.user.uid: 0 is not mapped in the user namespace"),
        ("linux", user(many), "linux.uidMappings: has 9000 entries, the kernel takes at most 340"),
        ("linux.timeOffsets", json!({"realtime": {"secs": 1}}), "linux.timeOffsets: unknown clock \"realtime\""),
        ("linux.timeOffsets", json!({"monotonic": {"secs": 1}}), "linux.timeOffsets: needs a new time namespace"),
        (
            "linux.timeOffsets",
            json!({"monotonic": {"nanosecs": 1_000_000_000}}),
            "linux.timeOffsets.monotonic.nanosecs: 1000000000 is out of range",
        ),
    ]);
}

#[test]
fn mounts() {
    let tmpfs = |destination: &str| json!([{"destination": destination, "type": "tmpfs", "source": "tmpfs"}]);
    let bind = |destination: &str| json!([{"destination": destination, "source": "/s", "options": ["bind"]}]);
    let options = |options: Value| json!([{"destination": "/x", "type": "tmpfs", "options": options}]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    refused(&[
        ("mounts", json!({}), "mounts: expected a list of objects, found an object"),
        ("mounts", json!([{"type": "tmpfs"}]), "mounts[0].destination: is required"),
        ("mounts", tmpfs(""), "mounts[0].destination: is empty"),
        ("mounts", tmpfs("/"), "mounts[0].destination: \"/\" would cover"),
        ("mounts", tmpfs("/a/../.."), "mounts[0].destination: \"/a/../..\" would cover"),
        ("mounts", tmpfs("/a\0"), "mounts[0].destination: contains a NUL byte"),
        ("mounts", tmpfs("/proc/self/attr"), "mounts[0].destination: \"/proc/self/attr\" is inside /proc"),
        ("mounts", tmpfs("/proc"), "mounts[0].destination: only a \"proc\" may be mounted on /proc"),
        ("mounts", bind("/proc"), "mounts[0].destination: only a \"proc\""),
        ("mounts", tmpfs("/proc/sys"), "mounts[0].destination: \"/proc/sys\" is inside /proc"),
        ("mounts", bind("/tmp/../proc/sysrq-trigger"), "mounts[0].destination: "),
        ("mounts", tmpfs("proc//./sys/"), "mounts[0].destination: \"proc//./sys/\" is inside /proc"),
        ("mounts", json!([{"destination": "/p", "type": "tm\0"}]), "mounts[0].type: contains a NUL byte"),
        ("mounts", json!([{"destination": "/p", "source": "a\0"}]), "mounts[0].source: contains a NUL byte"),
        ("mounts", options(json!(["ro", "a\nb"])), "mounts[0].options[1]: contains a newline"),
        ("mounts", options(json!(["a\0b"])), "mounts[0].options[0]: contains a NUL byte"),
        ("mounts", options(json!("ro")), "mounts[0].options: expected a list of strings, found a string"),
        ("mounts", options(json!(["idmap"])), "mounts[0].options: \"idmap\" needs uidMappings"),
        ("mounts", json!([{"destination": "/x", "options": ["rbind"]}]), "mounts[0].source: is required"),
        (
            "mounts",
            json!([{"destination": "/x", "type": "bind", "source": "/s"}]),
            "mounts[0].type: \"bind\" needs the option",
        ),
        ("mounts", json!([{"destination": "/x", "uidMappings": map}]), "mounts[0].gidMappings: is required together"),
        ("mounts", json!([{"destination": "/x", "gidMappings": map}]), "mounts[0].uidMappings: is required together"),
    ]);
    let err = parse_mounts(br#"[{"destination":"/x","type":"bind","source":"/s"}]"#).unwrap_err();
    assert!(describe(&err).starts_with("mounts[0].type"), "{err}");
    assert_eq!(describe(&parse_mounts(b"{}").unwrap_err()), "mounts: is required");
}

#[test]
fn hk_8_hk_11_hooks_of_every_kind() {
    for kind in super::super::enums::HOOKS {
        for (hook, want) in [
            (json!({"args": ["x"]}), format!("hooks.{kind}[1].path: is required")),
            (json!({"path": "bin/x"}), format!("hooks.{kind}[1].path: \"bin/x\" is not an absolute path")),
            (json!({"path": "/x\0"}), format!("hooks.{kind}[1].path: contains a NUL byte")),
            (json!({"path": "/x", "timeout": 0}), format!("hooks.{kind}[1].timeout: 0 is out of range")),
            (json!({"path": "/x", "timeout": -5}), format!("hooks.{kind}[1].timeout: -5 is out of range")),
            (json!({"path": "/x", "env": [1]}), format!("hooks.{kind}[1].env[0]: expected a string")),
        ] {
            let place = format!("hooks.{kind}");
            refused(&[(&place, json!([{"path": "/good"}, hook]), &want)]);
        }
    }
}

#[test]
fn devices() {
    let device = |value: Value| json!([value]);
    refused(&[
        (
            "linux.devices",
            device(json!({"path": "/dev/x", "type": "z"})),
            "linux.devices[0].type: unknown device type \"z\"",
        ),
        (
            "linux.devices",
            device(json!({"path": "/dev/x", "type": "c", "minor": 1})),
            "linux.devices[0]: major: is required",
        ),
        (
            "linux.devices",
            device(json!({"path": "dev/x", "type": "p"})),
            "linux.devices[0].path: \"dev/x\" is not an absolute",
        ),
        ("linux.devices", device(json!({"path": "/a/../x", "type": "p"})), "linux.devices[0].path: \"/a/../x\""),
        (
            "linux.devices",
            device(json!({"path": "/x", "type": "p", "fileMode": 0o4755})),
            "linux.devices[0].fileMode: 2541",
        ),
        // the mode of a block device for a character device
        (
            "linux.devices",
            device(json!({"path": "/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o60666})),
            "linux.devices[0].fileMode: 25014",
        ),
        (
            "linux.devices",
            device(json!({"path": "/x", "type": "p", "uid": -1})),
            "linux.devices[0].uid: -1 is out of range",
        ),
    ]);
}

#[test]
fn propagation_personality_and_paths() {
    refused(&[
        (
            "linux.rootfsPropagation",
            json!("sideways"),
            "linux.rootfsPropagation: unknown mount propagation \"sideways\"",
        ),
        ("linux.personality", json!({"domain": "BSD"}), "linux.personality.domain: unknown personality domain \"BSD\""),
        (
            "linux.personality",
            json!({"domain": "LINUX", "flags": ["X"]}),
            "linux.personality.flags: unknown flag \"X\"",
        ),
        ("linux.maskedPaths", json!(["/a", "b"]), "linux.maskedPaths[1]: \"b\" is not an absolute path"),
        ("linux.mountLabel", json!("a\nb"), "linux.mountLabel: contains a newline"),
        ("linux.cgroupsPath", json!("../../../../x"), "linux.cgroupsPath: \"../../../../x\" contains \"..\""),
    ]);
}

#[test]
fn network_devices() {
    refused(&[
        ("linux.netDevices", json!({"a/b": {}}), "linux.netDevices: \"a/b\" is not the name"),
        ("linux.netDevices", json!({"eth0": {"name": "a b"}}), "linux.netDevices[\"eth0\"].name: \"a b\""),
        (
            "linux.netDevices",
            json!({"a": {"name": "x"}, "b": {"name": "x"}}),
            "linux.netDevices[\"b\"].name: \"x\" is given twice",
        ),
    ]);
    let mut host_network = with("linux.netDevices", json!({"eth0": {}}));
    set(&mut host_network, "linux.namespaces", json!([{"type": "mount"}, {"type": "uts"}]));
    assert!(describe(&parse(&host_network).unwrap_err()).starts_with("linux.netDevices: needs"));
}

#[test]
fn resctrl() {
    refused(&[
        ("linux.intelRdt.closID", json!("a/b"), "linux.intelRdt.closID: \"a/b\""),
        ("linux.intelRdt.memBwSchema", json!("L3:0=f"), "linux.intelRdt.memBwSchema: \"L3:0=f\" does not start"),
        ("linux.intelRdt.l3CacheSchema", json!("L3:0=f\nx"), "linux.intelRdt.l3CacheSchema: contains a newline"),
        ("linux.intelRdt.schemata", json!(["L3:0=f", "a\nb"]), "linux.intelRdt.schemata[1]: contains a newline"),
    ]);
}

#[test]
fn memory_policy() {
    refused(&[
        ("linux.memoryPolicy", json!({"nodes": "0"}), "linux.memoryPolicy.mode: is required"),
        ("linux.memoryPolicy", json!({"mode": "MPOL_X"}), "linux.memoryPolicy.mode: unknown memory policy \"MPOL_X\""),
        ("linux.memoryPolicy", json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy.nodes: MPOL_BIND needs at least one"),
        (
            "linux.memoryPolicy",
            json!({"mode": "MPOL_LOCAL", "nodes": "0"}),
            "linux.memoryPolicy.nodes: MPOL_LOCAL takes no",
        ),
        ("linux.memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "z"}), "linux.memoryPolicy.nodes: expected a list"),
        (
            "linux.memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
            "linux.memoryPolicy.flags[0]: unknown memory policy flag",
        ),
    ]);
}

#[test]
fn sysctls() {
    refused(&[
        ("linux.sysctl", json!({"kernel.core_pattern": "x"}), "linux.sysctl: \"kernel.core_pattern\" does not belong"),
        ("linux.sysctl", json!({"net/../kernel/core_pattern": "x"}), "linux.sysctl: \"net/../kernel/core_pattern\""),
        ("linux.sysctl", json!({"kernel.hostname": "x"}), "linux.sysctl: \"kernel.hostname\" is set through"),
        (
            "linux.sysctl",
            json!({"user.max_ipc_namespaces": "1"}),
            "linux.sysctl: \"user.max_ipc_namespaces\" needs the",
        ),
        ("linux.sysctl", json!({"net.ipv4.x": "1\n2"}), "linux.sysctl[\"net.ipv4.x\"]: contains a newline"),
        ("linux.sysctl", json!({"net.ipv4.x": 1}), "linux.sysctl[\"net.ipv4.x\"]: expected a string, found a number"),
    ]);
}

#[test]
fn memory_cpu_and_block_resources() {
    refused(&[
        ("linux.resources.memory", json!({"limit": 100, "swap": 50}), "linux.resources.memory.swap: 50 is below"),
        ("linux.resources.memory", json!({"swap": 50}), "linux.resources.memory.swap: memory.limit is required"),
        ("linux.resources.memory", json!({"limit": -2}), "linux.resources.memory.limit: -2 is below -1"),
        (
            "linux.resources.memory",
            json!({"limit": 9_223_372_036_854_775_808_u64}),
            "linux.resources.memory.limit: 9223372036854775808 is out",
        ),
        (
            "linux.resources.memory",
            json!({"swappiness": 101}),
            "linux.resources.memory.swappiness: 101 is out of range",
        ),
        ("linux.resources.cpu", json!({"period": 999}), "linux.resources.cpu.period: 999 is out of range"),
        ("linux.resources.cpu", json!({"period": 1_000_001}), "linux.resources.cpu.period: 1000001 is out of range"),
        (
            "linux.resources.cpu",
            json!({"quota": 1000, "burst": 1001}),
            "linux.resources.cpu.burst: 1001 is above the quota",
        ),
        ("linux.resources.cpu", json!({"quota": 1}), "linux.resources.cpu.quota: 1 is below 1000"),
        ("linux.resources.cpu", json!({"idle": 2}), "linux.resources.cpu.idle: 2 is out of range"),
        ("linux.resources.cpu", json!({"cpus": "0-"}), "linux.resources.cpu.cpus: expected a list"),
        ("linux.resources.cpu", json!({"mems": "a"}), "linux.resources.cpu.mems: expected a list"),
        ("linux.resources.blockIO", json!({"weight": 9}), "linux.resources.blockIO.weight: 9 is out of range"),
        (
            "linux.resources.blockIO",
            json!({"leafWeight": 1001}),
            "linux.resources.blockIO.leafWeight: 1001 is out of range",
        ),
        (
            "linux.resources.blockIO",
            json!({"weightDevice": [{"major": 8, "minor": 0}]}),
            "linux.resources.blockIO.weightDevice[0]: needs weight or leafWeight",
        ),
        (
            "linux.resources.blockIO",
            json!({"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}),
            "linux.resources.blockIO.throttleReadBpsDevice[0].rate: is required",
        ),
    ]);
}

#[test]
fn resources_of_other_controllers() {
    refused(&[
        (
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "02MB", "limit": 1}]),
            "linux.resources.hugepageLimits[0].pageSize: \"02MB\"",
        ),
        (
            "linux.resources.pids",
            json!({"limit": "1"}),
            "linux.resources.pids.limit: expected an integer, found a string",
        ),
        (
            "linux.resources.rdma",
            json!({"mlx5_1": {}}),
            "linux.resources.rdma[\"mlx5_1\"]: needs hcaHandles or hcaObjects",
        ),
        ("linux.resources.unified", json!({"cgroup.procs": "1"}), "linux.resources.unified: \"cgroup.procs\""),
        (
            "linux.resources.unified",
            json!({"../x/cgroup.freeze": "1"}),
            "linux.resources.unified: \"../x/cgroup.freeze\"",
        ),
        ("linux.resources.devices", json!([{"access": "rwm"}]), "linux.resources.devices[0].allow: is required"),
        (
            "linux.resources.devices",
            json!([{"allow": true, "access": "rwx"}]),
            "linux.resources.devices[0].access: unknown",
        ),
        (
            "linux.resources.devices",
            json!([{"allow": true, "type": "p"}]),
            "linux.resources.devices[0].type: unknown device type",
        ),
        (
            "linux.resources.network",
            json!({"priorities": [{"name": "a b", "priority": 1}]}),
            "linux.resources.network.priorities[0].name: \"a b\"",
        ),
    ]);
}

#[test]
fn seccomp_profile() {
    refused(&[
        ("linux.seccomp", json!({}), "linux.seccomp.defaultAction: is required"),
        (
            "linux.seccomp",
            json!({"defaultAction": "ALLOW"}),
            "linux.seccomp.defaultAction: unknown seccomp action \"ALLOW\"",
        ),
        ("linux.seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY"),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet: has no meaning for SCMP_ACT_ALLOW",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
            "linux.seccomp.defaultErrnoRet: 4096 is out of range",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_Z80"]}),
            "linux.seccomp.architectures[1]: unknown seccomp architecture \"SCMP_ARCH_Z80\"",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]}),
            "linux.seccomp.flags[0]: unknown seccomp flag",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
            "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs",
        ),
    ]);
}

#[test]
fn seccomp_rules() {
    let seccomp = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let arg = |arg: Value| seccomp(json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [arg]}));
    refused(&[
        (
            "linux.seccomp",
            seccomp(json!({"names": [""], "action": "SCMP_ACT_LOG"})),
            "linux.seccomp.syscalls[0].names[0]: must",
        ),
        (
            "linux.seccomp",
            seccomp(json!({"names": ["x"], "action": "X"})),
            "linux.seccomp.syscalls[0].action: unknown seccomp",
        ),
        ("linux.seccomp", seccomp(json!({"names": ["x"]})), "linux.seccomp.syscalls[0].action: is required"),
        (
            "linux.seccomp",
            seccomp(json!({"names": ["x"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
            "linux.seccomp.syscalls[0].errnoRet: has no meaning",
        ),
        (
            "linux.seccomp",
            arg(json!({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"})),
            "linux.seccomp.syscalls[0].args[0].index: 6",
        ),
        (
            "linux.seccomp",
            arg(json!({"index": 0, "value": 0, "op": "EQ"})),
            "linux.seccomp.syscalls[0].args[0].op: unknown",
        ),
        (
            "linux.seccomp",
            arg(json!({"index": 0, "op": "SCMP_CMP_EQ"})),
            "linux.seccomp.syscalls[0].args[0].value: is required",
        ),
    ]);
}

#[test]
fn resources_of_update_are_checked_by_the_same_rules() {
    let err = parse_resources(br#"{"cpu":{"quota":"1"}}"#).unwrap_err();
    assert!(describe(&err).starts_with("linux.resources.cpu.quota: expected an integer"), "{err}");
}

#[test]
fn a_process_of_exec_is_checked_by_the_same_rules() {
    for (document, want) in [
        (r#"{"cwd":"/","args":[]}"#, "process.args: must not be empty"),
        (r#"{"cwd":"x","args":["a"]}"#, "process.cwd: "),
        (r#"{"args":["a"]}"#, "process.cwd: is required"),
        (r#"{"cwd":"/","args":["a"],"args":["b"]}"#, "args: not valid JSON: duplicate key"),
        (r#"{"cwd":"/","args":["a"],"user":{"uid":4294967295,"gid":0}}"#, "process.user.uid: 4294967295"),
        (r#"[]"#, "expected an object at the top level"),
    ] {
        let text = describe(&parse_process(document.as_bytes()).expect_err(document));
        assert!(text.starts_with(want), "{document}: {text}");
    }
}
