//! Namespaces of a configuration that are the runtime's own, found before anything is planned.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};

use crate::bundle::Bundle;
use crate::opened::namespaces::is_own;
use crate::opened::namespaces::open_namespace;
use crate::plan::namespace::kind;

/// Removes namespaces that are the runtime's own from the configuration, and checks it again without them, because
/// changes in such a namespace would change the host.
///
/// # Errors
/// A field needs a namespace of the container's own.
pub(super) fn drop_own_namespaces(bundle: &mut Bundle) -> Result<()> {
    if drop_own(&mut bundle.config.spec)? {
        crate::config::check(&bundle.config.spec)?;
    }
    Ok(())
}

/// Removes the namespaces whose path leads to the runtime's own; returns whether there was one.
///
/// # Errors
/// `/proc` is not mounted.
fn drop_own(spec: &mut Spec) -> Result<bool> {
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
            // because a user namespace that is joined has its own mappings
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

/// Returns whether the path of a namespace is the runtime's own. A path that cannot be opened, or leads to another type,
/// is refused later, where the namespace is joined.
fn is_own_by_path(namespace: &LinuxNamespace) -> Result<bool> {
    let (_, name, flag) = kind(namespace.typ());
    match namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => open_namespace(path, flag).map_or(Ok(false), |fd| is_own(fd.as_fd(), name)),
        None => Ok(false),
    }
}

/// Returns `CLONE_NEWTIME` if the process is in another time namespace than croci: CRIU restores every container in one of
/// its own, also where the configuration names none, because clocks must not jump.
///
/// # Errors
/// The namespace of the process may not be read.
pub(super) fn restored_time(pid: i32) -> Result<i32> {
    let path = format!("/proc/{pid}/ns/time");
    match nix::fcntl::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        // a kernel without time namespaces
        Err(nix::errno::Errno::ENOENT) => Ok(0),
        namespace => {
            let namespace = namespace.with_context(|| format!("open {path}"))?;
            Ok(if is_own(namespace.as_fd(), "time")? { 0 } else { libc::CLONE_NEWTIME })
        }
    }
}
