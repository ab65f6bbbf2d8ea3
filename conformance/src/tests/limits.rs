//! Ends of ranges and forms of values that the specification's schema has (checklist part 21): the last value that is
//! accepted, and the first that is refused.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::checks::{accepted, need_verb, refused};
use crate::container::Container;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "DV-1",
        title: "fileMode of a device is 0 to 0777",
        run: |b| {
            let device =
                |mode: Value| json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": mode}]);
            accepted(b, DEVICES, &[device(json!(0)), device(json!(511))])?;
            refused(b, DEVICES, &[device(json!(512)), device(json!(-1)), device(json!("0666"))])
        },
    },
    Test {
        id: "DV-1",
        title: "a device's type is c, b, u or p, its numbers are there unless it is p",
        run: |b| {
            let device = |kind: &str| json!([{"path": "/dev/x", "type": kind, "major": 1, "minor": 3}]);
            accepted(b, DEVICES, &[device("c"), device("b"), device("u"), json!([{"path": "/dev/x", "type": "p"}])])?;
            refused(
                b,
                DEVICES,
                &[
                    device("a"),
                    device(""),
                    device("C"),
                    json!([{"path": "/dev/x", "type": "b", "major": 1}]),
                    json!([{"path": "/dev/x", "type": "u", "minor": 3}]),
                ],
            )
        },
    },
    Test {
        id: "DV-1",
        title: "uid and gid of a device are no less than 0 and no more than 2^32-1",
        run: |b| {
            let device =
                |uid: Value| json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": uid, "gid": 0}]);
            accepted(b, DEVICES, &[device(json!(0)), device(json!(2_147_483_648_u64))])?;
            refused(b, DEVICES, &[device(json!(-1)), device(json!(4_294_967_296_u64))])
        },
    },
    Test {
        id: "HK-8",
        title: "a hook's timeout is 1 or more",
        run: |b| {
            let hook = |timeout: Value| json!({"poststop": [{"path": "/bin/true", "timeout": timeout}]});
            accepted(b, &["hooks"], &[hook(json!(1)), hook(json!(3600))])?;
            refused(b, &["hooks"], &[hook(json!(0)), hook(json!(-1)), hook(json!(1.5)), hook(json!("1"))])
        },
    },
    Test {
        id: "PR-8",
        title: "an rlimit's type is a name with RLIMIT_, its values are 0 to 2^64-1",
        run: |b| {
            let limit =
                |kind: &str, soft: Value| json!([{"type": kind, "soft": soft, "hard": 18_446_744_073_709_551_615_u64}]);
            accepted(
                b,
                RLIMITS,
                &[limit("RLIMIT_RSS", json!(0)), limit("RLIMIT_RSS", json!(18_446_744_073_709_551_615_u64))],
            )?;
            refused(
                b,
                RLIMITS,
                &[
                    limit("CORE", json!(0)),
                    limit("rlimit_core", json!(0)),
                    limit("RLIMIT_", json!(0)),
                    limit("RLIMIT_CORE", json!(-1)),
                    json!([{"type": "RLIMIT_CORE", "soft": 1}]),
                    json!([{"type": "RLIMIT_CORE", "hard": 1}]),
                    json!([{"soft": 1, "hard": 1}]),
                ],
            )
        },
    },
    Test {
        id: "PR-15",
        title: "oomScoreAdj is -1000 to 1000",
        run: |b| {
            accepted(b, &["process", "oomScoreAdj"], &[json!(1000), json!(0)])?;
            if may_lower_oom_score() {
                accepted(b, &["process", "oomScoreAdj"], &[json!(-1000)])?;
            }
            refused(b, &["process", "oomScoreAdj"], &[json!(-1001), json!(1001), json!("0"), json!(1e9)])
        },
    },
    Test {
        id: "UM-1",
        title: "IDs and sizes of a mapping are 32 bits wide, and the ranges stay so",
        run: |b| {
            mapping(
                b,
                &[json!({"containerID": 0, "hostID": 100_000, "size": 65_536})],
                &[
                    json!({"containerID": 0, "hostID": 100_000, "size": 0}),
                    json!({"containerID": 0, "hostID": 4_294_967_296_u64, "size": 1}),
                    json!({"containerID": -1, "hostID": 100_000, "size": 1}),
                    json!({"containerID": 0, "hostID": 4_294_967_000_u64, "size": 65_536}),
                    json!({"containerID": 0, "hostID": 100_000}),
                ],
            )
        },
    },
    Test {
        id: "MT-2",
        title: "a mount without a destination is an error",
        run: |b| {
            refused(
                b,
                &["mounts"],
                &[
                    json!([{"type": "tmpfs", "source": "tmpfs"}]),
                    json!([{"destination": "", "type": "tmpfs"}]),
                    json!([{"destination": 7}]),
                ],
            )
        },
    },
    Test {
        id: "MT-2",
        title: "a mount needs no more than its destination and type",
        run: |b| {
            let mut c = Container::script(b, "echo ran")?;
            c.push(&["mounts"], json!({"destination": "/tmp", "type": "tmpfs"}));
            let out = c.run()?;
            ensure!(out == "ran\n", "it printed {out:?}");
            Ok(())
        },
    },
    Test {
        id: "LX-5",
        title: "personality.domain is LINUX or LINUX32",
        run: |b| {
            accepted(b, PERSONALITY, &[json!({"domain": "LINUX"}), json!({"domain": "LINUX", "flags": []})])?;
            refused(
                b,
                PERSONALITY,
                &[json!({"domain": "linux"}), json!({"domain": "LINUX64"}), json!({}), json!({"domain": 0})],
            )
        },
    },
    Test { id: "LX-5", title: "personality is the program's, and that of a process of exec", run: personality },
    Test {
        id: "SE-5",
        title: "the value of a seccomp condition has 64 bits",
        run: |b| {
            let profile = |value: Value| {
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]},
                ]})
            };
            accepted(b, &["linux", "seccomp"], &[profile(json!(0)), profile(json!(18_446_744_073_709_551_615_u64))])?;
            refused(b, &["linux", "seccomp"], &[profile(json!("0")), profile(json!(-1)), profile(json!(1.5))])
        },
    },
    Test {
        id: "RD-12",
        title: "schemata that are no list of strings are an error",
        run: |b| {
            super::rdt::resctrl()?;
            refused(
                b,
                &["linux", "intelRdt"],
                &[json!({"schemata": "L3:0=f"}), json!({"schemata": [7]}), json!({"memBwSchema": 50})],
            )
        },
    },
    Test {
        id: "LX-6",
        title: "masked and read-only paths are lists of strings",
        run: |b| {
            for key in ["maskedPaths", "readonlyPaths"] {
                refused(b, &["linux", key], &[json!("/proc/kcore"), json!([7]), json!([""])])?;
            }
            Ok(())
        },
    },
];

const DEVICES: &[&str] = &["linux", "devices"];
const RLIMITS: &[&str] = &["process", "rlimits"];
const PERSONALITY: &[&str] = &["linux", "personality"];

/// Returns whether this process, and therefore its children, have CAP_SYS_RESOURCE.
fn may_lower_oom_score() -> bool {
    let status = crate::files::read(std::path::Path::new("/proc/self/status"));
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    effective.and_then(|text| u64::from_str_radix(text, 16).ok()).is_some_and(|caps| caps >> 24 & 1 == 1)
}

fn mapping(b: &Harness, good: &[Value], bad: &[Value]) -> Result<()> {
    let with = |entry: &Value| -> Result<Container<'_>> {
        let mut c = Container::new(b)?;
        c.push(&["linux", "namespaces"], json!({"type": "user"}));
        for key in ["uidMappings", "gidMappings"] {
            c.set(&["linux", key], json!([entry]));
        }
        Ok(c)
    };
    for entry in good {
        with(entry)?.create().ok().with_context(|| entry.to_string())?;
    }
    for entry in bad {
        with(entry)?.must_be_refused().with_context(|| entry.to_string())?;
    }
    Ok(())
}

fn personality(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &["hold"])?;
    c.set(PERSONALITY, json!({"domain": "LINUX32"}));
    c.create().ok()?;
    c.start().ok()?;
    let now = c.wait_facts()?["personality"].clone();
    ensure!(now == 8, "the program's personality is {now}, PER_LINUX32 is 8");
    need_verb(b, "exec")?;
    let now = c.exec_probe(&[], &[])?["personality"].clone();
    ensure!(now == 8, "the personality in exec is {now}, PER_LINUX32 is 8");
    Ok(())
}
