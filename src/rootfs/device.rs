//! Device nodes, the links in /dev, and the console (DV-1 … DV-5), by the descriptor of their directory.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::path::{self, FileKind};
use super::root::Root;
use crate::plan::device::Device;
use crate::plan::device::LINKS;
use crate::plan::mount::Target;
use linux::mount as sys_mount;
use linux::path as sys_path;
use linux::path::Stat;

/// Makes all nodes, then the links. In a user namespace nodes cannot be created and the host's are bound.
pub(super) fn make_all(root: &mut Root, devices: &[Device], bind: bool, proc_fd: BorrowedFd<'_>) -> Result<()> {
    let dev = open_dev(root)?;
    for device in devices {
        make(root, dev.as_fd(), device, bind, proc_fd).with_context(|| device.label.clone())?;
    }
    for (name, says) in LINKS {
        if name == c"core" && sys_path::stat_at(proc_fd, c"kcore", false).is_err() {
            continue;
        }
        link(root, dev.as_fd(), name, says).with_context(|| format!("/dev/{}", name.to_string_lossy()))?;
    }
    ptmx(root, dev.as_fd()).context("/dev/ptmx")
}

/// The container's /dev. A symlink in its place is refused (CVE-2026-41579, CVE-2026-47766).
fn open_dev(root: &mut Root) -> Result<OwnedFd> {
    let mut made = Vec::new();
    let dev = path::open_or_make(root.fd(), c"/dev", Target::NoSymlinks, FileKind::Dir, &mut made)
        .context("the image's /dev");
    root.made.append(&mut made);
    dev
}

fn make(root: &mut Root, dev: BorrowedFd<'_>, device: &Device, bind: bool, proc_fd: BorrowedFd<'_>) -> Result<()> {
    match in_dev(&device.path) {
        Some(name) => node(root, dev, name, device, bind, proc_fd),
        None => {
            let mut made = Vec::new();
            let parent = path::parent_of(root.fd(), &device.path, &mut made);
            root.made.append(&mut made);
            let (parent, name) = parent.context("its directory")?;
            node(root, parent.as_fd(), &name, device, bind, proc_fd)
        }
    }
}

/// The name of something directly in /dev.
fn in_dev(path: &CStr) -> Option<&CStr> {
    let name = path.to_bytes_with_nul().strip_prefix(b"/dev/")?;
    if name.contains(&b'/') {
        return None;
    }
    CStr::from_bytes_with_nul(name).ok()
}

fn node(
    root: &mut Root,
    dir: BorrowedFd<'_>,
    name: &CStr,
    device: &Device,
    bind: bool,
    proc_fd: BorrowedFd<'_>,
) -> Result<()> {
    let fifo = device.mode & libc::S_IFMT == libc::S_IFIFO;
    if !bind || fifo {
        match sys_path::mknodat(dir, name, device.mode, device.device) {
            Ok(()) => {
                made(root, dir, name)?;
                return own(dir, name, device);
            }
            Err(err) if err.raw_os_error() == Some(libc::EEXIST) => return check_existing(dir, name, device, proc_fd),
            // in a user namespace that the caller set up
            Err(err) if err.raw_os_error() == Some(libc::EPERM) && !fifo => {}
            Err(err) => return Err(err).context("mknod"),
        }
    }
    bind_from_host(root, dir, name, device)
}

/// Notes what was created, for a container whose creation fails (OP-3).
fn made(root: &mut Root, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    root.made.push(path::CreatedPath::new(sys_path::dup(dir)?, name.to_owned(), FileKind::File));
    Ok(())
}

/// Opens the node at `name`, without opening the device, and checks that it is the configured one (DV-2).
///
/// What is changed afterwards is this very node: the name may be exchanged at any time where the directory is shared.
fn open_node(dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<(OwnedFd, Stat)> {
    let node = sys_path::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = sys_path::fstat(node.as_fd())?;
    let kind = device.mode & libc::S_IFMT;
    if stat.kind() != kind || (kind != libc::S_IFIFO && stat.rdev() != device.device) {
        bail!("something else exists there and is not the requested device");
    }
    Ok((node, stat))
}

/// Whether the node is the host's: of another file system than its directory, which a mount of the configuration put
/// there, or of the host's own /dev. Such a node is not the container's to change.
fn is_hosts(dir: BorrowedFd<'_>, stat: &Stat) -> Result<bool> {
    let device = stat.identity().0;
    let dev = sys_path::stat_at(AT_FDCWD, c"/dev", true);
    Ok(device != sys_path::fstat(dir)?.identity().0 || dev.is_ok_and(|dev| dev.identity().0 == device))
}

/// Gives the node that was just created its owner.
fn own(dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<()> {
    let (uid, gid) = device.owner;
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let (node, stat) = open_node(dir, name, device)?;
    if !is_hosts(dir, &stat)? {
        sys_path::chown_fd(node.as_fd(), uid, gid).context("chown")?;
    }
    Ok(())
}

/// Checks what is there already: it must be that very device; mode and owner become the configured ones.
fn check_existing(dir: BorrowedFd<'_>, name: &CStr, device: &Device, proc_fd: BorrowedFd<'_>) -> Result<()> {
    let (node, there) = open_node(dir, name, device)?;
    let mode = device.mode & 0o7777;
    if (there.permissions() == mode && there.owner() == device.owner) || is_hosts(dir, &there)? {
        return Ok(());
    }
    if there.owner() != device.owner {
        let (uid, gid) = device.owner;
        sys_path::chown_fd(node.as_fd(), uid, gid).context("chown")?;
    }
    if there.permissions() != mode {
        sys_path::chmod_fd(node.as_fd(), mode, proc_fd).context("chmod")?;
    }
    Ok(())
}

/// The host's node, checked, is bound on an empty file.
fn bind_from_host(root: &mut Root, dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<()> {
    let tree = host_node(device).context("nodes cannot be made in a user namespace, and to bind the host's")?;
    let place = match sys_path::openat(dir, name, libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW, 0o644) {
        Ok(place) => {
            made(root, dir, name)?;
            place
        }
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => existing_place(dir, name, device)?,
        Err(err) => return Err(err).context("making its mount point"),
    };
    sys_mount::move_mount(tree.as_fd(), place.as_fd()).context("bind")
}

/// A detached bind of the host's node with these numbers: of the same path, else by number as udev lists them.
fn host_node(device: &Device) -> Result<OwnedFd> {
    let (major, minor) = (libc::major(device.device), libc::minor(device.device));
    let list = if device.mode & libc::S_IFMT == libc::S_IFBLK { "block" } else { "char" };
    let by_number = CString::new(format!("/dev/{list}/{major}:{minor}"))?;
    let how = sys_mount::CloneFlags { recursive: false, nofollow: false };
    for path in [&device.path, &by_number] {
        let Ok(tree) = sys_mount::clone_tree(AT_FDCWD, path, how) else { continue };
        let stat = sys_path::fstat(tree.as_fd())?;
        if stat.kind() == device.mode & libc::S_IFMT && stat.rdev() == device.device {
            return Ok(tree);
        }
    }
    bail!("{:?} is missing there or is another device", device.path)
}

/// An empty file (a mount point left by an earlier container) or the device itself may be bound over.
fn existing_place(dir: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<OwnedFd> {
    let place = sys_path::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = sys_path::fstat(place.as_fd())?;
    let same = stat.kind() == device.mode & libc::S_IFMT && stat.rdev() == device.device;
    if !(same || stat.is_file() && stat.size() == 0) {
        bail!("something else exists there and is not the requested device");
    }
    Ok(place)
}

/// A link that is there already, whatever it says, stays (DV-5).
fn link(root: &mut Root, dir: BorrowedFd<'_>, name: &CStr, says: &CStr) -> Result<()> {
    match sys_path::symlinkat(says, dir, name) {
        Ok(()) => made(root, dir, name),
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// The multiplexer of the container's own devpts: a relative link, in place of whatever the image has there.
fn ptmx(root: &mut Root, dev: BorrowedFd<'_>) -> Result<()> {
    const SAYS: &CStr = c"pts/ptmx";
    match sys_path::symlinkat(SAYS, dev, c"ptmx") {
        Ok(()) => return made(root, dev, c"ptmx"),
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
        Err(err) => return Err(err.into()),
    }
    if sys_path::readlinkat(dev, c"ptmx").is_ok_and(|says| says.as_c_str() == SAYS) {
        return Ok(());
    }
    sys_path::unlinkat(dev, c"ptmx", false)?;
    Ok(sys_path::symlinkat(SAYS, dev, c"ptmx")?)
}

/// Binds the container's end of the terminal on /dev/console.
///
/// `slave` comes from the master itself (TIOCGPTPEER), so that no path of the image is believed (CVE-2025-52565).
///
/// # Errors
/// Where the image has a symlink or directory in its place; nothing is created through it (CVE-2026-88264).
pub(crate) fn attach_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    attach(root, slave).context("/dev/console")
}

fn attach(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    let stat = sys_path::fstat(slave)?;
    if !stat.is_any_char() || sys_path::fs_magic(slave)? != sys_path::DEVPTS_MAGIC {
        bail!("the terminal is not from a devpts");
    }
    let dev = path::open(root.fd(), c"/dev", Target::NoSymlinks, libc::O_DIRECTORY)?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let place = match sys_path::openat(dev.as_fd(), c"console", flags, 0o600) {
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {
            let place = sys_path::openat(dev.as_fd(), c"console", libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            let stat = sys_path::fstat(place.as_fd())?;
            if !stat.is_file() && !stat.is_any_char() {
                bail!("exists and is neither a file nor a device");
            }
            place
        }
        made => made?,
    };
    let tree = sys_mount::clone_fd(slave, false).context("bind of the terminal")?;
    sys_mount::move_mount(tree.as_fd(), place.as_fd())?;
    Ok(())
}
