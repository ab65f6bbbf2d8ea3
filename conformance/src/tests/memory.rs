//! Limits of memory (checklist parts 11 and 22).

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::cgroup::{Limit, MEMORY, RESERVATION, SWAP, UNLIMITED, need_controller, need_v1, need_v2};
use crate::checks::{limited, limits_refused, refused_or_created, update, with};
use crate::container::Container;
use crate::harness::Harness;

const SWAPPINESS: Limit = Limit("memory", "memory.swappiness", "memory.swappiness");
const OOM_CONTROL: Limit = Limit("memory", "memory.oom_control", "memory.oom_control");

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "ME-1",
        title: "memory.limit is written",
        run: |b| reads(b, &MEMORY, json!({"limit": 67_108_864}), "67108864", "67108864"),
    },
    Test {
        id: "ME-1",
        title: "memory.limit -1 is no limit",
        run: |b| reads(b, &MEMORY, json!({"limit": -1}), UNLIMITED, "max"),
    },
    Test {
        id: "ME-1",
        title: "memory.limit 0 sets none",
        run: |b| reads(b, &MEMORY, json!({"limit": 0}), UNLIMITED, "max"),
    },
    Test { id: "ME-1", title: "a program that exceeds memory.limit is ended", run: in_force },
    Test {
        id: "ME-1",
        title: "memory.reservation is written",
        run: |b| {
            reads(b, &RESERVATION, json!({"limit": 67_108_864, "reservation": 33_554_432}), "33554432", "33554432")
        },
    },
    Test {
        id: "ME-1",
        title: "memory.swap counts memory and swap together",
        run: |b| reads(b, &SWAP, json!({"limit": 67_108_864, "swap": 100_663_296}), "100663296", "33554432"),
    },
    Test {
        id: "ME-1",
        title: "memory.swap equal to the limit leaves no swap at all",
        run: |b| reads(b, &SWAP, json!({"limit": 67_108_864, "swap": 67_108_864}), "67108864", "0"),
    },
    Test {
        id: "ME-1",
        title: "memory.swap -1 is no limit of swap",
        run: |b| reads(b, &SWAP, json!({"limit": 67_108_864, "swap": -1}), UNLIMITED, "max"),
    },
    Test {
        id: "ME-1",
        title: "memory.limit and memory.swap -1 lift both",
        run: |b| reads(b, &SWAP, json!({"limit": -1, "swap": -1}), UNLIMITED, "max"),
    },
    Test {
        id: "ME-1",
        title: "memory.swap below the limit is an error",
        run: |b| memory_refused(b, &[json!({"limit": 67_108_864, "swap": 33_554_432})]),
    },
    Test {
        id: "ME-1",
        title: "memory.swap without a limit is an error",
        run: |b| memory_refused(b, &[json!({"swap": 33_554_432})]),
    },
    Test {
        id: "ME-1",
        title: "a limit that is no number of bytes is an error",
        run: |b| {
            limits_refused(
                b,
                &[json!({"memory": {"limit": "64M"}}), json!({"memory": {"limit": 1.5}}), json!({"memory": []})],
            )
        },
    },
    Test { id: "ME-2", title: "memory.kernel is taken or refused, cleanly", run: kernel },
    Test { id: "ME-2", title: "memory.kernelTCP is taken or refused, cleanly", run: kernel_tcp },
    Test {
        id: "ME-3",
        title: "memory.swappiness is written on v1",
        run: |b| {
            need_v1()?;
            reads(b, &SWAPPINESS, json!({"swappiness": 35}), "35", "")
        },
    },
    Test {
        id: "ME-3",
        title: "memory.swappiness is an error on v2, which has none",
        run: |b| {
            need_v2()?;
            memory_refused(b, &[json!({"swappiness": 35})])
        },
    },
    Test {
        id: "ME-3",
        title: "memory.swappiness above 100 is an error",
        run: |b| memory_refused(b, &[json!({"swappiness": 101})]),
    },
    Test { id: "ME-3", title: "memory.disableOOMKiller is in force on v1", run: oom_killer },
    Test {
        id: "ME-3",
        title: "memory.disableOOMKiller is an error on v2, which cannot",
        run: |b| {
            need_v2()?;
            memory_refused(b, &[json!({"disableOOMKiller": true})])
        },
    },
    Test {
        id: "ME-3",
        title: "disableOOMKiller false asks for nothing",
        run: |b| {
            need_controller("memory")?;
            limited(b, &json!({"memory": {"disableOOMKiller": false}})).map(drop)
        },
    },
    Test {
        id: "ME-4",
        title: "with checkBeforeUpdate a limit below the usage is rejected",
        run: |b| checked(b, 1 << 20, false),
    },
    Test {
        id: "ME-4",
        title: "with checkBeforeUpdate a limit above the usage is taken",
        run: |b| checked(b, 128 << 20, true),
    },
];

fn reads(b: &Harness, limit: &Limit, memory: Value, v1: &str, v2: &str) -> Result<()> {
    need_controller("memory")?;
    // without swap accounting a kernel has no file, so that a runtime may refuse the limit: checked first
    let plain = limited(b, &json!({"memory": {"limit": 67_108_864}}))?;
    limit.read(plain.pid()?)?;
    let c = limited(b, &json!({"memory": memory}))?;
    limit.must_be(c.pid()?, v1, v2)
}

fn memory_refused(b: &Harness, values: &[Value]) -> Result<()> {
    need_controller("memory")?;
    let values: Vec<Value> = values.iter().map(|value| json!({"memory": value})).collect();
    limits_refused(b, &values)
}

fn in_force(b: &Harness) -> Result<()> {
    need_controller("memory")?;
    let mut c = Container::script(b, "dd if=/dev/zero of=/dev/null bs=60M count=1 2>/dev/null; echo status $?")?;
    // enough for the start of any runtime
    c.config["linux"]["resources"] = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    let out = c.run()?;
    ensure!(out == "status 137\n", "dd of 60 MiB in 32 MiB: {out:?}");
    let mut c = Container::script(b, "dd if=/dev/zero of=/dev/null bs=10M count=1 2>/dev/null; echo status $?")?;
    c.config["linux"]["resources"] = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    let out = c.run()?;
    ensure!(out == "status 0\n", "dd of 10 MiB in 32 MiB: {out:?}");
    Ok(())
}

fn kernel(b: &Harness) -> Result<()> {
    need_controller("memory")?;
    let c = with(b, &["linux", "resources"], &json!({"memory": {"limit": 67_108_864, "kernel": 33_554_432}}))?;
    if refused_or_created(&c)? {
        MEMORY.must_be(c.pid()?, "67108864", "67108864")?;
    }
    Ok(())
}

fn kernel_tcp(b: &Harness) -> Result<()> {
    need_controller("memory")?;
    let c = with(b, &["linux", "resources"], &json!({"memory": {"kernelTCP": 33_554_432}}))?;
    refused_or_created(&c).map(drop)
}

fn oom_killer(b: &Harness) -> Result<()> {
    need_v1()?;
    need_controller("memory")?;
    let c = limited(b, &json!({"memory": {"limit": 67_108_864, "disableOOMKiller": true}}))?;
    let now = OOM_CONTROL.read(c.pid()?)?;
    ensure!(now.contains("oom_kill_disable 1"), "memory.oom_control reads {now:?}");
    Ok(())
}

/// Updates the limit of a container that uses 16 MiB, and fails unless the runtime accepts or refuses it as `taken`
/// says.
fn checked(b: &Harness, limit: u64, taken: bool) -> Result<()> {
    need_controller("memory")?;
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; echo used; sleep 1000";
    let mut c = Container::script(b, script)?;
    c.config["linux"]["resources"] = json!({"memory": {"limit": 67_108_864}});
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("used")?;
    let done = update(b, &c, &json!({"memory": {"limit": limit, "checkBeforeUpdate": true}}))?;
    if taken {
        done.ok()?;
        return MEMORY.must_be(c.pid()?, &limit.to_string(), &limit.to_string());
    }
    done.error()?;
    c.must_be("running")?;
    MEMORY.must_be(c.pid()?, "67108864", "67108864")
}
