//! Removal of a tree of untrusted origin: of any depth, with subvolumes and immutable files in it.
//!
//! Everything is addressed by descriptor and one name; no symlink is followed and few descriptors are open. The module
//! does not use `walk`, because a deep tree is no error here, and directories moved to the top are added to the top's
//! names.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use linux::btrfs;
use linux::file;
use linux::path;

/// Depth above which a directory is moved to the top first, because each open level is a descriptor.
const MAX_DEPTH: usize = 64;

/// Removes the file or tree at `path`; a missing one is no error.
///
/// # Errors
/// The file system refuses: read-only, or a mount point in the tree.
pub fn remove_tree(path: &Path) -> Result<()> {
    let context = || format!("remove {path:?}");
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = CString::new(parent.as_os_str().as_bytes()).with_context(context)?;
    let name = CString::new(name.as_bytes()).with_context(context)?;
    let parent =
        path::openat(nix::fcntl::AT_FDCWD, &parent, libc::O_PATH | libc::O_DIRECTORY, 0).with_context(context)?;
    remove_entry(parent.as_fd(), &name).with_context(context)
}

/// Removes the entry `name` of an open directory, as [`remove_tree`] does.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_at(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let context = || format!("remove {name:?}");
    remove_entry(dir, &CString::new(name.as_bytes()).with_context(context)?).with_context(context)
}

/// Removes the content of the open directory, and its entry `name` in `parent` if that is still the same directory.
///
/// # Errors
/// As [`remove_tree`]; another file has the name by now.
pub fn remove_open_dir(parent: BorrowedFd<'_>, name: &OsStr, dir: OwnedFd) -> Result<()> {
    let context = || format!("remove {name:?}");
    let name = CString::new(name.as_bytes()).with_context(context)?;
    let rest = path::read_dir_names(dir.as_fd()).with_context(context)?.into();
    empty(parent, Level { dir, name, rest }).with_context(context)
}

fn errno(err: &io::Error) -> i32 {
    err.raw_os_error().unwrap_or(0)
}

/// A directory that is being emptied.
struct Level {
    dir: OwnedFd,
    name: CString,
    rest: VecDeque<CString>,
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: CString) -> io::Result<Self> {
        let open = || path::openat(parent, &name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0);
        let dir = match open() {
            // unprivileged: the owner may have removed his own permissions
            Err(err) if errno(&err) == libc::EACCES => {
                path::chmodat(parent, &name, 0o700)?;
                open()?
            }
            other => other?,
        };
        let rest = path::read_dir_names(dir.as_fd())?.into();
        Ok(Self { dir, name, rest })
    }
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    if remove_simple(parent, name)? {
        return Ok(());
    }
    empty(parent, Level::open(parent, name.to_owned())?)
}

/// Removes the content of a directory, then the directory itself from `parent`.
fn empty(parent: BorrowedFd<'_>, top: Level) -> io::Result<()> {
    let mut stack = vec![top];
    let mut moved = 0u64;
    while let Some(depth) = stack.len().checked_sub(1) {
        let Some(level) = stack.last_mut() else { break };
        let Some(entry) = level.rest.pop_front() else {
            let Some(done) = stack.pop() else { break };
            let above = stack.last().map_or(parent, |level| level.dir.as_fd());
            remove_dir(above, &done)?;
            continue;
        };
        if remove_simple(level.dir.as_fd(), &entry)? {
            continue;
        }
        if depth >= MAX_DEPTH {
            moved += 1;
            let dir = path::dup(level.dir.as_fd())?;
            if let Some(top) = stack.first_mut()
                && let Some(name) = move_up(dir.as_fd(), &entry, top.dir.as_fd(), moved)?
            {
                top.rest.push_back(name);
                continue;
            }
            stack.push(Level::open(dir.as_fd(), entry)?);
            continue;
        }
        let next = Level::open(level.dir.as_fd(), entry)?;
        stack.push(next);
    }
    Ok(())
}

/// Moves a directory to the top under an unused name; `None` where it cannot be moved (to another subvolume).
fn move_up(dir: BorrowedFd<'_>, entry: &CStr, top: BorrowedFd<'_>, number: u64) -> io::Result<Option<CString>> {
    let mut number = u128::from(number) << 64;
    loop {
        let name = CString::new(format!(".{number:x}"))?;
        match path::rename_new(dir, entry, top, &name) {
            Ok(()) => return Ok(Some(name)),
            Err(err) if errno(&err) == libc::EEXIST => number += 1,
            Err(err) if errno(&err) == libc::EXDEV => return Ok(None),
            Err(err) => return Err(err),
        }
    }
}

/// Removes an entry that needs no descent: a file, an empty directory, a whole subvolume. `false` for others.
fn remove_simple(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    for again in [true, false] {
        match path::unlinkat(dir, name, false) {
            Ok(()) => return Ok(true),
            Err(err) if errno(&err) == libc::ENOENT => return Ok(true),
            Err(err) if errno(&err) == libc::EISDIR => break,
            // the entry or its directory is immutable or append-only
            Err(err) if again && errno(&err) == libc::EPERM => {
                let _ = file::clear_immutable(dir);
                let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
                if let Ok(entry) = path::openat(dir, name, flags, 0) {
                    let _ = file::clear_immutable(entry.as_fd());
                }
            }
            Err(err) => return Err(err),
        }
    }
    match path::unlinkat(dir, name, true) {
        Ok(()) => return Ok(true),
        Err(err) if [libc::ENOTEMPTY, libc::EEXIST, libc::EACCES, libc::EPERM].contains(&errno(&err)) => {}
        Err(err) => return Err(err),
    }
    Ok(btrfs::is_subvolume_at(dir, name) && btrfs::delete(dir, name).is_ok())
}

/// Removes a directory after its content.
fn remove_dir(parent: BorrowedFd<'_>, done: &Level) -> io::Result<()> {
    for again in [true, false] {
        match path::unlinkat(parent, &done.name, true) {
            Err(err) if errno(&err) == libc::ENOENT => return Ok(()),
            Err(err) if again && errno(&err) == libc::EPERM => {
                let _ = file::clear_immutable(done.dir.as_fd());
                let _ = file::clear_immutable(parent);
                if btrfs::is_subvolume_at(parent, &done.name) && btrfs::delete(parent, &done.name).is_ok() {
                    return Ok(());
                }
            }
            other => return other,
        }
    }
    Ok(())
}
