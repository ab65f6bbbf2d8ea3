//! Disk usage of a tree.

use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstat, fstatat};

use base::fs::walk::Step;
use base::fs::walk::Walk;
use base::fs::walk::open_subdir;
use linux::path;

/// Maximum depth of the walk, because each open level is a descriptor and a container may nest without bound. Deeper
/// directories count themselves, but not their content.
const MAX_DEPTH: usize = 300;

/// Returns the bytes of all blocks, hard-linked files once. Blocks that trees share by reflink count in each tree.
///
/// # Errors
/// The tree cannot be read; names it.
pub(super) fn of(path: &Path) -> Result<u64> {
    measure(path).with_context(|| format!("measure {path:?}"))
}

fn measure(path: &Path) -> Result<u64> {
    let top = super::mount_util::open_dir(path)?;
    let bytes = |stat: &FileStat| u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let mut total = bytes(&fstat(&top)?);
    let mut seen = HashSet::new();
    let mut walk = Walk::new(MAX_DEPTH);
    let names = path::read_dir_names(top.as_fd())?;
    walk.enter(top, PathBuf::new(), names, ())?;
    while let Some(step) = walk.step() {
        let Step::Name(parent, name) = step else { continue };
        let stat = match fstatat(&parent.fd, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            // removed since the directory was read
            Err(Errno::ENOENT) => continue,
            stat => stat?,
        };
        let is_dir = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if stat.st_nlink < 2 || is_dir || seen.insert((stat.st_dev, stat.st_ino)) {
            total = total.saturating_add(bytes(&stat));
        }
        if is_dir && parent.depth < MAX_DEPTH {
            let dir = match open_subdir(parent.fd.as_fd(), &name) {
                Err(err) if matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => continue,
                opened => opened?,
            };
            let names = path::read_dir_names(dir.as_fd())?;
            walk.enter(dir, PathBuf::new(), names, ())?;
        }
    }
    Ok(total)
}
