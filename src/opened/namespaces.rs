//! The namespaces that a container joins. Their files are opened and checked before anything is created; a file that is
//! not a namespace of the right type is an error (NS-3).

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open as open_file};
use nix::sys::stat::Mode;

use crate::plan::namespace::Join;
use crate::plan::namespace::NamespacePlan;
use crate::plan::namespace::TYPES;
use crate::plan::namespace::file;

/// A namespace to join.
#[derive(Debug)]
pub(crate) struct Joined {
    /// `CLONE_NEW*` flag of its type.
    pub flag: i32,
    /// Type in the configuration, for errors.
    pub name: &'static str,
    /// The open namespace file.
    pub fd: OwnedFd,
}

/// The namespaces to join.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// The user namespace.
    pub user: Option<Joined>,
    /// The pid namespace; setns(2) puts only later children of the caller into it.
    pub pid: Option<Joined>,
    /// The others, in the configuration's order.
    pub joins: Vec<Joined>,
}

impl Namespaces {
    /// Returns all of them, the user and the pid namespace first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Joined> {
        self.user.iter().chain(&self.pid).chain(&self.joins)
    }
}

/// Opens the namespaces that the plan joins, in the configuration's order.
///
/// # Errors
/// A path is missing or not a namespace of its type; a user namespace has become the runtime's own since the plan.
pub(crate) fn open(plan: &NamespacePlan) -> Result<Namespaces> {
    let mut opened = Namespaces::default();
    let mut all: Vec<&Join> = plan.user.iter().chain(&plan.pid).chain(&plan.joins).collect();
    all.sort_by_key(|join| join.index);
    for Join { flag, name, index, path } in all {
        let field = || format!("linux.namespaces[{index}].path: {name} namespace {path:?}");
        let fd = open_namespace(path, *flag).with_code(Code::NamespaceJoin, field)?;
        let joined = Joined { flag: *flag, name, fd };
        match *flag {
            libc::CLONE_NEWUSER => {
                // the plan leaves out the runtime's own; checked again because rights on the host depend on it
                if is_own_user(joined.fd.as_fd())? {
                    return Err(anyhow::anyhow!(coded!(NamespaceJoin, "is the runtime's own now")))
                        .with_code(Code::NamespaceJoin, field);
                }
                opened.user = Some(joined);
            }
            libc::CLONE_NEWPID => opened.pid = Some(joined),
            _ => opened.joins.push(joined),
        }
    }
    Ok(opened)
}

/// Opens a namespace file and checks that it has the type `flag`; with O_NONBLOCK, because the path may be a fifo.
///
/// # Errors
/// As open(2); the file is not a namespace of that type.
pub(crate) fn open_namespace(path: &Path, flag: i32) -> Result<OwnedFd> {
    let fd = open_file(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?;
    let stat = nix::sys::statfs::fstatfs(&fd).with_context(|| format!("statfs {path:?}"))?;
    if stat.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
        bail!(coded!(NamespaceJoin, "not a namespace"));
    }
    let found = linux::process::namespace_type(fd.as_fd()).context("not a namespace")?;
    if found != flag {
        let name = TYPES.iter().find(|(_, _, flag)| *flag == found).map_or("unknown", |(_, name, _)| name);
        bail!(coded!(NamespaceJoin, "this is a namespace of type {name}"));
    }
    Ok(fd)
}

/// Returns whether the namespace `fd` is the runtime's own of the type `name`, as the configuration spells it.
///
/// # Errors
/// procfs is not mounted.
pub(crate) fn is_own(fd: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let own = nix::sys::stat::stat(format!("/proc/self/ns/{}", file(name)).as_str());
    let own = own.with_context(|| format!("own {name} namespace"))?;
    let other = nix::sys::stat::fstat(fd).with_context(|| format!("{name} namespace"))?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// Returns whether `fd` is the runtime's own user namespace.
///
/// # Errors
/// procfs is not mounted.
pub(crate) fn is_own_user(fd: BorrowedFd<'_>) -> Result<bool> {
    is_own(fd, "user")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
    fn ns_7_a_user_namespace_that_is_the_runtimes_own_is_not_joined() {
        let path = "/proc/self/ns/user".into();
        let user = Some(Join { flag: libc::CLONE_NEWUSER, name: "user", index: 3, path });
        let err = open(&NamespacePlan { user, ..NamespacePlan::default() }).unwrap_err();
        assert_eq!(
            base::error::describe(&err),
            "linux.namespaces[3].path: user namespace \"/proc/self/ns/user\": is the runtime's own now"
        );
    }
}
