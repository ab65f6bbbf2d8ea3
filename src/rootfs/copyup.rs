//! `tmpcopyup`: a tmpfs starts with a copy of the directory that it covers, with owners, modes, times, attributes, links.
//!
//! The tmpfs is still detached, no other process sees it; the source is the image's and read by descriptor, following nothing.

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

/// Deeper trees than this are no mount point's content, and would end the stack.
const MAX_DEPTH: usize = 256;

struct Copy<'a> {
    /// Root of the tmpfs.
    top: BorrowedFd<'a>,
    /// Where the first name of a file with several names went.
    linked: HashMap<(libc::dev_t, libc::ino_t), CString>,
    /// Only this file system: what is mounted below stays hidden under the tmpfs.
    device: libc::dev_t,
}

/// Copies what is in `from` into the new tmpfs `to`; mode and owner of the top unless the options say them.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, options: &[FsOption]) -> Result<()> {
    let stat = sys_path::fstat(from)?;
    let said = |key: &CStr| options.iter().any(|option| option.key.as_c_str() == key);
    // readable descriptors: those given are O_PATH
    let source = sys_path::openat(from, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let target = sys_path::openat(to, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut copy = Copy { top: to, linked: HashMap::new(), device: stat.identity().0 };
    copy.directory(source.as_fd(), target.as_fd(), b"", 0)?;
    xattrs(source.as_fd(), target.as_fd())?;
    if !said(c"mode") {
        sys_path::fchmod(target.as_fd(), stat.permissions())?;
    }
    if !said(c"uid") && !said(c"gid") {
        let (uid, gid) = stat.owner();
        sys_path::chown_fd(target.as_fd(), uid, gid)?;
    }
    Ok(())
}

impl Copy<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            bail!("{:?}: too deep", String::from_utf8_lossy(path));
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
        if stat.identity().0 != self.device {
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
                of_link_or_node(to, name, &stat)
            }
            libc::S_IFCHR | libc::S_IFBLK | libc::S_IFIFO | libc::S_IFSOCK => {
                // with its mode at once, because an O_PATH descriptor has no fchmod; set-id bits mean nothing here
                match sys_path::mknodat(to, name, stat.kind() | (stat.permissions() & 0o1777), stat.rdev()) {
                    // a user namespace makes no devices
                    Err(err) if err.raw_os_error() == Some(libc::EPERM) => return Ok(()),
                    made => made?,
                }
                of_link_or_node(to, name, &stat)
            }
            _ => Ok(()),
        }
    }

    /// A mount point below: its directory is kept, empty.
    fn other_file_system(&self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        if stat.is_dir() {
            sys_path::mkdirat(to, name, stat.permissions())?;
        }
        Ok(())
    }
}

fn regular(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    // O_NONBLOCK: should it have become a fifo meanwhile
    let source = sys_path::openat(from, name, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0)?;
    let target = sys_path::openat(to, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW, 0o600)?;
    let (mut source, mut target) = (File::from(source), File::from(target));
    if !source.metadata()?.is_file() {
        bail!("changed while it was copied");
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
            // tmpfs takes no such attribute, or this user may not set it
            Err(err) if matches!(err.raw_os_error(), Some(libc::ENOTSUP | libc::EPERM | libc::ENODATA)) => {}
            done => done.with_context(|| format!("attribute {name:?}"))?,
        }
    }
    Ok(())
}

/// Sets owner and mode. The owner first: changing it takes set-id bits and file capabilities away.
fn finish(file: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    let (uid, gid) = stat.owner();
    sys_path::chown_fd(file, uid, gid)?;
    Ok(sys_path::fchmod(file, stat.permissions())?)
}

/// Sets owner and times of a symlink or a node, which cannot be opened for more than that.
fn of_link_or_node(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let made = sys_path::openat(to, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let (uid, gid) = stat.owner();
    sys_path::chown_fd(made.as_fd(), uid, gid)?;
    Ok(sys_path::set_times_fd(made.as_fd(), &stat.times())?)
}
