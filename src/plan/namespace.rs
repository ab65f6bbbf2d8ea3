//! The namespace part of the plan: new and joined namespaces, ID mappings, clock offsets.
//!
//! Pure. `opened::namespaces` opens the namespaces to join; `runtime::spawn` and `init` enter them.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use crate::id_mapping::IdMappings;

/// A namespace to join.
#[derive(Debug)]
pub(crate) struct Join {
    /// The `CLONE_NEW*` flag.
    pub flag: i32,
    /// The type in the configuration's spelling, for errors.
    pub name: &'static str,
    /// Index in `linux.namespaces`.
    pub index: usize,
    /// Path of the namespace file.
    pub path: PathBuf,
}

/// The expected identity of one of the child's namespaces, checked after it has entered all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The type in the configuration's spelling.
    pub name: &'static str,
    /// File name below `/proc/PID/ns`.
    pub file: &'static str,
    /// Device and inode of a namespace.
    pub other: (libc::dev_t, libc::ino_t),
    /// The child must be in that namespace; `false`: it must not be.
    pub same: bool,
}

/// The namespaces of the child.
#[derive(Debug, Default)]
pub(crate) struct NamespacePlan {
    /// `CLONE_NEW*` flags of the clone itself, without cgroup and time, which the child creates later.
    pub clone_flags: i32,
    /// A new cgroup namespace, created when the child is in its cgroup.
    pub new_cgroup: bool,
    /// A new time namespace with these lines for `timens_offsets`.
    pub new_time: Option<String>,
    /// The existing user namespace to join.
    pub user: Option<Join>,
    /// The pid namespace to join; the parent enters it for its children.
    pub pid: Option<Join>,
    /// All other namespaces to join, in the configuration's order.
    pub joins: Vec<Join>,
    /// User mappings of a new user namespace.
    pub uid_map: IdMappings,
    /// Group mappings of a new user namespace.
    pub gid_map: IdMappings,
}

/// Names and flags of all namespace types.
pub(crate) const TYPES: [(LinuxNamespaceType, &str, i32); 8] = [
    (LinuxNamespaceType::User, "user", libc::CLONE_NEWUSER),
    (LinuxNamespaceType::Pid, "pid", libc::CLONE_NEWPID),
    (LinuxNamespaceType::Network, "network", libc::CLONE_NEWNET),
    (LinuxNamespaceType::Mount, "mount", libc::CLONE_NEWNS),
    (LinuxNamespaceType::Ipc, "ipc", libc::CLONE_NEWIPC),
    (LinuxNamespaceType::Uts, "uts", libc::CLONE_NEWUTS),
    (LinuxNamespaceType::Cgroup, "cgroup", libc::CLONE_NEWCGROUP),
    (LinuxNamespaceType::Time, "time", libc::CLONE_NEWTIME),
];

/// Returns the file name below `/proc/PID/ns` of the type `name` in the configuration.
pub(crate) fn file(name: &str) -> &str {
    match name {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

impl NamespacePlan {
    /// Reports whether the user namespace is new.
    pub(crate) fn new_user(&self) -> bool {
        self.clone_flags & libc::CLONE_NEWUSER != 0
    }

    /// Reports whether `joins` are entered before the clone, because a process in a new user namespace has no
    /// permission to enter namespaces of the host (NS-7).
    pub(crate) fn joined_before_clone(&self) -> bool {
        self.new_user() && !self.joins.is_empty()
    }

    /// Reports whether the container has its own user namespace, new or joined.
    pub(crate) fn own_user(&self) -> bool {
        self.new_user() || self.user.is_some()
    }

    /// Returns the `CLONE_NEW*` flags of all namespaces of the container, new and joined.
    pub(crate) fn flags(&self) -> i32 {
        let joined = self.user.iter().chain(&self.pid).chain(&self.joins).fold(0, |flags, join| flags | join.flag);
        let cgroup = if self.new_cgroup { libc::CLONE_NEWCGROUP } else { 0 };
        let time = if self.new_time.is_some() { libc::CLONE_NEWTIME } else { 0 };
        self.clone_flags | joined | cgroup | time
    }

    /// Reports whether the container has its own mount namespace, new or joined.
    pub(crate) fn own_mount(&self) -> bool {
        self.has(libc::CLONE_NEWNS)
    }

    /// Reports whether the container has its own namespace of this type, new or joined. Not for user, pid, cgroup or
    /// time.
    pub(crate) fn has(&self, flag: i32) -> bool {
        self.clone_flags & flag != 0 || self.joins.iter().any(|join| join.flag == flag)
    }
}

/// Plans the namespaces of a container. The caller has removed joins of the runtime's own namespaces.
pub(crate) fn plan(linux: Option<&Linux>) -> NamespacePlan {
    let mut plan = NamespacePlan::default();
    let Some(linux) = linux else { return plan };
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let (_, name, flag) = kind(namespace.typ());
        match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => {
                let join = Join { flag, name, index, path: path.clone() };
                match flag {
                    libc::CLONE_NEWUSER => plan.user = Some(join),
                    libc::CLONE_NEWPID => plan.pid = Some(join),
                    _ => plan.joins.push(join),
                }
            }
            None => match flag {
                libc::CLONE_NEWCGROUP => plan.new_cgroup = true,
                libc::CLONE_NEWTIME => plan.new_time = Some(offsets(linux)),
                _ => plan.clone_flags |= flag,
            },
        }
    }
    if plan.new_user() {
        plan.uid_map = linux.uid_mappings().into();
        plan.gid_map = linux.gid_mappings().into();
    }
    plan
}

/// Returns the entry of [`TYPES`] for a type.
pub(crate) fn kind(wanted: LinuxNamespaceType) -> (LinuxNamespaceType, &'static str, i32) {
    // the table is complete: a test looks up each type
    TYPES.into_iter().find(|(typ, _, _)| *typ == wanted).unwrap_or(TYPES[3])
}

fn offsets(linux: &Linux) -> String {
    let mut text = String::new();
    for (clock, offset) in linux.time_offsets().iter().flatten() {
        let (seconds, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        text.push_str(&format!("{clock} {seconds} {nanos}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ns_1_every_type_has_its_flag() {
        for (typ, name, flag) in TYPES {
            assert_eq!(kind(typ), (typ, name, flag));
        }
    }

    #[test]
    fn tm_1_offsets_are_lines_of_clock_seconds_nanoseconds() {
        let linux: Linux = serde_json::from_str(r#"{"timeOffsets":{"boottime":{"secs":-5,"nanosecs":7}}}"#).unwrap();
        assert_eq!(offsets(&linux), "boottime -5 7\n");
    }
}
