//! The record of a container: `record.json` in its state directory.
//!
//! The record is written twice: as the journal, without `init`, before anything outside the state directory is created;
//! and as the commit, when init is complete. A record without `init` whose runtime has ended is that of an interrupted
//! `create`, and names every resource outside the state directory that this `create` may have left.

use anyhow::Result;
use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupRecord;
use crate::plan::rdt::RdtRecord;
use crate::rootfs::unmount::HostRoot;

/// File name of the record.
pub(crate) const RECORD: &str = "record.json";

/// Version of the record's format: 1 is that of croci 0.1.0, which named some fields otherwise.
pub(crate) const FORMAT: u32 = 2;

/// A process, identified by pid and start time because pids are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Pid in croci's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

/// A mount that was added to a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedMount {
    /// Path in the container, as configured.
    pub destination: String,
    /// Mount ID of statx(2): unique until the next boot since Linux 6.8.
    pub id: u64,
}

/// A mount point that `create` makes in the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Path in the container.
    pub path: PathBuf,
    /// Number of the names at its end that did not exist before.
    pub missing: usize,
}

/// The record of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format: [`FORMAT`].
    pub format: u32,
    /// Container ID.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// Time at which `create` began: RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// User ID of the caller of `create`.
    pub owner: u32,
    /// Boot ID at `create`: after a reboot none of the processes below exists.
    pub boot_id: String,
    /// The croci process that creates the container; it exits before the commit or soon after.
    pub runtime: ProcessId,
    /// The container's first process; absent until the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessId>,
    /// The container's cgroups, and the directories that croci created for them.
    pub cgroup: CgroupRecord,
    /// The configuration's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `linux.resources` as last set by `update`; absent = as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<serde_json::Value>,
    /// `create` had `--no-new-keyring`: `exec` creates no session keyring either.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// The container has its own pid namespace: the kernel kills its processes when its init exits.
    #[serde(default)]
    pub own_pid_namespace: bool,
    /// Device and inode of the first process's namespaces at `create`; the keys are the types that the configuration
    /// names. A process of `exec` must be in the same ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, (u64, u64)>,
    /// Mounts of `mounts add`: the only ones that `mounts remove` unmounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added_mounts: Vec<AddedMount>,
    /// Mount points that `create` makes, until the commit: a `create` that fails or is killed leaves none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Kinds of hooks that later verbs have to run: `poststart`, `poststop`. Recorded because without any of them these
    /// verbs need not read the configuration again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_hooks: Vec<String>,
    /// The configuration names a program.
    #[serde(default)]
    pub has_process: bool,
    /// The container has no mount namespace of its own: its mounts are in the caller's.
    #[serde(default)]
    pub host_mounts: bool,
    /// With `host_mounts`: what `delete` compares the mount of the root directory on itself with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_root: Option<HostRoot>,
    /// CRIU restored its processes: they run although they have never called exec.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// The CRIU process that restores it; it exits soon after the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criu: Option<ProcessId>,
    /// The container's resctrl groups, and which of them `delete` removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<RdtRecord>,
    /// Mount point of resctrl, when `delete` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl_mount: Option<PathBuf>,
}

impl Record {
    /// Parses a record.
    ///
    /// # Errors
    /// The record is damaged, or has another format.
    pub fn parse(bytes: &[u8]) -> Result<Record> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let parsed: Result<Record, _> = serde_json::from_slice(bytes);
        // alone where the whole is no record of this format, because each verb pays for the time that parsing takes
        let format = match &parsed {
            Ok(record) => record.format,
            Err(_) => {
                serde_json::from_slice::<Version>(bytes).code(Code::ContainerDamaged, "the state is damaged")?.format
            }
        };
        anyhow::ensure!(
            format == FORMAT,
            coded!(
                ContainerDamaged,
                "the state has format {format}, of {} croci, and this one knows {FORMAT}: use that croci, or delete --force",
                if format < FORMAT { "an older" } else { "a newer" }
            )
        );
        let record = parsed.code(Code::ContainerDamaged, "the state is damaged")?;
        record.check().code(Code::ContainerDamaged, "the state is damaged")?;
        Ok(record)
    }

    /// Checks that what `delete` kills and unmounts can be a container's.
    fn check(&self) -> Result<()> {
        self.cgroup.check()?;
        for process in self.init.iter().chain(&self.criu) {
            anyhow::ensure!(process.pid > 1, coded!(ContainerDamaged, "process {} is not of a container", process.pid));
        }
        let is_root = self.rootfs.components().all(|part| !matches!(part, std::path::Component::Normal(_)));
        anyhow::ensure!(
            !(self.host_mounts && is_root),
            coded!(ContainerDamaged, "{:?} is not the root file system of a container", self.rootfs)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_format_is_an_error_that_says_whose_it_is() {
        let refused =
            |format: u32| Record::parse(format!(r#"{{"format":{format}}}"#).as_bytes()).unwrap_err().to_string();
        assert!(refused(1).contains("format 1, of an older croci"), "{}", refused(1));
        assert!(refused(FORMAT + 1).contains("of a newer croci"), "{}", refused(FORMAT + 1));
        assert!(refused(FORMAT).contains("damaged"), "{}", refused(FORMAT));
    }
}
