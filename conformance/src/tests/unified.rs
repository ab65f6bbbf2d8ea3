//! Files of cgroup v2 by their own names (checklist part 12).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::cgroup::{self, Limit, MEMORY, PIDS, need_controller, need_v1, need_v2};
use crate::checks::{limited, limits_refused, update};
use crate::harness::{Harness, skip};

const GROUP_OOM: Limit = Limit("memory", "", "memory.oom.group");
const DEPTH: Limit = Limit("memory", "", "cgroup.max.depth");
const IO_MAX: Limit = Limit("io", "", "io.max");

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "UN-1",
        title: "a unified key is the file of that name",
        run: |b| reads(b, "pids", &PIDS, json!({"pids.max": "44"}), "44"),
    },
    Test {
        id: "UN-1",
        title: "a unified key need not be one that the runtime knows",
        run: |b| {
            reads(b, "memory", &GROUP_OOM, json!({"memory.oom.group": "1"}), "1")?;
            reads(b, "memory", &DEPTH, json!({"cgroup.max.depth": "7"}), "7")
        },
    },
    Test { id: "UN-1", title: "several unified keys are all written", run: several },
    Test { id: "UN-1", title: "a value of several lines is written line by line", run: lines },
    Test {
        id: "UN-1",
        title: "a unified key that leaves the directory is an error",
        run: |b| {
            unified_refused(
                b,
                &[
                    json!({"../pids.max": "44"}),
                    json!({"/sys/fs/cgroup/pids.max": "44"}),
                    json!({"x/pids.max": "44"}),
                    json!({"..": "44"}),
                    json!({"": "44"}),
                ],
            )
        },
    },
    Test {
        id: "UN-1",
        title: "a unified key that would move processes is an error",
        run: |b| unified_refused(b, &[json!({"cgroup.procs": "1"}), json!({"cgroup.threads": "1"})]),
    },
    Test {
        id: "UN-1",
        title: "a unified key that is no file of the kernel is an error",
        run: |b| unified_refused(b, &[json!({"memory.no_such_file": "1"}), json!({"cgroup.no_such_file": "1"})]),
    },
    Test {
        id: "UN-1",
        title: "a unified value that the kernel refuses is an error",
        run: |b| unified_refused(b, &[json!({"pids.max": "many"}), json!({"memory.max": "-7x"})]),
    },
    Test {
        id: "UN-1",
        title: "a unified value that is no string is an error",
        run: |b| unified_refused(b, &[json!({"pids.max": 44}), json!(["pids.max"])]),
    },
    Test {
        id: "UN-1",
        title: "unified on cgroup v1 is an error",
        run: |b| {
            need_v1()?;
            limits_refused(b, &[json!({"unified": {"pids.max": "44"}})])
        },
    },
    Test { id: "UN-2", title: "the controller of a unified key is enabled", run: enables },
    Test {
        id: "UN-2",
        title: "a unified key of a controller that this machine lacks is an error",
        run: |b| {
            let mut values = vec![json!({"nosuch.max": "1"})];
            values.extend(
                ["rdma", "hugetlb", "misc", "cpuset"]
                    .iter()
                    .filter(|name| !cgroup::has_controller(name))
                    .map(|name| json!({format!("{name}.max"): "1"})),
            );
            unified_refused(b, &values)
        },
    },
    Test { id: "UN-3", title: "a unified key takes precedence over the property for the same file", run: wins },
    Test { id: "UN-3", title: "properties and unified keys for other files go together", run: together },
    Test { id: "UN-3", title: "update takes unified keys", run: updates },
    Test {
        id: "UN-3",
        title: "a property of update takes precedence over an older unified key for the same file",
        run: updates_property,
    },
];

fn unified_refused(b: &Harness, values: &[Value]) -> Result<()> {
    need_v2()?;
    let values: Vec<Value> = values.iter().map(|value| json!({"unified": value})).collect();
    limits_refused(b, &values)
}

fn reads(b: &Harness, controller: &str, limit: &Limit, unified: Value, wanted: &str) -> Result<()> {
    need_v2()?;
    need_controller(controller)?;
    let c = limited(b, &json!({"unified": unified}))?;
    limit.must_be(c.pid()?, "", wanted)
}

fn several(b: &Harness) -> Result<()> {
    need_v2()?;
    for controller in ["pids", "memory", "cpu"] {
        need_controller(controller)?;
    }
    let all = json!({"pids.max": "44", "memory.max": "67108864", "memory.high": "50331648", "cpu.max": "30000 60000", "cpu.weight": "77"});
    let c = limited(b, &json!({"unified": all}))?;
    let pid = c.pid()?;
    PIDS.must_be(pid, "", "44")?;
    MEMORY.must_be(pid, "", "67108864")?;
    Limit("memory", "", "memory.high").must_be(pid, "", "50331648")?;
    cgroup::QUOTA.must_be(pid, "", "30000 60000")?;
    cgroup::SHARES.must_be(pid, "", "77")
}

fn lines(b: &Harness) -> Result<()> {
    need_v2()?;
    need_controller("io")?;
    let devices: Vec<String> = ["loop0", "loop1"]
        .iter()
        .map(|name| crate::files::read(std::path::Path::new(&format!("/sys/block/{name}/dev"))).trim().to_owned())
        .filter(|device| !device.is_empty())
        .collect();
    let [one, two] = devices.as_slice() else { return skip("this machine has no two block devices loop0, loop1") };
    let c = limited(b, &json!({"unified": {"io.max": format!("{one} rbps=1048576\n{two} wiops=300")}}))?;
    let now = IO_MAX.read(c.pid()?)?;
    let has = |device: &str, word: &str| now.lines().any(|line| line.starts_with(device) && line.contains(word));
    ensure!(has(one, "rbps=1048576") && has(two, "wiops=300"), "io.max reads {now:?}");
    Ok(())
}

fn enables(b: &Harness) -> Result<()> {
    need_v2()?;
    need_controller("pids")?;
    let group = cgroup::Group::new(&b.fresh_name())?;
    let mut c = crate::container::Container::new(b)?;
    let path = format!("{}/{}", group.path, c.id);
    c.config["linux"]["cgroupsPath"] = json!(path);
    c.config["linux"]["resources"] = json!({"unified": {"pids.max": "44"}});
    c.create().ok()?;
    PIDS.must_be(c.pid()?, "", "44")?;
    b.call(["delete", "--force", &c.id]).ok().map(drop)
}

fn wins(b: &Harness) -> Result<()> {
    need_v2()?;
    for controller in ["pids", "memory"] {
        need_controller(controller)?;
    }
    let c = limited(
        b,
        &json!({
            "pids": {"limit": 33}, "memory": {"limit": 67_108_864}, "unified": {"pids.max": "44", "memory.max": "100663296"},
        }),
    )?;
    PIDS.must_be(c.pid()?, "", "44")?;
    MEMORY.must_be(c.pid()?, "", "100663296")
}

fn together(b: &Harness) -> Result<()> {
    need_v2()?;
    for controller in ["pids", "memory"] {
        need_controller(controller)?;
    }
    let c = limited(b, &json!({"pids": {"limit": 33}, "unified": {"memory.max": "100663296"}}))?;
    PIDS.must_be(c.pid()?, "", "33")?;
    MEMORY.must_be(c.pid()?, "", "100663296")
}

fn updates(b: &Harness) -> Result<()> {
    need_v2()?;
    need_controller("pids")?;
    let c = limited(b, &json!({"pids": {"limit": 33}}))?;
    update(b, &c, &json!({"unified": {"pids.max": "44"}}))?.ok()?;
    PIDS.must_be(c.pid()?, "", "44")?;
    update(b, &c, &json!({"unified": {"../pids.max": "44"}}))?.error().context("a key that leaves the directory")?;
    Ok(())
}

fn updates_property(b: &Harness) -> Result<()> {
    need_v2()?;
    need_controller("pids")?;
    let c = limited(b, &json!({"unified": {"pids.max": "44"}}))?;
    update(b, &c, &json!({"pids": {"limit": 33}}))?.ok()?;
    PIDS.must_be(c.pid()?, "", "33")
}
