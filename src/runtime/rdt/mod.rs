//! The container's group in resctrl (Intel RDT): found or created, configured, joined, and removed with the container.
//!
//! `plan::rdt` decides the group and what is written. resctrl is a file system: mkdir(2) creates a group, `tasks` takes
//! one pid a write, `schemata` one or more lines a write, `info/last_cmd_status` has the reason why the last write
//! failed.

use base::coded;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::sys::statfs::{FsType, statfs};

use crate::plan::rdt::RdtPlan;
use crate::plan::rdt::RdtRecord;
use base::mountinfo;

/// Customary mount point.
const USUAL: &str = "/sys/fs/resctrl";
const SCHEMATA: &str = "schemata";
const TASKS: &str = "tasks";

/// Returns the mount point of resctrl (RD-10).
///
/// # Errors
/// resctrl is not mounted.
pub(crate) fn find_mount() -> Result<PathBuf> {
    let magic = FsType(libc::RDTGROUP_SUPER_MAGIC as _);
    if statfs(USUAL).is_ok_and(|stat| stat.filesystem_type() == magic) {
        return Ok(PathBuf::from(USUAL));
    }
    let mounts = mountinfo::read("/proc/thread-self/mountinfo").context("linux.intelRdt: read the mounts")?;
    match mounts.into_iter().find(|mount| mount.fs_type == b"resctrl") {
        Some(mount) => Ok(mount.mount_point),
        None => bail!(coded!(RdtFailed, "linux.intelRdt: resctrl is not mounted (mount -t resctrl resctrl {USUAL})")),
    }
}

/// Checks, without a change, whether the group is as configured (RD-13); returns the record of what [`apply`] will
/// create, for the journal.
///
/// # Errors
/// A group that must exist does not, or has other values; a monitoring group of this name exists.
pub(crate) fn probe(plan: &RdtPlan, mount: &Path) -> Result<RdtRecord> {
    let group = plan.group_dir(mount);
    let exists = group.is_dir();
    if exists {
        check_same(plan, &group)?;
    } else if plan.shared && plan.lines.is_empty() {
        bail!(coded!(
            RdtFailed,
            "linux.intelRdt.closID: there is no group {:?}, and no schema to create one with",
            plan.group
        ));
    }
    let mut record = RdtRecord { groups: vec![group.clone()], created: Vec::new() };
    if let Some(monitor) = plan.monitor_dir(mount) {
        if monitor.is_dir() {
            bail!(coded!(RdtFailed, "linux.intelRdt.enableMonitoring: {monitor:?} exists already"));
        }
        record.groups.push(monitor.clone());
        record.created.push(monitor);
    }
    // RD-14: a group of closID is not removed, also one that croci has created
    if !exists && !plan.shared {
        record.created.push(group);
    }
    Ok(record)
}

/// Creates missing groups and writes the schemata. On a failure removes what it created, and clears that from `record`.
///
/// # Errors
/// No more groups, or this machine refuses a schema; the message is the kernel's.
pub(crate) fn apply(plan: &RdtPlan, mount: &Path, record: &mut RdtRecord) -> Result<()> {
    let mut created = Vec::new();
    let result = make(plan, mount, record, &mut created);
    if result.is_err() {
        record.created.clear();
        for dir in created.iter().rev() {
            let _ = fs::remove_dir(dir);
        }
    }
    result
}

fn make(plan: &RdtPlan, mount: &Path, record: &RdtRecord, created: &mut Vec<PathBuf>) -> Result<()> {
    let group = plan.group_dir(mount);
    match fs::create_dir(&group) {
        Ok(()) => created.push(group.clone()),
        // an existing group is refused where `delete` would remove it
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && !record.created.contains(&group) => {}
        Err(err) => {
            return Err(explain(err, mount)).with_context(|| format!("linux.intelRdt: create the group {group:?}"));
        }
    }
    write_schemata(&plan.lines, &group, mount)?;
    if let Some(monitor) = plan.monitor_dir(mount) {
        fs::create_dir(&monitor)
            .map_err(|err| explain(err, mount))
            .with_context(|| format!("linux.intelRdt.enableMonitoring: create {monitor:?}"))?;
        created.push(monitor);
    }
    Ok(())
}

/// Writes new schemas, as (name for errors, line), into the container's group.
///
/// # Errors
/// This machine refuses a schema; the message is the kernel's. Those before it are in force.
pub(crate) fn change(record: &RdtRecord, mount: &Path, lines: &[(String, String)]) -> Result<()> {
    record.groups.first().map_or(Ok(()), |group| write_schemata(lines, group, mount))
}

/// Moves a process, and with it its future children, into the container's groups.
///
/// # Errors
/// The process has ended, or a group was removed.
pub(crate) fn join(record: &RdtRecord, pid: i32) -> Result<()> {
    for group in &record.groups {
        let tasks = group.join(TASKS);
        OpenOptions::new()
            .write(true)
            .open(&tasks)
            .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
            .with_context(|| format!("linux.intelRdt: write {pid} to {tasks:?}"))?;
    }
    Ok(())
}

/// Removes the created groups, if they still exist; the kernel moves processes in them to the root group.
///
/// # Errors
/// The first directory that cannot be removed; the others are removed all the same.
pub(crate) fn remove(record: &RdtRecord) -> Result<()> {
    let mut result = Ok(());
    for dir in &record.created {
        match fs::remove_dir(dir) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                let removed = Err(err).with_context(|| format!("linux.intelRdt: remove {dir:?}"));
                result = result.and(removed);
            }
            _ => {}
        }
    }
    result
}

/// Writes each line by itself, because the kernel refuses the same cache twice within one write, and `schemata` may
/// repeat `l3CacheSchema`.
fn write_schemata(lines: &[(String, String)], group: &Path, mount: &Path) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = group.join(SCHEMATA);
    let mut file = OpenOptions::new().append(true).open(&path).with_context(|| format!("linux.intelRdt: {path:?}"))?;
    for (field, line) in lines {
        file.write_all(format!("{line}\n").as_bytes())
            .map_err(|err| explain(err, mount))
            .with_context(|| format!("{field}: {line:?}"))?;
    }
    Ok(())
}

/// Adds the kernel's explanation to an error of resctrl.
fn explain(err: io::Error, mount: &Path) -> anyhow::Error {
    let status = fs::read_to_string(mount.join("info/last_cmd_status")).unwrap_or_default();
    match status.trim() {
        "" | "ok" => err.into(),
        status => anyhow::Error::from(err).context(status.to_owned()),
    }
}

/// Checks that a group that exists has the configured values, because a container must not change it (RD-13).
fn check_same(plan: &RdtPlan, group: &Path) -> Result<()> {
    if plan.compared == 0 {
        return Ok(());
    }
    let path = group.join(SCHEMATA);
    let present = fs::read_to_string(&path).with_context(|| format!("linux.intelRdt: read {path:?}"))?;
    for (field, line) in plan.lines.iter().take(plan.compared) {
        let wanted = parse(line).with_context(|| format!("{field}: {line:?} is no line of schemata"))?;
        if !present.lines().filter_map(parse).any(|line| line == wanted) {
            bail!(coded!(RdtFailed, "{field}: the group {:?} exists and has another value than {line:?}", plan.group));
        }
    }
    Ok(())
}

/// Parses a line of schemata: `   L3:0=0ff;1=f` is `L3`, 0 → ff, 1 → f. The kernel pads names and numbers.
fn parse(line: &str) -> Option<(&str, BTreeMap<u32, u64>)> {
    let (resource, values) = line.split_once(':')?;
    let resource = resource.trim();
    // bandwidth is in percent or MB/s, everything else a bit mask
    let radix = if resource.ends_with("MB") { 10 } else { 16 };
    let mut map = BTreeMap::new();
    for value in values.split(';').map(str::trim).filter(|value| !value.is_empty()) {
        let (domain, value) = value.split_once('=')?;
        let value = value.trim();
        let value = if radix == 16 { value.strip_prefix("0x").unwrap_or(value) } else { value };
        map.insert(domain.trim().parse().ok()?, u64::from_str_radix(value, radix).ok()?);
    }
    Some((resource, map))
}

#[cfg(test)]
mod tests;
