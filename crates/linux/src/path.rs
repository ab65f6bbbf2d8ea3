//! Files by descriptor and name: openat2(2) and related calls, never a path from the working directory.
//!
//! Each open has O_CLOEXEC. croci's `rootfs::path` decides which symlinks are followed below the rootfs.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use libc::{c_int, c_long};
use nix::fcntl::{AtFlags, OFlag, ResolveFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag};
use nix::unistd::{Gid, Uid, UnlinkatFlags};
use rustix::fs::{AtFlags as RawAt, RawDir, Statx, StatxAttributes, StatxFlags, Timespec, Timestamps};

use super::cvt;
use super::resolve::OpenHow;

/// File system type of procfs.
pub const PROC_MAGIC: i64 = libc::PROC_SUPER_MAGIC;
/// File system type of tmpfs.
pub const TMPFS_MAGIC: i64 = 0x0102_1994;
/// File system type of sysfs.
pub const SYSFS_MAGIC: i64 = 0x6265_6572;
/// File system type of devpts.
pub const DEVPTS_MAGIC: i64 = 0x1cd1;
/// File system type of cgroup v2.
pub const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// The result of a stat(2).
#[derive(Debug, Clone, Copy)]
pub struct Stat(libc::stat);

impl Stat {
    fn is(&self, kind: libc::mode_t) -> bool {
        self.0.st_mode & libc::S_IFMT == kind
    }
    /// Returns whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }
    /// Returns whether it is a symlink.
    pub fn is_symlink(&self) -> bool {
        self.is(libc::S_IFLNK)
    }
    /// Returns whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }
    /// Returns whether it is a character device with these numbers.
    pub fn is_char(&self, major: u32, minor: u32) -> bool {
        self.is(libc::S_IFCHR) && self.0.st_rdev == libc::makedev(major, minor)
    }
    /// Returns whether it is a character device.
    pub fn is_any_char(&self) -> bool {
        self.is(libc::S_IFCHR)
    }
    /// Returns the file type bits, such as `S_IFBLK`.
    pub fn kind(&self) -> libc::mode_t {
        self.0.st_mode & libc::S_IFMT
    }
    /// Returns the permissions with set-id and sticky bits.
    pub fn permissions(&self) -> libc::mode_t {
        self.0.st_mode & 0o7777
    }
    /// Returns the device number of a device node.
    pub fn rdev(&self) -> libc::dev_t {
        self.0.st_rdev
    }
    /// Returns device and inode, which identify the file.
    pub fn identity(&self) -> (libc::dev_t, libc::ino_t) {
        (self.0.st_dev, self.0.st_ino)
    }
    /// Returns owner and group.
    pub fn owner(&self) -> (libc::uid_t, libc::gid_t) {
        (self.0.st_uid, self.0.st_gid)
    }
    /// Returns the size in bytes.
    pub fn size(&self) -> libc::off_t {
        self.0.st_size
    }
    /// Returns the number of hard links.
    pub fn links(&self) -> libc::nlink_t {
        self.0.st_nlink
    }
    /// Returns the times of access and modification.
    pub fn times(&self) -> [libc::timespec; 2] {
        [
            libc::timespec { tv_sec: self.0.st_atime, tv_nsec: self.0.st_atime_nsec },
            libc::timespec { tv_sec: self.0.st_mtime, tv_nsec: self.0.st_mtime_nsec },
        ]
    }
}

fn mode_bits(mode: libc::mode_t) -> Mode {
    Mode::from_bits_truncate(mode)
}

/// [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html) with `resolve` = `RESOLVE_*`.
///
/// # Errors
/// `EAGAIN` while a rename races with `..`; `ELOOP` and `EXDEV` for what `resolve` forbids.
pub fn openat2(dir: BorrowedFd<'_>, path: &CStr, flags: c_int, resolve: u64) -> io::Result<OwnedFd> {
    let (flags, resolve) = (OFlag::from_bits_retain(flags), ResolveFlag::from_bits_retain(resolve));
    Ok(crate::resolve::openat2(dir, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))?)
}

/// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html); `mode` is used with O_CREAT only.
///
/// # Errors
/// As openat(2).
pub fn openat(dir: BorrowedFd<'_>, name: &CStr, flags: c_int, mode: libc::mode_t) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    Ok(crate::open::openat(dir, name, flags, mode_bits(mode))?)
}

/// Duplicates a descriptor, by one call; musl's fcntl(2) makes two.
///
/// # Errors
/// `EMFILE`.
pub fn dup(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Returns the attributes of an open file.
///
/// # Errors
/// As fstat(2).
pub fn fstat(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(Stat(nix::sys::stat::fstat(fd)?))
}

/// Returns the attributes of `name` in `dir`; `follow`: those of a symlink's target.
///
/// # Errors
/// As fstatat(2).
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr, follow: bool) -> io::Result<Stat> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
    Ok(Stat(nix::sys::stat::fstatat(dir, name, flags)?))
}

/// Renames an entry; the new name must not exist yet. [renameat2(2)](https://man7.org/linux/man-pages/man2/rename.2.html)
///
/// # Errors
/// `EEXIST`, and as renameat2(2).
pub fn rename_new(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(from, name, to, new, rustix::fs::RenameFlags::NOREPLACE)?)
}

/// Returns the type of the file system of an open file.
///
/// # Errors
/// As fstatfs(2).
pub fn fs_magic(fd: BorrowedFd<'_>) -> io::Result<i64> {
    Ok(nix::sys::statfs::fstatfs(fd)?.filesystem_type().0 as _)
}

/// Returns whether a file is of a file system that shows the kernel's own state, such as procfs.
///
/// # Errors
/// As fstatfs(2).
pub fn is_of_kernel(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let magic = fs_magic(fd)?;
    Ok([PROC_MAGIC, SYSFS_MAGIC, DEVPTS_MAGIC, CGROUP2_MAGIC, libc::CGROUP_SUPER_MAGIC].contains(&magic))
}

/// The result of statvfs(3) for the mount of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsFacts {
    /// `ST_*` flags of the mount and of its file system together.
    pub flags: u64,
    /// Inodes in use, where the file system has a limit for them.
    pub inodes: u64,
}

/// The space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that an ordinary user may still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Returns the space of the file system of `fd`.
///
/// # Errors
/// As fstatvfs(3).
pub fn space(fd: BorrowedFd<'_>) -> io::Result<Space> {
    let stat = rustix::fs::fstatvfs(fd)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
}

/// Returns flags and inode usage of the mount of `fd`, which may be O_PATH.
///
/// # Errors
/// As fstatvfs(3).
pub fn fs_facts(fd: BorrowedFd<'_>) -> io::Result<FsFacts> {
    // nix leaves out the flags that it has no name for
    let stat = rustix::fs::fstatvfs(fd)?;
    Ok(FsFacts { flags: stat.f_flag.bits(), inodes: stat.f_files.saturating_sub(stat.f_ffree) })
}

/// Returns the mount ID, as in mountinfo, of an open file; before Linux 5.8 from `/proc`.
///
/// # Errors
/// As statx(2).
pub fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    crate::procfs::mount_id(fd)
}

/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html), which nix lacks.
pub(crate) fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: RawAt, mask: StatxFlags) -> io::Result<Statx> {
    Ok(rustix::fs::statx(dir, name, flags, mask)?)
}

/// Returns whether the entry `name` of `dir` is a mount point.
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
///
/// # Errors
/// As statx(2).
pub fn is_mount_root(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let stat = statx(dir, name, RawAt::SYMLINK_NOFOLLOW | RawAt::NO_AUTOMOUNT, StatxFlags::empty())?;
    if !stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return crate::procfs::is_mount_root(openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?.as_fd());
    }
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Creates a directory.
///
/// # Errors
/// As mkdirat(2).
pub fn mkdirat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t) -> io::Result<()> {
    Ok(nix::sys::stat::mkdirat(dir, name, mode_bits(mode))?)
}

/// Creates a device node or fifo; `mode` includes the type.
///
/// # Errors
/// `EPERM` in a user namespace.
pub fn mknodat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t, device: libc::dev_t) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(mode);
    Ok(nix::sys::stat::mknodat(dir, name, kind, mode_bits(mode), device)?)
}

/// Creates the symlink `name` with the target `target`.
///
/// # Errors
/// As symlinkat(2).
pub fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(nix::unistd::symlinkat(target, dir, name)?)
}

/// Creates a hard link to the file `from` in `from_dir`.
///
/// # Errors
/// As linkat(2).
pub fn linkat(from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(nix::unistd::linkat(from_dir, from, dir, name, AtFlags::empty())?)
}

/// Removes a name; with `directory` as rmdir(2) does.
///
/// # Errors
/// As unlinkat(2).
pub fn unlinkat(dir: BorrowedFd<'_>, name: &CStr, directory: bool) -> io::Result<()> {
    let flags = if directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
    Ok(nix::unistd::unlinkat(dir, name, flags)?)
}

/// Returns the target of a symlink; with an empty name that of the symlink `dir`.
///
/// # Errors
/// `EINVAL` for another file.
pub fn readlinkat(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    Ok(CString::new(nix::fcntl::readlinkat(dir, name)?.into_vec())?)
}

/// Changes owner and group of `name`, or of `dir` itself when the name is empty; follows no symlink.
///
/// # Errors
/// As fchownat(2).
pub fn chownat(dir: BorrowedFd<'_>, name: &CStr, uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
    Ok(nix::unistd::fchownat(dir, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?)
}

/// Changes owner and group of an open file, which may be O_PATH; of a symlink, those of the link itself.
///
/// # Errors
/// `EPERM` without CAP_CHOWN; `EINVAL` for an ID that the user namespace does not map.
pub fn chown_fd(fd: BorrowedFd<'_>, uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    chownat(fd, c"", uid, gid)
}

/// [fchmodat2(2)](https://man7.org/linux/man-pages/man2/fchmodat.2.html), Linux 6.6.
fn fchmodat2(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t, flags: c_int) -> io::Result<()> {
    // the same number on every architecture that this crate is built for
    const NUMBER: c_long = 452;
    // SAFETY: the descriptor is borrowed for the call, the name is NUL-terminated.
    cvt(unsafe { libc::syscall(NUMBER, dir.as_raw_fd(), name.as_ptr(), mode, flags) }).map(drop)
}

/// Returns whether the kernel lacks fchmodat2, or an older seccomp filter refuses it.
fn lacks_fchmodat2(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// Changes the permissions of an open file, which may be O_PATH, but no symlink.
///
/// `proc_dir` is a procfs on which no other process can mount: before Linux 6.6 an O_PATH file is changed by its link.
///
/// # Errors
/// `EPERM` for a file of another owner; `EOPNOTSUPP` for a symlink.
pub fn chmod_fd(fd: BorrowedFd<'_>, mode: libc::mode_t, proc_dir: BorrowedFd<'_>) -> io::Result<()> {
    match fchmodat2(fd, c"", mode, libc::AT_EMPTY_PATH) {
        Err(err) if lacks_fchmodat2(&err) => chmod_link(fd, proc_dir, &format!("self/fd/{}", fd.as_raw_fd()), mode),
        done => done,
    }
}

/// Changes the permissions of `fd` by its link `link` in procfs.
fn chmod_link(fd: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>, link: &str, mode: libc::mode_t) -> io::Result<()> {
    if fstat(fd)?.is_symlink() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(nix::sys::stat::fchmodat(proc_dir, link, mode_bits(mode), FchmodatFlags::FollowSymlink)?)
}

/// Changes the permissions of `name`, following no symlink; before Linux 6.6 through the host's `/proc`.
///
/// # Errors
/// `EOPNOTSUPP` for a symlink, and as [`chmod_fd`].
pub fn chmodat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t) -> io::Result<()> {
    match fchmodat2(dir, name, mode, libc::AT_SYMLINK_NOFOLLOW) {
        Err(err) if lacks_fchmodat2(&err) => {
            let file = openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            chmod_link(file.as_fd(), dir, &link, mode)
        }
        done => done,
    }
}

/// Changes the permissions of an open file, not O_PATH.
///
/// # Errors
/// `EPERM` for a file of another owner.
pub fn fchmod(fd: BorrowedFd<'_>, mode: libc::mode_t) -> io::Result<()> {
    Ok(nix::sys::stat::fchmod(fd, mode_bits(mode))?)
}

/// [utimensat(2)](https://man7.org/linux/man-pages/man2/utimensat.2.html), of which nix has no AT_EMPTY_PATH.
fn utimensat(dir: BorrowedFd<'_>, name: &CStr, times: &[libc::timespec; 2], flags: RawAt) -> io::Result<()> {
    let [last_access, last_modification] = times.map(|time| Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec });
    Ok(rustix::fs::utimensat(dir, name, &Timestamps { last_access, last_modification }, flags)?)
}

/// Sets the times of `name`, following no symlink.
///
/// # Errors
/// As utimensat(2).
pub fn set_times(dir: BorrowedFd<'_>, name: &CStr, times: &[libc::timespec; 2]) -> io::Result<()> {
    utimensat(dir, name, times, RawAt::SYMLINK_NOFOLLOW)
}

/// Sets the times of an open file, which may be O_PATH; of a symlink, those of the link itself.
///
/// # Errors
/// As utimensat(2).
pub fn set_times_fd(fd: BorrowedFd<'_>, times: &[libc::timespec; 2]) -> io::Result<()> {
    utimensat(fd, c"", times, RawAt::EMPTY_PATH)
}

/// Returns the names in the directory, without `.` and `..`.
///
/// # Errors
/// `ENOTDIR`; as getdents64(2).
pub fn read_dir_names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    // opened again, because the file offset belongs to the open file description
    let dir = openat(dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 32 * 1024];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Sets the umask and returns the previous one.
pub fn umask(mask: libc::mode_t) -> libc::mode_t {
    nix::sys::stat::umask(mode_bits(mask)).bits()
}

/// Makes the directory the working directory.
///
/// # Errors
/// As fchdir(2).
pub fn fchdir(dir: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::fchdir(dir)?)
}

/// Makes the working directory the root directory, in the same mount namespace.
///
/// # Errors
/// `EPERM` without CAP_SYS_CHROOT.
pub fn chroot_to_cwd() -> io::Result<()> {
    Ok(nix::unistd::chroot(c".")?)
}
