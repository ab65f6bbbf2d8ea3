//! The namespace part of the plan: which are new, which are joined, by whom and in which order; id maps, clock offsets.
//!
//! Joining files are opened and checked here, before anything is made: what is no namespace of the right type is
//! refused at once (NS-3). Entering them is `runtime::spawn` and `init`.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Spec};

use crate::id_mapping::IdMappings;
use crate::sys;

/// A namespace to enter.
#[derive(Debug)]
pub struct Join {
    /// Its `CLONE_NEW*` flag.
    pub flag: i32,
    /// Its name in the configuration, for errors.
    pub name: &'static str,
    /// The namespace.
    pub fd: OwnedFd,
}

/// What a namespace of the child has to be, once it has entered all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its file below `/proc/PID/ns`.
    pub file: &'static str,
    /// Device and inode of a namespace.
    pub other: (libc::dev_t, libc::ino_t),
    /// It is that one; else it must not be that one.
    pub same: bool,
}

/// What becomes of the child's namespaces.
#[derive(Debug, Default)]
pub struct NamespacePlan {
    /// `CLONE_NEW*` flags of the clone itself. The cgroup and time namespaces are not among them: their moment is later.
    pub clone_flags: i32,
    /// A new cgroup namespace, made once the child is in its cgroup.
    pub new_cgroup: bool,
    /// A new time namespace with these lines for `timens_offsets`.
    pub new_time: Option<String>,
    /// The user namespace to join, when it is an existing one.
    pub user: Option<Join>,
    /// The pid namespace to join: the parent enters it for its children.
    pub pid: Option<Join>,
    /// All others to join, in the configuration's order.
    pub joins: Vec<Join>,
    /// Maps of a new user namespace.
    pub uid_map: IdMappings,
    /// Group maps of a new user namespace.
    pub gid_map: IdMappings,
}

/// Names and flags of all namespace types.
pub const TYPES: [(LinuxNamespaceType, &str, i32); 8] = [
    (LinuxNamespaceType::User, "user", libc::CLONE_NEWUSER),
    (LinuxNamespaceType::Pid, "pid", libc::CLONE_NEWPID),
    (LinuxNamespaceType::Network, "network", libc::CLONE_NEWNET),
    (LinuxNamespaceType::Mount, "mount", libc::CLONE_NEWNS),
    (LinuxNamespaceType::Ipc, "ipc", libc::CLONE_NEWIPC),
    (LinuxNamespaceType::Uts, "uts", libc::CLONE_NEWUTS),
    (LinuxNamespaceType::Cgroup, "cgroup", libc::CLONE_NEWCGROUP),
    (LinuxNamespaceType::Time, "time", libc::CLONE_NEWTIME),
];

/// The file below `/proc/PID/ns` of the type that the configuration calls `name`.
pub fn file(name: &str) -> &str {
    match name {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

impl NamespacePlan {
    /// A new user namespace is made.
    pub fn new_user(&self) -> bool {
        self.clone_flags & libc::CLONE_NEWUSER != 0
    }

    /// `joins` are entered before the clone: they are the host's, which a new user namespace has no right to (NS-7).
    pub fn joined_before_clone(&self) -> bool {
        self.new_user() && !self.joins.is_empty()
    }

    /// The container has a user namespace of its own, new or joined.
    pub fn own_user(&self) -> bool {
        self.new_user() || self.user.is_some()
    }

    /// `CLONE_NEW*` flags of all namespaces that the container's process has entered or created.
    pub fn flags(&self) -> i32 {
        let joined = self.user.iter().chain(&self.pid).chain(&self.joins).fold(0, |flags, join| flags | join.flag);
        let cgroup = if self.new_cgroup { libc::CLONE_NEWCGROUP } else { 0 };
        let time = if self.new_time.is_some() { libc::CLONE_NEWTIME } else { 0 };
        self.clone_flags | joined | cgroup | time
    }

    /// The container has a mount namespace of its own, new or joined.
    pub fn own_mount(&self) -> bool {
        self.has(libc::CLONE_NEWNS)
    }

    /// The container has a namespace of its own, new or joined, of this kind (neither user, pid, cgroup nor time).
    pub fn has(&self, flag: i32) -> bool {
        self.clone_flags & flag != 0 || self.joins.iter().any(|join| join.flag == flag)
    }
}

/// Plans the namespaces of a container.
///
/// # Errors
/// A `path` that is missing or no namespace of its type.
pub fn plan(linux: Option<&Linux>) -> Result<NamespacePlan> {
    let mut plan = NamespacePlan::default();
    let Some(linux) = linux else { return Ok(plan) };
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let (_, name, flag) = kind(namespace.typ());
        match namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => {
                let fd = open_namespace(path, flag)
                    .with_context(|| format!("linux.namespaces[{index}].path: {name} namespace {path:?}"))?;
                let join = Join { flag, name, fd };
                match flag {
                    // the kernel lets nobody enter the user namespace that he is in
                    libc::CLONE_NEWUSER if is_own_user(join.fd.as_fd())? => {}
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
    Ok(plan)
}

fn kind(wanted: LinuxNamespaceType) -> (LinuxNamespaceType, &'static str, i32) {
    // the table is complete: its test asks for each type
    TYPES.into_iter().find(|(typ, _, _)| *typ == wanted).unwrap_or(TYPES[3])
}

/// Opens a namespace file and checks that it is one of the type `flag`; a fifo or a device must not hold croci up.
fn open_namespace(path: &Path, flag: i32) -> Result<OwnedFd> {
    let fd = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?;
    let stat = nix::sys::statfs::fstatfs(&fd)?;
    if stat.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
        bail!("not a namespace");
    }
    let found = sys::process::namespace_type(fd.as_fd()).context("not a namespace")?;
    if found != flag {
        let name = TYPES.iter().find(|(_, _, flag)| *flag == found).map_or("unknown", |(_, name, _)| name);
        bail!("this is a namespace of type {name}");
    }
    Ok(fd)
}

/// Takes the namespaces out of a configuration whose path leads to the runtime's own: such a container shares it with the
/// host, so that nothing may be configured that belongs to a namespace of its own. Whether there was one.
///
/// # Errors
/// No `/proc`.
pub fn drop_own(spec: &mut Spec) -> Result<bool> {
    let Some(linux) = spec.linux().as_ref().filter(|linux| linux.namespaces().iter().flatten().any(is_joined)) else {
        return Ok(false);
    };
    let mut linux = linux.clone();
    let list = linux.namespaces().clone().unwrap_or_default();
    let mut kept = Vec::with_capacity(list.len());
    for namespace in &list {
        if !is_own_by_path(namespace)? {
            kept.push(namespace.clone());
        } else if namespace.typ() == LinuxNamespaceType::User {
            // as for any that is joined: it has its own
            linux.set_uid_mappings(None);
            linux.set_gid_mappings(None);
        }
    }
    let found = kept.len() < list.len();
    linux.set_namespaces(Some(kept));
    if found {
        spec.set_linux(Some(linux));
    }
    Ok(found)
}

fn is_joined(namespace: &LinuxNamespace) -> bool {
    namespace.path().as_ref().is_some_and(|path| !path.as_os_str().is_empty())
}

/// A path that cannot be opened, or is none of the type, is refused where it is joined.
fn is_own_by_path(namespace: &LinuxNamespace) -> Result<bool> {
    let (_, name, flag) = kind(namespace.typ());
    match namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => open_namespace(path, flag).map_or(Ok(false), |fd| is_own(fd.as_fd(), name)),
        None => Ok(false),
    }
}

/// Whether this is the namespace of its kind, named as in the configuration, that the runtime itself is in.
fn is_own(fd: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let own = nix::sys::stat::stat(format!("/proc/self/ns/{}", file(name)).as_str());
    let own = own.with_context(|| format!("own {name} namespace"))?;
    let other = nix::sys::stat::fstat(fd).with_context(|| format!("{name} namespace"))?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// Whether this is the user namespace of the runtime itself.
///
/// # Errors
/// No `/proc`.
pub fn is_own_user(fd: BorrowedFd<'_>) -> Result<bool> {
    is_own(fd, "user")
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
    fn ns_3_a_path_must_be_a_namespace_of_the_type() {
        assert!(open_namespace(Path::new("/proc/self/ns/uts"), libc::CLONE_NEWUTS).is_ok());
        let wrong = open_namespace(Path::new("/proc/self/ns/uts"), libc::CLONE_NEWNET).unwrap_err();
        assert_eq!(wrong.to_string(), "this is a namespace of type uts");
        for path in ["/etc/passwd", "/dev/null", "/", "/proc/self/status"] {
            assert_eq!(open_namespace(Path::new(path), libc::CLONE_NEWNET).unwrap_err().to_string(), "not a namespace");
        }
    }

    #[test]
    fn tm_1_offsets_are_lines_of_clock_seconds_nanoseconds() {
        let linux: Linux = serde_json::from_str(r#"{"timeOffsets":{"boottime":{"secs":-5,"nanosecs":7}}}"#).unwrap();
        assert_eq!(offsets(&linux), "boottime -5 7\n");
    }
}
