//! Wrong values of the configuration in `linux`: devices, limits, sysctls, seccomp and the rest.

use crate::edit::*;
use test_support::*;

#[test]
fn devices() {
    need_root!();
    check(&[
        ("no numbers", |c| device(c, json!({"path": "/dev/x", "type": "c"})), "linux.devices[0]"),
        ("unknown type", |c| device(c, json!({"path": "/dev/x", "type": "z", "major": 1, "minor": 3})), "type"),
        (
            "path relative",
            |c| device(c, json!({"path": "dev/x", "type": "c", "major": 1, "minor": 3})),
            "linux.devices[0]",
        ),
        ("no path", |c| device(c, json!({"type": "c", "major": 1, "minor": 3})), "path"),
        (
            "fileMode 04755",
            |c| device(c, json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o4755})),
            "fileMode",
        ),
        ("negative major", |c| device(c, json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 3})), "major"),
        (
            "list: unknown type",
            |c| resources(c, json!({"devices": [{"allow": true, "type": "q", "access": "rwm"}]})),
            "devices",
        ),
        ("list: unknown access", |c| resources(c, json!({"devices": [{"allow": true, "access": "xyz"}]})), "access"),
    ]);
}

#[test]
fn limits() {
    need_root!();
    check(&[
        (
            "swap below limit",
            |c| resources(c, json!({"memory": {"limit": 67_108_864, "swap": 1_048_576}})),
            "memory.swap",
        ),
        ("swap without limit", |c| resources(c, json!({"memory": {"swap": 67_108_864}})), "memory.swap"),
        ("limit text", |c| resources(c, json!({"memory": {"limit": "64m"}})), "memory"),
        ("swappiness 101", |c| resources(c, json!({"memory": {"swappiness": 101}})), "swappiness"),
        ("cpu period 1", |c| resources(c, json!({"cpu": {"period": 1, "quota": 1000}})), "period"),
        ("cpus not a list", |c| resources(c, json!({"cpu": {"cpus": "zero"}})), "cpus"),
        ("mems not a list", |c| resources(c, json!({"cpu": {"mems": "0;1"}})), "mems"),
        ("cpu idle 2", |c| resources(c, json!({"cpu": {"idle": 2}})), "idle"),
        (
            "burst above quota",
            |c| resources(c, json!({"cpu": {"period": 100_000, "quota": 10_000, "burst": 20_000}})),
            "burst",
        ),
        ("blkio weight 5", |c| resources(c, json!({"blockIO": {"weight": 5}})), "weight"),
        ("blkio weight 1001", |c| resources(c, json!({"blockIO": {"weight": 1001}})), "weight"),
        (
            "weightDevice without a weight",
            |c| resources(c, json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}})),
            "weightDevice",
        ),
        ("hugepage size", |c| resources(c, json!({"hugepageLimits": [{"pageSize": "2 MB", "limit": 1}]})), "pageSize"),
        (
            "hugepage size unknown to the machine",
            |c| resources(c, json!({"hugepageLimits": [{"pageSize": "7MB", "limit": 1}]})),
            "hugepageLimits",
        ),
        ("rdma without a limit", |c| resources(c, json!({"rdma": {"mlx5_0": {}}})), "rdma"),
        ("pids text", |c| resources(c, json!({"pids": {"limit": "5"}})), "pids"),
        ("unified ../x (F4)", |c| resources(c, json!({"unified": {"../x/cgroup.freeze": "1"}})), "unified"),
        ("unified absolute", |c| resources(c, json!({"unified": {"/etc/x": "1"}})), "unified"),
        ("unified ..", |c| resources(c, json!({"unified": {"..": "1"}})), "unified"),
        ("unified by another file", |c| resources(c, json!({"unified": {"cgroup.procs/../../x": "1"}})), "unified"),
        ("unified unknown controller", |c| resources(c, json!({"unified": {"nosuchcontroller.max": "1"}})), "unified"),
        ("unified empty", |c| resources(c, json!({"unified": {"": "1"}})), "unified"),
        ("cgroupsPath with ..", |c| append_to_cgroup_path(c, "/../../../x"), "cgroupsPath"),
        ("cgroupsPath with NUL", |c| append_to_cgroup_path(c, "\u{0}"), "cgroupsPath"),
        ("cgroupsPath with newline", |c| append_to_cgroup_path(c, "\nb"), "cgroupsPath"),
    ]);
}

#[test]
fn sysctls() {
    need_root!();
    check(&[
        (
            "sysctl of the host (F6)",
            |c| set(c, "/linux/sysctl", json!({"kernel.core_pattern": current("kernel/core_pattern")})),
            "core_pattern",
        ),
        (
            "sysctl by /",
            |c| set(c, "/linux/sysctl", json!({"kernel/core_pattern": current("kernel/core_pattern")})),
            "core_pattern",
        ),
        (
            "sysctl by ..",
            |c| set(c, "/linux/sysctl", json!({"net/../kernel/core_pattern": current("kernel/core_pattern")})),
            "sysctl",
        ),
        (
            "sysctl by empty segments",
            |c| {
                set(
                    c,
                    "/linux/sysctl",
                    json!({"net.ipv4.../../../kernel.core_pattern": current("kernel/core_pattern")}),
                )
            },
            "sysctl",
        ),
        ("sysctl vm", |c| set(c, "/linux/sysctl", json!({"vm.swappiness": current("vm/swappiness")})), "vm.swappiness"),
        (
            "sysctl kernel.hostname",
            |c| set(c, "/linux/sysctl", json!({"kernel.hostname": current("kernel/hostname")})),
            "kernel.hostname",
        ),
        (
            "sysctl net on the host's network",
            |c| {
                drop_ns(c, "network");
                set(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": current("net/ipv4/ip_forward")}));
            },
            "net.ipv4.ip_forward",
        ),
        (
            "sysctl ipc on the host's ipc",
            |c| {
                drop_ns(c, "ipc");
                c["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "mqueue");
                set(c, "/linux/sysctl", json!({"kernel.shmmax": current("kernel/shmmax")}));
            },
            "kernel.shmmax",
        ),
        (
            "sysctl value with newline",
            |c| set(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": "1\n2"})),
            "net.ipv4.ip_forward",
        ),
    ]);
}

#[test]
fn seccomp_profile() {
    need_root!();
    check(&[
        ("seccomp without default", |c| seccomp(c, json!({"syscalls": []})), "defaultAction"),
        ("seccomp unknown action", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_MAYBE"})), "SCMP_ACT_MAYBE"),
        ("seccomp default NOTIFY", |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_NOTIFY"})), "defaultAction"),
        (
            "seccomp errno with ALLOW",
            |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})),
            "defaultErrnoRet",
        ),
        (
            "seccomp unknown architecture",
            |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]})),
            "SCMP_ARCH_VAX",
        ),
        (
            "seccomp unknown flag",
            |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]})),
            "SECCOMP_FILTER_FLAG_X",
        ),
        (
            "seccomp metadata without path",
            |c| seccomp(c, json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"})),
            "listenerMetadata",
        ),
    ]);
}

#[test]
fn seccomp_rules() {
    need_root!();
    check(&[
        (
            "seccomp rule errno with ALLOW",
            |c| {
                seccomp(
                    c,
                    json!({"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}]}),
                )
            },
            "errnoRet",
        ),
        (
            "seccomp argument 6",
            |c| {
                seccomp(
                    c,
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
            "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}),
                )
            },
            "index",
        ),
        (
            "seccomp unknown operator",
            |c| {
                seccomp(
                    c,
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
            "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_X"}]}]}),
                )
            },
            "op",
        ),
    ]);
}

#[test]
fn paths_propagation_and_personality() {
    need_root!();
    check(&[
        ("masked path relative", |c| set(c, "/linux/maskedPaths", json!(["proc/kcore"])), "maskedPaths"),
        ("propagation unknown", |c| set(c, "/linux/rootfsPropagation", json!("sideways")), "rootfsPropagation"),
        ("personality unknown", |c| set(c, "/linux/personality", json!({"domain": "BSD"})), "personality"),
        (
            "personality flag",
            |c| set(c, "/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})),
            "personality",
        ),
    ]);
}

#[test]
fn memory_policy() {
    need_root!();
    check(&[
        ("memoryPolicy without mode", |c| set(c, "/linux/memoryPolicy", json!({"nodes": "0"})), "memoryPolicy"),
        (
            "memoryPolicy unknown mode",
            |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_X", "nodes": "0"})),
            "memoryPolicy",
        ),
        (
            "memoryPolicy unknown flag",
            |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]})),
            "memoryPolicy",
        ),
        (
            "memoryPolicy bind without nodes",
            |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND"})),
            "memoryPolicy",
        ),
        (
            "memoryPolicy bad list",
            |c| set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "a"})),
            "memoryPolicy",
        ),
    ]);
}

#[test]
fn resctrl_network_devices_and_labels() {
    need_root!();
    check(&[
        (
            "intelRdt closID with /",
            |c| set(c, "/linux/intelRdt", json!({"closID": "a/b", "l3CacheSchema": "L3:0=f"})),
            "intelRdt",
        ),
        ("netDevices missing interface", |c| set(c, "/linux/netDevices", json!({"nosuchdev0": {}})), "nosuchdev0"),
        (
            "netDevices long name",
            |c| set(c, "/linux/netDevices", json!({"lo": {"name": "n".repeat(16)}})),
            "netDevices",
        ),
        ("netDevices name with /", |c| set(c, "/linux/netDevices", json!({"lo": {"name": "a/b"}})), "netDevices"),
        (
            "netDevices on the host's network",
            |c| {
                drop_ns(c, "network");
                set(c, "/linux/netDevices", json!({"lo": {}}));
            },
            "netDevices",
        ),
        ("selinux label without SELinux", |c| set(c, "/process/selinuxLabel", json!("u:r:t:s0")), "selinux"),
    ]);
}
