//! The child builds the container's file system and moves into it: the order of the steps, and the root itself.
//!
//! One mount is `rootfs::mount`, nodes and links are `rootfs::device`, masked and read-only paths `rootfs::mask`. Everything
//! below the root goes through `rootfs::path`.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::fcntl::AT_FDCWD;

mod bind;
mod cgroupfs;
mod copyup;
pub(crate) mod device;
pub(crate) mod live_mounts;
mod mask;
mod mount;
pub(crate) mod opened;
pub(crate) mod path;
mod procfs;
mod root;
pub(crate) mod unmount;

use crate::plan::rootfs::RootfsPlan;
use bind::prepare_root;
use linux::mount as sys_mount;
use linux::path as sys_path;
use opened::Step;
pub(crate) use opened::{OpenedRootfs, RootSource, open, open_live};
use root::Place;
pub(crate) use root::Root;

/// Propagation, root, mounts in their order, devices, links. `pid_namespace` is the container's, where this process is
/// not in it.
///
/// # Errors
/// Names the entry of the configuration; mount points made so far are taken back.
pub(crate) fn build(
    plan: &RootfsPlan,
    opened: &OpenedRootfs,
    proc_fd: BorrowedFd<'_>,
    pid_namespace: Option<BorrowedFd<'_>>,
) -> Result<Root> {
    // modes of what is created are meant as they stand
    let umask = sys_path::umask(0);
    let result = attach_root(plan, opened).and_then(|mut root| {
        let filled = pid_namespace.map(sys_path::dup).transpose().context("pid namespace").and_then(|fd| {
            root.pid_namespace = fd;
            fill(plan, opened, &mut root, proc_fd)
        });
        match filled {
            Ok(()) => Ok(root),
            Err(err) => {
                root.undo();
                Err(err)
            }
        }
    });
    sys_path::umask(umask);
    result
}

fn fill(plan: &RootfsPlan, opened: &OpenedRootfs, root: &mut Root, proc_fd: BorrowedFd<'_>) -> Result<()> {
    if !plan.masked.is_empty() {
        // now, while the host's /dev is in reach: the image's is not to be trusted (CVE-2025-31133)
        root.null = mask::host_null();
    }
    for step in Step::all(plan, opened) {
        mount::mount(root, step).with_context(|| step.planned.label.clone())?;
    }
    if let Some(devices) = &plan.devices {
        device::make_all(root, devices, plan.user_ns, proc_fd)?;
    }
    Ok(())
}

/// Makes all mounts of this namespace slaves.
///
/// # Errors
/// Names the cause in a plain chroot, where there is no mount at `/` to begin with.
pub(crate) fn make_rslave() -> Result<()> {
    sys_mount::make_rslave().map_err(|err| {
        let no_mount = err.raw_os_error() == Some(libc::EINVAL);
        let hint =
            if no_mount { " (/ is no mount point: croci runs in a plain chroot, which needs pivot_root)" } else { "" };
        anyhow::Error::new(err).context(format!("making all mounts slaves{hint}"))
    })
}

fn attach_root(plan: &RootfsPlan, opened: &OpenedRootfs) -> Result<Root> {
    if plan.mount_ns {
        // before the first mount: nothing that is mounted or unmounted from here on reaches the host (SEC-14)
        make_rslave()?;
    }
    let fd = root_fd(plan, opened)?;
    let host_path = plan.path.clone();
    let mut root = Root { place: Place::None, host_path, ..Root::live(fd, None) };
    if plan.mount_ns {
        let (place, fd) = root_place(plan)?;
        sys_mount::move_mount(root.fd(), fd.as_fd()).context("attaching the root file system")?;
        root.place = place;
    }
    Ok(root)
}

fn root_place(plan: &RootfsPlan) -> Result<(Place, OwnedFd)> {
    let path = CString::new(plan.path.as_os_str().as_bytes())?;
    if let Ok(fd) = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0) {
        return Ok((Place::Own, fd));
    }
    Ok((Place::OldRoot, old_root()?))
}

fn old_root() -> Result<OwnedFd> {
    sys_path::openat(AT_FDCWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0).context("open \"/\"")
}

fn root_fd(plan: &RootfsPlan, opened: &OpenedRootfs) -> Result<OwnedFd> {
    match &opened.root {
        RootSource::Tree(tree) => {
            // cloned here, flags of the host's mount stay locked for the user namespace
            let own = if plan.user_ns { clone_root(plan, tree.as_fd()).ok() } else { None };
            Ok(own.map_or_else(|| sys_path::dup(tree.as_fd()), Ok)?)
        }
        RootSource::Dir(dir) if !plan.mount_ns => Ok(sys_path::dup(dir.as_fd())?),
        RootSource::Dir(dir) => {
            clone_root(plan, dir.as_fd()).with_context(|| format!("root.path {:?}", plan.configured_path))
        }
        RootSource::Running => bail!("the root was not opened"),
    }
}

/// The tree copied here, from this namespace's own copy of the mount.
fn clone_root(plan: &RootfsPlan, seen: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = CString::new(plan.path.as_os_str().as_bytes())?;
    let how = sys_mount::CloneFlags { recursive: true, nofollow: false };
    let tree = sys_mount::clone_tree(AT_FDCWD, &path, how)?;
    if sys_path::fstat(tree.as_fd())?.identity() != sys_path::fstat(seen)?.identity() {
        bail!("changed while the container was being made");
    }
    prepare_root(tree.as_fd(), plan.propagation.kind)?;
    Ok(tree)
}

/// Moves into the root.
///
/// # Errors
/// With a hint where the host runs from its initial ramfs.
pub(crate) fn pivot(plan: &RootfsPlan, root: &Root) -> Result<()> {
    sys_path::fchdir(root.fd()).context("chdir to the root file system")?;
    if !plan.mount_ns || plan.no_pivot {
        return change_root(plan, root);
    }
    sys_mount::pivot_to_cwd().map_err(|err| {
        let hint = match err.raw_os_error() {
            Some(libc::EINVAL) => "pivot_root (on an initial ramfs use --no-pivot)",
            _ => "pivot_root",
        };
        anyhow!(err).context(hint)
    })?;
    // the old root now lies on ".", and goes with all its mounts
    sys_mount::detach(c".").context("detaching the old root")?;
    Ok(())
}

fn change_root(plan: &RootfsPlan, root: &Root) -> Result<()> {
    if plan.mount_ns {
        // The old root stays below. A whole procfs or sysfs in it would allow a user namespace made in the container to
        // mount them afresh, unmasked.
        for path in [c"/sys", c"/proc"] {
            let _ = sys_mount::detach(path);
        }
        if root.place == Place::Own {
            sys_mount::move_mount(root.fd(), old_root()?.as_fd()).context("moving the root file system onto \"/\"")?;
        }
    }
    sys_path::chroot_to_cwd().context("chroot")
}

/// Read-only paths, masked paths, read-only file systems and root; last the propagation of the root.
///
/// # Errors
/// Names the path.
pub(crate) fn finish(plan: &RootfsPlan, root: &Root) -> Result<()> {
    let mut masks = mask::Masks::new(root)?;
    for path in &plan.readonly_paths {
        masks.readonly(path).with_context(|| format!("linux.readonlyPaths: {path:?}"))?;
    }
    for path in &plan.masked {
        masks.mask(path).with_context(|| format!("linux.maskedPaths: {path:?}"))?;
    }
    let readonly = sys_mount::MountAttr { set: sys_mount::ATTR_RDONLY, ..Default::default() };
    for mount in &root.late_readonly {
        sys_mount::set_attr(mount.as_fd(), false, readonly).context("making a tmpfs read-only")?;
    }
    if plan.readonly {
        sys_mount::set_attr(root.fd(), false, readonly).context("root.readonly")?;
    }
    // pivot_root wants a root that is not shared, and nothing can be bound from an unbindable one
    if plan.mount_ns && matches!(plan.propagation.kind, libc::MS_SHARED | libc::MS_UNBINDABLE) {
        let change = sys_mount::MountAttr { propagation: plan.propagation.kind, ..Default::default() };
        sys_mount::set_attr(root.fd(), plan.propagation.recursive, change).context("linux.rootfsPropagation")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
