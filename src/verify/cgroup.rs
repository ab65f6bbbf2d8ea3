//! The check of a process's cgroups: `/proc/PID/cgroup` against the record.

use super::{Check, Verdict};
use crate::cgroup::CgroupDir;
use crate::cgroup::CgroupRecord;
use crate::cgroup::proc;
use crate::cgroup::proc::Membership;

/// The cgroups in which a process may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The container's cgroup: for the first process before its program runs.
    Exact,
    /// The container's cgroup or one below it: `exec --cgroup` names one, or the container has created one.
    Below,
}

/// Compares the text of `/proc/PID/cgroup` with the record, one check a hierarchy.
pub(crate) fn check(record: &CgroupRecord, text: &str, depth: Depth) -> Vec<Check> {
    record.dirs.iter().map(|dir| one(record, dir, text, depth)).collect()
}

fn one(record: &CgroupRecord, dir: &CgroupDir, text: &str, depth: Depth) -> Check {
    let path = path_in(dir, text);
    let below = path.as_deref().and_then(|path| path.strip_prefix(&record.path));
    let verdict = match below {
        Some("") => Verdict::Ok,
        Some(rest) if depth == Depth::Below && rest.starts_with('/') => Verdict::Changed,
        _ => Verdict::Different,
    };
    Check::new(name(dir), record.path.as_str(), path.as_deref().unwrap_or("none"), verdict)
}

/// Returns the name of the check of a hierarchy.
pub(crate) fn name(dir: &CgroupDir) -> String {
    let controllers = if dir.unified { "unified".to_owned() } else { dir.controllers.join(",") };
    format!("linux.cgroupsPath ({controllers})")
}

/// Returns the path of the process in the hierarchy.
fn path_in(dir: &CgroupDir, text: &str) -> Option<String> {
    let is_same_hierarchy = |membership: &Membership<'_>| match dir.controllers.first() {
        _ if dir.unified => membership.unified,
        Some(first) => membership.has(first),
        None => false,
    };
    let found = proc::parse(text.as_bytes()).into_iter().find(is_same_hierarchy);
    found.map(|membership| membership.path_text().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hierarchy_is_looked_up_by_its_controllers() {
        let dir = |controllers: &[&str], unified| CgroupDir {
            mount: String::new(),
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            unified,
            created_depth: 1,
        };
        let dirs = vec![dir(&["cpu", "cpuacct"], false), dir(&["name=systemd"], false), dir(&[], true)];
        let record = CgroupRecord { path: "/a/b".into(), dirs, scope: None };
        let verdicts = |text: &str, depth| check(&record, text, depth).iter().map(|c| c.verdict).collect::<Vec<_>>();
        use Verdict::{Changed, Different, Ok};
        let good = "9:name=systemd:/a/b\n3:cpu,cpuacct:/a/b\n2:memory:/\n0::/a/b\n";
        assert_eq!(verdicts(good, Depth::Exact), [Ok, Ok, Ok]);
        let below = "9:name=systemd:/a/b\n3:cpu,cpuacct:/a/bc\n0::/a/b/c:d\n";
        assert_eq!(verdicts(below, Depth::Exact), [Different, Ok, Different]);
        assert_eq!(verdicts(below, Depth::Below), [Different, Ok, Changed]);
        let wrong = "3:cpu,cpuacct:/\n0::/a\n";
        assert_eq!(verdicts(wrong, Depth::Below), [Different, Different, Different]);
        let named = check(&record, wrong, Depth::Exact);
        assert_eq!(named[0].describe(), "linux.cgroupsPath (cpu,cpuacct) is /, not /a/b");
        assert_eq!(named[1].describe(), "linux.cgroupsPath (name=systemd) is none, not /a/b");
        assert_eq!(named[2].describe(), "linux.cgroupsPath (unified) is /a, not /a/b");
    }
}
