//! Changes of an upper directory (of overlay, or the writable branch of aufs) to the tree below it.
//!
//! Whiteouts are deletions; an opaque directory is listed name by name; a directory that was only copied up, because
//! its content changed, is unchanged itself. The list equals the comparison of both whole trees.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstat, fstatat};

use crate::driver::mount_util::reopen;
use crate::model::change::Change;
use crate::model::change::ChangeKind;
use base::fs::proc_path;
use base::fs::walk::Directory;
use base::fs::walk::MAX_DEPTH;
use base::fs::walk::Step;
use base::fs::walk::Walk;
use base::fs::walk::open_subdir;
use linux::file;
use linux::path;

/// Format of whiteouts and opaque markers in the upper directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhiteoutStyle {
    /// Character devices 0:0, and attributes `trusted.overlay.*`.
    Overlay,
    /// Character devices 0:0, and attributes `user.overlay.*`.
    OverlayUser,
    /// Names that begin with `.wh.`.
    Aufs,
}

/// Prefix of aufs' whiteouts; its own files have it twice.
const WHITEOUT: &[u8] = b".wh.";
const AUFS_OWN: &[u8] = b".wh..wh.";
const AUFS_OPAQUE: &CStr = c".wh..wh..opq";

/// Returns whether the name is one of aufs' own files, which are in no layer.
pub(super) fn is_aufs_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(AUFS_OWN) && name.as_bytes() != AUFS_OPAQUE.to_bytes()
}

/// The lower directory of an upper one's path.
struct Lower {
    /// The directory, open for reading.
    dir: OwnedFd,
    /// Whether the upper directory or one above it is opaque, so that nothing of the lower one is in the tree: the
    /// kernel looks for lower directories only below directories that it merges.
    hidden: bool,
}

/// Reads an upper directory.
struct Reader {
    style: WhiteoutStyle,
    changes: Vec<Change>,
}

/// Returns the changes of `upper` to the tree `lower`, sorted.
///
/// # Errors
/// A file cannot be read.
pub(super) fn of(upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, style: WhiteoutStyle) -> Result<Vec<Change>> {
    let mut reader = Reader { style, changes: Vec::new() };
    if !same_attributes(upper, &fstat(upper)?, lower, &fstat(lower)?)? {
        reader.report(Path::new(""), ChangeKind::Changed);
    }
    let mut walk: Walk<Option<Lower>> = Walk::new(MAX_DEPTH);
    let (upper, mut lower) = (reopen(upper)?, Some(Lower { dir: reopen(lower)?, hidden: false }));
    let names = reader.names(&upper, lower.as_mut(), Path::new(""))?;
    walk.enter(upper, PathBuf::new(), names, lower)?;
    while let Some(step) = walk.step() {
        let Step::Name(parent, name) = step else { continue };
        let path = parent.path_of(&name);
        let context = || format!("{path:?}");
        if let Some((upper, mut lower)) = reader.entry(parent, &name, &path).with_context(context)? {
            let names = reader.names(&upper, lower.as_mut(), &path).with_context(context)?;
            walk.enter(upper, path, names, lower)?;
        }
    }
    // the deletions of an opaque directory precede its entries; at one path a deletion is first
    reader.changes.sort_by(|a, b| {
        let deleted = |change: &Change| change.kind == ChangeKind::Deleted;
        a.path.cmp(&b.path).then_with(|| deleted(b).cmp(&deleted(a)))
    });
    Ok(reader.changes)
}

impl Reader {
    fn report(&mut self, path: &Path, kind: ChangeKind) {
        self.changes.push(Change { path: path.to_owned(), kind });
    }

    /// Returns the entries of an upper directory. An opaque one hides the lower directory and all below it: names that
    /// it lacks are deleted.
    fn names(&mut self, upper: &OwnedFd, lower: Option<&mut Lower>, path: &Path) -> Result<Vec<CString>> {
        let mut names: BTreeSet<CString> = path::read_dir_names(upper.as_fd())?.into_iter().collect();
        let opaque = match &lower {
            Some(lower) => lower.hidden || self.is_opaque(upper.as_fd(), &names)?,
            None => true,
        };
        if self.style == WhiteoutStyle::Aufs {
            for name in &names {
                let deleted = name.to_bytes().strip_prefix(WHITEOUT).filter(|rest| !rest.starts_with(WHITEOUT));
                if let (Some(deleted), Some(lower), false) = (deleted, &lower, opaque)
                    && present(&lower.dir, &CString::new(deleted)?)?.is_some()
                {
                    self.report(&path.join(OsStr::from_bytes(deleted)), ChangeKind::Deleted);
                }
            }
            names.retain(|name| !name.to_bytes().starts_with(WHITEOUT));
        }
        if let (Some(lower), true) = (lower, opaque) {
            lower.hidden = true;
            for gone in path::read_dir_names(lower.dir.as_fd())?.into_iter().filter(|name| !names.contains(name)) {
                self.report(&path.join(OsStr::from_bytes(gone.to_bytes())), ChangeKind::Deleted);
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Compares one entry; a directory is returned with its lower one.
    fn entry(
        &mut self,
        parent: &Directory<Option<Lower>>,
        name: &CStr,
        path: &Path,
    ) -> Result<Option<(OwnedFd, Option<Lower>)>> {
        let stat = fstatat(&parent.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let below = match &parent.data {
            Some(lower) => present(&lower.dir, name)?,
            None => None,
        };
        if self.is_whiteout(parent.fd.as_fd(), name, &stat)? {
            if below.is_some() {
                self.report(path, ChangeKind::Deleted);
            }
            return Ok(None);
        }
        let is_dir = kind(&stat) == libc::S_IFDIR;
        let upper = if is_dir { Some(open_subdir(parent.fd.as_fd(), name)?) } else { None };
        let mut lower = None;
        match &below {
            None => self.report(path, ChangeKind::Added),
            Some(below) if kind(below) != kind(&stat) => {
                self.report(path, ChangeKind::Deleted);
                self.report(path, ChangeKind::Added);
            }
            Some(below) => match (&upper, &parent.data) {
                (Some(upper), Some(above)) => {
                    let dir = open_subdir(above.dir.as_fd(), name)?;
                    if !same_attributes(upper.as_fd(), &stat, dir.as_fd(), below)? {
                        self.report(path, ChangeKind::Changed);
                    }
                    lower = Some(Lower { dir, hidden: above.hidden });
                }
                _ => self.report(path, ChangeKind::Changed),
            },
        }
        Ok(upper.map(|upper| (upper, lower)))
    }

    fn is_opaque(&self, dir: BorrowedFd<'_>, names: &BTreeSet<CString>) -> Result<bool> {
        let name = match self.style {
            WhiteoutStyle::Overlay => c"trusted.overlay.opaque",
            WhiteoutStyle::OverlayUser => c"user.overlay.opaque",
            WhiteoutStyle::Aufs => return Ok(names.contains(AUFS_OPAQUE)),
        };
        Ok(attribute(&proc_path(dir, OsStr::new("."))?, name)?.is_some_and(|value| value == b"y"))
    }

    /// Returns whether the entry is a whiteout: a character device 0:0, or an empty file with an attribute (as other
    /// unprivileged tools create).
    fn is_whiteout(&self, dir: BorrowedFd<'_>, name: &CStr, stat: &FileStat) -> Result<bool> {
        let marker = match self.style {
            WhiteoutStyle::Overlay => c"trusted.overlay.whiteout",
            WhiteoutStyle::OverlayUser => c"user.overlay.whiteout",
            WhiteoutStyle::Aufs => return Ok(false),
        };
        match kind(stat) {
            libc::S_IFCHR => Ok(stat.st_rdev == 0),
            libc::S_IFREG if stat.st_size == 0 => {
                Ok(attribute(&proc_path(dir, OsStr::from_bytes(name.to_bytes()))?, marker)?.is_some())
            }
            _ => Ok(false),
        }
    }
}

fn kind(stat: &FileStat) -> u32 {
    stat.st_mode & libc::S_IFMT
}

fn present(dir: &OwnedFd, name: &CStr) -> Result<Option<FileStat>> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn attribute(path: &CStr, name: &CStr) -> Result<Option<Vec<u8>>> {
    match file::get_xattr(path, name) {
        Err(err) if matches!(err.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// Returns whether two directories have the same owner, permissions, time and attributes.
fn same_attributes(a: BorrowedFd<'_>, a_stat: &FileStat, b: BorrowedFd<'_>, b_stat: &FileStat) -> Result<bool> {
    let facts = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec);
    Ok(facts(a_stat) == facts(b_stat) && attributes(a)? == attributes(b)?)
}

/// Returns the attributes that are not overlay's own.
fn attributes(dir: BorrowedFd<'_>) -> Result<Vec<(CString, Vec<u8>)>> {
    let path = proc_path(dir, OsStr::new("."))?;
    let mut found = Vec::new();
    for name in file::list_xattr(&path)? {
        let own = [&b"trusted.overlay."[..], b"user.overlay."].iter().any(|own| name.to_bytes().starts_with(own));
        if !own && let Some(value) = attribute(&path, &name)? {
            found.push((name, value));
        }
    }
    found.sort();
    Ok(found)
}
