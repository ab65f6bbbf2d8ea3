//! Applies the entries of a layer by descriptor and name, resolved as in a chroot.
//!
//! A file in place of an entry is removed first and never written through, because files of a tree may share content
//! and inode with others.

use base::coded;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::BufRead;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};

use super::attributes::{Setter, clear_xattrs};
use super::dirs::{Dir, Dirs};
use super::entry::{Entry, TarEntryType, shown};
use super::entry_name::{LayerPath, Name, classify};
use super::lower::NeedsLower;
use super::tar_reader::Archive;
use super::whiteout::WhiteoutWriter;
use super::{Applied, Target};
use crate::model::layer::WhiteoutFormat;
use crate::model::limits::Limits;
use base::fs::remove::remove_at;
use linux::path;

/// Bytes of zeros, aligned in the file, that become a hole.
const HOLE_BYTES: usize = 4096;

/// Bytes written between two checks of the disk's free space.
const CHECKED_BYTES: u64 = 16 << 20;

/// Maximum bytes that stay free on the disk by default.
const MIN_FREE: u64 = 1 << 30;

/// Applies all entries and reads the archive to its end.
pub(super) fn archive(input: impl BufRead, target: &Target, limits: &Limits) -> Result<Applied> {
    let mut archive = Archive::new(input, limits);
    let mut applier = Applier {
        dirs: Dirs::new(target.root.try_clone()?, target.whiteouts != WhiteoutFormat::Delete, limits.depth)?,
        whiteouts: WhiteoutWriter::new(target.whiteouts),
        setter: Setter { unprivileged: target.unprivileged },
        limits,
        applied: Applied::default(),
        unchecked: 0,
    };
    while let Some(entry) = archive.next()? {
        applier.entry(&entry, &mut archive).with_context(|| format!("entry {}", shown(&entry.path)))?;
    }
    archive.drain()?;
    applier.applied.whiteouts = applier.whiteouts.written();
    Ok(applier.applied)
}

struct Applier<'a> {
    dirs: Dirs,
    whiteouts: WhiteoutWriter,
    setter: Setter,
    limits: &'a Limits,
    applied: Applied,
    /// Bytes written since the disk's space was last checked.
    unchecked: u64,
}

impl Applier<'_> {
    fn entry<R: BufRead>(&mut self, entry: &Entry, data: &mut Archive<'_, R>) -> Result<()> {
        self.count(entry)?;
        let path = LayerPath::new(&entry.path, self.limits)?;
        let Some((parent, _)) = path.split() else { return self.root(entry) };
        match classify(&path)? {
            Name::Aufs => Ok(()),
            Name::Plain(name) => {
                let dir = self.dirs.make(parent)?;
                self.make(entry, &path, &dir, &CString::new(name)?, data)
            }
            Name::Opaque => match self.dirs.find(parent)? {
                Some(dir) => self.whiteouts.hide_all(&mut self.dirs, &dir),
                None => Ok(()),
            },
            Name::Whiteout(name) => match self.dirs.find(parent)? {
                Some(dir) => self.whiteouts.delete(&mut self.dirs, &dir, &CString::new(name)?),
                None => Ok(()),
            },
        }
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.applied.entries += 1;
        let apparent = match entry.kind {
            TarEntryType::Sparse { size, .. } => size,
            _ => entry.size,
        };
        self.applied.size = self.applied.size.saturating_add(apparent);
        if self.applied.entries + self.dirs.implied > self.limits.entries {
            bail!(coded!(ImageInvalid, "more than {} entries (--layer-limit entries=N)", self.limits.entries));
        }
        if self.applied.size > self.limits.apparent {
            bail!(coded!(
                ImageInvalid,
                "files of more than {} bytes together (--layer-limit files=SIZE)",
                self.limits.apparent
            ));
        }
        Ok(())
    }

    /// Applies an entry of the root, which must be a directory.
    fn root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != TarEntryType::Directory {
            bail!(coded!(ImageInvalid, "the root can only be a directory"));
        }
        let root = self.dirs.root();
        self.directory_attributes(entry, &root, &root, c".")
    }

    fn directory_attributes(&mut self, entry: &Entry, this: &Dir, above: &Dir, name: &CStr) -> Result<()> {
        self.applied.dropped += self.setter.apply(above.fd(), name, entry)?;
        let time = entry.mtime.timespec();
        this.set_times([time, time]);
        Ok(())
    }

    fn make<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &LayerPath,
        dir: &Rc<Dir>,
        name: &CString,
        data: &mut Archive<'_, R>,
    ) -> Result<()> {
        match &entry.kind {
            TarEntryType::Directory => return self.directory(entry, path, dir, name),
            TarEntryType::HardLink(target) => return self.hard_link(target, dir, name),
            TarEntryType::Character(0, 0) => {
                bail!(coded!(ImageInvalid, "a character device 0:0 is overlay's way to delete a name"))
            }
            TarEntryType::Character(..) | TarEntryType::Block(..) if self.setter.unprivileged => {
                self.applied.dropped += 1;
                return Ok(());
            }
            _ => {}
        }
        self.whiteouts.uncover(dir, name)?;
        self.clear_way(dir, name)?;
        match &entry.kind {
            TarEntryType::File => self.file(dir, name, entry.size, &[(0, entry.size)], data)?,
            TarEntryType::Sparse { extents, size } => self.file(dir, name, *size, extents, data)?,
            TarEntryType::Symlink(target) => {
                if target.len() > self.limits.path {
                    bail!(coded!(
                        ImageInvalid,
                        "a symlink of {} bytes, over the limit of {}",
                        target.len(),
                        self.limits.path
                    ));
                }
                let target = CString::new(target.as_slice()).context("NUL in the symlink's target")?;
                path::symlinkat(&target, dir.touch(), name)?;
            }
            TarEntryType::Character(major, minor) => {
                self.device(dir, name, libc::S_IFCHR, libc::makedev(*major, *minor))?;
            }
            TarEntryType::Block(major, minor) => {
                self.device(dir, name, libc::S_IFBLK, libc::makedev(*major, *minor))?;
            }
            TarEntryType::Fifo => self.device(dir, name, libc::S_IFIFO, 0)?,
            TarEntryType::Directory | TarEntryType::HardLink(_) => {}
        }
        self.applied.dropped += self.setter.apply(dir.fd(), name, entry)?;
        Ok(())
    }

    fn device(&self, dir: &Dir, name: &CString, kind: libc::mode_t, device: libc::dev_t) -> Result<()> {
        path::mknodat(dir.touch(), name, kind | 0o600, device).context("create the device")
    }

    /// Removes the file `name`, or the directory with its content.
    fn clear_way(&mut self, dir: &Dir, name: &CString) -> Result<()> {
        let stat = match path::stat_at(dir.fd(), name, false) {
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            other => other?,
        };
        if stat.is_dir() {
            if self.whiteouts.is_delta() {
                // the names in it and its inode number are remembered, and another directory may have both
                bail!(NeedsLower);
            }
            self.dirs.forget();
            return remove_at(dir.touch(), OsStr::from_bytes(name.to_bytes()))
                .context("remove the directory in its place");
        }
        if stat.is_symlink() {
            self.dirs.forget();
        }
        path::unlinkat(dir.touch(), name, false).context("remove the file in its place")
    }

    fn directory(&mut self, entry: &Entry, path: &LayerPath, dir: &Rc<Dir>, name: &CString) -> Result<()> {
        let mut hides = self.whiteouts.uncover(dir, name)?;
        let there = path::stat_at(dir.fd(), name, false).ok();
        if !there.is_some_and(|stat| stat.is_dir()) {
            if there.is_some() {
                self.clear_way(dir, name)?;
                // the file has hidden a directory below, too
                hides = true;
            }
            self.dirs.check_depth(dir)?;
            path::mkdirat(dir.touch(), name, 0o700)?;
        } else {
            clear_xattrs(dir.fd(), name)?;
        }
        let made = self.dirs.enter(path.bytes(), dir, name)?;
        if hides {
            self.whiteouts.make_opaque(&made)?;
        }
        self.directory_attributes(entry, &made, dir, name)
    }

    fn hard_link(&mut self, target: &[u8], dir: &Rc<Dir>, name: &CString) -> Result<()> {
        let missing = || format!("hard link to {}, which is no file", shown(target));
        let inner = LayerPath::new(target, self.limits).with_context(|| format!("hard link to {}", shown(target)))?;
        let (Some((parent, _)), Name::Plain(from)) = (inner.split(), classify(&inner)?) else { bail!(missing()) };
        let from = CString::new(from)?;
        let source = self.dirs.find(parent)?.with_context(missing)?;
        let stat = match path::stat_at(source.fd(), &from, false) {
            Err(err) if self.whiteouts.is_delta() && err.raw_os_error() == Some(libc::ENOENT) => bail!(NeedsLower),
            other => other.with_context(missing)?,
        };
        if self.whiteouts.is_deleted(&source, &from) || stat.is_dir() {
            bail!(missing());
        }
        self.whiteouts.uncover(dir, name)?;
        // a hard link to itself: removing it first would lose the file
        if path::stat_at(dir.fd(), name, false).is_ok_and(|now| now.identity() == stat.identity()) {
            return Ok(());
        }
        self.clear_way(dir, name)?;
        path::linkat(source.fd(), &from, dir.touch(), name).with_context(|| format!("hard link to {}", shown(target)))
    }

    /// Checks from time to time that the disk keeps some space, because a full one harms more than this image.
    fn check_space(&mut self, file: &File) -> Result<()> {
        if self.unchecked < CHECKED_BYTES {
            return Ok(());
        }
        self.unchecked = 0;
        let space = path::space(file.as_fd()).context("free space of the disk")?;
        let wanted = self.limits.min_free.unwrap_or_else(|| (space.total / 100).min(MIN_FREE));
        if space.free < wanted {
            bail!(coded!(
                ImageInvalid,
                "the disk has {} bytes left, less than {wanted} (--layer-limit min-free=SIZE)",
                space.free
            ));
        }
        Ok(())
    }

    /// Writes the data extents of a file; gaps and zeros become holes.
    fn file<R: BufRead>(
        &mut self,
        dir: &Dir,
        name: &CString,
        size: u64,
        extents: &[(u64, u64)],
        data: &mut Archive<'_, R>,
    ) -> Result<()> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let file = File::from(path::openat(dir.touch(), name, flags, 0o600)?);
        let mut written = 0;
        for &(mut at, mut length) in extents {
            while length > 0 {
                let chunk = data.chunk()?;
                let now = chunk.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(chunk);
                let (count, end) = write_data(&file, now, at)?;
                written = written.max(end);
                self.unchecked += count;
                let taken = now.len();
                data.consume(taken);
                self.check_space(&file)?;
                at += taken as u64;
                length -= taken as u64;
            }
        }
        if written < size {
            file.set_len(size).with_context(|| format!("set its size to {size}"))?;
        }
        Ok(())
    }
}

/// Writes all but zeros; returns the number of bytes written, and the offset after the last one.
fn write_data(file: &File, bytes: &[u8], at: u64) -> Result<(u64, u64)> {
    if bytes.len() < 4 * HOLE_BYTES {
        file.write_all_at(bytes, at)?;
        return Ok((bytes.len() as u64, at + bytes.len() as u64));
    }
    let (mut start, mut end, mut count, mut written) = (0, 0, 0, 0);
    // aligned to the blocks of the file system
    let mut next = HOLE_BYTES - usize::try_from(at % HOLE_BYTES as u64)?;
    while end < bytes.len() {
        let to = next.min(bytes.len());
        let block = bytes.get(end..to).unwrap_or_default();
        if block.len() == HOLE_BYTES && block.iter().all(|&byte| byte == 0) {
            if start < end {
                file.write_all_at(bytes.get(start..end).unwrap_or_default(), at + start as u64)?;
                count += end - start;
                written = at + end as u64;
            }
            start = to;
        }
        end = to;
        next = to + HOLE_BYTES;
    }
    if start < end {
        file.write_all_at(bytes.get(start..end).unwrap_or_default(), at + start as u64)?;
        count += end - start;
        written = at + end as u64;
    }
    Ok((count as u64, written))
}
