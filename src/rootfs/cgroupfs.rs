//! `type: cgroup`: the container's cgroup mounts by the host's layout (MT-6, SEC-12).
//!
//! On v2 with a cgroup namespace this is a new mount of cgroup2. Otherwise the container's own directories are bound,
//! so that it cannot access the rest of the host's tree.

use base::error::{Code, Coding as _, HasErrno as _};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::fcntl::AT_FDCWD;

use super::Host;
use super::opened::{CgroupTrees as Trees, Step};
use super::path::FileKind;
use super::root::Root;
use crate::plan::context::CgroupView;
use crate::plan::context::Hierarchy;
use crate::plan::mount::MountStep;
use crate::plan::rootfs::RootfsPlan;
use linux::mount as sys_mount;
use linux::mount::ATTR_RDONLY;
use linux::mount::CloneFlags;
use linux::mount::FsContext;
use linux::mount::MountAttr;
use linux::path as sys_path;

const HOST: &str = "/sys/fs/cgroup";

/// Attaches the mounts of a step, and creates those that were not created before.
///
/// # Errors
/// As [`trees`]; the mount point cannot be opened or created.
pub(super) fn mount(root: &mut Root, step: Step<'_>, host: &Host<'_>) -> Result<()> {
    let mount_point = root.open_mount_point(step, FileKind::Dir, host)?;
    let created;
    let trees = match step.cgroup() {
        Some(trees) => trees,
        None => {
            created = trees(step.plan, step.planned)?;
            &created
        }
    };
    match trees {
        Trees::One { tree, refused } => {
            if *refused {
                let label = &step.planned.label;
                root.warn(format!("{label}: the kernel refuses a new mount of cgroup2, the host's is bound"));
            }
            root.attach(step.plan.live, tree.as_fd(), mount_point.as_fd())
        }
        Trees::Legacy(trees) => legacy(step, mount_point.as_fd(), trees),
    }
}

/// Creates the mounts of a step, detached. The host's directories are cloned from this namespace's mounts.
///
/// # Errors
/// The kernel refuses a mount; a directory of the host is missing.
pub(super) fn trees(plan: &RootfsPlan, step: &MountStep) -> Result<Trees> {
    match &plan.cgroup {
        CgroupView::Unified { path } => unified(plan, step, &format!("{HOST}/{}", path.trim_start_matches('/'))),
        CgroupView::Legacy(hierarchies) => hierarchy_trees(step, hierarchies),
        CgroupView::None if plan.cgroup_ns && host_is_unified().context("look at /sys/fs/cgroup")? => {
            unified(plan, step, HOST)
        }
        // without a cgroup of its own the container sees the host's read-only
        CgroupView::None => Ok(Trees::One { tree: bound(step, HOST, true, true)?, refused: false }),
    }
}

fn hierarchy_trees(step: &MountStep, hierarchies: &[Hierarchy]) -> Result<Trees> {
    let mut trees = Vec::with_capacity(hierarchies.len());
    for Hierarchy { name, mount_point, path } in hierarchies {
        let own = format!("{}/{}", mount_point.trim_end_matches('/'), path.trim_start_matches('/'));
        match bound(step, own.trim_end_matches('/'), false, false) {
            // the hierarchy in which an unprivileged user could not create the container's cgroup
            Err(err) if err.is_errno(&[libc::ENOENT]) => {}
            tree => trees.push((name.clone(), tree.with_context(|| format!("hierarchy {name:?}"))?)),
        }
    }
    Ok(Trees::Legacy(trees))
}

/// Returns whether the host's cgroups are those of v2 alone.
fn host_is_unified() -> io::Result<bool> {
    match sys_path::openat(AT_FDCWD, c"/sys/fs/cgroup", libc::O_PATH, 0) {
        Err(err) if err.is_errno(&[libc::ENOENT]) => Ok(false),
        dir => Ok(sys_path::fs_magic(dir?.as_fd())? == sys_path::CGROUP2_MAGIC),
    }
}

fn unified(plan: &RootfsPlan, step: &MountStep, own: &str) -> Result<Trees> {
    let mut refused = false;
    if plan.cgroup_ns {
        match own_mount(step) {
            // the namespaces are owned by another user
            Err(err) if matches!(err.raw_os_error(), Some(libc::EPERM | libc::EBUSY)) => refused = true,
            result => return Ok(Trees::One { tree: result.code(Code::CgroupFailed, "cgroup2")?, refused }),
        }
    }
    Ok(Trees::One { tree: bound(step, own, plan.user_ns && !plan.cgroup_ns, false)?, refused })
}

fn own_mount(step: &MountStep) -> io::Result<OwnedFd> {
    let fs = FsContext::open(c"cgroup2")?;
    fs.option(c"source", Some(c"cgroup"))?;
    fs.create()?;
    fs.mount(step.attr.set)
}

/// Returns a detached bind of a directory of the host with the configured flags.
fn bound(step: &MountStep, path: &str, readonly: bool, recursive: bool) -> Result<OwnedFd> {
    let text = || format!("bind of {path:?}");
    let how = CloneFlags { recursive, nofollow: false };
    let tree = sys_mount::clone_tree(AT_FDCWD, &CString::new(path)?, how).with_context(text)?;
    let readonly = if readonly { ATTR_RDONLY } else { 0 };
    let change = MountAttr {
        set: step.attr.set | readonly,
        clear: step.attr.clear & !readonly,
        propagation: if step.propagation.iter().any(|p| p.kind == libc::MS_PRIVATE) {
            libc::MS_PRIVATE
        } else {
            libc::MS_SLAVE
        },
    };
    sys_mount::set_attr(tree.as_fd(), recursive, change).with_context(text)?;
    Ok(tree)
}

/// Mounts cgroup v1: a tmpfs with a directory for each hierarchy, and a symlink for each controller of a joined one.
fn legacy(step: Step<'_>, mount_point: BorrowedFd<'_>, trees: &[(String, OwnedFd)]) -> Result<()> {
    let flags = step.planned.attr.set;
    let fs = FsContext::open(c"tmpfs").context("tmpfs")?;
    for (key, value) in [(c"source", c"cgroup"), (c"mode", c"755")] {
        fs.option(key, Some(value)).with_context(|| format!("tmpfs: option {key:?}"))?;
    }
    fs.create().context("tmpfs")?;
    let tmpfs = fs.mount(flags & !ATTR_RDONLY).context("tmpfs")?;
    // attached first, because mounts can only be attached to a tree of this namespace
    sys_mount::move_mount(tmpfs.as_fd(), mount_point).context("attach")?;
    for (name, tree) in trees {
        hierarchy(tmpfs.as_fd(), name, tree.as_fd()).with_context(|| format!("hierarchy {name:?}"))?;
    }
    let names: BTreeSet<&str> = trees.iter().map(|(name, _)| name.as_str()).collect();
    let CgroupView::Legacy(all) = &step.plan.cgroup else { return Ok(()) };
    for joined in all.iter().map(|one| one.name.as_str()).filter(|name| name.contains(',')) {
        for alias in joined.split(',').filter(|alias| !names.contains(alias)) {
            match sys_path::symlinkat(&CString::new(joined)?, tmpfs.as_fd(), &CString::new(alias)?) {
                Err(err) if err.raw_os_error() != Some(libc::EEXIST) => return Err(err).context("link"),
                _ => {}
            }
        }
    }
    if flags & ATTR_RDONLY != 0 {
        let readonly = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
        sys_mount::set_attr(tmpfs.as_fd(), false, readonly).context("read-only")?;
    }
    Ok(())
}

fn hierarchy(tmpfs: BorrowedFd<'_>, name: &str, tree: BorrowedFd<'_>) -> Result<()> {
    let name = CString::new(name)?;
    sys_path::mkdirat(tmpfs, &name, 0o755)?;
    let dir = sys_path::openat(tmpfs, &name, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
    sys_mount::move_mount(tree, dir.as_fd()).context("attach")
}
