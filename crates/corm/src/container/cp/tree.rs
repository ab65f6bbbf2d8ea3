//! Copies of files and trees into a tree that exists, as `cp` has them: directories are merged, other files replaced.

use base::coded;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::write::{Attributes, Rules, attributes_of};
use base::fs::copy::next_extent;
use base::fs::walk::{MAX_DEPTH, Step, Walk, open_subdir, sorted_names};
use linux::path;
use linux::path::Stat;

/// A copy in progress.
pub(super) struct Copier<'a> {
    rules: Rules<'a>,
    /// First copy of each hard-linked file: its path below the destination and its identity.
    links: HashMap<(u64, u64), (PathBuf, (u64, u64))>,
    /// Reports each file that is left out.
    warn: &'a dyn Fn(&str),
}

/// A destination directory that is being filled, with the attributes to set afterwards.
struct Target {
    fd: OwnedFd,
    attributes: Option<Attributes>,
}

impl<'a> Copier<'a> {
    /// Creates a copier; `warn` reports the files that are left out.
    pub(super) fn new(rules: Rules<'a>, warn: &'a dyn Fn(&str)) -> Self {
        Self { rules, links: HashMap::new(), warn }
    }

    /// Copies what is not a directory.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) fn file(&mut self, from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr)) -> Result<()> {
        let stat = path::stat_at(from.0, from.1, false)?;
        self.copy(from, &stat, to, None)
    }

    /// Copies a directory as `to.1`, merged with one that is there.
    ///
    /// # Errors
    /// As [`Copier::fill`].
    pub(super) fn dir(&mut self, from: OwnedFd, to: (BorrowedFd<'_>, &CStr)) -> Result<()> {
        let attributes = attributes_of(from.as_fd(), &self.rules)?;
        let made = self.rules.dir(to.0, to.1)?;
        self.fill(from, made.try_clone()?)?;
        self.rules.finish(made.as_fd(), &attributes)
    }

    /// Copies the content of a directory into another.
    ///
    /// # Errors
    /// Names the file that cannot be copied; those before it are copied.
    pub(super) fn fill(&mut self, from: OwnedFd, to: OwnedFd) -> Result<()> {
        let top = to.try_clone()?;
        let own = path::fstat(top.as_fd())?.identity();
        let mut walk = Walk::new(MAX_DEPTH);
        let names = names_of(from.as_fd())?;
        walk.enter(from, PathBuf::new(), names, Target { fd: to, attributes: None })?;
        while let Some(step) = walk.step() {
            match step {
                Step::Name(parent, name) => {
                    let path = parent.path_of(&name);
                    let (from, to) = ((parent.fd.as_fd(), &*name), (parent.data.fd.as_fd(), &*name));
                    let entered = self.entry(from, to, (top.as_fd(), &path), own);
                    if let Some((source, target)) = entered.with_context(|| format!("{path:?}"))? {
                        let names = names_of(source.as_fd()).with_context(|| format!("{path:?}"))?;
                        walk.enter(source, path, names, target)?;
                    }
                }
                Step::Left(done) => {
                    if let Some(attributes) = &done.data.attributes {
                        let set = self.rules.finish(done.data.fd.as_fd(), attributes);
                        set.with_context(|| format!("attributes of {:?}", done.path))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies one entry; a directory is returned, and the caller fills it.
    fn entry(
        &mut self,
        from: (BorrowedFd<'_>, &CStr),
        to: (BorrowedFd<'_>, &CStr),
        top: (BorrowedFd<'_>, &Path),
        own: (u64, u64),
    ) -> Result<Option<(OwnedFd, Target)>> {
        let stat = match path::stat_at(from.0, from.1, false) {
            // removed meanwhile
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if !stat.is_dir() {
            return self.copy(from, &stat, to, Some(top)).map(|()| None);
        }
        let source = open_subdir(from.0, from.1)?;
        if path::fstat(source.as_fd())?.identity() == own {
            bail!(coded!(FileInvalid, "cannot copy a directory into itself"));
        }
        let attributes = attributes_of(source.as_fd(), &self.rules)?;
        let made = self.rules.dir(to.0, to.1)?;
        Ok(Some((source, Target { fd: made, attributes: Some(attributes) })))
    }

    fn copy(
        &mut self,
        from: (BorrowedFd<'_>, &CStr),
        stat: &Stat,
        to: (BorrowedFd<'_>, &CStr),
        top: Option<(BorrowedFd<'_>, &Path)>,
    ) -> Result<()> {
        let plain =
            || Attributes { owner: stat.owner(), mode: stat.permissions(), times: stat.times(), xattrs: vec![] };
        match stat.kind() {
            libc::S_IFREG => self.regular(from, stat, to, top),
            libc::S_IFLNK => self.rules.symlink(to.0, to.1, &path::readlinkat(from.0, from.1)?, &plain()),
            libc::S_IFIFO => self.rules.fifo(to.0, to.1, &plain()),
            kind => {
                let kind = if kind == libc::S_IFSOCK { "socket" } else { "device" };
                let name = OsStr::from_bytes(from.1.to_bytes());
                (self.warn)(&format!("{:?}: a {kind} is not copied", top.map_or(Path::new(name), |(_, path)| path)));
                Ok(())
            }
        }
    }

    fn regular(
        &mut self,
        from: (BorrowedFd<'_>, &CStr),
        stat: &Stat,
        to: (BorrowedFd<'_>, &CStr),
        top: Option<(BorrowedFd<'_>, &Path)>,
    ) -> Result<()> {
        if stat.links() > 1
            && let Some((top, _)) = top
            && let Some(first) = self.first_copy(top, stat.identity())
        {
            return self.rules.link(to.0, to.1, first.as_fd());
        }
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut source = File::from(path::openat(from.0, from.1, flags, 0).context("open the file")?);
        if path::fstat(source.as_fd())?.identity() != stat.identity() {
            bail!(coded!(FileInvalid, "another file has taken its place"));
        }
        let attributes = attributes_of(source.as_fd(), &self.rules)?;
        let mut made = self.rules.file(to.0, to.1)?;
        copy_content(&mut source, &mut made)?;
        self.rules.finish(made.as_fd(), &attributes)?;
        if stat.links() > 1
            && let Some((_, path)) = top
        {
            let identity = path::fstat(made.as_fd())?.identity();
            self.links.insert(stat.identity(), (path.to_owned(), identity));
        }
        Ok(())
    }

    /// Opens the first copy of a hard-linked file, unless it was replaced meanwhile.
    fn first_copy(&self, top: BorrowedFd<'_>, identity: (u64, u64)) -> Option<OwnedFd> {
        let (path, made) = self.links.get(&identity)?;
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let beneath = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
        let found = path::openat2(top, &path, libc::O_PATH | libc::O_NOFOLLOW, beneath).ok()?;
        (path::fstat(found.as_fd()).ok()?.identity() == *made).then_some(found)
    }
}

/// Returns the names in a directory; none for a file system of the kernel.
fn names_of(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    if path::is_of_kernel(dir)? { Ok(Vec::new()) } else { Ok(sorted_names(dir)?) }
}

/// Copies the content of a file, holes as holes.
fn copy_content(source: &mut File, made: &mut File) -> Result<()> {
    if linux::file::ficlone(made.as_fd(), source.as_fd()).is_ok() {
        return Ok(());
    }
    let size = source.metadata()?.len();
    made.set_len(size).context("write the file")?;
    let mut at = 0;
    while let Some((start, end)) = next_extent(source, at, size)? {
        source.seek(SeekFrom::Start(start))?;
        made.seek(SeekFrom::Start(start))?;
        io::copy(&mut source.by_ref().take(end - start), made).context("write the file")?;
        at = end;
    }
    Ok(())
}
