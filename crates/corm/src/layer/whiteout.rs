//! Deleted names, in each of the ways in which a driver keeps them.
//!
//! A whiteout hides what lower layers have and nothing of its own layer, wherever it stands in the archive (image
//! specification). In a whole tree it deletes, but for what this layer made; in a delta it is kept, and a directory that
//! takes the place of a deleted name becomes opaque.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::ffi::{CStr, CString, OsStr};
use std::hash::BuildHasher as _;
use std::io;

use anyhow::{Context as _, Result, bail};

use super::dirs::{Dir, Dirs};
use super::path::{OPAQUE, WHITEOUT};
use crate::model::layer::WhiteoutFormat as Way;
use base::fs::proc_path;
use linux::file;
use linux::path;

/// What this layer did to names, and how it deletes them.
pub(super) struct WhiteoutWriter {
    way: Way,
    /// Names made by this layer. A hash of directory and name each, with secret keys: that two of a
    /// million are the same has odds of 1 to 30 million.
    made: HashSet<u64>,
    /// Names deleted by this layer.
    deleted: HashSet<u64>,
    /// Directories that hide all that is below them.
    opaque: HashSet<(u64, u64)>,
    keys: RandomState,
}

impl WhiteoutWriter {
    /// Of a layer that nothing was applied of yet.
    pub(super) fn new(way: Way) -> Self {
        let (made, deleted, opaque) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self { way, made, deleted, opaque, keys: RandomState::new() }
    }

    /// Whether deleted names are deleted, so that a directory that is not there needs none.
    pub(super) fn deletes(&self) -> bool {
        self.way == Way::Delete
    }

    fn key(&self, dir: &Dir, name: &CString) -> u64 {
        self.keys.hash_one((dir.id, name))
    }

    /// An entry of this layer is about to be created: whether its name is one that this layer deleted.
    pub(super) fn uncover(&mut self, dir: &Dir, name: &CString) -> Result<bool> {
        let key = self.key(dir, name);
        self.made.insert(key);
        if !self.deleted.remove(&key) {
            return Ok(false);
        }
        if let Some(marker) = self.marker(name)? {
            unless(path::unlinkat(dir.touch(), &marker, false), libc::ENOENT)?;
        }
        Ok(true)
    }

    /// Whether the name is there as a whiteout only.
    pub(super) fn is_deleted(&self, dir: &Dir, name: &CString) -> bool {
        self.deleted.contains(&self.key(dir, name))
    }

    /// The file that stands for a deleted name, in a delta.
    fn marker(&self, name: &CString) -> Result<Option<CString>> {
        Ok(match self.way {
            Way::Delete => None,
            Way::OverlayDevice | Way::OverlayXattr => Some(name.clone()),
            Way::Aufs => Some(CString::new([WHITEOUT, name.to_bytes()].concat())?),
        })
    }

    /// Deletes a name of lower layers.
    pub(super) fn delete(&mut self, dirs: &mut Dirs, dir: &Dir, name: &CString) -> Result<()> {
        let key = self.key(dir, name);
        if self.deleted.contains(&key) {
            return Ok(());
        }
        let there = match path::stat_at(dir.fd(), name, false) {
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => None,
            other => Some(other?),
        };
        match there {
            Some(stat) if stat.is_dir() => {
                let inner = Dir::open(dir, name)?;
                if self.way != Way::Delete {
                    return self.hide_all(dirs, &inner);
                }
                dirs.forget();
                if !self.prune(&inner)? && !self.made.contains(&key) {
                    drop(inner);
                    path::unlinkat(dir.touch(), name, true)?;
                }
                Ok(())
            }
            // a file of this layer hides what is below it
            Some(_) if self.way != Way::Delete || self.made.contains(&key) => Ok(()),
            Some(_) => {
                dirs.forget();
                Ok(path::unlinkat(dir.touch(), name, false)?)
            }
            None if self.way == Way::Delete || self.opaque.contains(&dir.id) => Ok(()),
            None => self.mark(dir, name),
        }
    }

    fn mark(&mut self, dir: &Dir, name: &CString) -> Result<()> {
        let Some(marker) = self.marker(name)? else { return Ok(()) };
        if self.way == Way::Aufs {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW;
            path::openat(dir.touch(), &marker, flags, 0o600).context("make the whiteout")?;
        } else {
            path::mknodat(dir.touch(), &marker, libc::S_IFCHR, 0).context("make the whiteout")?;
        }
        self.deleted.insert(self.key(dir, name));
        Ok(())
    }

    /// Deletes all that lower layers have in a directory.
    pub(super) fn hide_all(&mut self, dirs: &mut Dirs, dir: &Dir) -> Result<()> {
        if self.way == Way::Delete {
            dirs.forget();
            return self.prune(dir).map(drop);
        }
        if dir.id == dirs.root().id {
            bail!("the whole tree below is deleted: that is a new image, not a layer");
        }
        self.make_opaque(dir)
    }

    /// A new directory, in the place of a deleted name, shows nothing from below it.
    pub(super) fn make_opaque(&mut self, dir: &Dir) -> Result<()> {
        if self.way == Way::Delete || !self.opaque.insert(dir.id) {
            return Ok(());
        }
        // whiteouts in an opaque directory would show, as nothing is merged there
        for name in path::read_dir_names(dir.fd())? {
            if self.is_deleted(dir, &name) {
                path::unlinkat(dir.touch(), &name, false)?;
            }
        }
        match self.way {
            Way::Delete => Ok(()),
            Way::OverlayDevice => set_opaque(dir, c"trusted.overlay.opaque"),
            Way::OverlayXattr => set_opaque(dir, c"user.overlay.opaque"),
            Way::Aufs => {
                let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW;
                path::openat(dir.touch(), &CString::new(OPAQUE)?, flags, 0o600).context("make the opaque marker")?;
                Ok(())
            }
        }
    }

    /// Removes from a directory all that this layer did not make; whether something is left. A directory that it did not
    /// name stays where something in it does.
    fn prune(&self, dir: &Dir) -> Result<bool> {
        let mut kept = false;
        for name in path::read_dir_names(dir.fd())? {
            let made = self.made.contains(&self.key(dir, &name));
            if path::stat_at(dir.fd(), &name, false)?.is_dir() {
                if self.prune(&Dir::open(dir, &name)?)? || made {
                    kept = true;
                } else {
                    path::unlinkat(dir.touch(), &name, true)?;
                }
            } else if made {
                kept = true;
            } else {
                path::unlinkat(dir.touch(), &name, false)?;
            }
        }
        Ok(kept)
    }
}

fn set_opaque(dir: &Dir, name: &CStr) -> Result<()> {
    let path = proc_path(dir.fd(), OsStr::new("."))?;
    file::set_xattr(&path, name, b"y").context("mark the directory opaque")
}

fn unless(result: io::Result<()>, errno: i32) -> io::Result<()> {
    match result {
        Err(err) if err.raw_os_error() == Some(errno) => Ok(()),
        other => other,
    }
}
