//! Files by descriptor and name: openat2(2) and related calls, never a path from the working directory.
//!
//! Each open has O_CLOEXEC. croci's `rootfs::path` decides which symlinks are followed below the rootfs.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{c_int, c_long};

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

fn check(result: c_int) -> io::Result<()> {
    cvt(c_long::from(result)).map(drop)
}

fn owned_fd(fd: c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(cvt(fd)?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just returned this descriptor to us, no other process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html) with `resolve` = `RESOLVE_*`.
///
/// # Errors
/// `EAGAIN` while a rename races with `..`; `ELOOP` and `EXDEV` for what `resolve` forbids; `ENOSYS` before Linux 5.6.
pub fn openat2(dir: BorrowedFd<'_>, path: &CStr, flags: c_int, resolve: u64) -> io::Result<OwnedFd> {
    let how = [u64::from((flags | libc::O_CLOEXEC) as u32), 0, resolve];
    // SAFETY: `how` has the layout of struct open_how (three u64), lives through the call, and its size is given.
    owned_fd(unsafe {
        libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), path.as_ptr(), how.as_ptr(), size_of_val(&how))
    })
}

/// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html); `mode` is used with O_CREAT only.
///
/// # Errors
/// As openat(2).
pub fn openat(dir: BorrowedFd<'_>, name: &CStr, flags: c_int, mode: libc::mode_t) -> io::Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated, the descriptor is borrowed for the call.
    let fd = unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    owned_fd(c_long::from(fd))
}

/// Duplicates a descriptor.
///
/// # Errors
/// `EMFILE`.
pub fn dup(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// Returns the attributes of an open file.
///
/// # Errors
/// As fstat(2).
pub fn fstat(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the buffer when it answers 0.
    check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: filled, see above.
    Ok(Stat(unsafe { stat.assume_init() }))
}

/// Returns the attributes of `name` in `dir`; `follow`: those of a symlink's target.
///
/// # Errors
/// As fstatat(2).
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr, follow: bool) -> io::Result<Stat> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the name is NUL-terminated; the kernel fills the buffer when it answers 0.
    check(unsafe { libc::fstatat(dir.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), flags) })?;
    // SAFETY: filled, see above.
    Ok(Stat(unsafe { stat.assume_init() }))
}

/// Returns the type of the file system of an open file.
///
/// # Errors
/// As fstatfs(2).
pub fn fs_magic(fd: BorrowedFd<'_>) -> io::Result<i64> {
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel fills the buffer when it answers 0.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: filled, see above.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_type)
}

/// The result of statvfs(3) for the mount of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsFacts {
    /// `ST_*` flags of the mount and of its file system together.
    pub flags: u64,
    /// Inodes in use, where the file system has a limit for them.
    pub inodes: u64,
}

/// Returns flags and inode usage of the mount of `fd`, which may be O_PATH.
///
/// # Errors
/// As fstatvfs(3).
pub fn fs_facts(fd: BorrowedFd<'_>) -> io::Result<FsFacts> {
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the buffer is filled when the answer is 0.
    check(unsafe { libc::fstatvfs(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: filled, see above.
    let stat = unsafe { stat.assume_init() };
    Ok(FsFacts { flags: stat.f_flag, inodes: stat.f_files.saturating_sub(stat.f_ffree) })
}

/// Returns the mount ID, as in mountinfo, of an open file (Linux 5.8).
///
/// # Errors
/// As statx(2).
pub fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the name is an empty constant, the buffer is one statx and lives through the call.
    check(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_MNT_ID, stat.as_mut_ptr()) })?;
    // SAFETY: zeroed before, and filled by the kernel.
    Ok(unsafe { stat.assume_init() }.stx_mnt_id)
}

/// Returns whether the entry `name` of `dir` is a mount point.
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
///
/// # Errors
/// As statx(2).
pub fn is_mount_root(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the name is NUL-terminated, the buffer is one statx and lives through the call.
    check(unsafe { libc::statx(dir.as_raw_fd(), name.as_ptr(), flags, 0, stat.as_mut_ptr()) })?;
    // SAFETY: zeroed before, and filled by the kernel.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

/// Creates a directory.
///
/// # Errors
/// As mkdirat(2).
pub fn mkdirat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) })
}

/// Creates a device node or fifo; `mode` includes the type.
///
/// # Errors
/// `EPERM` in a user namespace.
pub fn mknodat(dir: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t, device: libc::dev_t) -> io::Result<()> {
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) })
}

/// Creates the symlink `name` with the target `target`.
///
/// # Errors
/// As symlinkat(2).
pub fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both are NUL-terminated.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })
}

/// Creates a hard link to the file `from` in `from_dir`.
///
/// # Errors
/// As linkat(2).
pub fn linkat(from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both are NUL-terminated.
    check(unsafe { libc::linkat(from_dir.as_raw_fd(), from.as_ptr(), dir.as_raw_fd(), name.as_ptr(), 0) })
}

/// Removes a name; with `directory` as rmdir(2) does.
///
/// # Errors
/// As unlinkat(2).
pub fn unlinkat(dir: BorrowedFd<'_>, name: &CStr, directory: bool) -> io::Result<()> {
    let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Returns the target of a symlink; with an empty name that of the symlink `dir`.
///
/// # Errors
/// `EINVAL` for another file.
pub fn readlinkat(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is ours and its length is given; the name is NUL-terminated.
    let got = unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let len = usize::try_from(cvt(got as c_long)?).unwrap_or(0);
    buffer.truncate(len);
    CString::new(buffer).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Changes owner and group of `name`, or of `dir` itself when the name is empty; follows no symlink.
///
/// # Errors
/// As fchownat(2).
pub fn chownat(dir: BorrowedFd<'_>, name: &CStr, uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, flags) })
}

/// Changes owner and group of an open file, which may be O_PATH; of a symlink, those of the link itself.
///
/// # Errors
/// `EPERM` without CAP_CHOWN; `EINVAL` for an ID that the user namespace does not map.
pub fn chown_fd(fd: BorrowedFd<'_>, uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call, the path is an empty constant.
    check(unsafe { libc::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) })
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
    let link = CString::new(link)?;
    // SAFETY: the descriptor is borrowed for the call, the name is NUL-terminated.
    check(unsafe { libc::fchmodat(proc_dir.as_raw_fd(), link.as_ptr(), mode, 0) })
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
    // SAFETY: the descriptor is borrowed for the call.
    check(unsafe { libc::fchmod(fd.as_raw_fd(), mode) })
}

/// Sets the times of `name`, following no symlink.
///
/// # Errors
/// As utimensat(2).
pub fn set_times(dir: BorrowedFd<'_>, name: &CStr, times: &[libc::timespec; 2]) -> io::Result<()> {
    // SAFETY: the name is NUL-terminated, the two times live through the call.
    check(unsafe { libc::utimensat(dir.as_raw_fd(), name.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) })
}

/// Sets the times of an open file, which may be O_PATH; of a symlink, those of the link itself.
///
/// # Errors
/// As utimensat(2).
pub fn set_times_fd(fd: BorrowedFd<'_>, times: &[libc::timespec; 2]) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call, the path is an empty constant, the two times live through it.
    check(unsafe { libc::utimensat(fd.as_raw_fd(), c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) })
}

/// Returns the names in the directory, without `.` and `..`.
///
/// # Errors
/// `ENOTDIR`; as getdents64(2).
pub fn read_dir_names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    // opened again, because the file offset belongs to the open file description
    let dir = openat(dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut names = Vec::new();
    let mut buffer = [0u8; 32 * 1024];
    loop {
        // SAFETY: the buffer is ours and its length is given.
        let got = cvt(unsafe {
            libc::syscall(libc::SYS_getdents64, dir.as_fd().as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
        })?;
        let Some(mut entries) = usize::try_from(got).ok().and_then(|n| buffer.get(..n)).filter(|e| !e.is_empty())
        else {
            return Ok(names);
        };
        // struct linux_dirent64: u64 inode, i64 offset, u16 length, u8 type, name
        while let Some(length) = entries.get(16..18).and_then(|b| <[u8; 2]>::try_from(b).ok()).map(u16::from_ne_bytes) {
            let Some(entry) = entries.get(19..usize::from(length)) else { break };
            if let Ok(name) = CStr::from_bytes_until_nul(entry)
                && name != c"."
                && name != c".."
            {
                names.push(name.to_owned());
            }
            entries = entries.get(usize::from(length)..).unwrap_or(&[]);
        }
    }
}

/// Sets the umask and returns the previous one.
pub fn umask(mask: libc::mode_t) -> libc::mode_t {
    // SAFETY: always succeeds, touches no memory.
    unsafe { libc::umask(mask) }
}

/// Makes the directory the working directory.
///
/// # Errors
/// As fchdir(2).
pub fn fchdir(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call.
    check(unsafe { libc::fchdir(dir.as_raw_fd()) })
}

/// Makes the working directory the root directory, in the same mount namespace.
///
/// # Errors
/// `EPERM` without CAP_SYS_CHROOT.
pub fn chroot_to_cwd() -> io::Result<()> {
    // SAFETY: a constant.
    check(unsafe { libc::chroot(c".".as_ptr()) })
}
