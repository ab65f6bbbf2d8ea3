//! Block I/O, huge pages, network classes, processes, RDMA (checklist parts 11 and 22).

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::cgroup::{self, Limit, PIDS, has_controller, is_v2, need_controller, need_v1, need_v2};
use crate::checks::{limited, limits_refused};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};

const WEIGHT_BFQ: Limit = Limit("blkio", "blkio.bfq.weight", "io.bfq.weight");

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "BL-1", title: "blockIO.weight is written", run: weight },
    Test { id: "BL-1", title: "blockIO.weight where the kernel has no weights is an error", run: no_weight },
    Test {
        id: "BL-1",
        title: "blockIO.weight outside of 10 to 1000 is an error",
        run: |b| {
            need_weights(b)?;
            block_refused(
                b,
                &[json!({"weight": 9}), json!({"weight": 1001}), json!({"weight": 65_536}), json!({"weight": -1})],
            )
        },
    },
    Test {
        id: "BL-1",
        title: "blockIO.leafWeight is an error on v2, which has none",
        run: |b| {
            need_v2()?;
            block_refused(b, &[json!({"leafWeight": 100})])
        },
    },
    Test {
        id: "BL-2",
        title: "a weightDevice with neither weight nor leafWeight is an error",
        run: |b| {
            need_weights(b)?;
            let (major, minor) = disk()?;
            block_refused(b, &[json!({"weightDevice": [{"major": major, "minor": minor}]})])
        },
    },
    Test {
        id: "BL-2",
        title: "a weightDevice without a device number is an error",
        run: |b| {
            need_weights(b)?;
            block_refused(
                b,
                &[
                    json!({"weightDevice": [{"major": 7, "weight": 100}]}),
                    json!({"weightDevice": [{"minor": 0, "weight": 100}]}),
                ],
            )
        },
    },
    Test { id: "BL-2", title: "the weight of a weightDevice is written", run: weight_device },
    Test { id: "BL-3", title: "the four throttles of a device are written", run: throttles },
    Test { id: "BL-3", title: "a throttle with rate 0 is no limit", run: no_throttle },
    Test {
        id: "BL-3",
        title: "a throttle of a missing device is an error",
        run: |b| block_refused(b, &[json!({"throttleReadBpsDevice": [{"major": 4000, "minor": 7, "rate": 1000}]})]),
    },
    Test {
        id: "BL-3",
        title: "a throttle without a device number or a rate is an error",
        run: |b| {
            let (major, minor) = disk()?;
            block_refused(
                b,
                &[
                    json!({"throttleReadBpsDevice": [{"major": major, "rate": 1000}]}),
                    json!({"throttleWriteIOPSDevice": [{"minor": minor, "rate": 1000}]}),
                    json!({"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": "fast"}]}),
                ],
            )
        },
    },
    Test {
        id: "HU-1",
        title: "a page size that is none of the kernel's names is an error",
        run: |b| {
            need_controller("hugetlb")?;
            let sizes = ["2mb", "0MB", "2 MB", "MB", "2MiB", "02MB", "-2MB", "2TB", ""];
            limits_refused(b, &sizes.map(|size| json!({"hugepageLimits": [{"pageSize": size, "limit": 2_097_152}]})))
        },
    },
    Test {
        id: "HU-1",
        title: "a page size that this machine lacks is an error",
        run: |b| {
            need_controller("hugetlb")?;
            limits_refused(b, &[json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 3_145_728}]})])
        },
    },
    Test {
        id: "HU-1",
        title: "a limit of huge pages that nothing can enforce is an error",
        run: |b| {
            if has_controller("hugetlb") {
                return skip("this machine has the controller hugetlb");
            }
            limits_refused(b, &[json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]})])
        },
    },
    Test { id: "HU-1", title: "a limit of huge pages is written, that of reservations too", run: huge },
    Test { id: "NW-1", title: "network.classID is written", run: class },
    Test { id: "NW-1", title: "network limits that nothing can enforce are an error", run: no_class },
    Test { id: "PI-1", title: "pids.limit is in force", run: pids_in_force },
    Test { id: "PI-1", title: "pids.limit is written", run: |b| pids(b, 77, "77") },
    Test { id: "PI-1", title: "pids.limit -1 is no limit", run: |b| pids(b, -1, "max") },
    Test {
        id: "PI-1",
        title: "pids.limit 0 is a limit, and the program runs",
        run: |b| {
            // runc writes 1, which is the same for a program that runs already
            pids(b, 0, "0").or_else(|_| pids(b, 0, "1"))?;
            let mut c = Container::new(b)?;
            c.config["process"]["args"] = json!(["echo", "alone"]);
            c.config["linux"]["resources"] = json!({"pids": {"limit": 0}});
            let out = c.run()?;
            ensure!(out == "alone\n", "it printed {out:?}");
            Ok(())
        },
    },
    Test {
        id: "PI-1",
        title: "no pids object is no limit",
        run: |b| {
            need_controller("pids")?;
            PIDS.must_be(limited(b, &json!({}))?.pid()?, "max", "max")
        },
    },
    Test {
        id: "PI-1",
        title: "pids.limit that is no number is an error",
        run: |b| {
            limits_refused(
                b,
                &[json!({"pids": {"limit": "many"}}), json!({"pids": {"limit": 1.5}}), json!({"pids": 4})],
            )
        },
    },
    Test {
        id: "RD-1",
        title: "an rdma device with neither handles nor objects is an error",
        run: |b| {
            need_controller("rdma")?;
            limits_refused(b, &[json!({"rdma": {"mlx5_1": {}}})])
        },
    },
    Test {
        id: "RD-1",
        title: "rdma limits that are no counts are an error",
        run: |b| {
            need_controller("rdma")?;
            limits_refused(
                b,
                &[json!({"rdma": {"mlx5_1": {"hcaHandles": -1}}}), json!({"rdma": {"mlx5_1": {"hcaObjects": "x"}}})],
            )
        },
    },
    Test {
        id: "RD-1",
        title: "rdma limits that nothing can enforce are an error",
        run: |b| {
            if has_controller("rdma") {
                return skip("this machine has the controller rdma");
            }
            limits_refused(b, &[json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 4}}})])
        },
    },
    Test { id: "RD-1", title: "rdma limits are written", run: rdma },
];

/// Returns the name of the controller of block devices on this machine.
fn block_controller() -> &'static str {
    if is_v2() { "io" } else { "blkio" }
}

fn block_refused(b: &Harness, values: &[Value]) -> Result<()> {
    need_controller(block_controller())?;
    let values: Vec<Value> = values.iter().map(|value| json!({"blockIO": value})).collect();
    limits_refused(b, &values)
}

/// Returns a whole disk of this machine; skips the test where there is none.
fn disk() -> Result<(u32, u32)> {
    match disks(|_| true).first() {
        Some(disk) => Ok(*disk),
        None => skip("this machine has no block device"),
    }
}

/// Returns a disk whose I/O scheduler has weights; skips the test where there is none.
fn bfq_disk() -> Result<(u32, u32)> {
    match disks(|dir| read(&dir.join("queue/scheduler")).contains("[bfq]")).first() {
        Some(disk) => Ok(*disk),
        None => skip("no block device of this machine is scheduled by BFQ, which alone knows weights"),
    }
}

fn disks(wanted: fn(&Path) -> bool) -> Vec<(u32, u32)> {
    let mut disks: Vec<(u32, u32)> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| wanted(&entry.path()))
        .filter_map(|entry| {
            let text = read(&entry.path().join("dev"));
            let (major, minor) = text.trim().split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
        .collect();
    disks.sort_unstable();
    disks
}

/// Returns the content of a file of a container's block I/O controller, v1 or v2; `None` where the kernel has no such
/// file.
fn block_file(c: &Container<'_>, v1: &str, v2: &str) -> Result<Option<String>> {
    let controller = block_controller();
    let dir = cgroup::dir(controller, &cgroup::path_of(c.pid()?, controller)?);
    Ok(fs::read_to_string(dir.join(if is_v2() { v2 } else { v1 })).ok())
}

/// Returns the name of the weight file on v1 and on v2 if this kernel has one, by a container's cgroup.
fn weight_file(b: &Harness) -> Result<Option<(&'static str, &'static str)>> {
    need_controller(block_controller())?;
    let (major, minor) = disk()?;
    // with a limit the runtime enables the controller
    let limit = json!([{"major": major, "minor": minor, "rate": 1_000_000_000}]);
    let c = limited(b, &json!({"blockIO": {"throttleReadBpsDevice": limit}}))?;
    for (v1, v2) in [(WEIGHT_BFQ.1, WEIGHT_BFQ.2), ("blkio.weight", "io.weight")] {
        if block_file(&c, v1, v2)?.is_some() {
            return Ok(Some((v1, v2)));
        }
    }
    Ok(None)
}

/// Returns the name of the weight file on v1 and on v2; skips the test where the kernel has no weights.
fn need_weights(b: &Harness) -> Result<(&'static str, &'static str)> {
    match weight_file(b)? {
        Some(files) => Ok(files),
        None => skip("this kernel has no block I/O weights"),
    }
}

fn weight(b: &Harness) -> Result<()> {
    let (v1, v2) = need_weights(b)?;
    let c = limited(b, &json!({"blockIO": {"weight": 500}}))?;
    let now = block_file(&c, v1, v2)?.unwrap_or_default();
    // io.weight has a scale of its own: 1 + (500 - 10) * 9999 / 990
    let wanted = if is_v2() && v2 == "io.weight" { "4950" } else { "500" };
    ensure!(now.trim().trim_start_matches("default ") == wanted, "the weight reads {now:?}, it has to read {wanted}");
    Ok(())
}

fn no_weight(b: &Harness) -> Result<()> {
    if weight_file(b)?.is_some() {
        return skip("this kernel has block I/O weights");
    }
    block_refused(b, &[json!({"weight": 500})])
}

fn weight_device(b: &Harness) -> Result<()> {
    let (v1, v2) = need_weights(b)?;
    let (major, minor) = if v2 == "io.weight" { disk()? } else { bfq_disk()? };
    let (v1, scale) = (format!("{v1}_device"), v2 == "io.weight" && is_v2());
    let c = limited(b, &json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 500}]}}))?;
    let now = block_file(&c, &v1, v2)?.unwrap_or_default();
    let wanted = format!("{major}:{minor} {}", if scale { 4950 } else { 500 });
    ensure!(now.lines().any(|line| line == wanted), "the weights read {now:?}, a line has to read {wanted:?}");
    Ok(())
}

const THROTTLES: [(&str, &str, &str, u32); 4] = [
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", 1_048_576),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", 2_097_152),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", 300),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", 400),
];

fn throttles(b: &Harness) -> Result<()> {
    need_controller(block_controller())?;
    let (major, minor) = disk()?;
    let mut block = json!({});
    for (name, _, _, rate) in THROTTLES {
        block[name] = json!([{"major": major, "minor": minor, "rate": rate}]);
    }
    let c = limited(b, &json!({"blockIO": block}))?;
    for (name, v1, key, rate) in THROTTLES {
        let now = block_file(&c, v1, "io.max")?.unwrap_or_default();
        let line = now.lines().find(|line| line.starts_with(&format!("{major}:{minor} "))).unwrap_or_default();
        let wanted = if is_v2() { format!("{key}={rate}") } else { rate.to_string() };
        ensure!(line.split(' ').any(|word| word == wanted), "{name} {rate}: the file reads {now:?}");
    }
    Ok(())
}

fn no_throttle(b: &Harness) -> Result<()> {
    need_controller(block_controller())?;
    let (major, minor) = disk()?;
    let limits = json!([{"major": major, "minor": minor, "rate": 0}]);
    let c = limited(b, &json!({"blockIO": {"throttleReadBpsDevice": limits}}))?;
    let now = block_file(&c, "blkio.throttle.read_bps_device", "io.max")?.unwrap_or_default();
    let limited = now.lines().any(|line| line.starts_with(&format!("{major}:{minor} ")) && !line.contains("rbps=max"));
    ensure!(!limited, "rate 0: the file reads {now:?}");
    Ok(())
}

fn huge(b: &Harness) -> Result<()> {
    need_controller("hugetlb")?;
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        return skip("this machine has no huge pages of 2 MiB");
    }
    let c = limited(b, &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}))?;
    let pid = c.pid()?;
    Limit("hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max").must_be(pid, "4194304", "4194304")?;
    Limit("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max").must_be(pid, "4194304", "4194304")
}

fn class(b: &Harness) -> Result<()> {
    need_v1()?;
    need_controller("net_cls")?;
    let c = limited(b, &json!({"network": {"classID": 1_048_577}}))?;
    Limit("net_cls", "net_cls.classid", "").must_be(c.pid()?, "1048577", "")
}

fn no_class(b: &Harness) -> Result<()> {
    let mut values = Vec::new();
    if !has_controller("net_cls") {
        values.push(json!({"network": {"classID": 1_048_577}}));
    }
    if !has_controller("net_prio") {
        values.push(json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}}));
    }
    if values.is_empty() {
        return skip("this machine has net_cls and net_prio");
    }
    limits_refused(b, &values)
}

fn pids(b: &Harness, limit: i64, wanted: &str) -> Result<()> {
    need_controller("pids")?;
    let c = limited(b, &json!({"pids": {"limit": limit}}))?;
    PIDS.must_be(c.pid()?, wanted, wanted)
}

fn pids_in_force(b: &Harness) -> Result<()> {
    need_controller("pids")?;
    let mut c = Container::script(b, "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo started")?;
    c.config["linux"]["resources"] = json!({"pids": {"limit": 4}});
    let out = c.run()?;
    let refused = out.to_lowercase().contains("resource temporarily unavailable");
    ensure!(!out.contains("started") && refused, "six processes where four are allowed: it printed {out:?}");
    Ok(())
}

fn rdma(b: &Harness) -> Result<()> {
    need_controller("rdma")?;
    let Some(device) = fs::read_dir("/sys/class/infiniband").into_iter().flatten().flatten().next() else {
        return skip("this machine has no RDMA device");
    };
    let device = device.file_name().to_string_lossy().into_owned();
    let c = limited(b, &json!({"rdma": {&device: {"hcaHandles": 3, "hcaObjects": 4}}}))?;
    let now = Limit("rdma", "rdma.max", "rdma.max").read(c.pid()?)?;
    let wanted = format!("{device} hca_handle=3 hca_object=4");
    ensure!(now.lines().any(|line| line == wanted), "rdma.max reads {now:?}, a line has to read {wanted:?}");
    Ok(())
}
