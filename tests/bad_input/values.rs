//! Wrong values of the configuration (CF-5 and the parts of the work list that say "error").

use crate::common::*;
use crate::need_root;
use crate::refused;

type Change = fn(&mut Value);

/// What is changed, and a word of the field that the message must name.
type Case = (&'static str, Change, &'static str);

fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = &mut *config;
    for part in parent.split('/').skip(1) {
        place = match part.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[part],
        };
    }
    match key.parse::<usize>() {
        Ok(index) if place.is_array() => place[index] = value,
        _ => place[key] = value,
    }
}

fn push_ns(config: &mut Value, ns: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(ns);
}

fn drop_ns(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != kind);
}

fn replace_ns(config: &mut Value, ns: Value) {
    drop_ns(config, ns["type"].as_str().unwrap());
    push_ns(config, ns);
}

fn maps(config: &mut Value, uids: Value) {
    push_ns(config, json!({ "type": "user" }));
    config["linux"]["uidMappings"] = uids;
    config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
}

fn device(config: &mut Value, device: Value) {
    config["linux"]["devices"] = json!([device]);
}

fn mount(config: &mut Value, mount: Value) {
    config["mounts"] = json!([mount]);
}

fn resources(config: &mut Value, resources: Value) {
    config["linux"]["resources"] = resources;
}

fn seccomp(config: &mut Value, profile: Value) {
    config["linux"]["seccomp"] = profile;
}

fn hook(config: &mut Value, kind: &str, hook: Value) {
    config["hooks"] = json!({ kind: [hook] });
}

/// The host's present value: a runtime that wrongly accepts the key does no harm.
fn own(name: &str) -> String {
    host::sysctl(name).trim().to_owned()
}

#[track_caller]
fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (name, change, says) in cases {
        let c = Container::new(&["true"]).edit(change);
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| refused(&c, says)));
        if verdict.is_err() {
            wrong.push(*name);
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases are not refused as they should be: {wrong:#?}", wrong.len(), cases.len());
}

#[test]
fn top_level() {
    need_root!();
    check(&[
        ("no ociVersion", |c| drop(c.as_object_mut().unwrap().remove("ociVersion")), "ociVersion"),
        ("ociVersion a number", |c| set(c, "/ociVersion", json!(1)), "ociVersion"),
        ("ociVersion not SemVer", |c| set(c, "/ociVersion", json!("abc")), "ociVersion"),
        ("ociVersion 1.garbage", |c| set(c, "/ociVersion", json!("1.garbage")), "ociVersion"),
        ("ociVersion 1.0", |c| set(c, "/ociVersion", json!("1.0")), "ociVersion"),
        ("ociVersion 9.0.0", |c| set(c, "/ociVersion", json!("9.0.0")), "ociVersion"),
        ("no root", |c| drop(c.as_object_mut().unwrap().remove("root")), "root"),
        ("root.path empty", |c| set(c, "/root/path", json!("")), "root.path"),
        ("root.path missing directory", |c| set(c, "/root/path", json!("nowhere")), "nowhere"),
        ("root.path a file", |c| set(c, "/root/path", json!("rootfs/etc/passwd")), "passwd"),
        ("root.path a number", |c| set(c, "/root/path", json!(7)), "root.path"),
        ("root.path with NUL", |c| set(c, "/root/path", json!("rootfs\u{0}x")), "root.path"),
        ("hostname without a uts namespace", |c| {
            drop_ns(c, "uts");
            set(c, "/hostname", json!(own("kernel/hostname")));
        }, "hostname"),
        ("hostname of 65 bytes", |c| set(c, "/hostname", json!("h".repeat(65))), "hostname"),
        ("hostname with NUL", |c| set(c, "/hostname", json!("a\u{0}b")), "hostname"),
        ("domainname of 65 bytes", |c| set(c, "/domainname", json!("d".repeat(65))), "domainname"),
        ("process an array", |c| set(c, "/process", json!([])), "process"),
        ("namespaces an object", |c| set(c, "/linux/namespaces", json!({})), "namespaces"),
        ("annotations not text", |c| set(c, "/annotations", json!({ "a": 1 })), "annotations"),
        ("annotation with an empty key", |c| set(c, "/annotations", json!({ "": "x" })), "annotation"),
    ]);
}

#[test]
fn process() {
    need_root!();
    check(&[
        ("args empty", |c| set(c, "/process/args", json!([])), "process.args"),
        ("args absent", |c| drop(c["process"].as_object_mut().unwrap().remove("args")), "process.args"),
        ("args[0] empty", |c| set(c, "/process/args", json!([""])), "args"),
        ("args with NUL", |c| set(c, "/process/args", json!(["true", "a\u{0}b"])), "args"),
        ("env with NUL", |c| set(c, "/process/env", json!(["A=b\u{0}c"])), "env"),
        ("env without =", |c| set(c, "/process/env", json!(["JUST_A_NAME"])), "env"),
        ("env with an empty name", |c| set(c, "/process/env", json!(["=value"])), "env"),
        ("cwd relative", |c| set(c, "/process/cwd", json!("tmp")), "process.cwd"),
        ("cwd empty", |c| set(c, "/process/cwd", json!("")), "process.cwd"),
        ("cwd absent", |c| drop(c["process"].as_object_mut().unwrap().remove("cwd")), "cwd"),
        ("cwd with NUL", |c| set(c, "/process/cwd", json!("/\u{0}")), "cwd"),
        ("uid 4294967295", |c| set(c, "/process/user/uid", json!(4_294_967_295u64)), "uid"),
        ("gid 4294967295", |c| set(c, "/process/user/gid", json!(4_294_967_295u64)), "gid"),
        ("uid -1", |c| set(c, "/process/user/uid", json!(-1)), "uid"),
        ("uid 2^32", |c| set(c, "/process/user/uid", json!(4_294_967_296u64)), "uid"),
        ("uid text", |c| set(c, "/process/user/uid", json!("0")), "uid"),
        ("additionalGids -1", |c| set(c, "/process/user/additionalGids", json!([-1])), "additionalGids"),
        ("umask 01000", |c| set(c, "/process/user/umask", json!(512)), "umask"),
        ("rlimit unknown", |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}])), "RLIMIT_NONE"),
        ("rlimit soft > hard", |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}])), "RLIMIT_NOFILE"),
        ("rlimit twice", |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])), "RLIMIT_CORE"),
        ("rlimit without hard", |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0}])), "rlimits"),
        ("oomScoreAdj 1001", |c| set(c, "/process/oomScoreAdj", json!(1001)), "oomScoreAdj"),
        ("oomScoreAdj -1001", |c| set(c, "/process/oomScoreAdj", json!(-1001)), "oomScoreAdj"),
        ("terminal text", |c| set(c, "/process/terminal", json!("yes")), "terminal"),
        ("scheduler unknown", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_X"})), "scheduler"),
        ("scheduler nice 20", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20})), "nice"),
        ("scheduler priority with OTHER", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 5})), "priority"),
        ("scheduler runtime with FIFO", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1, "runtime": 5})), "scheduler"),
        ("scheduler unknown flag", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]})), "flag"),
        ("ioPriority unknown class", |c| set(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_X", "priority": 1})), "ioPriority"),
        ("ioPriority 8", |c| set(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})), "ioPriority"),
        ("execCPUAffinity", |c| set(c, "/process/execCPUAffinity", json!({"initial": "a-b"})), "execCPUAffinity"),
    ]);
}

#[test]
fn namespaces_and_maps() {
    need_root!();
    check(&[
        ("unknown namespace", |c| push_ns(c, json!({"type": "nonsense"})), "nonsense"),
        ("duplicate namespace", |c| push_ns(c, json!({"type": "network"})), "network"),
        ("namespace path relative", |c| replace_ns(c, json!({"type": "network", "path": "proc/1/ns/net"})), "network"),
        ("namespace path missing", |c| replace_ns(c, json!({"type": "network", "path": "/no/such/ns"})), "/no/such/ns"),
        ("namespace path a file", |c| replace_ns(c, json!({"type": "network", "path": "/etc/passwd"})), "/etc/passwd"),
        ("namespace path of another type", |c| replace_ns(c, json!({"type": "network", "path": "/proc/self/ns/uts"})), "network"),
        ("user namespace without maps", |c| push_ns(c, json!({"type": "user"})), "uidMappings"),
        ("maps without a user namespace", |c| set(c, "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 1, "size": 1}])), "uidMappings"),
        ("map of size 0", |c| maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 0}])), "uidMappings"),
        ("map that overflows", |c| maps(c, json!([{"containerID": 0, "hostID": 4_294_967_290u64, "size": 100}])), "uidMappings"),
        ("maps that overlap", |c| maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 10},
            {"containerID": 5, "hostID": 200_000, "size": 10}])), "uidMappings"),
        ("maps that overlap on the host", |c| maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 10},
            {"containerID": 50, "hostID": 100_005, "size": 10}])), "uidMappings"),
        ("map with a negative number", |c| maps(c, json!([{"containerID": -1, "hostID": 1, "size": 1}])), "uidMappings"),
        ("341 maps", |c| maps(c, (0..341).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect()), "uidMappings"),
        ("9000 maps (F8)", |c| maps(c, (0..9000).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect()), "uidMappings"),
        ("uid not mapped", |c| {
            maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 10}]));
            set(c, "/process/user/uid", json!(5000));
        }, "uid"),
        ("timeOffsets without a time namespace", |c| set(c, "/linux/timeOffsets", json!({"monotonic": {"secs": 1}})), "timeOffsets"),
        ("timeOffsets unknown clock", |c| {
            push_ns(c, json!({"type": "time"}));
            set(c, "/linux/timeOffsets", json!({"realtime": {"secs": 1}}));
        }, "timeOffsets"),
        ("timeOffsets nanosecs", |c| {
            push_ns(c, json!({"type": "time"}));
            set(c, "/linux/timeOffsets", json!({"monotonic": {"secs": 1, "nanosecs": 1_000_000_000}}));
        }, "nanosecs"),
        ("masked paths without a mount namespace", |c| {
            drop_ns(c, "mount");
            set(c, "/mounts", json!([]));
        }, "maskedPaths"),
    ]);
}

#[test]
fn mounts() {
    need_root!();
    check(&[
        ("no destination", |c| mount(c, json!({"type": "tmpfs", "source": "tmpfs"})), "destination"),
        ("destination empty", |c| mount(c, json!({"destination": "", "type": "tmpfs"})), "destination"),
        ("destination with NUL", |c| mount(c, json!({"destination": "/a\u{0}", "type": "tmpfs"})), "destination"),
        ("source with NUL", |c| mount(c, json!({"destination": "/a", "source": "/\u{0}", "options": ["bind"]})), "source"),
        ("type with NUL", |c| mount(c, json!({"destination": "/a", "type": "tm\u{0}pfs"})), "type"),
        ("option with NUL", |c| mount(c, json!({"destination": "/a", "type": "tmpfs", "options": ["size=1\u{0}"]})), "option"),
        ("options text", |c| mount(c, json!({"destination": "/a", "type": "tmpfs", "options": "ro"})), "options"),
        ("destination into /proc by ..", |c| {
            c["mounts"].as_array_mut().unwrap().push(json!({"destination": "/tmp/../proc/sysrq-trigger", "type": "bind",
                "source": "/tmp", "options": ["bind"]}));
        }, "mounts"),
        ("bind source missing", |c| mount(c, json!({"destination": "/a", "source": "/no/such/source", "options": ["bind"]})), "/no/such/source"),
        ("bind without source", |c| mount(c, json!({"destination": "/a", "options": ["bind"]})), "source"),
        ("type bind without the option", |c| mount(c, json!({"destination": "/a", "type": "bind", "source": "/tmp"})), "bind"),
        ("unknown option of a bind", |c| mount(c, json!({"destination": "/a", "source": "/tmp", "options": ["bind", "frobnicate"]})), "frobnicate"),
        ("id map on one side only", |c| mount(c, json!({"destination": "/a", "source": "/tmp", "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]})), "gidMappings"),
        ("idmap without maps or user namespace", |c| mount(c, json!({"destination": "/a", "source": "/tmp", "options": ["bind", "idmap"]})), "idmap"),
    ]);
}

#[test]
fn hooks() {
    need_root!();
    check(&[
        ("relative path", |c| hook(c, "prestart", json!({"path": "bin/true"})), "hooks.prestart"),
        ("no path", |c| hook(c, "createRuntime", json!({"args": ["x"]})), "hooks.createRuntime"),
        ("path empty", |c| hook(c, "createContainer", json!({"path": ""})), "hooks.createContainer"),
        ("poststop relative, told at create", |c| hook(c, "poststop", json!({"path": "x"})), "hooks.poststop"),
        ("poststart relative", |c| hook(c, "poststart", json!({"path": "./x"})), "hooks.poststart"),
        ("startContainer relative", |c| hook(c, "startContainer", json!({"path": "x"})), "hooks.startContainer"),
        ("timeout 0", |c| hook(c, "poststop", json!({"path": "/bin/true", "timeout": 0})), "timeout"),
        ("timeout negative", |c| hook(c, "prestart", json!({"path": "/bin/true", "timeout": -1})), "timeout"),
        ("args with NUL", |c| hook(c, "prestart", json!({"path": "/bin/true", "args": ["a\u{0}"]})), "hooks.prestart"),
        ("env with NUL", |c| hook(c, "prestart", json!({"path": "/bin/true", "env": ["A=\u{0}"]})), "hooks.prestart"),
        ("list not an array", |c| set(c, "/hooks", json!({"prestart": {"path": "/bin/true"}})), "prestart"),
    ]);
}

#[test]
fn devices() {
    need_root!();
    check(&[
        ("no numbers", |c| device(c, json!({"path": "/dev/x", "type": "c"})), "linux.devices[0]"),
        ("unknown type", |c| device(c, json!({"path": "/dev/x", "type": "z", "major": 1, "minor": 3})), "type"),
        ("path relative", |c| device(c, json!({"path": "dev/x", "type": "c", "major": 1, "minor": 3})), "linux.devices[0]"),
        ("no path", |c| device(c, json!({"type": "c", "major": 1, "minor": 3})), "path"),
        ("fileMode 04755", |c| device(c, json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o4755})), "fileMode"),
        ("negative major", |c| device(c, json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 3})), "major"),
        ("list: unknown type", |c| resources(c, json!({"devices": [{"allow": true, "type": "q", "access": "rwm"}]})), "devices"),
        ("list: unknown access", |c| resources(c, json!({"devices": [{"allow": true, "access": "xyz"}]})), "access"),
    ]);
}

#[test]
fn limits() {
    need_root!();
    check(&[
        ("swap below limit", |c| resources(c, json!({"memory": {"limit": 67_108_864, "swap": 1_048_576}})), "memory.swap"),
        ("swap without limit", |c| resources(c, json!({"memory": {"swap": 67_108_864}})), "memory.swap"),
        ("limit text", |c| resources(c, json!({"memory": {"limit": "64m"}})), "memory"),
        ("swappiness 101", |c| resources(c, json!({"memory": {"swappiness": 101}})), "swappiness"),
        ("cpu period 1", |c| resources(c, json!({"cpu": {"period": 1, "quota": 1000}})), "period"),
        ("cpus not a list", |c| resources(c, json!({"cpu": {"cpus": "zero"}})), "cpus"),
        ("mems not a list", |c| resources(c, json!({"cpu": {"mems": "0;1"}})), "mems"),
        ("cpu idle 2", |c| resources(c, json!({"cpu": {"idle": 2}})), "idle"),
        ("burst above quota", |c| resources(c, json!({"cpu": {"period": 100_000, "quota": 10_000, "burst": 20_000}})), "burst"),
        ("blkio weight 5", |c| resources(c, json!({"blockIO": {"weight": 5}})), "weight"),
        ("blkio weight 1001", |c| resources(c, json!({"blockIO": {"weight": 1001}})), "weight"),
        ("weightDevice without a weight", |c| resources(c, json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}})), "weightDevice"),
        ("hugepage size", |c| resources(c, json!({"hugepageLimits": [{"pageSize": "2 MB", "limit": 1}]})), "pageSize"),
        ("hugepage size unknown to the machine", |c| resources(c, json!({"hugepageLimits": [{"pageSize": "7MB", "limit": 1}]})), "hugepageLimits"),
        ("rdma without a limit", |c| resources(c, json!({"rdma": {"mlx5_0": {}}})), "rdma"),
        ("pids text", |c| resources(c, json!({"pids": {"limit": "5"}})), "pids"),
        ("unified ../x (F4)", |c| resources(c, json!({"unified": {"../x/cgroup.freeze": "1"}})), "unified"),
        ("unified absolute", |c| resources(c, json!({"unified": {"/etc/x": "1"}})), "unified"),
        ("unified ..", |c| resources(c, json!({"unified": {"..": "1"}})), "unified"),
        ("unified by another file", |c| resources(c, json!({"unified": {"cgroup.procs/../../x": "1"}})), "unified"),
        ("unified unknown controller", |c| resources(c, json!({"unified": {"nosuchcontroller.max": "1"}})), "unified"),
        ("unified empty", |c| resources(c, json!({"unified": {"": "1"}})), "unified"),
        ("cgroupsPath with ..", |c| set(c, "/linux/cgroupsPath", json!("/a/../../../x")), "cgroupsPath"),
        ("cgroupsPath with NUL", |c| set(c, "/linux/cgroupsPath", json!("/a\u{0}")), "cgroupsPath"),
        ("cgroupsPath with newline", |c| set(c, "/linux/cgroupsPath", json!("/a\nb")), "cgroupsPath"),
    ]);
}

#[test]
fn the_rest_of_linux() {
    need_root!();
    check(&[
        ("sysctl of the host (F6)", |c| set(c, "/linux/sysctl", json!({"kernel.core_pattern": own("kernel/core_pattern")})), "core_pattern"),
        ("sysctl by /", |c| set(c, "/linux/sysctl", json!({"kernel/core_pattern": own("kernel/core_pattern")})), "core_pattern"),
        ("sysctl by ..", |c| set(c, "/linux/sysctl", json!({"net/../kernel/core_pattern": own("kernel/core_pattern")})), "sysctl"),
        ("sysctl by empty segments", |c| set(c, "/linux/sysctl", json!({"net.ipv4.../../../kernel.core_pattern": own("kernel/core_pattern")})), "sysctl"),
        ("sysctl vm", |c| set(c, "/linux/sysctl", json!({"vm.swappiness": own("vm/swappiness")})), "vm.swappiness"),
        ("sysctl kernel.hostname", |c| set(c, "/linux/sysctl", json!({"kernel.hostname": own("kernel/hostname")})), "kernel.hostname"),
        ("sysctl net on the host's network", |c| {
            drop_ns(c, "network");
            set(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": own("net/ipv4/ip_forward")}));
        }, "net.ipv4.ip_forward"),
        ("sysctl ipc on the host's ipc", |c| {
            drop_ns(c, "ipc");
            c["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "mqueue");
            set(c, "/linux/sysctl", json!({"kernel.shmmax": own("kernel/shmmax")}));
        }, "kernel.shmmax"),
        ("sysctl value with newline", |c| set(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": "1\n2"})), "net.ipv4.ip_forward"),
        ("seccomp without default", |c| seccomp(c, json!({"syscalls": []})), "defaultAction"),
        ("seccomp unknown action", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_MAYBE"})), "SCMP_ACT_MAYBE"),
        ("seccomp default NOTIFY", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_NOTIFY"})), "defaultAction"),
        ("seccomp errno with ALLOW", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})), "defaultErrnoRet"),
        ("seccomp rule errno with ALLOW", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}]})), "errnoRet"),
        ("seccomp unknown architecture", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]})), "SCMP_ARCH_VAX"),
        ("seccomp unknown flag", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]})), "SECCOMP_FILTER_FLAG_X"),
        ("seccomp no names", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]})), "names"),
        ("seccomp argument 6", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
            "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]})), "index"),
        ("seccomp unknown operator", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
            "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_X"}]}]})), "op"),
        ("seccomp metadata without path", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"})), "listenerMetadata"),
        ("masked path relative", |c| set(c, "/linux/maskedPaths", json!(["proc/kcore"])), "maskedPaths"),
        ("readonly path relative", |c| set(c, "/linux/readonlyPaths", json!(["proc/sys"])), "readonlyPaths"),
        ("propagation unknown", |c| set(c, "/linux/rootfsPropagation", json!("sideways")), "rootfsPropagation"),
        ("personality unknown", |c| set(c, "/linux/personality", json!({"domain": "BSD"})), "personality"),
        ("personality flag", |c| set(c, "/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})), "personality"),
        ("memoryPolicy without mode", |c| set(c, "/linux/memoryPolicy", json!({"nodes": "0"})), "memoryPolicy"),
        ("memoryPolicy unknown mode", |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_X", "nodes": "0"})), "memoryPolicy"),
        ("memoryPolicy unknown flag", |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]})), "memoryPolicy"),
        ("memoryPolicy bind without nodes", |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND"})), "memoryPolicy"),
        ("memoryPolicy bad list", |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "a"})), "memoryPolicy"),
        ("intelRdt closID with /", |c| set(c, "/linux/intelRdt", json!({"closID": "a/b", "l3CacheSchema": "L3:0=f"})), "intelRdt"),
        ("netDevices missing interface", |c| set(c, "/linux/netDevices", json!({"nosuchdev0": {}})), "nosuchdev0"),
        ("netDevices long name", |c| set(c, "/linux/netDevices", json!({"lo": {"name": "n".repeat(16)}})), "netDevices"),
        ("netDevices name with /", |c| set(c, "/linux/netDevices", json!({"lo": {"name": "a/b"}})), "netDevices"),
        ("netDevices on the host's network", |c| {
            drop_ns(c, "network");
            set(c, "/linux/netDevices", json!({"lo": {}}));
        }, "netDevices"),
        ("selinux label without SELinux", |c| set(c, "/process/selinuxLabel", json!("u:r:t:s0")), "selinux"),
    ]);
}
