//! The NUMA policy of the container's memory (checklist part 14).

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::checks::{need_verb, refused};
use crate::container::Container;
use crate::harness::{Harness, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "MP-1", title: "each mode of memoryPolicy is applied", run: modes },
    Test { id: "MP-1", title: "each flag of memoryPolicy is applied", run: flags },
    Test {
        id: "MP-1",
        title: "a memoryPolicy without a mode, or with an unknown one, is an error",
        run: |b| {
            need_numa()?;
            refused(
                b,
                POLICY,
                &[
                    json!({}),
                    json!({"nodes": "0"}),
                    json!({"mode": ""}),
                    json!({"mode": "MPOL_NOSUCH"}),
                    json!({"mode": "bind", "nodes": "0"}),
                ],
            )
        },
    },
    Test {
        id: "MP-1",
        title: "an unknown flag of memoryPolicy is an error",
        run: |b| {
            need_numa()?;
            refused(b, POLICY, &[json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOSUCH"]})])
        },
    },
    Test {
        id: "MP-1",
        title: "nodes of memoryPolicy that are no list are an error",
        run: |b| {
            need_numa()?;
            refused(
                b,
                POLICY,
                &["x", "0-", "1-0", "0;1", "-1"].map(|nodes| json!({"mode": "MPOL_BIND", "nodes": nodes})),
            )
        },
    },
    Test {
        id: "MP-2",
        title: "DEFAULT and LOCAL with nodes are an error",
        run: |b| {
            need_numa()?;
            refused(
                b,
                POLICY,
                &[json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), json!({"mode": "MPOL_LOCAL", "nodes": "0"})],
            )
        },
    },
    Test {
        id: "MP-2",
        title: "BIND, INTERLEAVE and PREFERRED_MANY without nodes are an error",
        run: |b| {
            need_numa()?;
            let modes = ["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY"];
            refused(b, POLICY, &modes.map(|mode| json!({"mode": mode, "nodes": ""})))
        },
    },
    Test {
        id: "MP-2",
        title: "a node that the machine lacks is an error",
        run: |b| {
            need_numa()?;
            refused(b, POLICY, &[json!({"mode": "MPOL_BIND", "nodes": "900"})])
        },
    },
    Test { id: "MP-2", title: "memoryPolicy holds for a process of exec too", run: in_exec },
    Test {
        id: "MP-2",
        title: "without memoryPolicy the policy is the caller's",
        run: |b| {
            need_numa()?;
            let facts = Container::probe(b, &[])?.facts()?;
            ensure!(facts["memory_policy"]["mode"] == 0, "the policy is {}", facts["memory_policy"]);
            Ok(())
        },
    },
];

const POLICY: &[&str] = &["linux", "memoryPolicy"];

/// Skips the test where the kernel has no NUMA policies.
fn need_numa() -> Result<()> {
    if std::path::Path::new("/proc/self/numa_maps").exists() { Ok(()) } else { skip("this kernel has no NUMA") }
}

/// Returns the policy that the program reads by `get_mempolicy(2)`.
fn policy(b: &Harness, policy: &Value) -> Result<Value> {
    let mut c = Container::probe(b, &[])?;
    c.set(POLICY, policy.clone());
    Ok(c.facts()?["memory_policy"].clone())
}

fn modes(b: &Harness) -> Result<()> {
    need_numa()?;
    let rows = [
        ("MPOL_DEFAULT", "", json!({"mode": 0, "nodes": []})),
        ("MPOL_PREFERRED", "0", json!({"mode": 1, "nodes": [0]})),
        ("MPOL_BIND", "0", json!({"mode": 2, "nodes": [0]})),
        ("MPOL_INTERLEAVE", "0", json!({"mode": 3, "nodes": [0]})),
        ("MPOL_LOCAL", "", json!({"mode": 4, "nodes": []})),
        ("MPOL_PREFERRED_MANY", "0", json!({"mode": 5, "nodes": [0]})),
    ];
    for (mode, nodes, wanted) in rows {
        let now = policy(b, &json!({"mode": mode, "nodes": nodes}))?;
        ensure!(now == wanted, "{mode} {nodes:?}: the policy is {now}, it has to be {wanted}");
    }
    Ok(())
}

fn flags(b: &Harness) -> Result<()> {
    need_numa()?;
    for (flag, bit) in [("MPOL_F_STATIC_NODES", 1 << 15), ("MPOL_F_RELATIVE_NODES", 1 << 14)] {
        let now = policy(b, &json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}))?;
        let wanted = json!({"mode": 2 | bit, "nodes": [0]});
        ensure!(now == wanted, "MPOL_BIND with {flag}: the policy is {now}, it has to be {wanted}");
    }
    Ok(())
}

fn in_exec(b: &Harness) -> Result<()> {
    need_numa()?;
    need_verb(b, "exec")?;
    let mut c = Container::probe(b, &["hold"])?;
    c.set(POLICY, json!({"mode": "MPOL_BIND", "nodes": "0"}));
    c.create().ok()?;
    c.start().ok()?;
    let now = c.exec_probe(&[], &[])?["memory_policy"].clone();
    ensure!(now == json!({"mode": 2, "nodes": [0]}), "the policy in exec is {now}");
    Ok(())
}
