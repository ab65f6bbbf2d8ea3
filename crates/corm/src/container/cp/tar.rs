//! `cp` from a tar on standard input, and to one on standard output.

use base::coded;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::view::Place;
use super::write::{Attributes, Rules};
use crate::config::settings::userns::Mapping;
use crate::container::files;
use crate::layer;
use crate::layer::pack;
use crate::layer::{Entry, TarEntryType, shown};
use crate::model::limits::Limits;
use linux::path;

/// Writes a file or a tree as a tar: as `name`, or for an empty one the content of a directory.
///
/// # Errors
/// It cannot be read, or the output is closed.
pub(super) fn write(from: &Place, name: &OsStr, mapping: Option<&Mapping>, out: &mut dyn Write) -> Result<()> {
    let owners = |owner| mapping.map_or(owner, |mapping| mapping.to_inside(owner));
    if name.is_empty() {
        return pack::files(from.open_dir()?.as_fd(), c".", b"", &owners, out);
    }
    pack::files(from.dir.as_fd(), &from.name, name.as_bytes(), &owners, out)
}

/// Extracts a tar, compressed or not, into a directory. Links of the archive and of the container are followed as if the
/// directory were the root.
///
/// # Errors
/// The bytes are no tar; a name with `..`; a file cannot be created. Files before it are created.
pub(super) fn extract(
    root: BorrowedFd<'_>,
    input: impl Read + Send,
    rules: &Rules<'_>,
    limits: &Limits,
    warn: &dyn Fn(&str),
) -> Result<()> {
    let mut seen = false;
    layer::entries(input, limits, &mut |entry, data| {
        seen = true;
        let path = below(&entry.path).with_context(|| shown(&entry.path))?;
        let done = Extraction { root, rules, warn }.entry(&entry, &path, data);
        done.with_context(|| shown(&entry.path))
    })?;
    ensure!(seen, coded!(ArchiveInvalid, "standard input: is empty, no tar is"));
    Ok(())
}

/// Returns the path of an entry without a leading slash.
fn below(raw: &[u8]) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(raw)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => bail!(coded!(FileInvalid, "a name with `..` leads out of the destination")),
        }
    }
    Ok(path)
}

struct Extraction<'a> {
    root: BorrowedFd<'a>,
    rules: &'a Rules<'a>,
    warn: &'a dyn Fn(&str),
}

impl Extraction<'_> {
    fn entry(&self, entry: &Entry, place: &Path, data: &mut dyn Read) -> Result<()> {
        let time = entry.mtime.timespec();
        let given = Attributes {
            owner: (entry.uid, entry.gid),
            mode: entry.mode,
            times: [time, time],
            xattrs: entry.xattrs.clone(),
        };
        // the directory itself stays as it is
        let (Some(name), Some(above)) = (place.file_name(), place.parent()) else { return Ok(()) };
        let name = CString::new(name.as_bytes())?;
        files::make_dirs(self.root, above)?;
        let dir = open_dir(self.root, above)?;
        let dir = dir.as_fd();
        match &entry.kind {
            TarEntryType::Directory => {
                let made = self.rules.dir(dir, &name)?;
                self.rules.finish(made.as_fd(), &given)
            }
            TarEntryType::File => {
                let mut made = self.rules.file(dir, &name)?;
                io::copy(data, &mut made).context("write the file")?;
                self.rules.finish(made.as_fd(), &given)
            }
            TarEntryType::Sparse { extents, size } => {
                let mut made = self.rules.file(dir, &name)?;
                made.set_len(*size).context("write the file")?;
                write_extents(&mut made, extents, data)?;
                self.rules.finish(made.as_fd(), &given)
            }
            TarEntryType::Symlink(target) => self.rules.symlink(dir, &name, &CString::new(&**target)?, &given),
            TarEntryType::HardLink(target) => {
                let target = below(target)?;
                let found = open_in(self.root, &target, libc::O_PATH | libc::O_NOFOLLOW);
                self.rules.link(dir, &name, found.context("the target of a hard link")?.as_fd())
            }
            TarEntryType::Fifo => self.rules.fifo(dir, &name, &given),
            TarEntryType::Character(..) | TarEntryType::Block(..) => {
                (self.warn)(&format!("{}: a device is not copied", shown(&entry.path)));
                Ok(())
            }
        }
    }
}

fn write_extents(made: &mut File, extents: &[(u64, u64)], data: &mut dyn Read) -> Result<()> {
    for (start, length) in extents {
        made.seek(SeekFrom::Start(*start))?;
        let copied = io::copy(&mut data.take(*length), made).context("write the file")?;
        ensure!(copied == *length, coded!(ArchiveInvalid, "the archive ends within its data"));
    }
    Ok(())
}

fn open_dir(root: BorrowedFd<'_>, at: &Path) -> Result<OwnedFd> {
    open_in(root, at, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Opens a path below the root, inside which symlinks are followed.
fn open_in(root: BorrowedFd<'_>, at: &Path, flags: libc::c_int) -> Result<OwnedFd> {
    let below = at.strip_prefix("/").unwrap_or(at).as_os_str();
    let below = CString::new(if below.is_empty() { b"." } else { below.as_bytes() })?;
    Ok(path::openat2(root, &below, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)?)
}
