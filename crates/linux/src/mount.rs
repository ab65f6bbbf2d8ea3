//! Mounts by descriptor: the mount API of Linux 5.2 and 5.12, and the calls of the old one without a successor.
//!
//! A mount is created or cloned detached, configured, and moved onto a descriptor; no wrapper takes a path below the
//! container's root.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{c_long, c_uint};

use super::cvt;

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

const OPEN_TREE_CLONE: c_uint = 1;
const AT_RECURSIVE: c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: c_uint = 0x40;
const FSOPEN_CLOEXEC: c_uint = 1;
const FSMOUNT_CLOEXEC: c_uint = 1;
const FSPICK_CLOEXEC: c_uint = 1;
const FSPICK_NO_AUTOMOUNT: c_uint = 4;
const FSPICK_EMPTY_PATH: c_uint = 8;
const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_SET_FD: c_uint = 5;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const FSCONFIG_CMD_RECONFIGURE: c_uint = 7;

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

fn new_fd(result: c_long) -> io::Result<OwnedFd> {
    let fd = cvt(result)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just returned this descriptor to us, no other process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn open_tree(dir: BorrowedFd<'_>, path: &CStr, flags: c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is borrowed for the call, the path is NUL-terminated.
    new_fd(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

fn clone_flags(how: CloneFlags) -> c_uint {
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as c_uint;
    if how.recursive {
        flags |= AT_RECURSIVE;
    }
    if how.nofollow {
        flags |= libc::AT_SYMLINK_NOFOLLOW as c_uint;
    }
    flags
}

/// Clones the mount at `path` (a host path, relative to `dir`) as a detached mount, perhaps with its submounts.
/// [open_tree(2)](https://man7.org/linux/man-pages/man2/open_tree.2.html)
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN over the mount namespace; `EINVAL` for a mount of another namespace, an unbindable one,
/// or, not recursive, one with locked mounts below.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, how: CloneFlags) -> io::Result<OwnedFd> {
    open_tree(dir, path, clone_flags(how))
}

/// Clones the mount at `fd` as a detached mount.
///
/// # Errors
/// As [`clone_tree`].
pub fn clone_fd(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    open_tree(fd, c"", clone_flags(CloneFlags { recursive, nofollow: false }) | libc::AT_EMPTY_PATH as c_uint)
}

/// Attaches the detached mount `tree` on the file or directory `target`, following nothing.
/// [move_mount(2)](https://man7.org/linux/man-pages/man2/move_mount.2.html)
///
/// # Errors
/// `EINVAL` when one is a directory and the other is not, or `target` is of another mount namespace.
pub fn move_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are borrowed for the call, both paths are empty NUL-terminated constants.
    cvt(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
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
    let MountAttr { set, clear, propagation } = change;
    mount_setattr(mount, recursive, RawAttr { set, clear, propagation, userns: 0 })
}

/// ID-maps the detached `mount` by the user namespace `userns`.
///
/// # Errors
/// `EINVAL` when the file system does not support ID mapping, `EPERM` without CAP_SYS_ADMIN over the file system.
pub fn idmap(mount: BorrowedFd<'_>, recursive: bool, userns: BorrowedFd<'_>) -> io::Result<()> {
    let userns = u64::try_from(userns.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    mount_setattr(mount, recursive, RawAttr { set: ATTR_IDMAP, userns, ..RawAttr::default() })
}

/// A file system context. [fsopen(2)](https://man7.org/linux/man-pages/man2/fsopen.2.html)
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// Opens a context for a new file system of type `fs`.
    ///
    /// # Errors
    /// `ENODEV` for an unknown type, `EPERM` without privilege, `ENOSYS` before Linux 5.2.
    pub fn open(fs: &CStr) -> io::Result<Self> {
        // SAFETY: the name is NUL-terminated.
        new_fd(unsafe { libc::syscall(libc::SYS_fsopen, fs.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    /// Opens a context for the file system mounted at `mount`, to reconfigure it (fspick).
    ///
    /// # Errors
    /// `EINVAL` where `mount` is no mount's root.
    pub fn pick(mount: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = FSPICK_CLOEXEC | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH;
        // SAFETY: the descriptor is borrowed for the call, the path is an empty constant.
        new_fd(unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) }).map(Self)
    }

    fn config(&self, command: c_uint, key: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: key and value are NUL-terminated or null, as the command requires.
        cvt(unsafe {
            libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, pointer(key), pointer(value), 0)
        })?;
        Ok(())
    }

    /// Sets an option; without a value it is a flag.
    ///
    /// # Errors
    /// `EINVAL` for an invalid option; [`FsContext::message`] may have the reason.
    pub fn option(&self, key: &CStr, value: Option<&CStr>) -> io::Result<()> {
        match value {
            Some(value) => self.config(FSCONFIG_SET_STRING, Some(key), Some(value)),
            None => self.config(FSCONFIG_SET_FLAG, Some(key), None),
        }
    }

    /// Sets an option with a descriptor as value.
    ///
    /// # Errors
    /// `EINVAL` for an option that the file system does not know.
    pub fn option_fd(&self, key: &CStr, value: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the key is NUL-terminated, the descriptor is borrowed for the call.
        cvt(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.0.as_raw_fd(),
                FSCONFIG_SET_FD,
                key.as_ptr(),
                std::ptr::null::<libc::c_void>(),
                value.as_raw_fd(),
            )
        })?;
        Ok(())
    }

    /// Creates the superblock.
    ///
    /// # Errors
    /// Those of the file system; [`FsContext::message`] may have the reason.
    pub fn create(&self) -> io::Result<()> {
        self.config(FSCONFIG_CMD_CREATE, None, None)
    }

    /// Applies the options to the existing superblock.
    ///
    /// # Errors
    /// As [`FsContext::create`].
    pub fn reconfigure(&self) -> io::Result<()> {
        self.config(FSCONFIG_CMD_RECONFIGURE, None, None)
    }

    /// Creates a detached mount of the file system with the attributes `ATTR_*`.
    ///
    /// # Errors
    /// `EPERM` for proc and sysfs in a user namespace without a fully visible instance.
    pub fn mount(&self, attr: u64) -> io::Result<OwnedFd> {
        // SAFETY: plain numbers.
        new_fd(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attr as c_uint) })
    }

    /// Returns the kernel's message for the last error, such as `tmpfs: Unknown parameter 'sizz'`.
    pub fn message(&self) -> Option<String> {
        let mut text = String::new();
        let mut buffer = [0u8; 1024];
        // each read(2) returns one message, ENODATA after the last
        for _ in 0..16 {
            // SAFETY: the buffer is ours and its length is given.
            let got = unsafe { libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let Some(line) = usize::try_from(got).ok().and_then(|n| buffer.get(..n)).filter(|line| !line.is_empty())
            else {
                break;
            };
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
    const MNT_ID_UNIQUE: c_uint = 0x4000;
    Ok(statx(fd, libc::STATX_MNT_ID | MNT_ID_UNIQUE)?.stx_mnt_id)
}

/// Returns whether `fd` is the root of its mount.
///
/// # Errors
/// As statx(2).
pub fn is_root(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(statx(fd, 0)?.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

fn statx(fd: BorrowedFd<'_>, mask: c_uint) -> io::Result<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the path is an empty constant, the buffer is one statx and lives through the call.
    cvt(c_long::from(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, stat.as_mut_ptr()) }))?;
    // SAFETY: zeroed before, and filled by the kernel.
    Ok(unsafe { stat.assume_init() })
}

/// Makes every mount of this namespace, from `/` down, a slave: its later mounts do not propagate to the peer group.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN over the mount namespace; `EINVAL` in a plain chroot, whose `/` is no mount point.
pub fn make_rslave() -> io::Result<()> {
    // SAFETY: constants only; source, type and data are not looked at with these flags.
    cvt(c_long::from(unsafe {
        libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_SLAVE, std::ptr::null())
    }))?;
    Ok(())
}

/// Makes the working directory the root and stacks the old root on it, to be unmounted by [`detach`] of `.`.
/// [pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html)
///
/// # Errors
/// `EINVAL` on the initial ramfs, or where the root's mount is shared.
pub fn pivot_to_cwd() -> io::Result<()> {
    // SAFETY: constants only.
    cvt(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    Ok(())
}

/// Unmounts `path` and its submounts lazily. [umount2(2)](https://man7.org/linux/man-pages/man2/umount.2.html)
///
/// # Errors
/// `EINVAL` where `path` is no mount point or the mount is locked.
pub fn detach(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    cvt(c_long::from(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) }))?;
    Ok(())
}

/// Unmounts as [`detach`] does, by a `/proc/self/fd` link, which is followed to its mount.
///
/// # Errors
/// As [`detach`].
pub fn detach_link(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    cvt(c_long::from(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }))?;
    Ok(())
}
