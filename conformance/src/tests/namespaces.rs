//! Namespaces and id maps (checklist part 7).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Test;
use crate::checks::refused_or_created;
use crate::container::Container;
use crate::harness::Harness;
use crate::proc_facts::Facts;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "NS-2", title: "listed namespaces are new, others are the runtime's", run: ns_2 },
    Test { id: "NS-2", title: "a namespace with a path is joined", run: ns_2_path },
    Test { id: "NS-2", title: "a relative path of a namespace is an error", run: ns_2_relative },
    Test { id: "NS-3", title: "a path that is no namespace of that type is an error", run: ns_3 },
    Test { id: "NS-4", title: "two namespaces of one type are an error", run: ns_4 },
    Test { id: "NS-5", title: "masked paths without a mount namespace are an error", run: ns_5 },
    Test { id: "UM-1", title: "a user namespace has the configured maps", run: um_1 },
    Test {
        id: "UM-1",
        title: "maps need a user namespace; one without maps is an error or has root alone",
        run: um_1_bad,
    },
    Test { id: "TM-1", title: "offsets of a time namespace are set; without one they are an error", run: tm_1 },
];

const KINDS: [(&str, &str); 5] = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("mount", "mnt"), ("pid", "pid")];

fn own(file: &str) -> Result<String> {
    Ok(fs::read_link(format!("/proc/self/ns/{file}"))?.to_string_lossy().into_owned())
}

fn ns_2(b: &Harness) -> Result<()> {
    let mut c = Container::script(
        b,
        "for n in net ipc uts mnt pid user cgroup; do echo $n $(readlink /proc/self/ns/$n); done; echo pid $$",
    )?;
    c.config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}]);
    // sysfs shows the network namespace in which it is mounted, so that this container may not mount it
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let out = c.run()?;
    for (file, new) in [("pid", true), ("ipc", true), ("mnt", true), ("net", false), ("uts", false), ("user", false)] {
        let line = format!("{file} {}\n", own(file)?);
        ensure!(out.contains(&line) != new, "{file} has to be {}: {out}", if new { "new" } else { "the runtime's" });
    }
    ensure!(out.ends_with("pid 1\n"), "the program is not process 1: {out}");
    Ok(())
}

fn ns_2_path(b: &Harness) -> Result<()> {
    let holder = Container::running(b)?;
    let pid = holder.pid()?;
    let mut c = Container::script(b, "for n in net ipc uts; do readlink /proc/self/ns/$n; done")?;
    let joined = |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")});
    c.config["linux"]["namespaces"] = json!([joined("network", "net"), joined("ipc", "ipc"), joined("uts", "uts"), {"type": "mount"}, {"type": "pid"}]);
    let out = c.run()?;
    let mut wanted = String::new();
    for file in ["net", "ipc", "uts"] {
        wanted += &format!("{}\n", fs::read_link(format!("/proc/{pid}/ns/{file}"))?.display());
    }
    ensure!(out == wanted, "it is in {out:?}, it has to be in {wanted:?}");
    holder.must_be("running")
}

fn ns_2_relative(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["namespaces"] =
        json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "proc/self/ns/net"}]);
    c.must_be_refused()?;
    Ok(())
}

fn ns_3(b: &Harness) -> Result<()> {
    for (kind, file) in KINDS {
        let other = if file == "uts" { "/proc/self/ns/ipc" } else { "/proc/self/ns/uts" };
        for path in [other, "/etc/passwd", "/nonexistent"] {
            let mut c = Container::new(b)?;
            let rest: Vec<_> = KINDS.iter().filter(|k| k.0 != kind).map(|k| json!({"type": k.0})).collect();
            c.config["linux"]["namespaces"] = json!(rest);
            c.push(&["linux", "namespaces"], json!({"type": kind, "path": path}));
            c.must_be_refused().with_context(|| format!("{kind} at {path}"))?;
        }
    }
    Ok(())
}

fn ns_4(b: &Harness) -> Result<()> {
    for second in [json!({"type": "network"}), json!({"type": "network", "path": "/proc/self/ns/net"})] {
        let mut c = Container::new(b)?;
        c.push(&["linux", "namespaces"], second);
        c.must_be_refused()?;
    }
    Ok(())
}

fn ns_5(b: &Harness) -> Result<()> {
    for list in ["maskedPaths", "readonlyPaths"] {
        let mut c = Container::new(b)?;
        c.config["mounts"] = json!([]);
        c.config["linux"] = json!({"namespaces": [{"type": "pid"}], list: ["/tmp"]});
        c.must_be_refused().context(list)?;
    }
    Ok(())
}

fn um_1(b: &Harness) -> Result<()> {
    let mut c =
        Container::script(b, "tr -s ' ' </proc/self/uid_map; tr -s ' ' </proc/self/gid_map; id -u; stat -c %u /")?;
    // without sysfs and devices, whose mounting depends on more than the user namespace
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    c.push(&["linux", "namespaces"], json!({"type": "user"}));
    c.config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 10000, "size": 2000}]);
    c.config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 20000, "size": 3000}]);
    std::os::unix::fs::chown(c.path("/"), Some(10000), Some(20000))?;
    std::os::unix::fs::chown(c.path("/dev"), Some(10000), Some(20000))?;
    let out = c.run()?;
    ensure!(out == " 0 10000 2000\n 0 20000 3000\n0\n0\n", "it printed {out:?}");
    Ok(())
}

fn um_1_bad(b: &Harness) -> Result<()> {
    let map = json!([{"containerID": 0, "hostID": 10000, "size": 2000}]);
    let mut c = Container::new(b)?;
    c.push(&["linux", "namespaces"], json!({"type": "user"}));
    // runc refuses it, crun maps root
    if refused_or_created(&c).context("no maps")? {
        let map = Facts::of(&c)?.read("uid_map")?;
        let words: Vec<_> = map.split_whitespace().collect();
        ensure!(matches!(words.as_slice(), ["0", _, "1"]), "without maps: {map:?}");
    }
    let mut c = Container::new(b)?;
    c.config["linux"]["uidMappings"] = map.clone();
    c.config["linux"]["gidMappings"] = map;
    c.must_be_refused().context("no user namespace")?;
    let mut c = Container::new(b)?;
    c.push(&["linux", "namespaces"], json!({"type": "user"}));
    let empty = json!([{"containerID": 0, "hostID": 10000, "size": 0}]);
    c.config["linux"]["uidMappings"] = empty.clone();
    c.config["linux"]["gidMappings"] = empty;
    c.must_be_refused().context("size 0")?;
    Ok(())
}

fn tm_1(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "tr -s ' ' </proc/self/timens_offsets")?;
    c.push(&["linux", "namespaces"], json!({"type": "time"}));
    c.config["linux"]["timeOffsets"] =
        json!({"monotonic": {"secs": 172_800}, "boottime": {"secs": 604_800, "nanosecs": 7}});
    let out = c.run()?;
    ensure!(out == "monotonic 172800 0\nboottime 604800 7\n", "it printed {out:?}");
    let mut c = Container::new(b)?;
    c.config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1}});
    c.must_be_refused()?;
    Ok(())
}
