//! Wrong values of the configuration other than those of `linux` from `linux.devices` on, which are in `linux` (CF-5
//! and the requirements of the checklist that ask for an error).

use crate::edit::*;
use test_support::*;

#[test]
fn top_level() {
    need_root!();
    check(&[
        ("no ociVersion", |c| drop(c.as_object_mut().unwrap().remove("ociVersion")), "ociVersion"),
        ("ociVersion a number", |c| set(c, "/ociVersion", json!(1)), "ociVersion"),
        ("ociVersion not SemVer", |c| set(c, "/ociVersion", json!("abc")), "ociVersion"),
        ("ociVersion 1.garbage", |c| set(c, "/ociVersion", json!("1.garbage")), "ociVersion"),
        ("ociVersion 9.0.0", |c| set(c, "/ociVersion", json!("9.0.0")), "ociVersion"),
        ("no root", |c| drop(c.as_object_mut().unwrap().remove("root")), "root"),
        ("root.path empty", |c| set(c, "/root/path", json!("")), "root.path"),
        ("root.path missing directory", |c| set(c, "/root/path", json!("nowhere")), "nowhere"),
        ("root.path a file", |c| set(c, "/root/path", json!("rootfs/etc/passwd")), "passwd"),
        ("root.path a number", |c| set(c, "/root/path", json!(7)), "root.path"),
        ("root.path with NUL", |c| set(c, "/root/path", json!("rootfs\u{0}x")), "root.path"),
        (
            "hostname without a uts namespace",
            |c| {
                drop_ns(c, "uts");
                set(c, "/hostname", json!(current("kernel/hostname")));
            },
            "hostname",
        ),
        ("hostname of 65 bytes", |c| set(c, "/hostname", json!("h".repeat(65))), "hostname"),
        ("hostname with NUL", |c| set(c, "/hostname", json!("a\u{0}b")), "hostname"),
        ("domainname of 65 bytes", |c| set(c, "/domainname", json!("d".repeat(65))), "domainname"),
        (
            "two domainnames, by the property and by sysctl, as crun",
            |c| {
                set(c, "/domainname", json!("d"));
                set(c, "/linux/sysctl", json!({"kernel/domainname": "other"}));
            },
            "linux.sysctl",
        ),
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
    ]);
}

#[test]
fn process_user() {
    need_root!();
    check(&[
        ("uid 4294967295", |c| set(c, "/process/user/uid", json!(4_294_967_295u64)), "uid"),
        ("gid 4294967295", |c| set(c, "/process/user/gid", json!(4_294_967_295u64)), "gid"),
        ("uid -1", |c| set(c, "/process/user/uid", json!(-1)), "uid"),
        ("uid 2^32", |c| set(c, "/process/user/uid", json!(4_294_967_296u64)), "uid"),
        ("uid text", |c| set(c, "/process/user/uid", json!("0")), "uid"),
        ("additionalGids -1", |c| set(c, "/process/user/additionalGids", json!([-1])), "additionalGids"),
        ("umask 01000", |c| set(c, "/process/user/umask", json!(512)), "umask"),
        (
            "uid not mapped",
            |c| {
                maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 10}]));
                set(c, "/process/user/uid", json!(5000));
            },
            "uid",
        ),
    ]);
}

#[test]
fn rlimits() {
    need_root!();
    check(&[
        (
            "rlimit unknown",
            |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}])),
            "RLIMIT_NONE",
        ),
        (
            "rlimit soft > hard",
            |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}])),
            "process.rlimits[0]",
        ),
        (
            "rlimit twice",
            |c| {
                set(
                    c,
                    "/process/rlimits",
                    json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
                )
            },
            "RLIMIT_CORE",
        ),
        ("rlimit without hard", |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0}])), "rlimits"),
    ]);
}

#[test]
fn oom_score_and_scheduling() {
    need_root!();
    check(&[
        ("oomScoreAdj 1001", |c| set(c, "/process/oomScoreAdj", json!(1001)), "oomScoreAdj"),
        ("oomScoreAdj -1001", |c| set(c, "/process/oomScoreAdj", json!(-1001)), "oomScoreAdj"),
        ("terminal text", |c| set(c, "/process/terminal", json!("yes")), "terminal"),
        ("scheduler unknown", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_X"})), "scheduler"),
        ("scheduler nice 20", |c| set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20})), "nice"),
        (
            "scheduler priority with OTHER",
            |c| set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 5})),
            "priority",
        ),
        (
            "scheduler runtime with FIFO",
            |c| set(c, "/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1, "runtime": 5})),
            "scheduler",
        ),
        (
            "scheduler unknown flag",
            |c| set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]})),
            "flag",
        ),
        (
            "ioPriority unknown class",
            |c| set(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_X", "priority": 1})),
            "ioPriority",
        ),
        (
            "ioPriority 8",
            |c| set(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
            "ioPriority",
        ),
        ("execCPUAffinity", |c| set(c, "/process/execCPUAffinity", json!({"initial": "a-b"})), "execCPUAffinity"),
    ]);
}

#[test]
fn namespaces() {
    need_root!();
    check(&[
        ("unknown namespace", |c| push_ns(c, json!({"type": "nonsense"})), "nonsense"),
        ("duplicate namespace", |c| push_ns(c, json!({"type": "network"})), "network"),
        (
            "namespace path relative",
            |c| replace_ns(c, json!({"type": "network", "path": "proc/1/ns/net"})),
            "linux.namespaces",
        ),
        ("namespace path missing", |c| replace_ns(c, json!({"type": "network", "path": "/no/such/ns"})), "/no/such/ns"),
        ("namespace path a file", |c| replace_ns(c, json!({"type": "network", "path": "/etc/passwd"})), "/etc/passwd"),
        (
            "namespace path of another type",
            |c| replace_ns(c, json!({"type": "network", "path": "/proc/self/ns/uts"})),
            "network",
        ),
    ]);
}

#[test]
fn id_maps() {
    need_root!();
    check(&[
        (
            "maps without a user namespace",
            |c| set(c, "/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}])),
            "uidMappings",
        ),
        ("map of size 0", |c| maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 0}])), "uidMappings"),
        (
            "map that overflows",
            |c| maps(c, json!([{"containerID": 0, "hostID": 4_294_967_290u64, "size": 100}])),
            "uidMappings",
        ),
        (
            "maps that overlap",
            |c| {
                maps(
                    c,
                    json!([{"containerID": 0, "hostID": 100_000, "size": 10},
            {"containerID": 5, "hostID": 200_000, "size": 10}]),
                )
            },
            "uidMappings",
        ),
        (
            "maps that overlap on the host",
            |c| {
                maps(
                    c,
                    json!([{"containerID": 0, "hostID": 100_000, "size": 10},
            {"containerID": 50, "hostID": 100_005, "size": 10}]),
                )
            },
            "uidMappings",
        ),
        (
            "map with a negative number",
            |c| maps(c, json!([{"containerID": -1, "hostID": 1, "size": 1}])),
            "uidMappings",
        ),
        (
            "341 maps",
            |c| maps(c, (0..341).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect()),
            "uidMappings",
        ),
        (
            "9000 maps (F8)",
            |c| maps(c, (0..9000).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect()),
            "uidMappings",
        ),
    ]);
}

#[test]
fn what_needs_a_namespace() {
    need_root!();
    check(&[
        (
            "timeOffsets without a time namespace",
            |c| set(c, "/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
            "timeOffsets",
        ),
        (
            "timeOffsets unknown clock",
            |c| {
                push_ns(c, json!({"type": "time"}));
                set(c, "/linux/timeOffsets", json!({"realtime": {"secs": 1}}));
            },
            "timeOffsets",
        ),
        (
            "timeOffsets nanosecs",
            |c| {
                push_ns(c, json!({"type": "time"}));
                set(c, "/linux/timeOffsets", json!({"monotonic": {"secs": 1, "nanosecs": 1_000_000_000}}));
            },
            "nanosecs",
        ),
        (
            "masked paths without a mount namespace",
            |c| {
                drop_ns(c, "mount");
                set(c, "/mounts", json!([]));
            },
            "maskedPaths",
        ),
    ]);
}

#[test]
fn mount_fields() {
    need_root!();
    check(&[
        ("no destination", |c| mount(c, json!({"type": "tmpfs", "source": "tmpfs"})), "destination"),
        ("destination empty", |c| mount(c, json!({"destination": "", "type": "tmpfs"})), "destination"),
        ("destination with NUL", |c| mount(c, json!({"destination": "/a\u{0}", "type": "tmpfs"})), "destination"),
        (
            "source with NUL",
            |c| mount(c, json!({"destination": "/a", "source": "/\u{0}", "options": ["bind"]})),
            "source",
        ),
        ("type with NUL", |c| mount(c, json!({"destination": "/a", "type": "tm\u{0}pfs"})), "type"),
        (
            "option with NUL",
            |c| mount(c, json!({"destination": "/a", "type": "tmpfs", "options": ["size=1\u{0}"]})),
            "option",
        ),
        ("options text", |c| mount(c, json!({"destination": "/a", "type": "tmpfs", "options": "ro"})), "options"),
    ]);
}

#[test]
fn mount_places_and_sources() {
    need_root!();
    check(&[
        (
            "destination into /proc by ..",
            |c| {
                c["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"destination": "/tmp/../proc/sysrq-trigger", "type": "bind",
                "source": "/tmp", "options": ["bind"]}));
            },
            "mounts",
        ),
        (
            "bind source missing",
            |c| mount(c, json!({"destination": "/a", "source": "/no/such/source", "options": ["bind"]})),
            "/no/such/source",
        ),
        ("bind without source", |c| mount(c, json!({"destination": "/a", "options": ["bind"]})), "source"),
        (
            "type bind without the option",
            |c| mount(c, json!({"destination": "/a", "type": "bind", "source": "/tmp"})),
            "bind",
        ),
        (
            "unknown option of a bind",
            |c| mount(c, json!({"destination": "/a", "source": "/tmp", "options": ["bind", "frobnicate"]})),
            "frobnicate",
        ),
        (
            "id map on one side only",
            |c| {
                mount(
                    c,
                    json!({"destination": "/a", "source": "/tmp", "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
                )
            },
            "gidMappings",
        ),
        (
            "idmap without maps or user namespace",
            |c| mount(c, json!({"destination": "/a", "source": "/tmp", "options": ["bind", "idmap"]})),
            "idmap",
        ),
    ]);
}

#[test]
fn hooks() {
    need_root!();
    check(&[
        ("relative path", |c| hook(c, "prestart", json!({"path": "bin/true"})), "hooks.prestart"),
        ("no path", |c| hook(c, "createRuntime", json!({"args": ["x"]})), "hooks.createRuntime"),
        ("path empty", |c| hook(c, "createContainer", json!({"path": ""})), "hooks.createContainer"),
        ("poststop relative, refused at create", |c| hook(c, "poststop", json!({"path": "x"})), "hooks.poststop"),
        ("poststart relative", |c| hook(c, "poststart", json!({"path": "./x"})), "hooks.poststart"),
        ("startContainer relative", |c| hook(c, "startContainer", json!({"path": "x"})), "hooks.startContainer"),
        ("timeout 0", |c| hook(c, "poststop", json!({"path": "/bin/true", "timeout": 0})), "timeout"),
        ("timeout negative", |c| hook(c, "prestart", json!({"path": "/bin/true", "timeout": -1})), "timeout"),
        ("args with NUL", |c| hook(c, "prestart", json!({"path": "/bin/true", "args": ["a\u{0}"]})), "hooks.prestart"),
        ("env with NUL", |c| hook(c, "prestart", json!({"path": "/bin/true", "env": ["A=\u{0}"]})), "hooks.prestart"),
        ("list not an array", |c| set(c, "/hooks", json!({"prestart": {"path": "/bin/true"}})), "prestart"),
    ]);
}
