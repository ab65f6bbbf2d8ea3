//! Layers that are put together from files of several trees: for the instructions that copy.
//!
//! Nothing is written to a tree: the layer is packed, and then applied as any other. Parent directories have the
//! attributes of those in the tree below the layer.

use base::coded;
use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Packer, Written, header, open_dir, split};
use crate::layer::entry::{Entry, TarEntryType, Time, shown};
use crate::layer::entry_name::WHITEOUT;
use base::fs::walk::{MAX_DEPTH, Step, Walk};

/// What becomes of an entry below a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is copied.
    Yes,
    /// It is left out, and what is below it.
    No,
    /// It is left out, unless something below it is copied.
    Below,
}

/// How entries are changed while they are copied.
pub struct Rewrite<'a> {
    /// Owner and group in the place of those of the source.
    pub owner: Option<(u32, u32)>,
    /// Returns the permissions for those of the source; the flag is set for a directory.
    pub mode: &'a dyn Fn(u32, bool) -> u32,
    /// Decides about an entry, whose path is below the source; the flag is set for a directory.
    pub keep: &'a dyn Fn(&[u8], bool) -> Keep,
}

/// Attributes of an entry that no source has.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions.
    pub mode: u32,
    /// Seconds of the modification time since 1970.
    pub mtime: i64,
}

/// A layer that is being written.
pub struct Composer<'a> {
    packer: Packer<'a>,
    /// Directories that were written.
    written: HashSet<Vec<u8>>,
    /// Symlinks of archives that were written: what is below them is below their targets.
    links: HashSet<Vec<u8>>,
}

impl<'a> Composer<'a> {
    /// Begins a layer. With `timeless` all times are zero, so that its digest is one of the content.
    ///
    /// # Errors
    /// `SOURCE_DATE_EPOCH` is no number.
    pub fn new(out: &'a mut dyn Write, timeless: bool) -> Result<Self> {
        let mut packer = Packer { crosses: true, ..Packer::new(out)? };
        if timeless {
            packer.latest = Some(Time { seconds: 0, nanoseconds: 0 });
        }
        Ok(Self { packer, written: HashSet::new(), links: HashSet::new() })
    }

    /// Ends the layer.
    ///
    /// # Errors
    /// The output fails.
    pub fn end(self) -> Result<()> {
        self.packer.end()
    }

    /// Writes the directories above `path` and, with `itself`, `path` as a directory: with the attributes of those in
    /// the tree below the layer, else with `new`.
    ///
    /// # Errors
    /// One of them is another file in the tree below.
    pub fn directories(
        &mut self,
        lower: Option<BorrowedFd<'_>>,
        path: &[u8],
        itself: bool,
        new: Attributes,
    ) -> Result<()> {
        let mut ends: Vec<usize> =
            path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
        ends.extend((itself && !path.is_empty()).then_some(path.len()));
        for end in ends {
            let path = path.get(..end).unwrap_or_default();
            if self.links.contains(path) {
                return Ok(());
            }
            if !self.written.insert(path.to_vec()) {
                continue;
            }
            if let Some(entry) = self.of_lower(lower, path)? {
                // followed when the layer is applied, inside of the tree
                if matches!(entry.kind, TarEntryType::Symlink(_)) {
                    return Ok(());
                }
                ensure!(
                    entry.kind == TarEntryType::Directory,
                    coded!(ImageInvalid, "{}: is no directory in the image", shown(path))
                );
                header::write(self.packer.out, &entry, 0)?;
                continue;
            }
            check_name(path)?;
            let entry = self.entry(path, TarEntryType::Directory, new, 0);
            header::write(self.packer.out, &entry, 0)?;
        }
        Ok(())
    }

    /// Returns the entry of a path in the tree below; `None` where there is none.
    fn of_lower(&mut self, lower: Option<BorrowedFd<'_>>, path: &[u8]) -> Result<Option<Entry>> {
        let Some(lower) = lower else { return Ok(None) };
        let (dir, name) = split(path);
        let Ok(dir) = open_dir(lower, &CString::new(dir)?) else { return Ok(None) };
        let name = CString::new(name)?;
        match linux::path::stat_at(dir.as_fd(), &name, false) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            other => {
                other.with_context(|| shown(path))?;
                Ok(self.packer.describe(dir.as_fd(), &name, path)?.map(|(entry, _)| entry))
            }
        }
    }

    /// Returns an entry with these attributes.
    fn entry(&self, path: &[u8], kind: TarEntryType, given: Attributes, size: u64) -> Entry {
        let mtime = Time { seconds: given.mtime, nanoseconds: 0 };
        Entry {
            path: path.to_vec(),
            kind,
            mode: given.mode,
            uid: given.uid,
            gid: given.gid,
            mtime: self.packer.latest.map_or(mtime, |latest| mtime.min(latest)),
            xattrs: Vec::new(),
            size,
        }
    }

    /// Writes a file with this content.
    ///
    /// # Errors
    /// The content is shorter than `size`, or cannot be read.
    pub fn file(&mut self, path: &[u8], given: Attributes, data: &mut dyn Read, size: u64) -> Result<()> {
        check_name(path)?;
        let entry = self.entry(path, TarEntryType::File, given, size);
        header::write(self.packer.out, &entry, size)?;
        let copied = io::copy(&mut data.take(size), self.packer.out)?;
        ensure!(copied == size, coded!(ImageInvalid, "{}: ends before its end", shown(path)));
        Ok(header::pad(self.packer.out, size)?)
    }

    /// Writes an entry of an archive, with its data.
    ///
    /// # Errors
    /// No layer can have its name; the archive ends within its data.
    pub fn of_archive(&mut self, mut entry: Entry, data: &mut dyn Read) -> Result<()> {
        check_name(&entry.path)?;
        entry.mtime = self.packer.latest.map_or(entry.mtime, |latest| entry.mtime.min(latest));
        match entry.kind.clone() {
            TarEntryType::File => {
                let size = entry.size;
                header::write(self.packer.out, &entry, size)?;
                let copied = io::copy(&mut data.take(size), self.packer.out)?;
                ensure!(copied == size, coded!(ArchiveInvalid, "the archive ends within its data"));
                Ok(header::pad(self.packer.out, size)?)
            }
            TarEntryType::Sparse { extents, size } => {
                (entry.kind, entry.size) = (TarEntryType::File, size);
                header::write(self.packer.out, &entry, size)?;
                self.fill_holes(&extents, size, data)?;
                Ok(header::pad(self.packer.out, size)?)
            }
            kind => {
                match kind {
                    TarEntryType::Directory => drop(self.written.insert(entry.path.clone())),
                    TarEntryType::Symlink(_) => drop(self.links.insert(entry.path.clone())),
                    _ => {}
                }
                Ok(header::write(self.packer.out, &entry, 0)?)
            }
        }
    }

    /// Writes the extents of a sparse file with zeros between them.
    fn fill_holes(&mut self, extents: &[(u64, u64)], size: u64, data: &mut dyn Read) -> Result<()> {
        let mut at = 0;
        let zeros = |out: &mut dyn Write, count: u64| io::copy(&mut io::repeat(0).take(count), out);
        for &(start, length) in extents {
            ensure!(
                start >= at && start.checked_add(length).is_some_and(|end| end <= size),
                coded!(ImageInvalid, "a malformed sparse file")
            );
            zeros(self.packer.out, start - at)?;
            let copied = io::copy(&mut data.take(length), self.packer.out)?;
            ensure!(copied == length, coded!(ArchiveInvalid, "the archive ends within its data"));
            at = start + length;
        }
        zeros(self.packer.out, size - at)?;
        Ok(())
    }

    /// Copies the entry `name` of `dir` as `path`, and what is below it. With `content` only what is below it, into the
    /// directory `path`, which was written.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn tree(
        &mut self,
        (dir, name): (BorrowedFd<'_>, &CStr),
        path: &[u8],
        content: bool,
        rules: &Rewrite<'_>,
    ) -> Result<()> {
        if !content && self.copy((dir, name), path, b"", rules, &mut Vec::new())? != Written::Directory {
            return Ok(());
        }
        let top = self.packer.open(dir, name, libc::O_DIRECTORY).with_context(|| shown(path))?;
        let mut walk = Walk::new(MAX_DEPTH);
        let names = self.packer.names(top.as_fd()).with_context(|| shown(path))?;
        walk.enter(top, PathBuf::new(), names, ())?;
        // directories that are written when something below them is
        let mut pending: Vec<Entry> = Vec::new();
        while let Some(step) = walk.step() {
            let Step::Name(parent, name) = step else { continue };
            let below = parent.path_of(&name);
            let below = below.as_os_str().as_bytes();
            let to = if path.is_empty() { below.to_vec() } else { [path, b"/", below].concat() };
            let from = (parent.fd.as_fd(), &*name);
            if self.copy(from, &to, below, rules, &mut pending)? == Written::Directory {
                let context = || shown(below);
                let dir = self.packer.open(parent.fd.as_fd(), &name, libc::O_DIRECTORY).with_context(context)?;
                let names = self.packer.names(dir.as_fd()).with_context(context)?;
                walk.enter(dir, PathBuf::from(OsStr::from_bytes(below)), names, ())?;
            }
        }
        Ok(())
    }

    /// Copies one entry, if the rules keep it. A directory that may have kept entries is noted as `pending`.
    fn copy(
        &mut self,
        (dir, name): (BorrowedFd<'_>, &CStr),
        path: &[u8],
        below: &[u8],
        rules: &Rewrite<'_>,
        pending: &mut Vec<Entry>,
    ) -> Result<Written> {
        let is_dir = linux::path::stat_at(dir, name, false).with_context(|| shown(path))?.is_dir();
        let keep = (rules.keep)(below, is_dir);
        if keep == Keep::No {
            return Ok(Written::Nothing);
        }
        let described = self.packer.describe(dir, name, path).with_context(|| shown(path))?;
        let Some((mut entry, stat)) = described else { return Ok(Written::Nothing) };
        if let Some((uid, gid)) = rules.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if !matches!(entry.kind, TarEntryType::Symlink(_)) {
            entry.mode = (rules.mode)(entry.mode, is_dir);
        }
        if keep == Keep::Below {
            pending.push(entry);
            return Ok(Written::Directory);
        }
        for above in pending.drain(..) {
            let holds = path.strip_prefix(&*above.path).is_some_and(|rest| rest.starts_with(b"/"));
            if holds && self.written.insert(above.path.clone()) {
                header::write(self.packer.out, &above, 0)?;
            }
        }
        if is_dir {
            self.written.insert(path.to_vec());
        }
        self.packer.put(dir, name, entry, &stat).with_context(|| shown(path))
    }
}

/// Refuses a name that deletes something in a layer.
fn check_name(path: &[u8]) -> Result<()> {
    if path.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
        bail!(coded!(ImageInvalid, "{}: a name that begins with \".wh.\" deletes something in a layer", shown(path)));
    }
    Ok(())
}
