//! Creation of device nodes, the symlinks in /dev, and the console (DV-1 … DV-5), by the descriptor of their directory.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::outside_devices::OutsideDevices;
use super::path::{self, FileKind};
use super::root::Root;
use crate::plan::device::Device;
use crate::plan::device::LINKS;
use crate::plan::mount::SymlinkPolicy;
use linux::mount as sys_mount;
use linux::path as sys_path;
use linux::path::Stat;

/// Creates all nodes, then the symlinks. With `bind` nodes of the host and of `outside` are bound, because no node can be
/// created in a user namespace. `proc_fd` is the host's `/proc`.
///
/// # Errors
/// Another file exists in place of a device; the error names the entry.
pub(super) fn create_all(
    root: &mut Root,
    devices: &[Device],
    bind: bool,
    outside: Option<&OutsideDevices>,
    proc_fd: BorrowedFd<'_>,
) -> Result<()> {
    // one descriptor for all names that are recorded
    let dev = Rc::new(open_dev(root)?);
    let mut binds = outside.map(|outside| outside.binds(dev.as_fd(), proc_fd)).transpose()?.unwrap_or_default();
    for (index, device) in devices.iter().enumerate() {
        let found = binds.iter().position(|(of, _)| *of == index).map(|at| binds.swap_remove(at).1);
        let how = match found {
            Some(tree) => How::Bind(tree),
            None if bind => How::BindHost,
            None => How::Create,
        };
        create(root, &dev, device, how, proc_fd).with_context(|| device.label.clone())?;
    }
    for (name, target) in LINKS {
        if name == c"core" && !has_core(proc_fd).context("/dev/core: look at /proc/kcore")? {
            continue;
        }
        link(root, &dev, name, target).with_context(|| format!("/dev/{}", name.to_string_lossy()))?;
    }
    ptmx(root, &dev).code(Code::TerminalFailed, "/dev/ptmx")
}

/// Returns whether the kernel shows its memory as /proc/kcore.
fn has_core(proc_fd: BorrowedFd<'_>) -> std::io::Result<bool> {
    match sys_path::stat_at(proc_fd, c"kcore", false) {
        Err(err) if err.is_errno(&[libc::ENOENT]) => Ok(false),
        found => found.map(|_| true),
    }
}

/// Returns the device number of the host's /dev, as long as this process is in the host's mounts; `None`: there is none.
///
/// # Errors
/// As stat(2).
pub(super) fn host_dev() -> Result<Option<libc::dev_t>> {
    match sys_path::stat_at(AT_FDCWD, c"/dev", true) {
        Err(err) if err.is_errno(&[libc::ENOENT]) => Ok(None),
        found => found.map(|dev| Some(dev.identity().0)).context("look at the host's /dev"),
    }
}

/// How a node comes into the container.
enum How {
    /// By mknod(2).
    Create,
    /// The host's node is bound.
    BindHost,
    /// This detached bind of a node that the runtime has created is attached.
    Bind(OwnedFd),
}

/// Opens or creates the container's /dev. Refuses a symlink in its place (CVE-2026-41579, CVE-2026-47766).
fn open_dev(root: &mut Root) -> Result<OwnedFd> {
    let mut created = Vec::new();
    let dev = path::open_or_create(root.fd(), c"/dev", SymlinkPolicy::NoSymlinks, FileKind::Dir, &mut created)
        .context("the image's /dev");
    root.created.append(&mut created);
    dev
}

/// Returns whether mknod(2) may be refused with EPERM: in a user namespace that the caller has created, or without
/// CAP_MKNOD. Another refusal (of an LSM, of a device cgroup) is an error.
fn may_be_refused() -> bool {
    const MKNOD: u64 = 1 << 27;
    let may = || linux::cred::capget().is_ok_and(|sets| sets.effective & MKNOD != 0);
    !linux::userns::is_initial() || !may()
}

fn create(root: &mut Root, dev: &Rc<OwnedFd>, device: &Device, how: How, proc_fd: BorrowedFd<'_>) -> Result<()> {
    match in_dev(&device.path) {
        Some(name) => node(root, dev, name, device, how, proc_fd),
        None => {
            let mut created = Vec::new();
            let parent = path::open_parent(root.fd(), &device.path, &mut created);
            root.created.append(&mut created);
            let (parent, name) = parent.code(Code::DeviceFailed, "its directory")?;
            node(root, &Rc::new(parent), &name, device, how, proc_fd)
        }
    }
}

/// Returns the name of a file directly in /dev; `None` for other paths.
fn in_dev(path: &CStr) -> Option<&CStr> {
    let name = path.to_bytes_with_nul().strip_prefix(b"/dev/")?;
    if name.contains(&b'/') {
        return None;
    }
    CStr::from_bytes_with_nul(name).ok()
}

fn node(
    root: &mut Root,
    dir: &Rc<OwnedFd>,
    name: &CStr,
    device: &Device,
    how: How,
    proc_fd: BorrowedFd<'_>,
) -> Result<()> {
    let how = match how {
        How::Bind(tree) => return bind_node(root, dir, name, device, tree.as_fd()),
        how => how,
    };
    let fifo = device.mode & libc::S_IFMT == libc::S_IFIFO;
    if fifo || matches!(how, How::Create) {
        match sys_path::mknodat(dir.as_fd(), name, device.mode, device.device) {
            Ok(()) => {
                record_created(root, dir, name);
                return set_owner(root, dir.as_fd(), name, device);
            }
            Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {
                return check_existing(root, dir.as_fd(), name, device, proc_fd);
            }
            Err(err) if err.raw_os_error() == Some(libc::EPERM) && !fifo && may_be_refused() => {
                // of a default device it is the same for the container
                if device.configured {
                    root.warn(format!("{}: the kernel refuses a new device node, the host's is bound", device.label));
                }
            }
            Err(err) => return Err(err).context("mknod"),
        }
    }
    let tree =
        host_node(device).code(Code::DeviceFailed, "nodes cannot be created in a user namespace; bind the host's")?;
    bind_node(root, dir, name, device, tree.as_fd())
}

/// Records a created name, which is removed if the container's creation fails (OP-3).
fn record_created(root: &mut Root, dir: &Rc<OwnedFd>, name: &CStr) {
    root.created.push(path::CreatedPath::new(dir.clone(), name.to_owned(), FileKind::File));
}

/// Opens the node at `name`, without opening the device, and checks that it is the configured one (DV-2).
///
/// The caller changes the node by this descriptor, because another process may exchange the name in a shared directory.
fn open_node(dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<(OwnedFd, Stat)> {
    let node = sys_path::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = sys_path::fstat(node.as_fd())?;
    let kind = device.mode & libc::S_IFMT;
    if stat.kind() != kind || (kind != libc::S_IFIFO && stat.rdev() != device.device) {
        bail!(coded!(DeviceFailed, "something else exists there and is not the requested device"));
    }
    Ok((node, stat))
}

/// Reports whether the node is the host's, so that it must not be changed: on another mount than its directory, as a bind
/// of the configuration is, or in the host's /dev.
///
/// Only device numbers of directories are compared, because the other files of an overlay have those of their layers.
fn is_host_node(root: &Root, dir: BorrowedFd<'_>, node: BorrowedFd<'_>) -> Result<bool> {
    if sys_path::mount_id(dir)? != sys_path::mount_id(node)? {
        return Ok(true);
    }
    let device = sys_path::fstat(dir)?.identity().0;
    let host = root.host_dev.map_or_else(host_dev, Ok)?;
    Ok(host == Some(device))
}

/// Sets the owner of the node that was just created.
fn set_owner(root: &Root, dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<()> {
    let (uid, gid) = device.owner;
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let (node, _) = open_node(dir, name, device)?;
    if !is_host_node(root, dir, node.as_fd())? {
        sys_path::chown_fd(node.as_fd(), uid, gid).context("chown")?;
    }
    Ok(())
}

/// Checks that an existing file is the configured device, and sets mode and owner.
fn check_existing(
    root: &Root,
    dir: BorrowedFd<'_>,
    name: &CStr,
    device: &Device,
    proc_fd: BorrowedFd<'_>,
) -> Result<()> {
    let (node, stat) = open_node(dir, name, device)?;
    let mode = device.mode & 0o7777;
    if (stat.permissions() == mode && stat.owner() == device.owner) || is_host_node(root, dir, node.as_fd())? {
        return Ok(());
    }
    if stat.owner() != device.owner {
        let (uid, gid) = device.owner;
        sys_path::chown_fd(node.as_fd(), uid, gid).context("chown")?;
    }
    if stat.permissions() != mode {
        sys_path::chmod_fd(node.as_fd(), mode, proc_fd).context("chmod")?;
    }
    Ok(())
}

/// Attaches a detached bind of a node on an empty file.
fn bind_node(root: &mut Root, dir: &Rc<OwnedFd>, name: &CStr, device: &Device, tree: BorrowedFd<'_>) -> Result<()> {
    let mount_point = match sys_path::openat(dir.as_fd(), name, libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW, 0o644)
    {
        Ok(mount_point) => {
            record_created(root, dir, name);
            mount_point
        }
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => open_existing_mount_point(dir.as_fd(), name, device)?,
        Err(err) => return Err(err).context("create its mount point"),
    };
    sys_mount::move_mount(tree, mount_point.as_fd()).context("bind")
}

/// Returns a detached bind of the host's node with these numbers: from the same path, else from udev's links by number.
/// It is nosuid and noexec, as with crun.
fn host_node(device: &Device) -> Result<OwnedFd> {
    let (major, minor) = (libc::major(device.device), libc::minor(device.device));
    let list = if device.mode & libc::S_IFMT == libc::S_IFBLK { "block" } else { "char" };
    let by_number = CString::new(format!("/dev/{list}/{major}:{minor}"))?;
    let how = sys_mount::CloneFlags { recursive: false, nofollow: false };
    for path in [&device.path, &by_number] {
        let tree = match sys_mount::clone_tree(AT_FDCWD, path, how) {
            Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR]) => continue,
            tree => tree.with_context(|| format!("clone {path:?}"))?,
        };
        let stat = sys_path::fstat(tree.as_fd())?;
        if stat.kind() == device.mode & libc::S_IFMT && stat.rdev() == device.device {
            super::outside_devices::restrict(tree.as_fd())?;
            return Ok(tree);
        }
    }
    bail!(coded!(DeviceFailed, "{:?} is missing there or is another device", device.path))
}

/// Opens an existing mount point: an empty file, left by an earlier container, or the device itself.
fn open_existing_mount_point(dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<OwnedFd> {
    let mount_point = sys_path::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = sys_path::fstat(mount_point.as_fd())?;
    let same = stat.kind() == device.mode & libc::S_IFMT && stat.rdev() == device.device;
    if !(same || stat.is_file() && stat.size() == 0) {
        bail!(coded!(DeviceFailed, "something else exists there and is not the requested device"));
    }
    Ok(mount_point)
}

/// Creates a symlink; an existing file stays (DV-5).
fn link(root: &mut Root, dir: &Rc<OwnedFd>, name: &CStr, target: &CStr) -> Result<()> {
    match sys_path::symlinkat(target, dir.as_fd(), name) {
        Ok(()) => {
            record_created(root, dir, name);
            Ok(())
        }
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Creates the symlink to the multiplexer of the container's own devpts; replaces a file of the image.
fn ptmx(root: &mut Root, created_in: &Rc<OwnedFd>) -> Result<()> {
    const TARGET: &CStr = c"pts/ptmx";
    let dev = created_in.as_fd();
    match sys_path::symlinkat(TARGET, dev, c"ptmx") {
        Ok(()) => {
            record_created(root, created_in, c"ptmx");
            return Ok(());
        }
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
        Err(err) => return Err(err.into()),
    }
    if sys_path::readlinkat(dev, c"ptmx").is_ok_and(|target| target.as_c_str() == TARGET) {
        return Ok(());
    }
    sys_path::unlinkat(dev, c"ptmx", false)?;
    Ok(sys_path::symlinkat(TARGET, dev, c"ptmx")?)
}

/// Binds the container's end of the terminal on /dev/console.
///
/// `slave` is opened from the master (TIOCGPTPEER), so that no path of the image is used (CVE-2025-52565).
///
/// # Errors
/// The image has a symlink or directory at /dev/console; nothing is created through it (CVE-2026-88264).
pub(crate) fn attach_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    attach(root, slave).context("/dev/console")
}

fn attach(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    let stat = sys_path::fstat(slave)?;
    if !stat.is_any_char() || sys_path::fs_magic(slave)? != sys_path::DEVPTS_MAGIC {
        bail!(coded!(TerminalFailed, "the terminal is not from a devpts"));
    }
    let dev = path::open(root.fd(), c"/dev", SymlinkPolicy::NoSymlinks, libc::O_DIRECTORY)?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let mount_point = match sys_path::openat(dev.as_fd(), c"console", flags, 0o600) {
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {
            let mount_point = sys_path::openat(dev.as_fd(), c"console", libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            let stat = sys_path::fstat(mount_point.as_fd())?;
            if !stat.is_file() && !stat.is_any_char() {
                bail!(coded!(DeviceFailed, "exists and is neither a file nor a device"));
            }
            mount_point
        }
        opened => opened?,
    };
    let tree = sys_mount::clone_fd(slave, false).context("bind of the terminal")?;
    sys_mount::move_mount(tree.as_fd(), mount_point.as_fd())?;
    // paths are resolved in the root after this
    Ok(sys_mount::finish()?)
}
