//! Btrfs subvolumes by ioctl: about a millisecond, where the `btrfs` program needs four.
//!
//! A subvolume is named by its parent directory and one name. corm's `driver` uses them.

use std::ffi::{CStr, CString};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::{cvt, path};

/// File system type of btrfs.
pub const MAGIC: i64 = 0x9123_683e;

/// Inode number of every subvolume's root.
const FIRST_FREE_OBJECTID: u64 = 256;

const SUBVOL_CREATE_V2: Request<VolArgs> = request(IOC_WRITE, 24);
const SNAP_CREATE_V2: Request<VolArgs> = request(IOC_WRITE, 23);
const SNAP_DESTROY_V2: Request<VolArgs> = request(IOC_WRITE, 63);
const SUBVOL_GETFLAGS: Request<u64> = request(IOC_READ, 25);
const SUBVOL_SETFLAGS: Request<u64> = request(IOC_WRITE, 26);
const GET_SUBVOL_ROOTREF: Request<RootRefs> = request(IOC_READ | IOC_WRITE, 61);
const INO_LOOKUP_USER: Request<InoLookup> = request(IOC_READ | IOC_WRITE, 62);

const SUBVOL_RDONLY: u64 = 1 << 1;

const IOC_WRITE: u64 = 1;
const IOC_READ: u64 = 2;

/// The number of a request whose argument is a `T`.
struct Request<T>(libc::Ioctl, PhantomData<T>);

/// A request of btrfs, as the macro `_IOC` makes it.
const fn request<T>(direction: u64, number: u64) -> Request<T> {
    const TYPE: u64 = 0x94;
    let number = (direction << 30) | ((size_of::<T>() as u64) << 16) | (TYPE << 8) | number;
    Request(number as libc::Ioctl, PhantomData)
}

/// The kernel's `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolArgs {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// The kernel's `struct btrfs_ioctl_get_subvol_rootref_args`.
#[repr(C)]
struct RootRefs {
    min_treeid: u64,
    refs: [[u64; 2]; 255],
    count: u8,
    align: [u8; 7],
}

/// The kernel's `struct btrfs_ioctl_ino_lookup_user_args`.
#[repr(C)]
struct InoLookup {
    dirid: u64,
    treeid: u64,
    name: [u8; 256],
    path: [u8; 4080 - 256],
}

fn vol_args(fd: i64, name: &CStr) -> io::Result<Box<VolArgs>> {
    let mut args = Box::new(VolArgs { fd, transid: 0, flags: 0, unused: [0; 4], name: [0; 4040] });
    let bytes = name.to_bytes();
    match args.name.get_mut(..bytes.len()) {
        Some(place) if bytes.len() < 256 => place.copy_from_slice(bytes),
        _ => return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG)),
    }
    Ok(args)
}

fn call<T>(fd: BorrowedFd<'_>, Request(number, _): Request<T>, argument: &mut T) -> io::Result<()> {
    // SAFETY: the argument is the structure of this request, whose number has its size, and lives through the call.
    cvt(unsafe { libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(argument)) }.into()).map(|_| ())
}

/// Creates an empty subvolume.
///
/// # Errors
/// `ENOTTY` where `dir` is not on btrfs, `EEXIST`.
pub fn create(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    call(dir, SUBVOL_CREATE_V2, &mut *vol_args(0, name)?)
}

/// Creates a writable snapshot of the subvolume with the root `source`.
///
/// # Errors
/// `EPERM` where `source` is another user's, `EXDEV` on another file system, `EINVAL` where it is no subvolume's root.
pub fn snapshot(source: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    call(dir, SNAP_CREATE_V2, &mut *vol_args(source.as_raw_fd().into(), name)?)
}

/// Removes a subvolume; its content is freed in the background.
///
/// # Errors
/// `ENOTEMPTY` while it has nested subvolumes, `EPERM` for unprivileged users without the mount option
/// `user_subvol_rm_allowed`.
pub fn delete(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    call(dir, SNAP_DESTROY_V2, &mut *vol_args(0, name)?)
}

/// Sets or clears the read-only flag of a subvolume.
///
/// # Errors
/// `EPERM` where it is another user's.
pub fn set_readonly(subvolume: BorrowedFd<'_>, readonly: bool) -> io::Result<()> {
    let mut flags = 0u64;
    call(subvolume, SUBVOL_GETFLAGS, &mut flags)?;
    flags = if readonly { flags | SUBVOL_RDONLY } else { flags & !SUBVOL_RDONLY };
    call(subvolume, SUBVOL_SETFLAGS, &mut flags)
}

/// Returns whether the entry `name` of `dir` is the root of a subvolume.
pub fn is_subvolume_at(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    let top =
        path::stat_at(dir, name, false).is_ok_and(|stat| stat.is_dir() && stat.identity().1 == FIRST_FREE_OBJECTID);
    top && is_btrfs(dir)
}

/// Returns the paths, below the root `subvolume`, of the directly nested subvolumes.
///
/// # Errors
/// `ENOTTY` where it is not on btrfs.
pub fn nested(subvolume: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let mut refs = Box::new(RootRefs { min_treeid: from, refs: [[0; 2]; 255], count: 0, align: [0; 7] });
        let more = match call(subvolume, GET_SUBVOL_ROOTREF, &mut *refs) {
            // more subvolumes than the buffer holds
            Err(err) if err.raw_os_error() == Some(libc::EOVERFLOW) => true,
            other => other.map(|()| false)?,
        };
        for [treeid, dirid] in refs.refs.iter().take(usize::from(refs.count)) {
            found.push(path_of(subvolume, *treeid, *dirid)?);
            from = treeid + 1;
        }
        if !more || refs.count == 0 {
            return Ok(found);
        }
    }
}

/// Returns the path of a nested subvolume from its parent directory and its ID.
fn path_of(subvolume: BorrowedFd<'_>, treeid: u64, dirid: u64) -> io::Result<CString> {
    let mut lookup = Box::new(InoLookup { dirid, treeid, name: [0; 256], path: [0; 4080 - 256] });
    call(subvolume, INO_LOOKUP_USER, &mut *lookup)?;
    let text = |bytes| CStr::from_bytes_until_nul(bytes).map(CStr::to_bytes).unwrap_or_default();
    Ok(CString::new([text(&lookup.path), text(&lookup.name)].concat())?)
}

/// Returns whether the directory is on btrfs.
pub fn is_btrfs(dir: BorrowedFd<'_>) -> bool {
    path::fs_magic(dir).is_ok_and(|magic| magic == MAGIC)
}
