//! `update`: limits of an existing container (checklist part 11, UP-1).

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::cgroup::{CPUS, Limit, MEMORY, PERIOD, PIDS, QUOTA, SHARES, SWAP, need_controller};
use crate::checks::{limited, need_verb, update};
use crate::container::Container;
use crate::harness::{Done, Harness, skip};
use crate::proc_facts::need_flag;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "UP-1", title: "update takes resources from a file", run: from_file },
    Test { id: "UP-1", title: "update takes resources from standard input", run: from_stdin },
    Test { id: "UP-1", title: "update of one limit leaves the others", run: leaves_others },
    Test { id: "UP-1", title: "update takes several kinds of limits at once", run: several },
    Test { id: "UP-1", title: "update with an empty document changes nothing", run: empty },
    Test { id: "UP-1", title: "a second update builds on the first", run: twice },
    Test { id: "UP-1", title: "update of a created container is in force when it runs", run: created },
    Test { id: "UP-1", title: "an update that fails half-way leaves the old values", run: rolls_back },
    Test { id: "UP-1", title: "update with a malformed document is an error and changes nothing", run: malformed },
    Test { id: "UP-1", title: "update with a missing file is an error", run: no_file },
    Test { id: "UP-1", title: "update of an unknown or a stopped container is an error", run: not_there },
    Test { id: "UP-1", title: "update with values out of range is an error and changes nothing", run: out_of_range },
    Test {
        id: "UP-1",
        title: "update --pids-limit and --memory",
        run: |b| {
            flags(
                b,
                &[
                    ("pids", "--pids-limit", "33", &PIDS, "33", "33"),
                    ("memory", "--memory", "50331648", &MEMORY, "50331648", "50331648"),
                ],
            )
        },
    },
    Test {
        id: "UP-1",
        title: "update --cpu-quota, --cpu-period and --cpu-share",
        run: |b| {
            flags(
                b,
                &[
                    ("cpu", "--cpu-quota", "40000", &QUOTA, "40000", "40000 100000"),
                    ("cpu", "--cpu-period", "50000", &PERIOD, "50000", "40000 50000"),
                    ("cpu", "--cpu-share", "2048", &SHARES, "2048", "174"),
                ],
            )
        },
    },
    Test {
        id: "UP-1",
        title: "update --cpuset-cpus",
        run: |b| flags(b, &[("cpuset", "--cpuset-cpus", "0", &CPUS, "0", "0")]),
    },
    Test {
        id: "ME-1",
        title: "update raises and lowers memory and swap together, whichever order that needs",
        run: both_ways,
    },
    Test { id: "ME-1", title: "update lifts memory and swap limits", run: lifts },
    Test {
        id: "CP-2",
        title: "update changes quota and period together, whichever order that needs",
        run: quota_and_period,
    },
    Test { id: "DV-6", title: "update of other limits leaves the device rules in force", run: devices_stay },
];

/// Starts a container with a limit for each controller that all tests of this file need.
fn ready(b: &Harness) -> Result<Container<'_>> {
    need_verb(b, "update")?;
    need_controller("pids")?;
    need_controller("cpu")?;
    need_controller("memory")?;
    let c = limited(
        b,
        &json!({
            "pids": {"limit": 77}, "memory": {"limit": 67_108_864}, "cpu": {"quota": 50_000, "period": 100_000},
        }),
    )?;
    c.start().ok()?;
    Ok(c)
}

/// Fails unless the container has the limits that [`ready`] sets.
fn as_before(c: &Container<'_>) -> Result<()> {
    let pid = c.pid()?;
    PIDS.must_be(pid, "77", "77")?;
    MEMORY.must_be(pid, "67108864", "67108864")?;
    QUOTA.must_be(pid, "50000", "50000 100000")
}

fn from_file(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    update(b, &c, &json!({"pids": {"limit": 33}}))?.ok()?;
    PIDS.must_be(c.pid()?, "33", "33")
}

fn from_stdin(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    let file = c.bundle.join("stdin.json");
    std::fs::write(&file, json!({"pids": {"limit": 34}}).to_string())?;
    let mut command = b.command(["update", "--resources", "-", &c.id]);
    b.call_to(command.stdin(File::open(&file)?), &c.bundle.join("update.out"), &c.bundle.join("update.err")).ok()?;
    PIDS.must_be(c.pid()?, "34", "34")
}

fn leaves_others(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    update(b, &c, &json!({"pids": {"limit": 33}}))?.ok()?;
    MEMORY.must_be(c.pid()?, "67108864", "67108864")?;
    QUOTA.must_be(c.pid()?, "50000", "50000 100000")
}

fn several(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    let all = json!({"pids": {"limit": 33}, "memory": {"limit": 100_663_296}, "cpu": {"quota": 20_000, "period": 40_000, "shares": 2048}});
    update(b, &c, &all)?.ok()?;
    let pid = c.pid()?;
    PIDS.must_be(pid, "33", "33")?;
    MEMORY.must_be(pid, "100663296", "100663296")?;
    QUOTA.must_be(pid, "20000", "20000 40000")?;
    SHARES.must_be(pid, "2048", "174")
}

fn empty(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    update(b, &c, &json!({}))?.ok()?;
    as_before(&c)
}

fn twice(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    update(b, &c, &json!({"pids": {"limit": 33}}))?.ok()?;
    update(b, &c, &json!({"memory": {"limit": 100_663_296}}))?.ok()?;
    PIDS.must_be(c.pid()?, "33", "33")?;
    MEMORY.must_be(c.pid()?, "100663296", "100663296")
}

fn created(b: &Harness) -> Result<()> {
    need_verb(b, "update")?;
    need_controller("pids")?;
    let mut c = Container::script(b, "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo started")?;
    c.config["linux"]["resources"] = json!({"pids": {"limit": 100}});
    c.create().ok()?;
    update(b, &c, &json!({"pids": {"limit": 4}}))?.ok()?;
    c.start().ok()?;
    c.wait_stopped()?;
    ensure!(!c.output().contains("started"), "six processes where four are allowed: it printed {:?}", c.output());
    Ok(())
}

/// Updates with documents of which one part is not available, in any order in which a runtime may apply the parts.
fn rolls_back(b: &Harness) -> Result<()> {
    for bad in [
        json!({"pids": {"limit": 33}, "memory": {"limit": 100_663_296}, "cpu": {"quota": 500, "period": 100_000}}),
        json!({"pids": {"limit": 33}, "memory": {"limit": 100_663_296}, "cpu": {"cpus": "4000"}}),
    ] {
        let c = ready(b)?;
        update(b, &c, &bad)?.error().with_context(|| bad.to_string())?;
        as_before(&c).with_context(|| format!("after {bad}"))?;
        c.must_be("running")?;
    }
    Ok(())
}

fn call_with(b: &Harness, c: &Container<'_>, text: &str) -> Result<Done> {
    let file = c.bundle.join("resources.json");
    std::fs::write(&file, text)?;
    Ok(b.call(["update", "--resources", &file.to_string_lossy(), &c.id]))
}

fn malformed(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    for text in ["", "{", "[]", "{\"pids\": {\"limit\": 33}", "{\"pids\": {\"limit\": \"x\"}}", "{\"pids\": 3}"] {
        call_with(b, &c, text)?.error().with_context(|| format!("the document {text:?}"))?;
    }
    as_before(&c)
}

fn no_file(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    b.call(["update", "--resources", "/no/such/file", &c.id]).error()?;
    as_before(&c)
}

fn not_there(b: &Harness) -> Result<()> {
    need_verb(b, "update")?;
    b.call(["update", "--pids-limit", "5", &b.fresh_name()]).error()?;
    let c = Container::stopped(b)?;
    update(b, &c, &json!({"pids": {"limit": 33}}))?.error().context("a stopped container")?;
    Ok(())
}

fn out_of_range(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    let bad: [Value; 4] = [
        json!({"cpu": {"quota": 1000, "period": 10}}),
        json!({"memory": {"limit": 100_663_296, "swap": 33_554_432}}),
        json!({"memory": {"swappiness": 101}}),
        json!({"blockIO": {"weight": 9}}),
    ];
    for value in bad {
        update(b, &c, &value)?.error().with_context(|| value.to_string())?;
        as_before(&c).with_context(|| format!("after {value}"))?;
    }
    Ok(())
}

/// Updates by each flag of a row in turn: controller, flag, value, limit, its content on v1 and on v2.
fn flags(b: &Harness, rows: &[(&str, &str, &str, &Limit, &str, &str)]) -> Result<()> {
    let c = ready(b)?;
    for (controller, flag, value, limit, v1, v2) in rows {
        need_controller(controller)?;
        need_flag(b, "update", flag)?;
        b.call(["update", flag, value, &c.id]).ok()?;
        limit.must_be(c.pid()?, v1, v2).with_context(|| format!("update {flag} {value}"))?;
    }
    Ok(())
}

fn both_ways(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    SWAP.read(c.pid()?)?;
    for (limit, swap) in [(33_554_432_u64, 67_108_864_u64), (134_217_728, 268_435_456), (33_554_432, 33_554_432)] {
        let done = update(b, &c, &json!({"memory": {"limit": limit, "swap": swap}}))?;
        done.ok().with_context(|| format!("limit {limit}, swap {swap}"))?;
        MEMORY.must_be(c.pid()?, &limit.to_string(), &limit.to_string())?;
        SWAP.must_be(c.pid()?, &swap.to_string(), &(swap - limit).to_string())?;
    }
    Ok(())
}

fn lifts(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    update(b, &c, &json!({"memory": {"limit": -1, "swap": -1}}))?.ok()?;
    MEMORY.must_be(c.pid()?, crate::cgroup::UNLIMITED, "max")
}

fn quota_and_period(b: &Harness) -> Result<()> {
    let c = ready(b)?;
    // on v1 a quota of 4 ms must be set before the period of 500 ms, and in the reverse order after it
    for (quota, period) in [(3000, 10_000), (4000, 500_000), (200_000, 400_000), (1000, 1000)] {
        let done = update(b, &c, &json!({"cpu": {"quota": quota, "period": period}}))?;
        done.ok().with_context(|| format!("quota {quota}, period {period}"))?;
        QUOTA.must_be(c.pid()?, &quota.to_string(), &format!("{quota} {period}"))?;
        PERIOD.must_be(c.pid()?, &period.to_string(), &format!("{quota} {period}"))?;
    }
    Ok(())
}

fn devices_stay(b: &Harness) -> Result<()> {
    need_verb(b, "update")?;
    need_controller("pids")?;
    if !crate::cgroup::is_v2() {
        need_controller("devices")?;
    }
    // a device that every process may open, and that no runtime's own list allows
    if !crate::files::read(std::path::Path::new("/proc/misc")).contains("237 loop-control") {
        return skip("this kernel has no loop-control device, 10:237");
    }
    let script = "while ! test -e /go; do sleep 0.01; done; cat /dev/allowed | head -c 1 >/dev/null; cat /dev/denied";
    let mut c = Container::script(b, script)?;
    c.config["linux"]["devices"] = json!([
        {"path": "/dev/allowed", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/denied", "type": "c", "major": 10, "minor": 237},
    ]);
    let rules =
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "r"}]);
    c.config["linux"]["resources"] = json!({"devices": rules, "pids": {"limit": 77}});
    c.create().ok()?;
    c.start().ok()?;
    update(b, &c, &json!({"pids": {"limit": 33}}))?.ok()?;
    std::fs::write(c.path("/go"), "")?;
    c.wait_stopped()?;
    let out = c.output();
    let denied = out.contains("denied") && out.to_lowercase().contains("operation not permitted");
    ensure!(denied && !out.contains("allowed"), "it printed {out:?}");
    Ok(())
}
