//! Copies of trees: contents, hard links, symlinks, owners, modes, extended attributes, times, devices.
//!
//! Every file is addressed by a directory's descriptor and one name, and no symlink is followed, because the tree may
//! hold links to anywhere. The destination is private to this process. A mount inside the tree is an error: its content
//! is not part of the tree, and /proc would have no end.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstat, fstatat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchownat, linkat, lseek, symlinkat};

use super::proc_path;
use super::walk::{Directory, MAX_DEPTH, Step, Walk, open_below};
use linux::file;
use linux::open::{open, openat};
use linux::path;

/// Filters of a copy.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Returns whether an extended attribute is copied.
    pub keep_attribute: fn(&CStr) -> bool,
    /// Returns whether an entry with this name is copied, at every depth.
    pub keep_name: fn(&OsStr) -> bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep_attribute: |_| true, keep_name: |_| true }
    }
}

/// Copies the tree at `from` to `to`, which must not exist and whose parent directory is private to this process.
///
/// # Errors
/// Names the file that could not be copied; the caller removes the partial copy.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    copy_tree_with(from, to, &Options::default())
}

/// Copies a tree as [`copy_tree`] does, without the entries and attributes that the options exclude.
///
/// # Errors
/// As [`copy_tree`].
pub fn copy_tree_with(from: &Path, to: &Path, options: &Options) -> Result<()> {
    let name = to.file_name().context("the copy has no name")?;
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = open(parent, flags, Mode::empty()).with_context(|| format!("open {parent:?}"))?;
    let created = make_dir(&parent, name).with_context(|| format!("create {to:?}"))?;
    fill_tree(from, created, options)
}

/// Copies a tree as [`copy_tree_with`] does, into an existing empty directory.
///
/// # Errors
/// As [`copy_tree`].
pub fn fill_tree(from: &Path, to: OwnedFd, options: &Options) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let source = open(from, flags, Mode::empty()).with_context(|| format!("open {from:?}"))?;
    fill_tree_of(source.as_fd(), from, to, options)
}

/// Copies a tree as [`fill_tree`] does, from an open directory; messages call it `from`.
///
/// # Errors
/// As [`copy_tree`].
pub fn fill_tree_of(source: BorrowedFd<'_>, from: &Path, to: OwnedFd, options: &Options) -> Result<()> {
    let top = to.try_clone()?;
    Copier { top: to.try_clone()?, links: HashMap::new(), options: *options }.fill(
        from,
        source.try_clone_to_owned()?,
        to,
    )?;
    // the attributes of a directory are set last, because filling it changes its times
    copy_attributes_of(source, top.as_fd(), options.keep_attribute).with_context(|| format!("attributes of {from:?}"))
}

/// Copies owner, permissions, extended attributes and times of the directory `from` to the directory `to`.
///
/// # Errors
/// One of them cannot be opened, or the file system refuses.
pub fn copy_attributes_between(from: &Path, to: &Path, keep: fn(&CStr) -> bool) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let source = open(from, flags, Mode::empty()).with_context(|| format!("open {from:?}"))?;
    let created = open(to, flags, Mode::empty()).with_context(|| format!("open {to:?}"))?;
    copy_attributes_of(source.as_fd(), created.as_fd(), keep).with_context(|| format!("attributes of {from:?}"))
}

/// Copies attributes as [`copy_attributes_between`] does, of open directories.
///
/// # Errors
/// The file system refuses.
pub fn copy_attributes_of(from: BorrowedFd<'_>, to: BorrowedFd<'_>, keep: fn(&CStr) -> bool) -> Result<()> {
    let here = OsStr::new(".");
    copy_attributes(&proc_path(from, here)?, &fstat(from)?, to, here, keep)
}

/// A destination directory that is being filled.
struct Copy {
    fd: OwnedFd,
    /// Attributes to set when the directory is full; `None` for the root, whose attributes the caller sets.
    stat: Option<FileStat>,
}

struct Copier {
    top: OwnedFd,
    /// Path of the first copy of each hard-linked file, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    options: Options,
}

impl Copier {
    fn fill(&mut self, from: &Path, source: OwnedFd, copy: OwnedFd) -> Result<()> {
        let mut walk = Walk::new(MAX_DEPTH);
        let names = path::read_dir_names(source.as_fd()).with_context(|| format!("read {from:?}"))?;
        walk.enter(source, PathBuf::new(), names, Copy { fd: copy, stat: None })?;
        while let Some(step) = walk.step() {
            match step {
                Step::Name(parent, name) => {
                    if !(self.options.keep_name)(OsStr::from_bytes(name.to_bytes())) {
                        continue;
                    }
                    let path = parent.path_of(&name);
                    let context = || format!("{:?}", from.join(&path));
                    if let Some((source, copy)) = self.copy_entry(parent, &name, &path).with_context(context)? {
                        let names = path::read_dir_names(source.as_fd()).with_context(context)?;
                        walk.enter(source, path, names, copy).with_context(|| format!("{from:?}"))?;
                    }
                }
                Step::Left(done) => {
                    let (Some(stat), Some(above), Some(name)) = (done.data.stat, walk.current(), done.path.file_name())
                    else {
                        continue;
                    };
                    self.copy_attributes(above, &stat, name)
                        .with_context(|| format!("attributes of {:?}", from.join(&done.path)))?;
                }
            }
        }
        Ok(())
    }

    /// Copies one entry; a directory is created and returned, and the caller fills it.
    fn copy_entry(&mut self, parent: &Directory<Copy>, entry: &CStr, path: &Path) -> Result<Option<(OwnedFd, Copy)>> {
        let (source, copy, name) = (&parent.fd, &parent.data.fd, OsStr::from_bytes(entry.to_bytes()));
        let stat = fstatat(source, entry, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        if kind == SFlag::S_IFDIR {
            let source = open_below(source.as_fd(), entry, libc::O_DIRECTORY)?;
            return Ok(Some((source, Copy { fd: make_dir(copy, name)?, stat: Some(stat) })));
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                linkat(&self.top, first, copy, name, AtFlags::empty())?;
                return Ok(None);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match kind {
            SFlag::S_IFREG => copy_file(source, copy, entry, &stat)?,
            SFlag::S_IFLNK => symlinkat(readlinkat(source, name)?.as_os_str(), copy, name)?,
            // the mode is set with the other attributes, because the umask would apply here
            special => mknodat(copy, name, special, Mode::S_IRUSR, stat.st_rdev)?,
        }
        self.copy_attributes(parent, &stat, name)?;
        Ok(None)
    }

    fn copy_attributes(&self, parent: &Directory<Copy>, stat: &FileStat, name: &OsStr) -> Result<()> {
        let origin = proc_path(parent.fd.as_fd(), name)?;
        copy_attributes(&origin, stat, parent.data.fd.as_fd(), name, self.options.keep_attribute)
    }
}

fn make_dir(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    mkdirat(parent, name, Mode::S_IRWXU)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Copies the content of a regular file: by reflink where the file system supports it, else with its holes preserved.
fn copy_file(source: &OwnedFd, copy: &OwnedFd, name: &CStr, stat: &FileStat) -> Result<()> {
    let mut source = File::from(open_below(source.as_fd(), name, 0)?);
    let opened = fstat(&source)?;
    // the file was replaced: owner and mode would be of one file and the content of another
    if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
        bail!("another file has taken its place");
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut copy = File::from(openat(copy, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    if file::ficlone(copy.as_fd(), source.as_fd()).is_ok() {
        return Ok(());
    }
    let size = source.metadata()?.len();
    copy.set_len(size)?;
    let mut at = 0;
    while let Some((start, end)) = next_extent(&source, at, size)? {
        source.seek(SeekFrom::Start(start))?;
        copy.seek(SeekFrom::Start(start))?;
        io::copy(&mut source.by_ref().take(end - start), &mut copy)?;
        at = end;
    }
    Ok(())
}

/// Returns start and end of the next data extent of a file of `size` bytes, from `at` on; `None` when only a hole
/// follows.
///
/// # Errors
/// As lseek(2).
pub fn next_extent(file: &File, at: u64, size: u64) -> Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let start = match lseek(file, i64::try_from(at)?, Whence::SeekData) {
        Ok(start) => u64::try_from(start)?,
        Err(Errno::ENXIO) => return Ok(None),
        Err(Errno::EINVAL) => at, // a file system without SEEK_DATA
        Err(err) => return Err(err.into()),
    };
    let end = lseek(file, i64::try_from(start)?, Whence::SeekHole).map_or(Ok(size), u64::try_from)?.min(size);
    Ok((start < end).then_some((start, end)))
}

/// Sets owner, mode, extended attributes and times of the entry `name` of `dir` to those of `stat` and of the file
/// `origin`.
///
/// Owner before mode, because chown clears set-id bits; both before attributes, because chown clears
/// `security.capability`; times last.
fn copy_attributes(
    origin: &CString,
    stat: &FileStat,
    dir: BorrowedFd<'_>,
    name: &OsStr,
    keep: fn(&CStr) -> bool,
) -> Result<()> {
    let nofollow = AtFlags::AT_SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let now = fstatat(dir, name, nofollow)?;
    if (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid) {
        fchownat(dir, name, Some(uid), Some(gid), nofollow).with_context(|| format!("chown to {uid}:{gid}"))?;
    }
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFLNK {
        let name = CString::new(name.as_bytes())?;
        linux::path::chmodat(dir, &name, stat.st_mode & 0o7777).context("set its mode")?;
    }
    let copy = proc_path(dir, name)?;
    for attribute in file::list_xattr(origin).context("list its extended attributes")?.into_iter().filter(|a| keep(a)) {
        file::get_xattr(origin, &attribute)
            .and_then(|value| file::set_xattr(&copy, &attribute, &value))
            .with_context(|| format!("extended attribute {attribute:?}"))?;
    }
    let (atime, mtime) =
        (TimeSpec::new(stat.st_atime, stat.st_atime_nsec), TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec));
    utimensat(dir, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink).context("set its times")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};

    /// A temporary directory, removed on drop.
    struct Work(PathBuf);

    impl Work {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("croci-copy-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("from")).unwrap();
            Self(path)
        }
        fn from(&self, name: &str) -> PathBuf {
            self.0.join("from").join(name)
        }
        fn to(&self, name: &str) -> PathBuf {
            self.0.join("to").join(name)
        }
        fn copy(&self) -> Result<()> {
            copy_tree(&self.0.join("from"), &self.0.join("to"))
        }
    }

    impl Drop for Work {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn name(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    #[test]
    fn names_of_one_file_stay_one_file() {
        let work = Work::new("links");
        fs::create_dir(work.from("deep")).unwrap();
        fs::write(work.from("a"), "text").unwrap();
        fs::hard_link(work.from("a"), work.from("deep/b")).unwrap();
        work.copy().unwrap();
        let (a, b) = (fs::metadata(work.to("a")).unwrap(), fs::metadata(work.to("deep/b")).unwrap());
        assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
        assert_ne!(a.ino(), fs::metadata(work.from("a")).unwrap().ino());
        assert_eq!(fs::read(work.to("a")).unwrap(), b"text");
    }

    #[test]
    fn a_symlink_is_copied_and_never_followed() {
        let work = Work::new("symlink");
        symlink("/etc", work.from("to-a-directory")).unwrap();
        symlink("/nowhere/at all", work.from(".dangling")).unwrap();
        work.copy().unwrap();
        assert_eq!(fs::read_link(work.to("to-a-directory")).unwrap(), Path::new("/etc"));
        assert_eq!(fs::read_link(work.to(".dangling")).unwrap(), Path::new("/nowhere/at all"));
    }

    #[test]
    fn owner_mode_times_and_attributes_are_kept() {
        let work = Work::new("attributes");
        fs::create_dir(work.from("dir")).unwrap();
        fs::write(work.from("dir/file"), "x").unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(work.from("dir/file"), Some(12), Some(34)).unwrap();
        }
        for (entry, mode) in [("dir/file", 0o4751), ("dir", 0o1770)] {
            let path = work.from(entry);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            // a temporary directory may be on a file system without user attributes
            let _ = file::set_xattr(&name(&path), c"user.croci.test", b"value\0with NUL");
            let old = TimeSpec::new(1_000_000_000, 123_456_789);
            utimensat(nix::fcntl::AT_FDCWD, &path, &old, &old, UtimensatFlags::NoFollowSymlink).unwrap();
        }
        work.copy().unwrap();
        for entry in ["dir/file", "dir"] {
            let facts = |path: PathBuf| {
                let m = fs::metadata(&path).unwrap();
                let attributes = file::list_xattr(&name(&path)).unwrap().len();
                let value = file::get_xattr(&name(&path), c"user.croci.test").ok();
                ((m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec()), attributes, value)
            };
            assert_eq!(facts(work.to(entry)), facts(work.from(entry)), "{entry}");
        }
    }

    #[test]
    fn special_files_are_made_anew() {
        let work = Work::new("special");
        let root = nix::unistd::geteuid().is_root();
        let mut kinds = vec![("fifo", SFlag::S_IFIFO, 0), ("socket", SFlag::S_IFSOCK, 0)];
        if root {
            kinds.push(("null", SFlag::S_IFCHR, nix::sys::stat::makedev(1, 3)));
        }
        for &(entry, kind, device) in &kinds {
            let mode = Mode::from_bits_truncate(0o600);
            mknodat(nix::fcntl::AT_FDCWD, &work.from(entry), kind, mode, device).unwrap();
        }
        work.copy().unwrap();
        for (entry, kind, device) in kinds {
            let m = fs::symlink_metadata(work.to(entry)).unwrap();
            assert_eq!((m.mode(), m.rdev()), (kind.bits() | 0o600, device), "{entry}");
        }
    }

    #[test]
    fn holes_stay_holes_and_data_stays_data() {
        let work = Work::new("sparse");
        let sparse = File::create(work.from("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        sparse.write_all_at(b"middle", 32 << 20).unwrap();
        sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
        fs::write(work.from("empty"), "").unwrap();
        work.copy().unwrap();
        let copy = fs::metadata(work.to("sparse")).unwrap();
        assert_eq!(copy.len(), 64 << 20);
        assert!(copy.blocks() * 512 < 1 << 20, "{} blocks", copy.blocks());
        assert!(fs::read(work.to("sparse")).unwrap() == fs::read(work.from("sparse")).unwrap());
        assert_eq!(fs::metadata(work.to("empty")).unwrap().len(), 0);
    }

    #[test]
    fn a_deep_tree_needs_no_deep_stack() {
        let work = Work::new("deep");
        let mut path = work.from("d");
        for _ in 0..800 {
            fs::create_dir(&path).unwrap();
            path.push("d");
        }
        work.copy().unwrap();
        assert!(work.to(&"d/".repeat(800)).is_dir());
    }
}
