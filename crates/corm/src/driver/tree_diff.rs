//! Ordered listing of a tree, and comparison of two listings.
//!
//! The order is that of [`Change`] lists: a directory before its content, names in byte order.

use std::iter::Peekable;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstat, fstatat};
use serde::{Deserialize, Serialize};

use crate::model::change::Change;
use crate::model::change::ChangeKind;
use base::fs::walk::MAX_DEPTH;
use base::fs::walk::Step;
use base::fs::walk::Walk;
use base::fs::walk::open_subdir;
use base::fs::walk::sorted_names;

/// An entry of a tree with the attributes that detect a change. Every change sets the ctime, and a snapshot keeps it.
/// Before Linux 6.13 two changes within one clock tick have the same ctime, so other attributes are compared too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Path below the root; empty for the root.
    pub path: PathBuf,
    /// Device and inode; not compared, because device numbers change at boot.
    #[serde(skip)]
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// File type and permissions.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Size in bytes.
    pub size: i64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Status change time: seconds and nanoseconds.
    pub ctime: (i64, i64),
    /// Number of hard links.
    #[serde(skip)]
    pub links: u64,
    /// Number of blocks of 512 bytes.
    #[serde(skip)]
    pub blocks: u64,
}

impl Entry {
    fn new(path: PathBuf, stat: &FileStat) -> Self {
        Self {
            path,
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
            #[allow(clippy::useless_conversion, reason = "it has 32 bits on other processors")]
            links: u64::from(stat.st_nlink),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        }
    }

    fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Returns whether the entry is a directory.
    pub(super) fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    fn same(&self, other: &Self) -> bool {
        let facts = |e: &Self| (e.inode, e.mode, e.owner, e.size, e.mtime, e.ctime);
        facts(self) == facts(other)
    }
}

/// An iterator over the entries of a tree, the root first. Its memory is that of the names on the current path.
pub(super) struct Scan {
    root: Option<Entry>,
    walk: Walk<()>,
}

impl Scan {
    /// Begins at the open root of a tree.
    pub(super) fn of(root: OwnedFd) -> Result<Self> {
        let entry = Entry::new(PathBuf::new(), &fstat(&root).context("the root of a tree")?);
        let names = sorted_names(root.as_fd()).context("read the root of a tree")?;
        let mut walk = Walk::new(MAX_DEPTH);
        walk.enter(root, PathBuf::new(), names, ())?;
        Ok(Self { root: Some(entry), walk })
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        while let Some(step) = self.walk.step() {
            let Step::Name(parent, name) = step else { continue };
            let path = parent.path_of(&name);
            let stat = match fstatat(&parent.fd, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                // removed since the directory was read
                Err(Errno::ENOENT) => continue,
                other => other.with_context(|| format!("{path:?}"))?,
            };
            let entry = Entry::new(path, &stat);
            if entry.is_dir() {
                let dir = open_subdir(parent.fd.as_fd(), &name).with_context(|| format!("open {:?}", entry.path))?;
                let names = sorted_names(dir.as_fd()).with_context(|| format!("read {:?}", entry.path))?;
                self.walk.enter(dir, entry.path.clone(), names, ())?;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take() {
            return Some(Ok(root));
        }
        self.step().transpose()
    }
}

/// Returns the changes from the tree `old` to `new`: both in order, with the same inodes for unchanged files.
pub(super) fn compare(
    old: impl Iterator<Item = Result<Entry>>,
    new: impl Iterator<Item = Result<Entry>>,
) -> Result<Vec<Change>> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let mut changes = Vec::new();
    let mut report = |path: &Path, kind| changes.push(Change { path: path.to_owned(), kind });
    loop {
        let (before, after) = (peek(&mut old)?, peek(&mut new)?);
        match (before, after) {
            (None, None) => return Ok(changes),
            (Some(before), after) if after.is_none_or(|after| before.path < after.path) => {
                report(&before.path, ChangeKind::Deleted);
                let gone = before.path.clone();
                skip_below(&mut old, &gone)?;
            }
            (before, Some(after)) if before.is_none_or(|before| after.path < before.path) => {
                report(&after.path, ChangeKind::Added);
                new.next();
            }
            (Some(before), Some(after)) => {
                if before.kind() != after.kind() {
                    report(&before.path, ChangeKind::Deleted);
                    report(&after.path, ChangeKind::Added);
                    let gone = before.path.clone();
                    skip_below(&mut old, &gone)?;
                } else {
                    if !before.same(after) {
                        report(&after.path, ChangeKind::Changed);
                    }
                    old.next();
                }
                new.next();
            }
            // the arms above cover all other cases
            (_, _) => return Ok(changes),
        }
    }
}

fn peek<I: Iterator<Item = Result<Entry>>>(entries: &mut Peekable<I>) -> Result<Option<&Entry>> {
    if let Some(Err(_)) = entries.peek() {
        return match entries.next() {
            Some(Err(err)) => Err(err),
            _ => Ok(None),
        };
    }
    Ok(entries.peek().and_then(|entry| entry.as_ref().ok()))
}

/// Skips the entries below `top`.
fn skip_below<I: Iterator<Item = Result<Entry>>>(entries: &mut Peekable<I>, top: &Path) -> Result<()> {
    while peek(entries)?.is_some_and(|entry| entry.path.starts_with(top)) {
        entries.next();
    }
    Ok(())
}
