//! A tmpfs on which a kernel without detached mounts (before Linux 5.12) keeps the mounts that have no place yet.
//!
//! It is mounted on the root directory of this process, above it: a path that begins at the root does not lead into it,
//! and only this process has its descriptor. It is there in the mount namespace of init alone, never in the host's.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::AT_FDCWD;

use crate::{path, procfs};

/// The tmpfs.
struct Stage {
    dir: OwnedFd,
    /// Number of mount points that were created in it.
    count: u32,
    /// Device and inode of the root directory on which it is.
    root: (libc::dev_t, libc::ino_t),
}

static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

/// Whether this process is in a mount namespace in which mounts do not propagate to the host.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Notes that this process has a mount namespace of its own, which does not propagate to the host.
pub(super) fn allow() {
    ALLOWED.store(true, Ordering::Relaxed);
}

/// A mount point on the stage.
pub(super) struct Slot {
    /// Its descriptor, O_PATH.
    pub(super) place: OwnedFd,
    name: CString,
}

impl Slot {
    /// Creates a mount point for a directory, or for another file.
    ///
    /// # Errors
    /// This process has no mount namespace of its own; the kernel refuses the tmpfs.
    pub(super) fn new(directory: bool) -> io::Result<Slot> {
        with(|stage| {
            stage.count += 1;
            let name = CString::new(stage.count.to_string())?;
            let dir = stage.dir.as_fd();
            let flags = libc::O_PATH | libc::O_NOFOLLOW;
            let place = if directory {
                path::mkdirat(dir, &name, 0o700)?;
                path::openat(dir, &name, flags | libc::O_DIRECTORY, 0)?
            } else {
                drop(path::openat(dir, &name, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY, 0o600)?);
                path::openat(dir, &name, flags, 0)?
            };
            Ok(Slot { place, name })
        })
    }

    /// Opens the root of what is mounted there now.
    ///
    /// # Errors
    /// As openat(2).
    pub(super) fn mounted(&self) -> io::Result<OwnedFd> {
        with(|stage| path::openat(stage.dir.as_fd(), &self.name, libc::O_PATH | libc::O_NOFOLLOW, 0))
    }
}

fn with<T>(act: impl FnOnce(&mut Stage) -> io::Result<T>) -> io::Result<T> {
    if !ALLOWED.load(Ordering::Relaxed) {
        return Err(super::needs_detached("a mount outside of a mount namespace of the container's own"));
    }
    let mut stage = STAGE.lock().map_err(|_| io::Error::other("the stage of mounts is in use"))?;
    let root = root()?;
    // one of the old root is of no use after the change of the root
    if stage.as_ref().is_none_or(|stage| stage.root != root) {
        *stage = Some(Stage { dir: create()?, count: 0, root });
    }
    stage.as_mut().map_or_else(|| Err(io::Error::from_raw_os_error(libc::EPERM)), act)
}

fn root() -> io::Result<(libc::dev_t, libc::ino_t)> {
    Ok(path::stat_at(AT_FDCWD, c"/", true)?.identity())
}

fn create() -> io::Result<OwnedFd> {
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let device = |dir: &CStr| -> io::Result<_> {
        let dir = path::openat(AT_FDCWD, dir, directory, 0)?;
        Ok((path::fstat(dir.as_fd())?.identity().0, dir))
    };
    let below = device(c"/")?.0;
    super::mount(c"tmpfs", c"/", c"tmpfs", libc::MS_NOSUID | libc::MS_NODEV, c"mode=700,size=1m")?;
    // the parent of the root is the root, and then the mount on it
    let (above, dir) = device(c"/..")?;
    if above == below || path::fs_magic(dir.as_fd())? != path::TMPFS_MAGIC {
        return Err(io::Error::other("the mount on \"/\" cannot be opened"));
    }
    Ok(dir)
}

/// Removes the stage from above the root directory of this process; one above another root stays.
///
/// # Errors
/// As umount2(2).
pub(super) fn remove() -> io::Result<()> {
    let stage = STAGE.lock().ok().and_then(|mut stage| stage.take());
    let root = root()?;
    match stage.filter(|stage| stage.root == root) {
        Some(stage) => procfs::in_directory(stage.dir.as_fd(), || super::detach(c".")),
        None => Ok(()),
    }
}

/// Unmounts everything that is mounted on the root directory of this process: the stage is above the old root, so that the first
/// unmount has taken the stage alone.
///
/// # Errors
/// As umount2(2); something cannot be unmounted.
pub(super) fn detach_all() -> io::Result<()> {
    const MOST: usize = 8;
    for _ in 0..MOST {
        // the parent of the root is the root, and then what is mounted on it
        let [root, top] = [c"/", c"/.."].map(|dir| {
            let dir = path::openat(AT_FDCWD, dir, libc::O_PATH | libc::O_DIRECTORY, 0)?;
            procfs::mount_id(dir.as_fd())
        });
        if root? == top? {
            return Ok(());
        }
        super::detach(c"/..")?;
    }
    Err(io::Error::other("a mount of the host is left on the root directory"))
}
