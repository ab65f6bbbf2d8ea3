//! Shares of cache and memory bandwidth: resctrl groups (checklist part 13).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::checks::{need_verb, refused, with};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};
use crate::proc_facts::need_flag;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "RD-10",
        title: "intelRdt without resctrl is an error",
        run: |b| {
            if mount().is_some() {
                return skip("resctrl is mounted here");
            }
            refused(
                b,
                RDT,
                &[json!({"closID": "group"}), json!({"l3CacheSchema": "L3:0=f"}), json!({"memBwSchema": "MB:0=50"})],
            )
        },
    },
    Test { id: "RD-10", title: "without intelRdt no resctrl group is created", run: untouched },
    Test { id: "RD-11", title: "init is in the group of its closID", run: joins },
    Test { id: "RD-11", title: "without closID the group has the container's name", run: own_group },
    Test { id: "RD-11", title: "closID / is the root group", run: root_group },
    Test {
        id: "RD-11",
        title: "a closID that is no name is an error",
        run: |b| {
            resctrl()?;
            refused(
                b,
                RDT,
                &["..", ".", "a/b", "../x", "a\nb"].map(|name| json!({"closID": name, "l3CacheSchema": "L3:0=f"})),
            )
        },
    },
    Test { id: "RD-12", title: "schemata are written to the container's group", run: schemata },
    Test {
        id: "RD-12",
        title: "a schema of several lines, or of another resource, is an error",
        run: |b| {
            resctrl()?;
            refused(
                b,
                RDT,
                &[
                    json!({"l3CacheSchema": "L3:0=f\nL3:0=1"}),
                    json!({"memBwSchema": "MB:0=50\nMB:0=20"}),
                    json!({"memBwSchema": "L3:0=f"}),
                    json!({"schemata": ["L3:0=f\nMB:0=50"]}),
                ],
            )
        },
    },
    Test {
        id: "RD-13",
        title: "closID without schemata needs an existing group",
        run: |b| {
            resctrl()?;
            refused(b, RDT, &[json!({"closID": format!("{}-none", b.fresh_name())})])
        },
    },
    Test { id: "RD-13", title: "a schema that is not that of the existing group is an error", run: mismatch },
    Test { id: "RD-14", title: "delete removes the group that create created, and no other", run: removes },
    Test { id: "RD-15", title: "enableMonitoring creates a monitoring group, delete removes it", run: monitoring },
    Test { id: "RD-16", title: "enableCMT and enableMBM are ignored", run: old_names },
    Test { id: "RD-10", title: "update of RDT schemata without resctrl is an error", run: updated },
];

const RDT: &[&str] = &["linux", "intelRdt"];

fn mount() -> Option<PathBuf> {
    let mounts = read(Path::new("/proc/self/mounts"));
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("resctrl"))?;
    line.split(' ').nth(1).map(PathBuf::from)
}

/// Returns the mount point of resctrl; skips the test where the machine has no RDT.
pub fn resctrl() -> Result<PathBuf> {
    match mount() {
        Some(mount) => Ok(mount),
        None => skip("no resctrl is mounted here: the machine has no RDT"),
    }
}

fn created<'a>(b: &'a Harness, rdt: &Value) -> Result<Container<'a>> {
    let c = with(b, RDT, rdt)?;
    c.create().ok().with_context(|| format!("intelRdt {rdt}"))?;
    Ok(c)
}

fn has_init(group: &Path, c: &Container<'_>) -> Result<()> {
    let (tasks, pid) = (read(&group.join("tasks")), c.pid()?.to_string());
    ensure!(tasks.lines().any(|line| line == pid), "{group:?} has the tasks {tasks:?}, not init {pid}");
    Ok(())
}

/// A group that another process created; removed on drop.
struct Group(PathBuf);

impl Group {
    fn new(b: &Harness) -> Result<Self> {
        let path = resctrl()?.join(b.fresh_name());
        fs::create_dir(&path).with_context(|| format!("make {path:?}"))?;
        Ok(Self(path))
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Returns the property and the first schema of the root group, which gives a container all of the resource.
fn schema() -> Result<(&'static str, String)> {
    let text = read(&resctrl()?.join("schemata"));
    let line = |prefix: &str| text.lines().map(str::trim).find(|line| line.starts_with(prefix)).map(str::to_owned);
    match (line("L3:"), line("MB:")) {
        (Some(line), _) => Ok(("l3CacheSchema", line)),
        (_, Some(line)) => Ok(("memBwSchema", line)),
        _ => skip("this machine's RDT has neither L3 nor MB"),
    }
}

fn untouched(b: &Harness) -> Result<()> {
    let mount = resctrl()?;
    let groups = || -> Result<usize> { Ok(fs::read_dir(&mount)?.count()) };
    let before = groups()?;
    let _c = Container::created(b)?;
    ensure!(groups()? == before, "create created something in {mount:?}");
    Ok(())
}

fn joins(b: &Harness) -> Result<()> {
    let group = Group::new(b)?;
    let c = created(b, &json!({"closID": group.name()}))?;
    has_init(&group.0, &c)
}

fn own_group(b: &Harness) -> Result<()> {
    let (name, line) = schema()?;
    let c = created(b, &json!({name: line}))?;
    has_init(&resctrl()?.join(&c.id), &c)
}

fn root_group(b: &Harness) -> Result<()> {
    let mount = resctrl()?;
    let c = created(b, &json!({"closID": "/"}))?;
    has_init(&mount, &c)
}

fn schemata(b: &Harness) -> Result<()> {
    let (_, line) = schema()?;
    let c = created(b, &json!({"schemata": [line]}))?;
    let now = read(&resctrl()?.join(&c.id).join("schemata"));
    ensure!(now.lines().any(|found| found.trim() == line), "schemata reads {now:?}, a line has to read {line:?}");
    Ok(())
}

fn mismatch(b: &Harness) -> Result<()> {
    let (name, line) = schema()?;
    let group = Group::new(b)?;
    // the same resource with a different value
    let other = if name == "l3CacheSchema" { "L3:0=1".to_owned() } else { "MB:0=10".to_owned() };
    ensure!(line != other, "the machine's only schema is {line}");
    refused(b, RDT, &[json!({"closID": group.name(), name: other})])
}

fn removes(b: &Harness) -> Result<()> {
    let (name, line) = schema()?;
    let group = Group::new(b)?;
    for rdt in [json!({"closID": group.name()}), json!({name: line})] {
        let c = created(b, &rdt)?;
        b.call(["delete", "--force", &c.id]).ok()?;
        ensure!(!resctrl()?.join(&c.id).exists(), "delete left the container's own group");
    }
    ensure!(group.0.exists(), "delete removed a group that the runtime did not create");
    Ok(())
}

fn monitoring(b: &Harness) -> Result<()> {
    let group = Group::new(b)?;
    if !group.0.join("mon_groups").exists() {
        return skip("this machine's RDT does not monitor");
    }
    let c = created(b, &json!({"closID": group.name(), "enableMonitoring": true}))?;
    let monitor = group.0.join("mon_groups").join(&c.id);
    has_init(&monitor, &c)?;
    b.call(["delete", "--force", &c.id]).ok()?;
    ensure!(!monitor.exists(), "delete left {monitor:?}");
    Ok(())
}

fn old_names(b: &Harness) -> Result<()> {
    let group = Group::new(b)?;
    let c = created(b, &json!({"closID": group.name(), "enableCMT": true, "enableMBM": true}))?;
    ensure!(!group.0.join("mon_groups").join(&c.id).exists(), "a monitoring group was created");
    Ok(())
}

fn updated(b: &Harness) -> Result<()> {
    if mount().is_some() {
        return skip("resctrl is mounted here");
    }
    need_verb(b, "update")?;
    need_flag(b, "update", "--l3-cache-schema")?;
    let c = Container::running(b)?;
    b.call(["update", "--l3-cache-schema", "L3:0=f", &c.id]).error()?;
    Ok(())
}
