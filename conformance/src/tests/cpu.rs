//! CPU time and CPU sets (checklist parts 11 and 22).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::cgroup::{
    BURST, CPUS, IDLE, Limit, MEMS, PERIOD, QUOTA, SHARES, has_controller, need_controller, need_v1, need_v2,
};
use crate::checks::{limited, limits_refused, refused};
use crate::container::Container;
use crate::harness::{Harness, skip};

const RT_RUNTIME: Limit = Limit("cpu", "cpu.rt_runtime_us", "-");
const RT_PERIOD: Limit = Limit("cpu", "cpu.rt_period_us", "-");

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "CP-1",
        title: "cpu.shares is written, on v2 as a weight",
        run: |b| reads(b, &SHARES, json!({"shares": 512}), "512", "59"),
    },
    Test {
        id: "CP-1",
        title: "cpu.shares 0 sets nothing",
        run: |b| reads(b, &SHARES, json!({"shares": 0}), "1024", "100"),
    },
    Test {
        id: "CP-1",
        title: "cpu.shares 1024, the default of v1, is weight 100, the default of v2",
        run: |b| reads(b, &SHARES, json!({"shares": 1024}), "1024", "100"),
    },
    Test {
        id: "CP-1",
        title: "cpu.shares at the ends of the range are the ends of the weights",
        run: |b| {
            reads(b, &SHARES, json!({"shares": 2}), "2", "1")?;
            reads(b, &SHARES, json!({"shares": 262_144}), "262144", "10000")
        },
    },
    Test {
        id: "CP-1",
        title: "cpu.shares beyond the range are the nearest weight that v2 has",
        run: |b| {
            need_v2()?;
            reads(b, &SHARES, json!({"shares": 1}), "2", "1")?;
            reads(b, &SHARES, json!({"shares": 1_000_000}), "262144", "10000")
        },
    },
    Test {
        id: "CP-1",
        title: "cpu.shares between follow the customary curve",
        run: |b| {
            need_v2()?;
            for (shares, weight) in [(3, "2"), (256, "35"), (2048, "174"), (4096, "303"), (100_000, "4340")] {
                reads(b, &SHARES, json!({"shares": shares}), "", weight).with_context(|| format!("{shares} shares"))?;
            }
            Ok(())
        },
    },
    Test {
        id: "CP-1",
        title: "cpu.shares that are no number are an error",
        run: |b| cpu_refused(b, &[json!({"shares": "many"}), json!({"shares": -5})]),
    },
    Test {
        id: "CP-2",
        title: "cpu.quota and cpu.period are written",
        run: |b| {
            let cpu = json!({"quota": 30_000, "period": 50_000});
            reads(b, &QUOTA, cpu.clone(), "30000", "30000 50000")?;
            reads(b, &PERIOD, cpu, "50000", "30000 50000")
        },
    },
    Test {
        id: "CP-2",
        title: "cpu.quota without a period is of 100 ms",
        run: |b| reads(b, &QUOTA, json!({"quota": 30_000}), "30000", "30000 100000"),
    },
    Test {
        id: "CP-2",
        title: "cpu.period without a quota sets no limit",
        run: |b| reads(b, &PERIOD, json!({"period": 50_000}), "50000", "max 50000"),
    },
    Test {
        id: "CP-2",
        title: "cpu.quota -1 is no limit",
        run: |b| reads(b, &QUOTA, json!({"quota": -1, "period": 50_000}), "-1", "max 50000"),
    },
    Test {
        id: "CP-2",
        title: "cpu.period outside of 1 ms to 1 s is an error",
        run: |b| cpu_refused(b, &[json!({"quota": 1000, "period": 999}), json!({"quota": 1000, "period": 1_000_001})]),
    },
    Test {
        id: "CP-2",
        title: "cpu.quota below 1 ms is an error",
        run: |b| cpu_refused(b, &[json!({"quota": 999, "period": 100_000})]),
    },
    Test {
        id: "CP-2",
        title: "cpu.burst is written",
        run: |b| reads(b, &BURST, json!({"quota": 50_000, "period": 100_000, "burst": 20_000}), "20000", "20000"),
    },
    Test {
        id: "CP-2",
        title: "cpu.burst above the quota is an error, or is what the kernel keeps",
        run: |b| {
            reads(b, &BURST, json!({"quota": 50_000, "period": 100_000, "burst": 50_000}), "50000", "50000")?;
            cpu_refused(b, &[json!({"quota": 50_000, "period": 100_000, "burst": 50_001})])
        },
    },
    Test { id: "CP-3", title: "real-time runtime and period are written on v1", run: real_time },
    Test {
        id: "CP-3",
        title: "a real-time runtime above the period is an error",
        run: |b| cpu_refused(b, &[json!({"realtimeRuntime": 2_000_000, "realtimePeriod": 1_000_000})]),
    },
    Test {
        id: "CP-3",
        title: "real-time limits are an error on v2, which has none",
        run: |b| {
            need_v2()?;
            cpu_refused(b, &[json!({"realtimeRuntime": 1000}), json!({"realtimePeriod": 1_000_000})])
        },
    },
    Test { id: "CP-4", title: "cpu.cpus and cpu.mems are in force", run: cpuset },
    Test {
        id: "CP-4",
        title: "a CPU or a node that the machine lacks is an error",
        run: |b| {
            // refused on a machine without the controller too, because the limit is not available there
            cpu_refused(b, &[json!({"cpus": "4000"}), json!({"mems": "900"})])
        },
    },
    Test {
        id: "CP-4",
        title: "cpu.cpus or cpu.mems that is no list is an error",
        run: |b| {
            need_controller("cpuset")?;
            cpu_refused(
                b,
                &[json!({"cpus": "x"}), json!({"cpus": "1-"}), json!({"mems": "0;1"}), json!({"cpus": "3-1"})],
            )
        },
    },
    Test {
        id: "CP-4",
        title: "CPU limits that no controller of the machine can set are an error",
        run: without_controller,
    },
    Test { id: "CP-5", title: "cpu.idle 1 is in force", run: |b| reads(b, &IDLE, json!({"idle": 1}), "1", "1") },
    Test {
        id: "CP-5",
        title: "cpu.idle is accepted together with shares",
        run: |b| reads(b, &IDLE, json!({"idle": 1, "shares": 512}), "1", "1"),
    },
    Test {
        id: "CP-5",
        title: "cpu.idle 0 is an ordinary container",
        run: |b| reads(b, &SHARES, json!({"idle": 0, "shares": 512}), "512", "59"),
    },
    Test {
        id: "CP-5",
        title: "cpu.idle is 0 or 1, else an error",
        run: |b| cpu_refused(b, &[json!({"idle": 2}), json!({"idle": -1}), json!({"idle": "yes"})]),
    },
];

fn reads(b: &Harness, limit: &Limit, cpu: Value, v1: &str, v2: &str) -> Result<()> {
    need_controller("cpu")?;
    // this kernel lacks the file, so that a runtime may refuse the value
    let plain = limited(b, &json!({"cpu": {"shares": 1000}}))?;
    limit.read(plain.pid()?)?;
    let c = limited(b, &json!({"cpu": cpu}))?;
    limit.must_be(c.pid()?, v1, v2)
}

fn cpu_refused(b: &Harness, values: &[Value]) -> Result<()> {
    need_controller("cpu")?;
    let values: Vec<Value> = values.iter().map(|value| json!({"cpu": value})).collect();
    limits_refused(b, &values)
}

fn real_time(b: &Harness) -> Result<()> {
    need_v1()?;
    need_controller("cpu")?;
    let plain = limited(b, &json!({}))?;
    RT_RUNTIME.read(plain.pid()?)?;
    // a runtime above 0 needs a share that the parent cgroup has been given
    let c = limited(b, &json!({"cpu": {"realtimeRuntime": 0, "realtimePeriod": 500_000}}))?;
    RT_PERIOD.must_be(c.pid()?, "500000", "")?;
    RT_RUNTIME.must_be(c.pid()?, "0", "")
}

fn cpuset(b: &Harness) -> Result<()> {
    need_controller("cpuset")?;
    let mut c = Container::script(b, "grep Cpus_allowed_list /proc/self/status | cut -f2; echo end; sleep 1000")?;
    c.config["linux"]["resources"] = json!({"cpu": {"cpus": "0", "mems": "0"}});
    c.create().ok()?;
    CPUS.must_be(c.pid()?, "0", "0")?;
    MEMS.must_be(c.pid()?, "0", "0")?;
    c.start().ok()?;
    c.wait_output("end")?;
    ensure!(c.output() == "0\nend\n", "the program may use the CPUs {:?}", c.output());
    Ok(())
}

fn without_controller(b: &Harness) -> Result<()> {
    let values: Vec<Value> = [("cpuset", json!({"cpus": "0"})), ("cpu", json!({"shares": 512}))]
        .into_iter()
        .filter(|(controller, _)| !has_controller(controller))
        .map(|(_, cpu)| json!({"cpu": cpu}))
        .collect();
    if values.is_empty() {
        return skip("this machine has the controllers cpu and cpuset");
    }
    refused(b, &["linux", "resources"], &values)
}
