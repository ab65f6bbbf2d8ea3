//! The resctrl part of the plan (Intel RDT): the container's group, and the lines for its schemata.
//!
//! Pure. `runtime::rdt` finds resctrl, creates the group and joins it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::Linux;
use serde::{Deserialize, Serialize};

use crate::config::names::ClosId;

/// The container's group in resctrl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RdtPlan {
    /// Directory of the group below the mount; empty: the root group.
    pub group: PathBuf,
    /// `closID` is set: the group may be shared and outlives the container.
    pub shared: bool,
    /// The lines of `l3CacheSchema`, `memBwSchema`, then `schemata`, each with its field for errors: (field, line).
    pub lines: Vec<(String, String)>,
    /// Number of leading `lines` that an existing group must already have (RD-13).
    pub compared: usize,
    /// Directory of the monitoring group below the group.
    pub monitor: Option<PathBuf>,
}

/// The record in the state file, for `exec` and `delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdtRecord {
    /// Directories whose `tasks` the container's processes are written to, in this order.
    pub groups: Vec<PathBuf>,
    /// Directories that croci creates and `delete` removes, in the order of removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub created: Vec<PathBuf>,
}

impl RdtPlan {
    /// Returns the directory of the group.
    pub(crate) fn group_dir(&self, mount: &Path) -> PathBuf {
        // joining an empty path would add a slash
        if self.group.as_os_str().is_empty() { mount.to_owned() } else { mount.join(&self.group) }
    }

    /// Returns the directory of the monitoring group.
    pub(crate) fn monitor_dir(&self, mount: &Path) -> Option<PathBuf> {
        self.monitor.as_ref().map(|monitor| self.group_dir(mount).join(monitor))
    }
}

/// Plans the container's group in resctrl; `None` without `intelRdt`, so that resctrl is never accessed (RD-10).
///
/// # Errors
/// A `closID` that is not the name of a group, a schema of more than one line or for another resource (RD-11, RD-12).
pub(crate) fn plan(linux: Option<&Linux>, id: &str) -> Result<Option<RdtPlan>> {
    let Some(rdt) = linux.and_then(|linux| linux.intel_rdt().as_ref()) else { return Ok(None) };
    let clos_id = rdt.clos_id().as_deref().filter(|clos| !clos.is_empty());
    let group = match clos_id.map(ClosId::new).transpose().context("linux.intelRdt.closID")? {
        Some(ClosId::Root) => PathBuf::new(),
        Some(ClosId::Group(name)) => PathBuf::from(name),
        // directories of resctrl itself are not groups
        None => match ClosId::new(id).context("linux.intelRdt: a group named by the container ID")? {
            ClosId::Root => bail!("linux.intelRdt: {id:?} does not name a group"),
            ClosId::Group(name) => PathBuf::from(name),
        },
    };
    let mut lines = Vec::new();
    let single = [("l3CacheSchema", rdt.l3_cache_schema()), ("memBwSchema", rdt.mem_bw_schema())];
    for (field, schema) in single {
        let Some(schema) = schema.as_deref().filter(|schema| !schema.is_empty()) else { continue };
        let field = format!("linux.intelRdt.{field}");
        if field.ends_with("memBwSchema") && !schema.starts_with("MB:") {
            bail!("{field}: {schema:?} does not start with \"MB:\"");
        }
        lines.push((field, schema.to_owned()));
    }
    let compared = lines.len();
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        lines.push((format!("linux.intelRdt.schemata[{index}]"), line.clone()));
    }
    if let Some((field, _)) = lines.iter().find(|(_, line)| line.contains(['\n', '\0'])) {
        bail!("{field}: contains a newline");
    }
    let monitor = rdt.enable_monitoring().unwrap_or(false).then(|| Path::new("mon_groups").join(id));
    Ok(Some(RdtPlan { group, shared: clos_id.is_some(), lines, compared, monitor }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn planned(rdt: &str) -> Result<Option<RdtPlan>> {
        let linux: Linux = serde_json::from_str(&format!(r#"{{"intelRdt":{rdt}}}"#)).unwrap();
        plan(Some(&linux), "c1")
    }

    #[test]
    fn rd_10_no_object_no_plan() {
        assert_eq!(plan(None, "c1").unwrap(), None);
        let linux: Linux = serde_json::from_str("{}").unwrap();
        assert_eq!(plan(Some(&linux), "c1").unwrap(), None);
    }

    #[test]
    fn rd_11_group_by_clos_id_or_container_id() {
        for (rdt, dir, shared) in [
            ("{}", "/r/c1", false),
            (r#"{"closID":""}"#, "/r/c1", false),
            (r#"{"closID":"guaranteed"}"#, "/r/guaranteed", true),
            (r#"{"closID":"/"}"#, "/r", true),
        ] {
            let plan = planned(rdt).unwrap().unwrap();
            assert_eq!((plan.group_dir(Path::new("/r")), plan.shared), (PathBuf::from(dir), shared), "{rdt}");
        }
        for clos in [".", "..", "a/b", "/a", "a/", "../x", "a\\nb", "info", "mon_groups"] {
            let err = planned(&format!(r#"{{"closID":"{clos}"}}"#)).unwrap_err();
            assert!(err.to_string().starts_with("linux.intelRdt.closID"), "{clos}: {err}");
        }
        // a valid container ID, but not a valid name of a group
        let linux: Linux = serde_json::from_str(r#"{"intelRdt":{}}"#).unwrap();
        assert!(plan(Some(&linux), "info").is_err());
    }

    #[test]
    fn rd_12_lines_in_order_and_one_each() {
        let rdt = r#"{"schemata":["L2:0=3","L3:0=1"],"memBwSchema":"MB:0=50","l3CacheSchema":"L3:0=f"}"#;
        let plan = planned(rdt).unwrap().unwrap();
        let lines: Vec<&str> = plan.lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!((lines, plan.compared), (vec!["L3:0=f", "MB:0=50", "L2:0=3", "L3:0=1"], 2));
        assert_eq!(planned(r#"{"closID":"a"}"#).unwrap().unwrap().lines, []);
        for (rdt, field) in [
            (r#"{"memBwSchema":"L3:0=f"}"#, "linux.intelRdt.memBwSchema"),
            (r#"{"memBwSchema":"MB:0=5\nMB:1=5"}"#, "linux.intelRdt.memBwSchema"),
            (r#"{"l3CacheSchema":"L3:0=f\nL3:1=f"}"#, "linux.intelRdt.l3CacheSchema"),
            (r#"{"schemata":["L3:0=f","MB:0=5\n"]}"#, "linux.intelRdt.schemata[1]"),
        ] {
            let err = planned(rdt).unwrap_err().to_string();
            assert!(err.starts_with(&format!("{field}: ")), "{rdt}: {err}");
        }
    }

    #[test]
    fn rd_15_monitoring_group_by_container_id() {
        for (rdt, dir) in [
            (r#"{"enableMonitoring":true}"#, Some("/r/c1/mon_groups/c1")),
            (r#"{"enableMonitoring":true,"closID":"x"}"#, Some("/r/x/mon_groups/c1")),
            (r#"{"enableMonitoring":true,"closID":"/"}"#, Some("/r/mon_groups/c1")),
            (r#"{"enableMonitoring":false}"#, None),
            ("{}", None),
        ] {
            let plan = planned(rdt).unwrap().unwrap();
            assert_eq!(plan.monitor_dir(Path::new("/r")), dir.map(PathBuf::from), "{rdt}");
        }
    }
}
