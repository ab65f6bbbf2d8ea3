//! What `list` shows of a container, borrowed from the text of its record: there can be thousands.
//!
//! Only of a record that is as usual. Whatever is not (missing, damaged, of another format) is left to `Record`, which finds
//! the reason.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::record::{FORMAT, ProcessId};
use super::status::{self, Processes, Status};
use crate::cgroup::CgroupSummary;

/// The fields of a record that `list` shows or needs for the status.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary<'a> {
    format: u32,
    /// Container ID.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Absolute path of the bundle.
    #[serde(borrow)]
    pub bundle: Cow<'a, str>,
    /// Absolute path of the root file system.
    #[serde(borrow)]
    pub rootfs: Cow<'a, str>,
    /// Time at which `create` began.
    #[serde(borrow)]
    pub created: Cow<'a, str>,
    /// User ID of the caller of `create`.
    pub owner: u32,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    runtime: ProcessId,
    #[serde(default)]
    init: Option<ProcessId>,
    /// The container's cgroups.
    #[serde(borrow)]
    pub cgroup: CgroupSummary<'a>,
    /// The configuration's annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    restored: bool,
    #[serde(default)]
    host_mounts: bool,
    criu: Option<IgnoredAny>,
}

impl<'a> Summary<'a> {
    /// Parses a record; `None` if it is not as usual.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Summary<'a>> {
        let summary: Summary<'a> = serde_json::from_str(str::from_utf8(bytes).ok()?).ok()?;
        let usual = summary.format == FORMAT
            && summary.cgroup.is_usual()
            && summary.init.is_none_or(|init| init.pid > 1)
            && !summary.host_mounts
            && summary.criu.is_none();
        usual.then_some(summary)
    }

    /// Computes the status, and the init process if that has not ended, as [`status::of_record`].
    ///
    /// # Errors
    /// procfs or the cgroup cannot be read.
    pub(crate) fn status(&self) -> Result<(Status, Option<ProcessId>)> {
        let Summary { boot_id, runtime, init, restored, cgroup, .. } = self;
        let processes = Processes { boot_id, runtime: *runtime, init: *init, restored: *restored };
        status::of_processes(processes, |stat| cgroup.is_frozen(stat.awake))
    }
}
