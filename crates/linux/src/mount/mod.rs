//! Mounts by descriptor: the mount API of Linux 5.2 and 5.12, and the calls of the old one without a successor.
//!
//! A mount is created or cloned detached, configured, and moved onto a descriptor; no wrapper takes a path below the
//! container's root. On a kernel that lacks a call of that API, `old` does the same by mount(2), chosen at the first ENOSYS.

mod old;
mod stage;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use libc::c_uint;
use nix::mount::{MntFlags, MsFlags, umount2};
use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags};
use rustix::mount::{
    self as api, FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags,
};

use super::{cvt, path, procfs};

/// Read-only mount.
pub const ATTR_RDONLY: u64 = 0x1;
/// Set-user-ID bits and file capabilities have no effect.
pub const ATTR_NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const ATTR_NODEV: u64 = 0x4;
/// Nothing can be executed.
pub const ATTR_NOEXEC: u64 = 0x8;
/// Mask of the access time attributes, which must be cleared before one is set.
pub const ATTR_ATIME_MASK: u64 = 0x70;
/// Access times as by default (relatime).
pub const ATTR_RELATIME: u64 = 0x0;
/// No updates of access times.
pub const ATTR_NOATIME: u64 = 0x10;
/// Each access updates the access time.
pub const ATTR_STRICTATIME: u64 = 0x20;
/// No updates of directories' access times.
pub const ATTR_NODIRATIME: u64 = 0x80;
/// Symlinks are not followed (Linux 5.10).
pub const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;
/// Owners are mapped by a user namespace.
const ATTR_IDMAP: u64 = 0x0010_0000;

const AT_RECURSIVE: c_uint = 0x8000;

/// The kernel's `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RawAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Attributes to change by mount_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// `ATTR_*` to set.
    pub set: u64,
    /// `ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0 for no change.
    pub propagation: u64,
}

/// Flags of [`clone_tree`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloneFlags {
    /// Clone the submounts too.
    pub recursive: bool,
    /// Do not follow a symlink at the last component.
    pub nofollow: bool,
}

fn clone_flags(how: CloneFlags) -> OpenTreeFlags {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, how.recursive);
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, how.nofollow);
    flags
}

/// Clones the mount at `path` (a host path, relative to `dir`) as a detached mount, perhaps with its submounts.
/// [open_tree(2)](https://man7.org/linux/man-pages/man2/open_tree.2.html)
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN over the mount namespace; `EINVAL` for a mount of another namespace, an unbindable one,
/// or, not recursive, one with locked mounts below.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, how: CloneFlags) -> io::Result<OwnedFd> {
    if old::is_chosen() {
        return old::clone_tree(dir, path, how);
    }
    match api::open_tree(dir, path, clone_flags(how)).map_err(io::Error::from) {
        Err(err) if old::choose(&err) => old::clone_tree(dir, path, how),
        tree => tree,
    }
}

/// Clones the mount at `fd` as a detached mount.
///
/// # Errors
/// As [`clone_tree`].
pub fn clone_fd(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    if old::is_chosen() {
        return old::clone_fd(fd, recursive);
    }
    let flags = clone_flags(CloneFlags { recursive, nofollow: false }) | OpenTreeFlags::AT_EMPTY_PATH;
    match api::open_tree(fd, c"", flags).map_err(io::Error::from) {
        Err(err) if old::choose(&err) => old::clone_fd(fd, recursive),
        tree => tree,
    }
}

/// Attaches the detached mount `tree` on the file or directory `target`, following nothing.
/// [move_mount(2)](https://man7.org/linux/man-pages/man2/move_mount.2.html)
///
/// # Errors
/// `EINVAL` when one is a directory and the other is not, or `target` is of another mount namespace.
pub fn move_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    if old::is_chosen() {
        return old::move_mount(tree, target);
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(api::move_mount(tree, c"", target, c"", flags)?)
}

fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: RawAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH as c_uint | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` lives through the call and its size is given; the path is an empty constant.
    cvt(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<RawAttr>(),
        )
    })?;
    Ok(())
}

/// Changes flags and propagation of a mount, or of its whole tree.
/// [mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html)
///
/// # Errors
/// `EPERM` for a flag that the kernel has locked; `EINVAL` where `mount` is no mount's root; `EBUSY` for read-only when
/// a file is open for writing.
pub fn set_attr(mount: BorrowedFd<'_>, recursive: bool, change: MountAttr) -> io::Result<()> {
    if old::is_chosen() {
        return old::set_attr(mount, recursive, change);
    }
    let MountAttr { set, clear, propagation } = change;
    match mount_setattr(mount, recursive, RawAttr { set, clear, propagation, userns: 0 }) {
        // a mount that is detached cannot be changed: the caller clones it again
        Err(err) if old::choose(&err) => old::set_attr(mount, recursive, change),
        done => done,
    }
}

/// ID-maps the detached `mount` by the user namespace `userns`.
///
/// # Errors
/// `EINVAL` when the file system does not support ID mapping, `EPERM` without CAP_SYS_ADMIN over the file system.
pub fn idmap(mount: BorrowedFd<'_>, recursive: bool, userns: BorrowedFd<'_>) -> io::Result<()> {
    if old::is_chosen() {
        return Err(needs_detached("an ID-mapped mount"));
    }
    let userns = u64::try_from(userns.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    mount_setattr(mount, recursive, RawAttr { set: ATTR_IDMAP, userns, ..RawAttr::default() })
}

/// A file system context. [fsopen(2)](https://man7.org/linux/man-pages/man2/fsopen.2.html)
#[derive(Debug)]
pub struct FsContext(Context);

/// The way of a context.
#[derive(Debug)]
enum Context {
    /// By fsopen(2).
    New(OwnedFd),
    /// By mount(2), see [`old`].
    Old(Mutex<old::Fs>),
}

impl Context {
    /// Returns a context by mount(2).
    fn old(fs: old::Fs) -> Self {
        Context::Old(Mutex::new(fs))
    }
}

/// Runs `act` on a context by mount(2).
fn with<T>(fs: &Mutex<old::Fs>, act: impl FnOnce(&mut old::Fs) -> io::Result<T>) -> io::Result<T> {
    act(&mut *fs.lock().map_err(|_| io::Error::other("the file system context is in use"))?)
}

impl FsContext {
    /// Opens a context for a new file system of type `fs`.
    ///
    /// # Errors
    /// `ENODEV` for an unknown type, `EPERM` without privilege.
    pub fn open(fs: &CStr) -> io::Result<Self> {
        if old::is_chosen() {
            return Ok(Self(Context::old(old::Fs::new(fs))));
        }
        match api::fsopen(fs, FsOpenFlags::FSOPEN_CLOEXEC).map_err(io::Error::from) {
            Err(err) if old::choose(&err) => Ok(Self(Context::old(old::Fs::new(fs)))),
            context => Ok(Self(Context::New(context?))),
        }
    }

    /// Opens a context for the file system mounted at `mount`, to reconfigure it (fspick).
    ///
    /// # Errors
    /// `EINVAL` where `mount` is no mount's root.
    pub fn pick(mount: BorrowedFd<'_>) -> io::Result<Self> {
        if old::is_chosen() {
            return Ok(Self(Context::old(old::Fs::of(mount)?)));
        }
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_NO_AUTOMOUNT | FsPickFlags::FSPICK_EMPTY_PATH;
        match api::fspick(mount, c"", flags).map_err(io::Error::from) {
            Err(err) if old::choose(&err) => Ok(Self(Context::old(old::Fs::of(mount)?))),
            context => Ok(Self(Context::New(context?))),
        }
    }

    /// Sets an option; without a value it is a flag.
    ///
    /// # Errors
    /// `EINVAL` for an invalid option; [`FsContext::message`] may have the reason.
    pub fn option(&self, key: &CStr, value: Option<&CStr>) -> io::Result<()> {
        match (&self.0, value) {
            (Context::Old(fs), value) => with(fs, |fs| fs.option(key, value))?,
            (Context::New(fd), Some(value)) => api::fsconfig_set_string(fd, key, value)?,
            (Context::New(fd), None) => api::fsconfig_set_flag(fd, key)?,
        }
        Ok(())
    }

    /// Sets an option with a descriptor as value.
    ///
    /// # Errors
    /// `EINVAL` for an option that the file system does not know.
    pub fn option_fd(&self, key: &CStr, value: BorrowedFd<'_>) -> io::Result<()> {
        match &self.0 {
            Context::Old(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            Context::New(fd) => Ok(api::fsconfig_set_fd(fd, key, value)?),
        }
    }

    /// Creates the superblock.
    ///
    /// # Errors
    /// Those of the file system; [`FsContext::message`] may have the reason.
    pub fn create(&self) -> io::Result<()> {
        match &self.0 {
            Context::Old(fs) => with(fs, old::Fs::create),
            Context::New(fd) => Ok(api::fsconfig_create(fd)?),
        }
    }

    /// Applies the options to the existing superblock.
    ///
    /// # Errors
    /// As [`FsContext::create`].
    pub fn reconfigure(&self) -> io::Result<()> {
        match &self.0 {
            Context::Old(fs) => with(fs, |fs| fs.reconfigure()),
            Context::New(fd) => Ok(api::fsconfig_reconfigure(fd)?),
        }
    }

    /// Creates a detached mount of the file system with the attributes `ATTR_*`.
    ///
    /// # Errors
    /// `EPERM` for proc and sysfs in a user namespace without a fully visible instance.
    pub fn mount(&self, attr: u64) -> io::Result<OwnedFd> {
        let attributes = MountAttrFlags::from_bits_retain(attr as c_uint);
        match &self.0 {
            Context::Old(fs) => with(fs, |fs| fs.mounted(attr)),
            Context::New(fd) => Ok(api::fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?),
        }
    }

    /// Returns the kernel's message for the last error, such as `tmpfs: Unknown parameter 'sizz'`.
    pub fn message(&self) -> Option<String> {
        let Context::New(fd) = &self.0 else { return None };
        let mut text = String::new();
        let mut buffer = [0u8; 1024];
        // each read(2) returns one message, ENODATA after the last
        for _ in 0..16 {
            let got = nix::unistd::read(fd, &mut buffer).unwrap_or(0);
            let Some(line) = buffer.get(..got).filter(|line| !line.is_empty()) else { break };
            // "e ", "w " or "i " before the text
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end();
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(line.get(2..).unwrap_or(line));
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Returns the ID of the mount of `fd`. Since Linux 6.8 it is unique until the next boot; before, it may be reused
/// after an unmount. [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
///
/// # Errors
/// As statx(2).
pub fn id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let stat = statx(fd, StatxFlags::MNT_ID | MNT_ID_UNIQUE)?;
    let known = StatxFlags::from_bits_retain(stat.stx_mask).intersects(StatxFlags::MNT_ID | MNT_ID_UNIQUE);
    if known { Ok(stat.stx_mnt_id) } else { procfs::mount_id(fd) }
}

/// Returns whether `fd` is the root of its mount.
///
/// # Errors
/// As statx(2).
pub fn is_root(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = statx(fd, StatxFlags::empty())?;
    if !stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return procfs::is_mount_root(fd);
    }
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Returns whether mounts are made by mount(2), because the kernel has no mount_setattr(2) (Linux 5.12): none can be prepared
/// before the container's mount namespace is entered.
pub fn is_old() -> bool {
    old::is_chosen()
}

/// Returns the error of a property that only a kernel with mount_setattr(2) has.
pub fn needs_detached(what: &str) -> io::Error {
    old::needs("5.12", &format!("{what} (mount_setattr)"))
}

/// Removes what the way of an old kernel has left above the container's root: before the program runs, and before a path is
/// resolved in that root, because a `..` that leads there goes on to the mount above.
///
/// # Errors
/// As umount2(2).
pub fn finish() -> io::Result<()> {
    if old::is_chosen() { stage::remove() } else { Ok(()) }
}

fn statx(fd: BorrowedFd<'_>, mask: StatxFlags) -> io::Result<Statx> {
    path::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, mask)
}

/// Returns whether this mount namespace has more than `few` mounts, at most [`MAX_FEW`].
/// [listmount(2)](https://man7.org/linux/man-pages/man2/listmount.2.html)
///
/// # Errors
/// `ENOSYS` before Linux 6.8; `EPERM` where the root directory is below none of the mounts that this process may list.
pub fn more_than(few: usize) -> io::Result<bool> {
    /// The kernel's `struct mnt_id_req`, its first version.
    #[repr(C)]
    struct Request {
        size: u32,
        spare: u32,
        mount: u64,
        after: u64,
    }
    const SYS_LISTMOUNT: libc::c_long = 458;
    const LSMT_ROOT: u64 = u64::MAX;
    let request = Request { size: size_of::<Request>() as u32, spare: 0, mount: LSMT_ROOT, after: 0 };
    let mut ids = [0_u64; MAX_FEW + 1];
    let count = ids.len().min(few + 1);
    // SAFETY: `request` has its own size and lives through the call, and the kernel writes at most `count` IDs to `ids`,
    // which has at least as many.
    let listed = cvt(unsafe { libc::syscall(SYS_LISTMOUNT, &raw const request, ids.as_mut_ptr(), count, 0) })?;
    Ok(usize::try_from(listed).is_ok_and(|listed| listed > few))
}

/// Largest argument of [`more_than`].
pub const MAX_FEW: usize = 255;

/// Makes every mount of this namespace, from `/` down, a slave: its later mounts do not propagate to the peer group.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN over the mount namespace; `EINVAL` in a plain chroot, whose `/` is no mount point.
pub fn make_rslave() -> io::Result<()> {
    nix::mount::mount(None::<&CStr>, c"/", None::<&CStr>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&CStr>)?;
    stage::allow();
    Ok(())
}

/// Mounts a new file system of type `fs` on `target`, which may be a `/proc/self/fd` link; `flags` are `MS_*`.
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html)
///
/// # Errors
/// As mount(2).
pub fn mount(source: &CStr, target: &CStr, fs: &CStr, flags: u64, data: &CStr) -> io::Result<()> {
    Ok(nix::mount::mount(Some(source), target, Some(fs), MsFlags::from_bits_retain(flags), Some(data))?)
}

/// Makes the working directory the root and stacks the old root on it, to be unmounted by [`detach`] of `.`.
/// [pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html)
///
/// # Errors
/// `EINVAL` on the initial ramfs, or where the root's mount is shared.
pub fn pivot_to_cwd() -> io::Result<()> {
    Ok(nix::unistd::pivot_root(c".", c".")?)
}

/// Unmounts `path` and its submounts lazily. [umount2(2)](https://man7.org/linux/man-pages/man2/umount.2.html)
///
/// # Errors
/// `EINVAL` where `path` is no mount point or the mount is locked.
pub fn detach(path: &CStr) -> io::Result<()> {
    Ok(umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?)
}

/// Unmounts what pivot_root(2) has mounted on the working directory: the old root with all its mounts.
///
/// # Errors
/// As [`detach`]; with the way of old kernels also if something is left there.
pub fn detach_old_root() -> io::Result<()> {
    detach(c".")?;
    if old::is_chosen() { stage::detach_all() } else { Ok(()) }
}

/// Unmounts as [`detach`] does, by a `/proc/self/fd` link, which is followed to its mount.
///
/// # Errors
/// As [`detach`].
pub fn detach_link(path: &CStr) -> io::Result<()> {
    Ok(umount2(path, MntFlags::MNT_DETACH)?)
}
