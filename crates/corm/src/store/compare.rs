//! Comparison of two trees by content: names, types, modes, owners, sizes, data, symlinks, devices and the attributes
//! that a layer has.
//!
//! Times are not compared, because a tree that was committed from a container has those of its files at that time.
//! Sockets are not compared, because no layer has them.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, fstatat};

use crate::layer::is_layer_xattr;
use crate::model::limits::Limits;
use base::fs::proc_path;
use base::fs::walk::{Step, Walk, open_subdir, sorted_names};
use linux::{file, path};

/// Bytes of one read.
const CHUNK: usize = 128 << 10;

/// Returns the first path in which two trees differ; `None` when they are the same. The roots' own attributes are not
/// compared, because those of a new layer are set when it is published.
///
/// # Errors
/// A tree cannot be read.
pub(super) fn difference(one: OwnedFd, other: OwnedFd) -> Result<Option<PathBuf>> {
    let mut walk = Walk::new(Limits::default().depth);
    let names = names(one.as_fd())?;
    if names != self::names(other.as_fd())? {
        return Ok(Some(PathBuf::from(".")));
    }
    walk.enter(one, PathBuf::new(), names, other)?;
    while let Some(step) = walk.step() {
        let Step::Name(parent, name) = step else { continue };
        let path = parent.path_of(&name);
        let context = || format!("compare {path:?}");
        if !same_entry(parent.fd.as_fd(), parent.data.as_fd(), &name).with_context(context)? {
            return Ok(Some(path));
        }
        let stat = fstatat(&parent.fd, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).with_context(context)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
            continue;
        }
        let one = open_subdir(parent.fd.as_fd(), &name).with_context(context)?;
        let other = open_subdir(parent.data.as_fd(), &name).with_context(context)?;
        let names = self::names(one.as_fd()).with_context(context)?;
        if names != self::names(other.as_fd()).with_context(context)? {
            return Ok(Some(path));
        }
        walk.enter(one, path, names, other)?;
    }
    Ok(None)
}

/// Returns the names in a directory, without sockets.
fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let mut names = sorted_names(dir)?;
    names.retain(|name| {
        let stat = fstatat(dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        !stat.is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFSOCK)
    });
    Ok(names)
}

/// Returns whether the entries of this name are the same in two directories, not regarding what is in them.
fn same_entry(one: BorrowedFd<'_>, other: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    let stat = |dir| fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    let (first, second) = (stat(one)?, stat(other)?);
    let facts = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    if facts(&first) != facts(&second) || attributes(one, name)? != attributes(other, name)? {
        return Ok(false);
    }
    match first.st_mode & libc::S_IFMT {
        libc::S_IFREG if first.st_size != second.st_size => Ok(false),
        libc::S_IFREG => same_data(open(one, name)?, open(other, name)?),
        libc::S_IFLNK => Ok(readlinkat(one, name)? == readlinkat(other, name)?),
        _ => Ok(true),
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    Ok(path::openat(dir, name, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0)?.into())
}

/// Returns the extended attributes of an entry that are part of a layer, overlay's mark of opaque directories included.
fn attributes(dir: BorrowedFd<'_>, name: &CStr) -> Result<BTreeMap<CString, Vec<u8>>> {
    let path = proc_path(dir, OsStr::from_bytes(name.to_bytes()))?;
    let opaque = [c"trusted.overlay.opaque", c"user.overlay.opaque"];
    let names = file::list_xattr(&path)?;
    let kept = names.into_iter().filter(|name| is_layer_xattr(name) || opaque.contains(&name.as_c_str()));
    kept.map(|name| Ok((name.clone(), file::get_xattr(&path, &name)?))).collect()
}

fn same_data(one: File, other: File) -> Result<bool> {
    let (mut first, mut second) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut one, mut other) = (one, other);
    loop {
        let (got, too) = (fill(&mut one, &mut first)?, fill(&mut other, &mut second)?);
        if first.get(..got) != second.get(..too) {
            return Ok(false);
        }
        if got < CHUNK {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends; returns the number of bytes.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}
