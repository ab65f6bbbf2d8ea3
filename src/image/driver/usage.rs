//! Bytes on disk of a tree.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use crate::sys::path;

/// Directories deeper than this count themselves, but not what is in them: each open level is a descriptor, and a
/// container makes them as deep as it likes.
const DEEPEST: usize = 300;

/// Blocks of all files, those with several names once. What several trees share by reference counts in each.
pub fn of(path: &Path) -> Result<u64> {
    let top = super::mount_util::open_dir(path)?;
    let bytes = |stat: &FileStat| u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let mut total = bytes(&fstat(&top)?);
    let mut seen = HashSet::new();
    let mut stack: Vec<(OwnedFd, Vec<CString>)> = Vec::new();
    let mut next = Some(top);
    loop {
        if let Some(dir) = next.take() {
            let names = path::names(dir.as_fd())?;
            stack.push((dir, names));
        }
        let open = stack.len();
        let Some((dir, names)) = stack.last_mut() else { return Ok(total) };
        let Some(name) = names.pop() else {
            stack.pop();
            continue;
        };
        let stat = match fstatat(&*dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            // gone since the directory was read
            Err(Errno::ENOENT) => continue,
            stat => stat?,
        };
        let is_dir = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if stat.st_nlink < 2 || is_dir || seen.insert((stat.st_dev, stat.st_ino)) {
            total = total.saturating_add(bytes(&stat));
        }
        if is_dir && open < DEEPEST {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(&*dir, name.as_c_str(), flags, Mode::empty()) {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                opened => next = Some(opened?),
            }
        }
    }
}
