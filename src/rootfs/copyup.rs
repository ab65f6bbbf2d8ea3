//! `tmpcopyup`: the copy of a covered directory into its tmpfs, with owners, modes, times, attributes and hard links.
//!
//! The tmpfs is detached, so that no other process sees it. The source is the image's, read by descriptor and without
//! following symlinks.

use base::coded;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result, bail};

use crate::plan::mount::FsOption;
use linux::file;
use linux::path as sys_path;
use linux::path::Stat;

/// Deepest tree, because the copy is recursive and the stack is limited.
const MAX_DEPTH: usize = 256;

/// The state of one copy.
struct Copy<'a> {
    /// Root of the tmpfs.
    top: BorrowedFd<'a>,
    /// Path in the tmpfs of the first name of each file with several hard links, by device and inode of the source.
    linked: HashMap<(libc::dev_t, libc::ino_t), CString>,
}

/// Copies the content of `from` into the new tmpfs `to`, and mode and owner of the root unless `options` have them.
///
/// # Errors
/// A file that cannot be read or created; the error has its path.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, options: &[FsOption]) -> Result<()> {
    let stat = sys_path::fstat(from)?;
    let has_option = |key: &CStr| options.iter().any(|option| option.key.as_c_str() == key);
    // readable descriptors, because the parameters are O_PATH
    let source = sys_path::openat(from, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let target = sys_path::openat(to, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut copy = Copy { top: to, linked: HashMap::new() };
    copy.directory(source.as_fd(), target.as_fd(), b"", 0)?;
    xattrs(source.as_fd(), target.as_fd())?;
    if !has_option(c"mode") {
        sys_path::fchmod(target.as_fd(), stat.permissions())?;
    }
    if !has_option(c"uid") && !has_option(c"gid") {
        let (uid, gid) = stat.owner();
        sys_path::chown_fd(target.as_fd(), uid, gid)?;
    }
    Ok(())
}

impl Copy<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            bail!(coded!(MountFailed, "{:?}: too deep", String::from_utf8_lossy(path)));
        }
        for name in sys_path::read_dir_names(from)? {
            let below = [path, name.to_bytes()].join(&b"/"[..]);
            self.one(from, to, &name, &below, depth)
                .with_context(|| format!("{:?}", String::from_utf8_lossy(&below)))?;
        }
        Ok(())
    }

    fn one(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, path: &[u8], depth: usize) -> Result<()> {
        let stat = sys_path::stat_at(from, name, false)?;
        // not by the device number, because the files of an overlay have those of their layers
        if sys_path::is_mount_root(from, name)? {
            return self.other_file_system(to, name, &stat);
        }
        if !stat.is_dir() && stat.links() > 1 {
            if let Some(first) = self.linked.get(&stat.identity()) {
                return Ok(sys_path::linkat(self.top, first, to, name)?);
            }
            let relative = path.strip_prefix(b"/").unwrap_or(path);
            self.linked.insert(stat.identity(), CString::new(relative)?);
        }
        match stat.kind() {
            libc::S_IFDIR => {
                let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
                let source = sys_path::openat(from, name, flags, 0)?;
                sys_path::mkdirat(to, name, 0o700)?;
                let target = sys_path::openat(to, name, flags, 0)?;
                self.directory(source.as_fd(), target.as_fd(), path, depth + 1)?;
                finish(target.as_fd(), &stat)?;
                xattrs(source.as_fd(), target.as_fd())?;
                Ok(sys_path::set_times_fd(target.as_fd(), &stat.times())?)
            }
            libc::S_IFREG => regular(from, to, name, &stat),
            libc::S_IFLNK => {
                sys_path::symlinkat(&sys_path::readlinkat(from, name)?, to, name)?;
                finish_link_or_node(to, name, &stat)
            }
            libc::S_IFCHR | libc::S_IFBLK | libc::S_IFIFO | libc::S_IFSOCK => {
                // created with its mode, because fchmod(2) does not work on an O_PATH descriptor; set-id bits have no
                // effect
                match sys_path::mknodat(to, name, stat.kind() | (stat.permissions() & 0o1777), stat.rdev()) {
                    // no device can be created in a user namespace
                    Err(err) if err.raw_os_error() == Some(libc::EPERM) => return Ok(()),
                    created => created?,
                }
                finish_link_or_node(to, name, &stat)
            }
            _ => Ok(()),
        }
    }

    /// Creates an empty directory in place of a mount point.
    fn other_file_system(&self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        if stat.is_dir() {
            sys_path::mkdirat(to, name, stat.permissions())?;
        }
        Ok(())
    }
}

fn regular(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    // O_NONBLOCK, because it may have become a fifo meanwhile
    let source = sys_path::openat(from, name, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0)?;
    let target = sys_path::openat(to, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW, 0o600)?;
    let (mut source, mut target) = (File::from(source), File::from(target));
    if !source.metadata()?.is_file() {
        bail!(coded!(MountFailed, "changed while it was copied"));
    }
    io::copy(&mut source, &mut target)?;
    finish(target.as_fd(), stat)?;
    xattrs(source.as_fd(), target.as_fd())?;
    Ok(sys_path::set_times_fd(target.as_fd(), &stat.times())?)
}

fn xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let names = match file::list_xattr_of(from) {
        Err(err) if matches!(err.raw_os_error(), Some(libc::ENOTSUP | libc::EPERM)) => return Ok(()),
        names => names?,
    };
    for name in names {
        match file::copy_xattr(from, to, &name) {
            // tmpfs does not support the attribute, or this user may not set it
            Err(err) if matches!(err.raw_os_error(), Some(libc::ENOTSUP | libc::EPERM | libc::ENODATA)) => {}
            done => done.with_context(|| format!("attribute {name:?}"))?,
        }
    }
    Ok(())
}

/// Sets the owner, then the mode, because chown(2) clears set-id bits and file capabilities.
fn finish(file: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    let (uid, gid) = stat.owner();
    sys_path::chown_fd(file, uid, gid)?;
    Ok(sys_path::fchmod(file, stat.permissions())?)
}

/// Sets owner and times of a symlink or node, which can only be opened with O_PATH.
fn finish_link_or_node(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let created = sys_path::openat(to, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let (uid, gid) = stat.owner();
    sys_path::chown_fd(created.as_fd(), uid, gid)?;
    Ok(sys_path::set_times_fd(created.as_fd(), &stat.times())?)
}
