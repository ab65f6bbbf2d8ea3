//! Depth-first walks of a tree with an explicit stack and a maximum depth, because the depth of an untrusted tree is
//! unbounded.
//!
//! Everything is addressed by a directory's descriptor and one name, and no symlink is followed. The caller opens the
//! directories by [`open_subdir`] or [`open_below`], and passes their names in the order of the walk.

use crate::coded;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use linux::path;

/// Maximum nesting of directories in trees that are walked, because each level is an open descriptor.
pub const MAX_DEPTH: usize = 1024;

/// Depth from which on the soft limit of open files may not suffice: 1024 on most machines, and some walks have two
/// descriptors a level.
const DEEP: usize = 200;

/// Raises the soft limit of open files to the hard one in a directory that is this deep. A failure is left to the open
/// call that needs more.
pub fn prepare_for_depth(depth: usize) {
    if depth == DEEP
        && let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Descriptors that a deep walk leaves to the rest of the process.
const SPARE_DESCRIPTORS: usize = 64;

/// Returns the depth that the hard limit of open files permits, with two descriptors a level.
fn depth_of_descriptors() -> usize {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| usize::try_from(hard).unwrap_or(usize::MAX));
    (hard.saturating_sub(SPARE_DESCRIPTORS) / 2).max(DEEP)
}

/// A directory on the walk's stack.
#[derive(Debug)]
pub struct Directory<T> {
    /// Descriptor, open for reading.
    pub fd: OwnedFd,
    /// Path below the root; empty for the root.
    pub path: PathBuf,
    /// Depth: 0 for the root.
    pub depth: usize,
    /// The caller's data.
    pub data: T,
    names: std::vec::IntoIter<CString>,
}

impl<T> Directory<T> {
    /// Returns the path of a name in this directory, below the root.
    pub fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }
}

/// A step of a walk.
#[derive(Debug)]
pub enum Step<'a, T> {
    /// An entry of a directory: the caller may enter it.
    Name(&'a Directory<T>, CString),
    /// A directory whose names have all been returned. [`Walk::current`] is its parent.
    Left(Directory<T>),
}

/// The directories from the root to the current one, each with an open descriptor.
#[derive(Debug)]
pub struct Walk<T> {
    stack: Vec<Directory<T>>,
    max_depth: usize,
}

impl<T> Walk<T> {
    /// Creates a walk of at most `max_depth` levels below the root; the caller enters the root first.
    pub fn new(max_depth: usize) -> Self {
        Self { stack: Vec::new(), max_depth }
    }

    /// Enters a directory: the next steps are its names.
    ///
    /// # Errors
    /// The directory is too deep. The message omits the path, because an untrusted path may be of any length.
    pub fn enter(&mut self, fd: OwnedFd, path: PathBuf, names: Vec<CString>, data: T) -> Result<()> {
        let depth = self.stack.len();
        let max_depth = if depth < DEEP { self.max_depth } else { self.max_depth.min(depth_of_descriptors()) };
        if depth > max_depth {
            bail!(coded!(FileInvalid, "more than {max_depth} directories inside of each other"));
        }
        prepare_for_depth(depth);
        self.stack.push(Directory { fd, path, depth, data, names: names.into_iter() });
        Ok(())
    }

    /// Takes the next step; `None` after the root.
    pub fn step(&mut self) -> Option<Step<'_, T>> {
        match self.stack.last_mut()?.names.next() {
            Some(name) => self.stack.last().map(|parent| Step::Name(parent, name)),
            None => self.stack.pop().map(Step::Left),
        }
    }

    /// Returns the directory whose names come next.
    pub fn current(&self) -> Option<&Directory<T>> {
        self.stack.last()
    }
}

/// Returns the names in a directory, in byte order.
///
/// # Errors
/// The directory cannot be read.
pub fn sorted_names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = path::read_dir_names(dir)?;
    names.sort_unstable();
    Ok(names)
}

/// Opens a subdirectory of `dir`, not by a symlink; a mount on it is entered.
///
/// # Errors
/// `ENOTDIR` and `ELOOP` for anything else.
pub fn open_subdir(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    path::openat(dir, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
}

/// Opens the file at `path` below `dir` for reading, with more flags: no symlink is followed, no mount is entered, and
/// a fifo does not block.
///
/// # Errors
/// A mount point, or a symlink (`ELOOP`).
pub fn open_below(dir: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> Result<OwnedFd> {
    let flags = flags | libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match path::openat2(dir, path, flags, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV) {
        Err(err) if err.raw_os_error() == Some(libc::EXDEV) => {
            bail!(coded!(FileInvalid, "is a mount point: unmount it first, a mount is not part of the tree"))
        }
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;
    use linux::testing::TempDir;

    /// All steps of a walk that enters each directory it may.
    fn steps(root: &std::path::Path, max_depth: usize) -> Result<Vec<String>> {
        let mut walk = Walk::new(max_depth);
        let root: OwnedFd = File::open(root)?.into();
        let names = sorted_names(root.as_fd())?;
        walk.enter(root, PathBuf::new(), names, ())?;
        let mut visited = Vec::new();
        while let Some(step) = walk.step() {
            match step {
                Step::Name(parent, name) => {
                    let path = parent.path_of(&name);
                    visited.push(path.display().to_string());
                    let Ok(dir) = open_subdir(parent.fd.as_fd(), &name) else { continue };
                    let names = sorted_names(dir.as_fd())?;
                    walk.enter(dir, path, names, ())?;
                }
                Step::Left(done) => visited.push(format!("{} left at {}", done.path.display(), done.depth)),
            }
        }
        assert!(walk.current().is_none());
        Ok(visited)
    }

    #[test]
    fn directories_are_left_after_what_is_in_them_and_links_not_followed() {
        let dir = TempDir::new();
        dir.write("b/c/d", b"");
        dir.write("a", b"");
        std::os::unix::fs::symlink("b", dir.path().join("e")).unwrap();
        let wanted = ["a", "b", "b/c", "b/c/d", "b/c left at 2", "b left at 1", "e", " left at 0"];
        assert_eq!(steps(dir.path(), 2).unwrap(), wanted);
        let err = steps(dir.path(), 1).unwrap_err().to_string();
        assert_eq!(err, "more than 1 directories inside of each other");
    }

    #[test]
    fn nothing_is_opened_by_a_symlink_or_outside() {
        let dir = TempDir::new();
        dir.write("top/b/file", b"");
        std::os::unix::fs::symlink("b", dir.path().join("top/link")).unwrap();
        let top = File::open(dir.path().join("top")).unwrap();
        open_below(top.as_fd(), c"b/file", 0).unwrap();
        for bad in [c"link", c"link/file", c"..", c"/etc"] {
            assert!(open_below(top.as_fd(), bad, 0).is_err(), "{bad:?}");
        }
        assert!(open_subdir(top.as_fd(), c"link").is_err());
        // a mount that every machine has
        let err = open_below(File::open("/").unwrap().as_fd(), c"proc/self", libc::O_DIRECTORY).unwrap_err();
        assert!(err.to_string().starts_with("is a mount point"), "{err}");
    }
}
