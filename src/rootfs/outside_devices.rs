//! Device nodes for a container with a user namespace: the runtime creates them, because the kernel refuses mknod(2) in a
//! user namespace, and init binds them.
//!
//! They are in a tmpfs that is mounted nowhere. Init mounts it for the time in which it clones the nodes, because before
//! Linux 6.15 a node of a detached mount cannot be cloned.

use base::error::{Code, Coding as _};
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::fcntl::AT_FDCWD;

use super::unmount;
use crate::id_mapping::IdMappings;
use crate::plan::device::Device;
use crate::plan::rootfs::RootfsPlan;
use linux::mount as sys_mount;
use linux::mount::FsContext;
use linux::mount::MountAttr;
use linux::path as sys_path;

/// The owner of a file whose owner has no ID in a user namespace.
const OVERFLOW_ID: u32 = 65_534;

/// Nodes that the runtime has created.
#[derive(Debug)]
pub(crate) struct OutsideDevices {
    /// A detached tmpfs. The name of a node is the index of its device in the plan.
    tmpfs: OwnedFd,
    /// Indexes of the devices that have a node.
    made: Vec<usize>,
}

/// Creates the nodes of the configured devices; `None` where none is needed or this process may not create them. `label`:
/// the tmpfs has the plan's label.
///
/// # Errors
/// A node that cannot be created, but for `EPERM`.
pub(super) fn make(plan: &RootfsPlan, label: bool) -> Result<Option<OutsideDevices>> {
    if sys_mount::is_old()
        || !plan.mount_ns
        || !plan.user_ns
        || !plan.devices.iter().flatten().any(|device| is_needed(device, plan))
    {
        return Ok(None);
    }
    let fs = FsContext::open(c"tmpfs").context("tmpfs for devices")?;
    fs.option(c"mode", Some(c"755")).context("tmpfs for devices")?;
    if let Some((option, label)) = plan.mount_label.as_ref().filter(|_| label) {
        fs.option(option, Some(label)).context("tmpfs for devices: label")?;
    }
    fs.create().context("tmpfs for devices")?;
    let tmpfs = fs.mount(sys_mount::ATTR_NOSUID | sys_mount::ATTR_NOEXEC).context("tmpfs for devices")?;
    // modes are exact
    let umask = sys_path::umask(0);
    let made = make_all(plan, tmpfs.as_fd());
    sys_path::umask(umask);
    let made = made?;
    Ok((!made.is_empty()).then_some(OutsideDevices { tmpfs, made }))
}

fn make_all(plan: &RootfsPlan, dir: BorrowedFd<'_>) -> Result<Vec<usize>> {
    let mut made = Vec::new();
    for (index, device) in plan.devices.iter().flatten().enumerate().filter(|(_, device)| is_needed(device, plan)) {
        let name = name_of(index)?;
        match sys_path::mknodat(dir, &name, device.mode, device.device) {
            // the caller's own device cgroup or user namespace: the host's node is bound, if it has one
            Err(err) if err.raw_os_error() == Some(libc::EPERM) => continue,
            created => created.with_code(Code::DeviceFailed, || format!("{}: mknod", device.label))?,
        }
        let host = |map: &IdMappings, id| map.to_host(id).unwrap_or(OVERFLOW_ID);
        let (uid, gid) = (host(&plan.id_maps.0, device.owner.0), host(&plan.id_maps.1, device.owner.1));
        sys_path::chownat(dir, &name, uid, gid).with_code(Code::DeviceFailed, || format!("{}: chown", device.label))?;
        made.push(index);
    }
    Ok(made)
}

/// Reports whether a node is created for the device: not for a default, whose node the host has, nor for a fifo, which init
/// may create. The mappings of a user namespace that is joined are not known, so that there the host's node is as good.
fn is_needed(device: &Device, plan: &RootfsPlan) -> bool {
    if !device.configured || device.mode & libc::S_IFMT == libc::S_IFIFO {
        return false;
    }
    let is_known = !plan.id_maps.0.is_empty();
    let host = || {
        sys_path::stat_at(AT_FDCWD, &device.path, true)
            .is_ok_and(|stat| stat.kind() == device.mode & libc::S_IFMT && stat.rdev() == device.device)
    };
    is_known || !host()
}

/// Sets the flags of a bind of a device, which is neither a program nor setuid.
pub(super) fn restrict(bind: BorrowedFd<'_>) -> std::io::Result<()> {
    let attr = MountAttr { set: sys_mount::ATTR_NOSUID | sys_mount::ATTR_NOEXEC, ..MountAttr::default() };
    sys_mount::set_attr(bind, false, attr)
}

fn name_of(index: usize) -> Result<CString> {
    Ok(CString::new(index.to_string())?)
}

impl OutsideDevices {
    /// Returns detached binds of the nodes with the indexes of their devices. Mounts the tmpfs on `place` meanwhile.
    ///
    /// # Errors
    /// The kernel refuses the mount.
    pub(super) fn binds(&self, place: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>) -> Result<Vec<(usize, OwnedFd)>> {
        sys_mount::move_mount(self.tmpfs.as_fd(), place).context("mount the devices")?;
        let one = |index: &usize| {
            let node = sys_path::openat(self.tmpfs.as_fd(), &name_of(*index)?, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            let bind = sys_mount::clone_fd(node.as_fd(), false)?;
            restrict(bind.as_fd())?;
            Ok((*index, bind))
        };
        let binds: Result<Vec<_>> = self.made.iter().map(one).collect();
        unmount::detach(self.tmpfs.as_fd(), proc_dir)?;
        binds.context("clone the devices")
    }
}
