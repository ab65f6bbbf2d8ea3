//! Kernel parameters of the container's own namespaces (checklist part 15).

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::checks::{prints, refused, refused_or_created, unchanged, with};
use crate::container::Container;
use crate::harness::{Harness, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "SY-1",
        title: "a key may be written with dots or with slashes",
        run: |b| {
            let shown = "cat /proc/sys/net/ipv4/ip_forward";
            prints(b, shown, SYSCTL, &json!({"net.ipv4.ip_forward": "1"}), "1\n")?;
            prints(b, shown, SYSCTL, &json!({"net/ipv4/ip_forward": "1"}), "1\n")
        },
    },
    Test {
        id: "SY-1",
        title: "several values in one are written as they are",
        run: |b| {
            prints(
                b,
                "tr '\\t' ' ' </proc/sys/net/ipv4/ping_group_range",
                SYSCTL,
                &json!({"net.ipv4.ping_group_range": "5 77"}),
                "5 77\n",
            )
        },
    },
    Test { id: "SY-1", title: "sysctls are written although /proc/sys is read-only for the program", run: read_only },
    Test {
        id: "SY-1",
        title: "a key that this kernel lacks is an error",
        run: |b| refused(b, SYSCTL, &[json!({"net.ipv4.no_such_key": "1"})]),
    },
    Test {
        id: "SY-1",
        title: "a value that the kernel refuses is an error",
        run: |b| refused(b, SYSCTL, &[json!({"net.ipv4.ip_forward": "perhaps"}), json!({"kernel.shmmni": "-77"})]),
    },
    Test {
        id: "SY-1",
        title: "a value that is no string is an error",
        run: |b| {
            refused(
                b,
                SYSCTL,
                &[
                    json!({"net.ipv4.ip_forward": 1}),
                    json!({"net.ipv4.ip_forward": null}),
                    json!(["net.ipv4.ip_forward=1"]),
                ],
            )
        },
    },
    Test { id: "SY-2", title: "kernel.shm*, kernel.msg* and kernel.sem belong to the IPC namespace", run: ipc },
    Test {
        id: "SY-2",
        title: "fs.mqueue.* belongs to the IPC namespace",
        run: |b| prints(b, "cat /proc/sys/fs/mqueue/msg_max", SYSCTL, &json!({"fs.mqueue.msg_max": "33"}), "33\n"),
    },
    Test {
        id: "SY-2",
        title: "kernel.domainname belongs to the UTS namespace",
        run: |b| {
            prints(
                b,
                "cat /proc/sys/kernel/domainname",
                SYSCTL,
                &json!({"kernel.domainname": "river.example"}),
                "river.example\n",
            )
        },
    },
    Test {
        id: "SY-2",
        title: "without an IPC namespace of its own the IPC keys are an error",
        run: |b| {
            shared(b, "ipc", "/proc/sys/kernel/shmmni", &json!({"kernel.shmmni": "1234"}))?;
            shared(b, "ipc", "/proc/sys/kernel/sem", &json!({"kernel.sem": "1 2 3 4"}))
        },
    },
    Test {
        id: "SY-2",
        title: "without a network namespace of its own net.* is an error",
        run: |b| shared(b, "network", "/proc/sys/net/ipv4/ip_default_ttl", &json!({"net.ipv4.ip_default_ttl": "77"})),
    },
    Test {
        id: "SY-2",
        title: "without a UTS namespace of its own kernel.domainname is an error",
        run: |b| shared(b, "uts", "/proc/sys/kernel/domainname", &json!({"kernel.domainname": "river.example"})),
    },
    Test {
        id: "SY-2",
        title: "kernel.hostname is an error: there is a property for it",
        run: |b| refused(b, SYSCTL, &[json!({"kernel.hostname": "crocodile"})]),
    },
    Test { id: "SY-2", title: "no path in a key reaches the host's parameters", run: detours },
    Test { id: "SY-3", title: "sysctls go to the kernel, not to what the image mounts over /proc/sys", run: covered },
    Test {
        id: "SY-3",
        title: "sysctls are set without any /proc in the container, and leave no files there",
        run: no_proc,
    },
];

const SYSCTL: &[&str] = &["linux", "sysctl"];

fn read_only(b: &Harness) -> Result<()> {
    let mut c = Container::script(
        b,
        "cat /proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/ip_forward || echo denied",
    )?;
    c.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    c.config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    let out = c.run()?;
    ensure!(out.starts_with("1\n") && out.contains("denied\n"), "it printed {out:?}");
    Ok(())
}

fn ipc(b: &Harness) -> Result<()> {
    let all = json!({
        "kernel.shmmni": "1234", "kernel.shmall": "12345", "kernel.shmmax": "1234567", "kernel.shm_rmid_forced": "1",
        "kernel.msgmax": "2345", "kernel.msgmnb": "23456", "kernel.msgmni": "234", "kernel.sem": "10 20 30 40",
    });
    let script = "cd /proc/sys/kernel; for k in shmmni shmall shmmax shm_rmid_forced msgmax msgmnb msgmni sem; do echo $(cat $k); done";
    prints(b, script, SYSCTL, &all, "1234\n12345\n1234567\n1\n2345\n23456\n234\n10 20 30 40\n")
}

/// Fails unless create with the sysctl fails for a container without a namespace of this type, and leaves the host's
/// file unchanged.
fn shared(b: &Harness, namespace: &str, file: &str, sysctl: &Value) -> Result<()> {
    unchanged(file, || {
        let mut c = with(b, SYSCTL, sysctl)?;
        if let Some(list) = c.config["linux"]["namespaces"].as_array_mut() {
            list.retain(|entry| entry["type"] != namespace);
        }
        // the configuration keeps the host's network namespace, and so must not mount sysfs
        c.must_be_refused().map(drop)
    })
}

fn detours(b: &Harness) -> Result<()> {
    let keys = [
        "net/../kernel/core_pattern",
        "net/./../kernel/core_pattern",
        "net//../kernel/core_pattern",
        "/kernel/core_pattern",
        "net/../../sys/kernel/core_pattern",
        "kernel.shm/../core_pattern",
        "fs.mqueue/../../kernel/core_pattern",
    ];
    unchanged("/proc/sys/kernel/core_pattern", || {
        let values: Vec<Value> = keys.iter().map(|key| json!({*key: "conformance"})).collect();
        refused(b, SYSCTL, &values)
    })
}

fn covered(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "cat /tmp/sys/net/ipv4/ip_forward; ls /proc/sys")?;
    c.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    c.push(&["mounts"], json!({"destination": "/proc/sys", "type": "tmpfs", "source": "tmpfs"}));
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "proc", "source": "proc"}));
    if !refused_or_created(&c)? {
        let why = c.output();
        return skip(&format!("the runtime refuses a mount over /proc/sys, as it may: {}", why.trim()));
    }
    c.start().ok()?;
    c.wait_stopped()?;
    ensure!(c.output() == "1\n", "it printed {:?}", c.output());
    Ok(())
}

fn no_proc(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "busybox mount -t proc proc /tmp && cat /tmp/sys/net/ipv4/ip_forward")?;
    c.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    if let Some(mounts) = c.config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["destination"] != "/proc");
    }
    let all = json!(["CAP_SYS_ADMIN"]);
    c.config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    let out = c.run()?;
    let left = std::fs::read_dir(c.path("/proc"))?.count();
    ensure!(out == "1\n" && left == 0, "it printed {out:?}, and left {left} files in the image's /proc");
    Ok(())
}
