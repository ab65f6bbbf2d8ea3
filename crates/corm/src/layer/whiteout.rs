//! Whiteouts, in each of the drivers' formats.
//!
//! A whiteout hides files of lower layers and none of its own layer, wherever it is in the archive (image
//! specification). In a whole tree it deletes files, except those of this layer; in a delta it is stored, and a
//! directory in place of a deleted name becomes opaque.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::ffi::{CStr, CString, OsStr};
use std::hash::BuildHasher as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::dirs::real_path;
use super::dirs::{Dir, Dirs};
use super::entry_name::{OPAQUE, WHITEOUT};
use super::lower::NeedsLower;
use crate::model::layer::WhiteoutFormat;
use base::fs::proc_path;
use base::fs::walk::prepare_for_depth;
use linux::file;
use linux::path;

/// Maximum bytes of the paths of whiteouts that are remembered.
const MAX_WRITTEN_BYTES: usize = 16 << 20;

/// Names created and deleted by this layer, and the format of its whiteouts.
pub(super) struct WhiteoutWriter {
    format: WhiteoutFormat,
    /// Names created by this layer, as keyed hashes of directory and name: the odds of a collision among a million are
    /// 1 to 30 million.
    created: HashSet<u64>,
    /// Names deleted by this layer.
    deleted: HashSet<u64>,
    /// Opaque directories.
    opaque: HashSet<(u64, u64)>,
    /// Paths of the whiteouts of a delta, below its root.
    written: Vec<PathBuf>,
    /// Sum of the lengths of these paths.
    written_bytes: usize,
    keys: RandomState,
}

impl WhiteoutWriter {
    /// Creates a writer for a layer without entries.
    pub(super) fn new(format: WhiteoutFormat) -> Self {
        let (created, deleted, opaque) = (HashSet::new(), HashSet::new(), HashSet::new());
        let (written, keys) = (Vec::new(), RandomState::new());
        Self { format, created, deleted, opaque, written, written_bytes: 0, keys }
    }

    /// Returns whether the tree has the changes of one layer only.
    pub(super) fn is_delta(&self) -> bool {
        self.format != WhiteoutFormat::Delete
    }

    /// Returns the paths of the whiteouts, some of which may have been removed since.
    pub(super) fn written(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.written)
    }

    fn key(&self, dir: &Dir, name: &CString) -> u64 {
        self.keys.hash_one((dir.id, name))
    }

    /// Prepares the creation of an entry; returns whether this layer has deleted its name.
    pub(super) fn uncover(&mut self, dir: &Dir, name: &CString) -> Result<bool> {
        let key = self.key(dir, name);
        self.created.insert(key);
        if !self.deleted.remove(&key) {
            return Ok(false);
        }
        if let Some(marker) = self.marker(name)? {
            unless(path::unlinkat(dir.touch(), &marker, false), libc::ENOENT)?;
        }
        Ok(true)
    }

    /// Returns whether the name exists as a whiteout only.
    pub(super) fn is_deleted(&self, dir: &Dir, name: &CString) -> bool {
        self.deleted.contains(&self.key(dir, name))
    }

    /// Returns the name of the whiteout file, in a delta.
    fn marker(&self, name: &CString) -> Result<Option<CString>> {
        Ok(match self.format {
            WhiteoutFormat::Delete => None,
            WhiteoutFormat::OverlayDevice | WhiteoutFormat::OverlayXattr => Some(name.clone()),
            WhiteoutFormat::Aufs => Some(CString::new([WHITEOUT, name.to_bytes()].concat())?),
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
                if self.format != WhiteoutFormat::Delete {
                    return self.hide_all(dirs, &inner);
                }
                dirs.forget();
                if !self.prune(&inner, 0)? && !self.created.contains(&key) {
                    drop(inner);
                    path::unlinkat(dir.touch(), name, true)?;
                }
                Ok(())
            }
            // a file of this layer hides the lower ones
            Some(_) if self.format != WhiteoutFormat::Delete || self.created.contains(&key) => Ok(()),
            Some(_) => {
                dirs.forget();
                Ok(path::unlinkat(dir.touch(), name, false)?)
            }
            None if self.format == WhiteoutFormat::Delete || self.opaque.contains(&dir.id) => Ok(()),
            None => self.mark(dirs, dir, name),
        }
    }

    fn mark(&mut self, dirs: &Dirs, dir: &Dir, name: &CString) -> Result<()> {
        let Some(marker) = self.marker(name)? else { return Ok(()) };
        let above = real_path(dir.fd()).context("path of the directory")?;
        let root = real_path(dirs.root().fd()).context("path of the root")?;
        let path = above.strip_prefix(root)?.join(OsStr::from_bytes(name.to_bytes()));
        self.written_bytes += path.as_os_str().len();
        if self.written_bytes > MAX_WRITTEN_BYTES {
            // in a whole tree no list is needed
            bail!(NeedsLower);
        }
        self.written.push(path);
        if self.format == WhiteoutFormat::Aufs {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW;
            path::openat(dir.touch(), &marker, flags, 0o600).context("create the whiteout")?;
        } else {
            path::mknodat(dir.touch(), &marker, libc::S_IFCHR, 0).context("create the whiteout")?;
        }
        self.deleted.insert(self.key(dir, name));
        Ok(())
    }

    /// Hides the content that lower layers have in a directory.
    pub(super) fn hide_all(&mut self, dirs: &mut Dirs, dir: &Dir) -> Result<()> {
        if self.format == WhiteoutFormat::Delete {
            dirs.forget();
            return self.prune(dir, 0).map(drop);
        }
        if dir.id == dirs.root().id {
            // the kernel merges the roots of all layers, also opaque ones
            bail!(NeedsLower);
        }
        self.make_opaque(dir)
    }

    /// Makes a new directory in place of a deleted name opaque.
    pub(super) fn make_opaque(&mut self, dir: &Dir) -> Result<()> {
        if self.format == WhiteoutFormat::Delete || !self.opaque.insert(dir.id) {
            return Ok(());
        }
        // whiteouts in an opaque directory would be visible, because nothing is merged there
        for name in path::read_dir_names(dir.fd())? {
            if self.is_deleted(dir, &name) {
                path::unlinkat(dir.touch(), &name, false)?;
            }
        }
        match self.format {
            WhiteoutFormat::Delete => Ok(()),
            WhiteoutFormat::OverlayDevice => set_opaque(dir, c"trusted.overlay.opaque"),
            WhiteoutFormat::OverlayXattr => set_opaque(dir, c"user.overlay.opaque"),
            WhiteoutFormat::Aufs => {
                let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW;
                path::openat(dir.touch(), &CString::new(OPAQUE)?, flags, 0o600).context("create the opaque marker")?;
                Ok(())
            }
        }
    }

    /// Removes the files of a directory that this layer did not create; returns whether any are left. A directory
    /// without an entry is kept if its content is. `depth` is that of the directory below the first one.
    fn prune(&self, dir: &Dir, depth: usize) -> Result<bool> {
        prepare_for_depth(depth);
        let mut kept = false;
        for name in path::read_dir_names(dir.fd())? {
            let created = self.created.contains(&self.key(dir, &name));
            if path::stat_at(dir.fd(), &name, false)?.is_dir() {
                if self.prune(&Dir::open(dir, &name)?, depth + 1)? || created {
                    kept = true;
                } else {
                    path::unlinkat(dir.touch(), &name, true)?;
                }
            } else if created {
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
