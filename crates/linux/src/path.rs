//! Files by descriptor and name: openat2 and its family, never a path from the working directory.
//!
//! Each open is O_CLOEXEC. Which names may be followed is decided by `rootfs::path`, the only user below the rootfs.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use libc::{c_int, c_long};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag};
use nix::unistd::{Gid, Uid, UnlinkatFlags};
use rustix::fs::{AtFlags as RawAt, RawDir, Statx, StatxAttributes, StatxFlags, Timespec, Timestamps};

use super::cvt;

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

/// Whether a file is a directory, a symlink …, and its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Stat(libc::stat);

impl Stat {
    fn is(&self, kind: libc::mode_t) -> bool {
        self.0.st_mode & libc::S_IFMT == kind
    }
    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }
    /// A symlink.
    pub fn is_symlink(&self) -> bool {
        self.is(libc::S_IFLNK)
    }
    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }
    /// A character device with these numbers.
    pub fn is_char(&self, major: u32, minor: u32) -> bool {
        self.is(libc::S_IFCHR) && self.0.st_rdev == libc::makedev(major, minor)
    }
    /// A character device.
    pub fn is_any_char(&self) -> bool {
        self.is(libc::S_IFCHR)
    }
    /// The bits of the file's type, such as `S_IFBLK`.
    pub fn kind(&self) -> libc::mode_t {
        self.0.st_mode & libc::S_IFMT
    }
    /// Permissions with set-id and sticky bits.
    pub fn permissions(&self) -> libc::mode_t {
        self.0.st_mode & 0o7777
    }
    /// The numbers of a device node.
    pub fn rdev(&self) -> libc::dev_t {
        self.0.st_rdev
    }
    /// Device and inode: the file's identity.
    pub fn identity(&self) -> (libc::dev_t, libc::ino_t) {
        (self.0.st_dev, self.0.st_ino)
    }
    /// Owner and group.
    pub fn owner(&self) -> (libc::uid_t, libc::gid_t) {
        (self.0.st_uid, self.0.st_gid)
    }
    /// Length of a file.
    pub fn size(&self) -> libc::off_t {
        self.0.st_size
    }
    /// Number of names.
    pub fn links(&self) -> libc::nlink_t {
        self.0.st_nlink
    }
    /// Times of last access and change of content.
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
/// `EAGAIN` while a rename races with `..`; `ELOOP` and `EXDEV` for what `resolve` forbids; `ENOSYS` before Linux 5.6.
pub fn openat2(dir: BorrowedFd<'_>, path: &CStr, flags: c_int, resolve: u64) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::from_bits_retain(resolve));
    Ok(nix::fcntl::openat2(dir, path, how)?)
}

/// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html); `mode` is looked at with O_CREAT only.
///
/// # Errors
/// As the manual has it.
pub fn openat(dir: BorrowedFd<'_>, name: &CStr, flags: c_int, mode: libc::mode_t) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::openat(dir, name, flags, mode_bits(mode))?)
}

/// A second descriptor of the same file.
///
/// # Errors
/// `EMFILE`.
pub fn dup(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// What the descriptor stands for.
///
/// # Errors
/// As the manual has it.
pub fn fstat(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(Stat(nix::sys::stat::fstat(fd)?))
}

/// What `name` in `dir` is; `follow`: not a symlink itself but what it leads to.
///
/// # Errors
/// As the manual has it.
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr, follow: bool) -> io::Result<Stat> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
    Ok(Stat(nix::sys::stat::fstatat(dir, name, flags)?))
}

/// The type of the file system that the descriptor lies in.
///
/// # Errors
/// As the manual has it.
pub fn fs_magic(fd: BorrowedFd<'_>) -> io::Result<i64> {
    Ok(nix::sys::statfs::fstatfs(fd)?.filesystem_type().0)
}

/// What statvfs(3) tells of the mount that a descriptor lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsFacts {
    /// `ST_*` flags of the mount and of its file system together.
    pub flags: u64,
    /// Inodes in use, where the file system has a limit for them.
    pub inodes: u64,
}

/// Flags and fill of the mount that the descriptor, also an O_PATH one, lies in.
///
/// # Errors
/// As the manual has it.
pub fn fs_facts(fd: BorrowedFd<'_>) -> io::Result<FsFacts> {
    // nix leaves out the flags that it has no name for
    let stat = rustix::fs::fstatvfs(fd)?;
    Ok(FsFacts { flags: stat.f_flag.bits(), inodes: stat.f_files.saturating_sub(stat.f_ffree) })
}

/// The ID, in mountinfo, of the mount that the descriptor lies in (Linux 5.8).
///
/// # Errors
/// As the manual has it.
pub fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(statx(fd, c"", RawAt::EMPTY_PATH | RawAt::STATX_DONT_SYNC, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html), which nix lacks.
pub(crate) fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: RawAt, mask: StatxFlags) -> io::Result<Statx> {
    Ok(rustix::fs::statx(dir, name, flags, mask)?)
}

/// Whether the entry `name` of `dir` is the root of a mount. [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
///
/// # Errors
/// `ENOENT`, and as the manual has it.
pub fn is_mount_root(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let stat = statx(dir, name, RawAt::SYMLINK_NOFOLLOW | RawAt::NO_AUTOMOUNT, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Creates a directory.
///
/// # Errors
/// `EEXIST`, and as the manual has it.
pub fn mkdirat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t) -> io::Result<()> {
    Ok(nix::sys::stat::mkdirat(dir, name, mode_bits(mode))?)
}

/// Creates a device node or fifo; `mode` holds the type.
///
/// # Errors
/// `EPERM` in a user namespace.
pub fn mknodat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t, device: libc::dev_t) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(mode);
    Ok(nix::sys::stat::mknodat(dir, name, kind, mode_bits(mode), device)?)
}

/// Makes the symlink `name` that says `target`.
///
/// # Errors
/// `EEXIST`, and as the manual has it.
pub fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(nix::unistd::symlinkat(target, dir, name)?)
}

/// Gives the file `from` in `from_dir` a second name.
///
/// # Errors
/// As the manual has it.
pub fn linkat(from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(nix::unistd::linkat(from_dir, from, dir, name, AtFlags::empty())?)
}

/// Removes a name; `directory` as rmdir does.
///
/// # Errors
/// As the manual has it.
pub fn unlinkat(dir: BorrowedFd<'_>, name: &CStr, directory: bool) -> io::Result<()> {
    let flags = if directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
    Ok(nix::unistd::unlinkat(dir, name, flags)?)
}

/// What the symlink says; an empty name means the symlink that `dir` itself stands for.
///
/// # Errors
/// `EINVAL` when it is no symlink.
pub fn readlinkat(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    Ok(CString::new(nix::fcntl::readlinkat(dir, name)?.into_vec())?)
}

/// Changes owner and group of `name`, or of `dir` itself when the name is empty; follows no symlink.
///
/// # Errors
/// As the manual has it.
pub fn chownat(dir: BorrowedFd<'_>, name: &CStr, uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
    Ok(nix::unistd::fchownat(dir, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?)
}

/// Changes owner and group of the file that `fd` stands for, O_PATH will do; of a symlink, the link itself.
///
/// # Errors
/// `EPERM` without CAP_CHOWN; `EINVAL` for an ID that the user namespace does not have.
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

/// Whether the kernel lacks fchmodat2, or a filter that is older than the call refuses it.
fn lacks_fchmodat2(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// Changes the permissions of the file that `fd` stands for, O_PATH will do, but no symlink.
///
/// `proc_dir` is a procfs that no one else can mount on: kernels before 6.6 reach an O_PATH descriptor by its link only.
///
/// # Errors
/// `EPERM` for a file of another owner; `EOPNOTSUPP` for a symlink.
pub fn chmod_fd(fd: BorrowedFd<'_>, mode: libc::mode_t, proc_dir: BorrowedFd<'_>) -> io::Result<()> {
    match fchmodat2(fd, c"", mode, libc::AT_EMPTY_PATH) {
        Err(err) if lacks_fchmodat2(&err) => chmod_link(fd, proc_dir, &format!("self/fd/{}", fd.as_raw_fd()), mode),
        done => done,
    }
}

/// The same by the link `link` of `fd` in procfs.
fn chmod_link(fd: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>, link: &str, mode: libc::mode_t) -> io::Result<()> {
    if fstat(fd)?.is_symlink() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(nix::sys::stat::fchmodat(proc_dir, link, mode_bits(mode), FchmodatFlags::FollowSymlink)?)
}

/// Changes the permissions of `name`, following no symlink. The host's `/proc` is used on kernels before 6.6.
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

/// Changes the permissions of an open file; not O_PATH.
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
/// As the manual has it.
pub fn set_times(dir: BorrowedFd<'_>, name: &CStr, times: &[libc::timespec; 2]) -> io::Result<()> {
    utimensat(dir, name, times, RawAt::SYMLINK_NOFOLLOW)
}

/// Sets the times of the file that `fd` stands for, O_PATH will do; of a symlink, those of the link itself.
///
/// # Errors
/// As the manual has it.
pub fn set_times_fd(fd: BorrowedFd<'_>, times: &[libc::timespec; 2]) -> io::Result<()> {
    utimensat(fd, c"", times, RawAt::EMPTY_PATH)
}

/// The names in the directory, without `.` and `..`.
///
/// # Errors
/// `ENOTDIR`, and as the manual has it.
pub fn read_dir_names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    // a description of its own: the position in a directory belongs to it
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

/// Sets the mask for new files and gives the one before.
pub fn umask(mask: libc::mode_t) -> libc::mode_t {
    nix::sys::stat::umask(mode_bits(mask)).bits()
}

/// Makes the directory the working directory.
///
/// # Errors
/// As the manual has it.
pub fn fchdir(dir: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::fchdir(dir)?)
}

/// Makes the working directory the root, without leaving the mount namespace's root.
///
/// # Errors
/// `EPERM` without CAP_SYS_CHROOT.
pub fn chroot_to_cwd() -> io::Result<()> {
    Ok(nix::unistd::chroot(c".")?)
}
