//! The mount points that a `create` makes in the root file system: recorded before, and removed when it fails or is killed
//! and init cannot do that itself.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;

use crate::plan::mount::SymlinkPolicy;
use crate::rootfs::path;
use crate::state::record::MountPoint;
use linux::path as sys_path;

/// Returns the mount point at `destination` in the root file system `root`, if names of its path are missing there.
pub(super) fn missing(root: &Path, destination: &Path) -> Option<MountPoint> {
    let root = open_root(root)?;
    // after another error the name may be there
    let is_missing = |path: &Path| open(&root, path, 0).is_err_and(|err| err.raw_os_error() == Some(libc::ENOENT));
    let path: PathBuf = destination.components().collect();
    let missing = path.ancestors().take_while(|path| is_missing(path)).count();
    (missing > 0).then_some(MountPoint { path, missing })
}

/// Removes the names of mount points that were missing before, the last one first: empty directories and empty files, by
/// the descriptor of their directory. Another file in their place is not this `create`'s and stays.
pub(super) fn remove(root: &Path, mount_points: &[MountPoint]) {
    if mount_points.is_empty() {
        return;
    }
    let Some(root) = open_root(root) else { return };
    for mount_point in mount_points.iter().rev() {
        for path in mount_point.path.ancestors().take(mount_point.missing) {
            remove_name(&root, path);
        }
    }
}

fn remove_name(root: &OwnedFd, path: &Path) -> Option<()> {
    let dir = open(root, path.parent()?, libc::O_DIRECTORY).ok()?;
    let name = CString::new(path.file_name()?.as_bytes()).ok()?;
    let stat = sys_path::stat_at(dir.as_fd(), &name, false).ok()?;
    // a directory that is not empty stays
    if stat.is_dir() || stat.is_file() && stat.size() == 0 {
        sys_path::unlinkat(dir.as_fd(), &name, stat.is_dir()).ok()?;
    }
    Some(())
}

fn open_root(root: &Path) -> Option<OwnedFd> {
    let root = CString::new(root.as_os_str().as_bytes()).ok()?;
    sys_path::openat(AT_FDCWD, &root, libc::O_PATH | libc::O_DIRECTORY, 0).ok()
}

/// Opens a path inside the root: the image is hostile.
fn open(root: &OwnedFd, path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    path::open(root.as_fd(), &path, SymlinkPolicy::Follow, flags)
}
