//! Packing of trees and changes into reproducible tars: sorted, numeric IDs, times in nanoseconds.
//!
//! The format is pax over ustar, which Go's archive/tar reads, the basis of Docker, Podman, skopeo and umoci. `header`
//! writes the headers.

mod compose;
mod header;

use base::coded;
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::attributes::is_layer_xattr;
use super::entry::{Entry, TarEntryType, Time, shown};
use super::entry_name::{OPAQUE, WHITEOUT};
use super::epoch;
use crate::model::change::Change;
use crate::model::change::ChangeKind;
use base::fs::copy::next_extent;
use base::fs::proc_path;
use base::fs::walk::MAX_DEPTH;
use base::fs::walk::Step;
use base::fs::walk::Walk;
use base::fs::walk::open_below;
use base::fs::walk::sorted_names;
use linux::file;
use linux::path;
use linux::path::Stat;

pub use compose::{Attributes, Composer, Keep, Rewrite};

/// Minimum bytes of holes for a sparse file in the archive. Smaller holes are written as zeros, which compress well and
/// become holes again, because tar-split cannot rebuild an archive with sparse files from its entries.
const MIN_HOLE_BYTES: u64 = 64 << 20;

/// Writes a whole tree, the root itself first.
///
/// # Errors
/// Names the file that cannot be read, or whose name no layer can contain, because it is that of a whiteout.
pub fn tree(root: BorrowedFd<'_>, out: &mut dyn Write) -> Result<()> {
    let mut packer = Packer::new(out)?;
    packer.subtree(root, c".", b"")?;
    packer.end()
}

/// A conversion of user and group.
type Owners<'a> = &'a dyn Fn((u32, u32)) -> (u32, u32);

/// Writes a file, or a directory with its content, as `path`. Unlike a layer's, the tree may have names of whiteouts, and
/// mounts, of which those of the kernel's own file systems are written without their content. `owners` converts user and
/// group.
///
/// # Errors
/// Names the file that cannot be read.
pub fn files(dir: BorrowedFd<'_>, name: &CStr, path: &[u8], owners: Owners<'_>, out: &mut dyn Write) -> Result<()> {
    let mut packer = Packer { of_layer: false, crosses: true, owners: Some(owners), ..Packer::new(out)? };
    packer.subtree(dir, name, path)?;
    packer.end()
}

/// Writes changes, each deletion as a whiteout. Unchanged parent directories are written too, because a tool that
/// unpacks this layer alone needs their attributes.
///
/// # Errors
/// As [`tree`]; a changed path that does not exist.
pub fn changes(root: BorrowedFd<'_>, changes: &[Change], out: &mut dyn Write) -> Result<()> {
    let mut packer = Packer::new(out)?;
    let mut written: HashSet<Vec<u8>> = HashSet::new();
    let mut gone: Option<&[u8]> = None;
    for group in changes.chunk_by(|one, other| one.path == other.path) {
        let Some(first) = group.first() else { continue };
        let path = first.path.as_os_str().as_bytes();
        if gone.is_some_and(|gone| path.strip_prefix(gone).is_some_and(|rest| rest.starts_with(b"/"))) {
            continue; // a deleted directory implies the deletion of its content
        }
        packer.above(root, path, &mut written)?;
        let deleted = group.iter().any(|change| change.kind == ChangeKind::Deleted);
        if group.iter().all(|change| change.kind == ChangeKind::Deleted) {
            let (dir, name) = split(path);
            packer.marker(&joined(dir, &[WHITEOUT, name].concat()))?;
            gone = Some(path);
            continue;
        }
        if written.contains(path) {
            continue;
        }
        let (dir, name) = split(path);
        let dir = open_dir(root, &CString::new(dir)?).with_context(|| shown(path))?;
        let name = if name.is_empty() { c".".to_owned() } else { CString::new(name)? };
        match packer.entry(dir.as_fd(), &name, path)? {
            Written::Directory => {
                written.insert(path.to_vec());
                if deleted {
                    packer.marker(&joined(path, OPAQUE))?;
                }
            }
            // what it replaced must not reappear
            Written::Nothing if deleted => {
                let (dir, name) = split(path);
                packer.marker(&joined(dir, &[WHITEOUT, name].concat()))?;
            }
            Written::Other | Written::Nothing => {}
        }
    }
    packer.end()
}

fn open_dir(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    open_below(root, if path.is_empty() { c"." } else { path }, libc::O_DIRECTORY)
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

struct Packer<'a> {
    out: &'a mut dyn Write,
    /// First name of each hard-linked file, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// `SOURCE_DATE_EPOCH`: later times are replaced by it.
    latest: Option<Time>,
    /// Whether the archive is a layer.
    of_layer: bool,
    /// Whether what is mounted in the tree is read, too.
    crosses: bool,
    /// Conversion of user and group.
    owners: Option<Owners<'a>>,
}

/// What was written for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Directory,
    Other,
    Nothing,
}

impl<'a> Packer<'a> {
    fn new(out: &'a mut dyn Write) -> Result<Self> {
        let latest = epoch::latest()?.map(|seconds| Time { seconds, nanoseconds: 0 });
        Ok(Self { out, links: HashMap::new(), latest, of_layer: true, crosses: false, owners: None })
    }

    /// Writes the entry `name` of `dir` as `path`, and what is below it.
    fn subtree(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<()> {
        if self.entry(dir, name, path)? != Written::Directory {
            return Ok(());
        }
        let top = self.open(dir, name, libc::O_DIRECTORY).with_context(|| shown(path))?;
        let mut walk = Walk::new(MAX_DEPTH);
        let names = self.names(top.as_fd()).with_context(|| shown(path))?;
        walk.enter(top, PathBuf::from(OsStr::from_bytes(path)), names, ())?;
        while let Some(step) = walk.step() {
            let Step::Name(parent, name) = step else { continue };
            let path = parent.path_of(&name);
            let context = || shown(path.as_os_str().as_bytes());
            if self.entry(parent.fd.as_fd(), &name, path.as_os_str().as_bytes())? == Written::Directory {
                let dir = self.open(parent.fd.as_fd(), &name, libc::O_DIRECTORY).with_context(context)?;
                let names = self.names(dir.as_fd()).with_context(context)?;
                walk.enter(dir, path, names, ())?;
            }
        }
        Ok(())
    }

    /// Opens a file for reading; a mount is an error in a layer.
    fn open(&self, dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> Result<OwnedFd> {
        if !self.crosses {
            return open_below(dir, name, flags);
        }
        Ok(path::openat(dir, name, flags | libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0)?)
    }

    /// Returns the names in a directory that are written.
    fn names(&self, dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
        let of_kernel = self.crosses && path::is_of_kernel(dir)?;
        if of_kernel { Ok(Vec::new()) } else { Ok(sorted_names(dir)?) }
    }

    /// Writes the end marker, two blocks of zeros.
    fn end(self) -> Result<()> {
        self.out.write_all(&[0; 2 * super::header::BLOCK])?;
        Ok(self.out.flush()?)
    }

    /// Writes the parent directories of `path` that are not written yet.
    fn above(&mut self, root: BorrowedFd<'_>, path: &[u8], written: &mut HashSet<Vec<u8>>) -> Result<()> {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let above = path.get(..at).unwrap_or_default();
            if written.insert(above.to_vec()) {
                let (dir, name) = split(above);
                let dir = open_dir(root, &CString::new(dir)?).with_context(|| shown(above))?;
                if self.entry(dir.as_fd(), &CString::new(name)?, above)? != Written::Directory {
                    bail!(coded!(ImageInvalid, "{}: has changed entries and is no directory", shown(above)));
                }
            }
        }
        Ok(())
    }

    /// Writes a whiteout.
    fn marker(&mut self, path: &[u8]) -> Result<()> {
        let entry = Entry {
            path: path.to_vec(),
            kind: TarEntryType::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
            size: 0,
        };
        Ok(header::write(self.out, &entry, 0)?)
    }

    /// Writes the entry `name` of `dir` as `path`.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Written> {
        let write = |packer: &mut Self| match packer.describe(dir, name, path)? {
            Some((entry, stat)) => packer.put(dir, name, entry, &stat),
            None => Ok(Written::Nothing),
        };
        write(self).with_context(|| shown(path))
    }

    /// Reads the attributes of an entry; `None` for one that no archive can have, with a warning.
    fn describe(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<(Entry, Stat)>> {
        if self.of_layer && name.to_bytes().starts_with(WHITEOUT) {
            bail!(coded!(
                ImageInvalid,
                "a name that begins with \".wh.\" deletes something in a layer, so no layer can hold such a file"
            ));
        }
        let stat = path::stat_at(dir, name, false)?;
        let mut kind = match kind(dir, name, &stat)? {
            Ok(kind) => kind,
            Err(reason) => {
                super::warn(&format!("{}: {reason}", shown(path)));
                return Ok(None);
            }
        };
        if stat.links() > 1 && kind != TarEntryType::Directory {
            match self.links.get(&stat.identity()) {
                Some(first) => kind = TarEntryType::HardLink(first.clone()),
                None => drop(self.links.insert(stat.identity(), path.to_vec())),
            }
        }
        let (uid, gid) = self.owners.map_or(stat.owner(), |owners| owners(stat.owner()));
        let [_, mtime] = stat.times();
        let mtime = Time { seconds: mtime.tv_sec, nanoseconds: u32::try_from(mtime.tv_nsec)? };
        let entry = Entry {
            path: path.to_vec(),
            mode: stat.permissions(),
            uid,
            gid,
            mtime: self.latest.map_or(mtime, |latest| mtime.min(latest)),
            xattrs: if matches!(kind, TarEntryType::HardLink(_)) { Vec::new() } else { xattrs(dir, name)? },
            size: 0,
            kind,
        };
        Ok(Some((entry, stat)))
    }

    /// Writes a described entry, with the content of a file.
    fn put(&mut self, dir: BorrowedFd<'_>, name: &CStr, entry: Entry, stat: &Stat) -> Result<Written> {
        match entry.kind {
            TarEntryType::File => self.file(dir, name, entry, stat)?,
            _ => header::write(self.out, &entry, 0)?,
        }
        Ok(if stat.is_dir() { Written::Directory } else { Written::Other })
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr, mut entry: Entry, stat: &Stat) -> Result<()> {
        let mut file = File::from(self.open(dir, name, 0)?);
        if path::fstat(file.as_fd())?.identity() != stat.identity() {
            bail!(coded!(ImageInvalid, "another file has taken its place"));
        }
        let size = u64::try_from(stat.size())?;
        let extents = extents(&file, size)?;
        let map = match &extents {
            Some(extents) => header::map(extents),
            None => Vec::new(),
        };
        let extents = extents.unwrap_or_else(|| vec![(0, size)]);
        let data: u64 = extents.iter().map(|(_, length)| length).sum();
        entry.size = data + map.len() as u64;
        if !map.is_empty() {
            entry.kind = TarEntryType::Sparse { extents: Vec::new(), size };
        }
        header::write(self.out, &entry, entry.size)?;
        self.out.write_all(&map)?;
        for (start, length) in extents {
            file.seek(SeekFrom::Start(start))?;
            if std::io::copy(&mut (&file).take(length), self.out)? != length {
                bail!(coded!(ImageInvalid, "it was truncated while it was read"));
            }
        }
        Ok(header::pad(self.out, data)?)
    }
}

/// Returns the type of an entry, or the reason why it is left out.
fn kind(dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<Result<TarEntryType, &'static str>> {
    let (major, minor) = (libc::major(stat.rdev()), libc::minor(stat.rdev()));
    Ok(Ok(match stat.kind() {
        libc::S_IFREG => TarEntryType::File,
        libc::S_IFDIR => TarEntryType::Directory,
        libc::S_IFLNK => TarEntryType::Symlink(path::readlinkat(dir, name)?.into_bytes()),
        libc::S_IFCHR if (major, minor) == (0, 0) => {
            return Ok(Err("a character device 0:0 is skipped, because it is overlay's way to delete a name"));
        }
        libc::S_IFCHR => TarEntryType::Character(major, minor),
        libc::S_IFBLK => TarEntryType::Block(major, minor),
        libc::S_IFIFO => TarEntryType::Fifo,
        _ => return Ok(Err("a socket is skipped, because it is of a running process")),
    }))
}

fn xattrs(dir: BorrowedFd<'_>, name: &CStr) -> Result<Vec<(CString, Vec<u8>)>> {
    let path = proc_path(dir, OsStr::from_bytes(name.to_bytes()))?;
    let mut names = file::list_xattr(&path).context("list its extended attributes")?;
    names.sort_unstable();
    let kept = names.into_iter().filter(|name| is_layer_xattr(name));
    kept.map(|name| {
        let value = file::get_xattr(&path, &name).with_context(|| format!("extended attribute {name:?}"))?;
        Ok((name, value))
    })
    .collect()
}

/// Returns the data extents of a file with large holes.
fn extents(file: &File, size: u64) -> Result<Option<Vec<(u64, u64)>>> {
    if size < MIN_HOLE_BYTES {
        return Ok(None);
    }
    let (mut at, mut extents) = (0, Vec::new());
    while let Some((start, end)) = next_extent(file, at, size)? {
        extents.push((start, end - start));
        at = end;
    }
    let data: u64 = extents.iter().map(|(_, length)| length).sum();
    if size - data < MIN_HOLE_BYTES {
        return Ok(None);
    }
    // GNU tar marks a hole at the end with an empty extent
    if at < size || extents.is_empty() {
        extents.push((size, 0));
    }
    Ok(Some(extents))
}
