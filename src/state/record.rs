//! The record of a container: `record.json` in its state directory.
//!
//! It is written twice: as the journal before anything outside the state directory is created (no `init` yet), and as
//! the commit when init is complete. Whoever finds a record without `init` and its runtime gone finds an interrupted
//! `create`, and every outside resource it may have made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupRecord;
use crate::plan::rdt::RdtRecord;

/// The form of the record that this version writes; older ones are read, newer ones refused.
pub(crate) const FORMAT: u32 = 1;

/// A process, told apart from a later one that got the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Pid in croci's pid namespace.
    pub pid: i32,
    /// Clock ticks from boot to its start (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

/// A mount that was added to a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedMount {
    /// Where, as it was configured.
    pub destination: String,
    /// The kernel's number of the mount: unique until the next boot since Linux 6.8.
    pub id: u64,
}

/// What is kept of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Form of this document, [`FORMAT`].
    pub format: u32,
    /// Container ID.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When `create` began: RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// User id of who created it.
    pub owner: u32,
    /// Boot the processes below belong to; after a reboot none of them lives.
    pub boot_id: String,
    /// The croci that makes the container; it ends before or soon after the commit.
    pub runtime: ProcessId,
    /// The container's first process; absent until the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessId>,
    /// Where its processes are, and which directories croci made.
    pub cgroup: CgroupRecord,
    /// The configuration's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Resources as last set by `update`, in the configuration's form; absent = as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<serde_json::Value>,
    /// `--no-new-keyring` was given: exec makes none either.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// The container has a pid namespace of its own: its processes end with its init.
    #[serde(default)]
    pub own_pid_namespace: bool,
    /// Device and inode of the namespaces that the configuration names, by its names for them: what the first process was
    /// in when it was created. A process of `exec` must come into the same ones. Absent in older records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, (u64, u64)>,
    /// Mounts of `mounts add`: the only ones that `mounts remove` takes away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added_mounts: Vec<AddedMount>,
    /// Kinds of hooks that later verbs have to run (`poststart`, `poststop`): without any they need not read the
    /// configuration again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_hooks: Vec<String>,
    /// The configuration names a program.
    #[serde(default)]
    pub has_process: bool,
    /// Whether the container has no mount namespace of its own, so that its mounts are in the runtime's.
    #[serde(default, alias = "mounts_outside")]
    pub host_mounts: bool,
    /// CRIU made its processes: they run without ever having called exec.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// The CRIU that makes it: it ends soon after the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criu: Option<ProcessId>,
    /// The resctrl groups it is in, and which of them `delete` removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<RdtRecord>,
    /// Where resctrl is mounted, when that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl_mount: Option<PathBuf>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// It is damaged, or a newer croci wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Record> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_slice(bytes).context("the state is damaged")?;
        anyhow::ensure!(
            version.format <= FORMAT,
            "the state has format {}, this croci knows {FORMAT} and older: use the newer croci that made it",
            version.format
        );
        serde_json::from_slice(bytes).context("the state is damaged")
    }
}
