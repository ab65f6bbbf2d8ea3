//! The container's root file system, built in the child: the order of steps, and the change of root.
//!
//! `rootfs::mount` executes one mount, `rootfs::device` creates nodes and symlinks, `rootfs::mask` has masked and
//! read-only paths. `rootfs::path` resolves every path below the root.

use base::coded;
use base::error::{Code, Coding as _};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::fcntl::AT_FDCWD;

mod bind;
mod cgroupfs;
mod copyup;
pub(crate) mod device;
mod leave;
pub(crate) mod live_mounts;
mod long_options;
pub(crate) mod mask;
mod mount;
pub(crate) mod opened;
mod outside_devices;
pub(crate) mod path;
mod procfs;
mod root;
pub(crate) mod unmount;

use crate::plan::rootfs::RootfsPlan;
use base::error::HasErrno as _;
use bind::prepare_root;
pub(crate) use leave::leave_host_mounts;
use linux::mount as sys_mount;
use linux::path as sys_path;
pub(crate) use mask::empty_dir;
use opened::Step;
pub(crate) use opened::{OpenedRootfs, RootSource, open, open_live};
use root::AttachPoint;
pub(crate) use root::Root;

/// Requests that a process with rights over the host ID-maps the detached mount of a step, given by its index.
pub(crate) type IdmapOutside<'a> = &'a dyn Fn(usize, BorrowedFd<'_>) -> Result<()>;

/// What [`build`] uses of the host.
pub(crate) struct Host<'a> {
    /// Root directory of the host's procfs.
    pub proc_dir: BorrowedFd<'a>,
    /// The container's pid namespace, if this process is not in it.
    pub pid_namespace: Option<BorrowedFd<'a>>,
    /// For a mount of the container's own user namespace.
    pub idmap_outside: IdmapOutside<'a>,
    /// Called before a missing mount point is created in the root file system itself, with its path: the runtime removes
    /// it if this process cannot.
    pub announce: &'a dyn Fn(&CStr) -> Result<()>,
}

/// Builds the root file system: propagation, root, mounts in order, devices, symlinks.
///
/// # Errors
/// A step that fails; the error names the entry of the configuration. Mount points created before are removed.
pub(crate) fn build(plan: &RootfsPlan, opened: &OpenedRootfs, host: &Host<'_>) -> Result<Root> {
    // files are created with exact modes
    let umask = sys_path::umask(0);
    let result = attach_root(plan, opened).and_then(|mut root| {
        let filled = host.pid_namespace.map(sys_path::dup).transpose().context("pid namespace").and_then(|fd| {
            root.pid_namespace = fd;
            fill(plan, opened, &mut root, host)
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

fn fill(plan: &RootfsPlan, opened: &OpenedRootfs, root: &mut Root, host: &Host<'_>) -> Result<()> {
    if !plan.masked.is_empty() {
        // now, while the host's /dev is accessible, because the image's cannot be trusted (CVE-2025-31133)
        root.null = match &opened.taken {
            Some(taken) => taken.null.as_ref().map(|null| sys_path::dup(null.as_fd())).transpose()?,
            None => mask::host_null(plan, false)?,
        };
        if root.null.is_none() && !sys_mount::is_old() {
            root.warn("linux.maskedPaths: the host has no /dev/null for them, the container's is used".to_owned());
        }
    }
    for step in Step::all(plan, opened) {
        mount::mount(root, step, host).with_code(Code::MountFailed, || step.planned.label.clone())?;
    }
    if let Some(devices) = &plan.devices {
        let outside = opened.devices.as_ref();
        device::create_all(root, devices, plan.user_ns, outside, host.proc_dir)?;
    }
    Ok(())
}

/// Returns whether the kernel may refuse a new sysfs or device node to this process: it is in a user namespace, whether
/// the container's or that of the runtime. Any other refusal is an error, because the fallback shows more of the host.
pub(super) fn in_user_namespace(plan: &RootfsPlan) -> bool {
    plan.user_ns || !linux::userns::is_initial()
}

/// Makes all mounts of this namespace slaves (`rslave`).
///
/// # Errors
/// Errors of mount(2), with a hint for a plain chroot, where `/` is no mount point.
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
        // before the first mount, so that no mount or unmount propagates to the host (SEC-14)
        make_rslave()?;
    }
    let was_old = sys_mount::is_old();
    let fd = match root_fd(plan, opened) {
        // the first call that this kernel lacks: the tree was cloned by the way of newer ones
        Err(_) if sys_mount::is_old() && !was_old => root_fd(plan, opened)?,
        fd => fd?,
    };
    let host_path = plan.path.clone();
    let mut root = Root { attach_point: AttachPoint::None, host_path, ..Root::live(fd, None) };
    root.host_dev = opened.taken.as_ref().map(|taken| taken.dev);
    if plan.mount_ns {
        let (attach_point, fd) = open_attach_point(plan, opened)?;
        sys_mount::move_mount(root.fd(), fd.as_fd()).code(Code::MountFailed, "attaching the root file system")?;
        root.attach_point = attach_point;
    } else {
        bind_on_itself(plan, &mut root)?;
    }
    Ok(root)
}

/// Mounts the root directory on itself in the caller's mount namespace, as runc does, so that the container's mounts are
/// in one tree, which `delete` unmounts. Without the right to mount, the root is the directory.
fn bind_on_itself(plan: &RootfsPlan, root: &mut Root) -> Result<()> {
    let Ok(tree) = sys_mount::clone_fd(root.fd(), true) else { return Ok(()) };
    prepare_root(tree.as_fd(), plan.propagation.kind).context("root.path: propagation")?;
    sys_mount::move_mount(tree.as_fd(), root.fd()).context("mount the root file system on itself")?;
    root.fd = tree;
    root.attach_point = AttachPoint::Own;
    Ok(())
}

fn open_attach_point(plan: &RootfsPlan, opened: &OpenedRootfs) -> Result<(AttachPoint, OwnedFd)> {
    let path = CString::new(plan.path.as_os_str().as_bytes())?;
    // a path of the host would lead to a file of the kernel's mounts
    if opened.taken.is_none()
        && let Ok(fd) = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0)
    {
        return Ok((AttachPoint::Own, fd));
    }
    Ok((AttachPoint::OldRoot, old_root()?))
}

fn old_root() -> Result<OwnedFd> {
    sys_path::openat(AT_FDCWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0).context("open \"/\"")
}

fn root_fd(plan: &RootfsPlan, opened: &OpenedRootfs) -> Result<OwnedFd> {
    match &opened.root {
        RootSource::Tree(tree) => {
            // cloned in the child, because then flags of the host's mount stay locked for the user namespace
            let own = if plan.user_ns { own_clone(plan, tree.as_fd())? } else { None };
            own.map_or_else(|| sys_path::dup(tree.as_fd()), Ok)
                .code(Code::RootfsInvalid, "root.path: copy its descriptor")
        }
        RootSource::Dir(dir) if !plan.mount_ns => {
            sys_path::dup(dir.as_fd()).code(Code::RootfsInvalid, "root.path: copy its descriptor")
        }
        RootSource::Dir(dir) => clone_root(plan, dir.as_fd())
            .with_code(Code::RootfsInvalid, || format!("root.path {:?}", plan.configured_path)),
        RootSource::Running => bail!("the root was not opened"),
    }
}

/// Clones the tree from this namespace's copy of the mount. `opened` is the directory that the parent has opened.
/// Clones the root in this process. The directory that the runtime has opened is used instead where a user of the new
/// user namespace cannot reach or clone it; `None` then.
///
/// # Errors
/// The kernel has no memory or descriptors for it.
fn own_clone(plan: &RootfsPlan, opened: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    match clone_root(plan, opened) {
        Err(err) if err.is_no_answer() => Err(err),
        tree => Ok(tree.ok()),
    }
}

fn clone_root(plan: &RootfsPlan, opened: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = CString::new(plan.path.as_os_str().as_bytes())?;
    let how = sys_mount::CloneFlags { recursive: true, nofollow: false };
    let tree = sys_mount::clone_tree(AT_FDCWD, &path, how)?;
    if sys_path::fstat(tree.as_fd())?.identity() != sys_path::fstat(opened)?.identity() {
        bail!(coded!(RootfsInvalid, "changed while the container was being created"));
    }
    prepare_root(tree.as_fd(), plan.propagation.kind)?;
    Ok(tree)
}

/// Changes the root directory to the container's.
///
/// # Errors
/// Errors of pivot_root(2) or chroot(2), with a hint for a host that runs from its initial ramfs.
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
    // the old root is now mounted on "."; this detaches it with all its mounts
    sys_mount::detach_old_root().context("detaching the old root")
}

fn change_root(plan: &RootfsPlan, root: &Root) -> Result<()> {
    if plan.mount_ns {
        // The old root stays below the new one. A complete procfs or sysfs in it would allow a user namespace created
        // in the container to mount them again, unmasked.
        unmount::complete_proc_and_sys(&plan.path)?;
        if root.attach_point == AttachPoint::Own {
            sys_mount::move_mount(root.fd(), old_root()?.as_fd())
                .code(Code::MountFailed, "moving the root file system onto \"/\"")?;
        }
    }
    sys_path::chroot_to_cwd().context("chroot")
}

/// Sets read-only paths, masked paths, read-only file systems, the read-only root, and last the propagation of the
/// root. Returns warnings for the caller of the runtime.
///
/// # Errors
/// A path or mount that cannot be changed; the error names the field.
pub(crate) fn protect_paths(plan: &RootfsPlan, root: &Root) -> Result<Vec<String>> {
    let mut masks = mask::Masks::new(root)?;
    let mut warnings = Vec::new();
    for path in &plan.readonly_paths {
        let exists =
            masks.readonly(path).with_code(Code::RootfsInvalid, || format!("linux.readonlyPaths: {path:?}"))?;
        if exists && !path.to_bytes().starts_with(b"/") {
            warnings.push(format!("linux.readonlyPaths: {path:?} is relative: taken below the container's root"));
        }
    }
    for path in &plan.masked {
        masks.mask(path).with_code(Code::RootfsInvalid, || format!("linux.maskedPaths: {path:?}"))?;
    }
    let readonly = sys_mount::MountAttr { set: sys_mount::ATTR_RDONLY, ..Default::default() };
    for mount in &root.late_readonly {
        sys_mount::set_attr(mount.as_fd(), false, readonly).code(Code::MountFailed, "making a tmpfs read-only")?;
    }
    if plan.readonly {
        sys_mount::set_attr(root.fd(), false, readonly).code(Code::MountFailed, "root.readonly")?;
    }
    // last, because pivot_root(2) refuses a shared root, and an unbindable one cannot be bound from
    if plan.mount_ns && matches!(plan.propagation.kind, libc::MS_SHARED | libc::MS_UNBINDABLE) {
        let change = sys_mount::MountAttr { propagation: plan.propagation.kind, ..Default::default() };
        sys_mount::set_attr(root.fd(), plan.propagation.recursive, change)
            .code(Code::MountFailed, "linux.rootfsPropagation")?;
    }
    sys_mount::finish().context("removing the mounts of croci's own")?;
    Ok(warnings)
}

#[cfg(test)]
mod tests;
