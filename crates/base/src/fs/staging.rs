//! Unfinished files and directories, in `tmp/` or beside an output path of the user: locked by the process that fills
//! them, and renamed to their final path when complete.
//!
//! The lock (a flock on the entry itself) distinguishes an entry in use from one that a killed process left: [`sweep`]
//! removes only what it can lock. A process whose new entry is swept between creation and lock creates another.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::lock::{How, Locked, lock};
use super::remove::{remove_at, remove_tree};
use linux::open::openat;
use linux::place::Place;

/// Start of the name of an unfinished entry beside an output path.
const HIDDEN: &str = ".corm-";

/// Number of digits after it.
const HIDDEN_DIGITS: usize = 16;

/// Start of the name of a note in `tmp`. No other entry there has it, because their names are digits and digests.
const NOTE: &str = "note.";

/// Name in a directory of `tmp` at which its process may mount something, because [`sweep`] detaches it.
pub const MOUNT: &str = "mount";

/// An unfinished file or directory; `Drop` removes it unless it was published.
#[derive(Debug)]
pub struct StagedEntry {
    /// Open parent directory; `name` is the entry's name there.
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
    lock: Locked,
    published: bool,
}

impl StagedEntry {
    /// Creates a directory of mode 0700 in `tmp`.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn dir(tmp: &Path) -> Result<Self> {
        Self::make(&|| random_id().map(OsString::from), &open_tmp(tmp)?, tmp, make_dir)
    }

    /// Creates a file in `tmp`, for reading and writing through [`StagedEntry::file_ref`].
    ///
    /// # Errors
    /// No space, read-only.
    pub fn file(tmp: &Path) -> Result<Self> {
        Self::make(&|| random_id().map(OsString::from), &open_tmp(tmp)?, tmp, |dir, name| make_file(dir, name, 0o600))
    }

    /// Creates a directory of mode 0700 beside a path where others may write; the caller fills it through
    /// [`StagedEntry::file_ref`]. `before` gets its name before it exists.
    ///
    /// # Errors
    /// No space, read-only; those of `before`.
    pub fn dir_beside(place: &Place, before: &dyn Fn(&OsStr) -> Result<()>) -> Result<Self> {
        let name = || hidden_name().and_then(|name| before(&name).map(|()| name));
        Self::make(&name, &place.dir().try_clone_to_owned()?, Path::new(""), make_dir)
    }

    /// Creates a file of this mode beside a path where others may write. `before` gets its name before it exists.
    ///
    /// # Errors
    /// No space, read-only; those of `before`.
    pub fn file_beside(place: &Place, mode: u32, before: &dyn Fn(&OsStr) -> Result<()>) -> Result<Self> {
        let name = || hidden_name().and_then(|name| before(&name).map(|()| name));
        let dir = place.dir().try_clone_to_owned()?;
        Self::make(&name, &dir, Path::new(""), |dir, name| make_file(dir, name, mode))
    }

    /// Creates a note in `tmp` about an entry elsewhere, for [`sweep`], which removes that entry if this process is
    /// killed. `path` ends with a name that [`StagedEntry::file_beside`] or [`StagedEntry::dir_beside`] has chosen.
    ///
    /// # Errors
    /// No space, read-only.
    pub fn note(tmp: &Path, path: &Path) -> Result<Self> {
        let name = || Ok(OsString::from(format!("{NOTE}{}", random_id()?)));
        let note = Self::make(&name, &open_tmp(tmp)?, tmp, |dir, name| make_file(dir, name, 0o600))?;
        let written = note.file_ref().write_all(path.as_os_str().as_bytes());
        written.and_then(|()| note.file_ref().sync_all()).context("write a note about an output")?;
        Ok(note)
    }

    /// Creates a file of this mode in a directory that others may write to, to be renamed there by
    /// [`StagedEntry::replace_in`].
    ///
    /// # Errors
    /// No space, read-only.
    pub fn file_in(dir: BorrowedFd<'_>, mode: u32) -> Result<Self> {
        let dir = dir.try_clone_to_owned()?;
        Self::make(&hidden_name, &dir, Path::new(""), |dir, name| make_file(dir, name, mode))
    }

    fn make(
        name: &dyn Fn() -> Result<OsString>,
        dir: &OwnedFd,
        above: &Path,
        make: impl Fn(&OwnedFd, &OsStr) -> io::Result<File>,
    ) -> Result<Self> {
        loop {
            let name = name()?;
            let path = above.join(&name);
            let file = make(dir, &name).with_context(|| format!("create {path:?}"))?;
            let locked = lock(file, How::Exclusive).and_then(|lock| {
                let dir = if is_named(&lock, dir, &name)? { Some(dir.try_clone()?) } else { None };
                Ok((lock, dir))
            });
            match locked {
                Ok((lock, Some(dir))) => return Ok(Self { dir, name, path, lock, published: false }),
                Ok((_, None)) => {}
                Err(err) => {
                    let _ = remove_at(dir.as_fd(), &name);
                    return Err(err).with_context(|| format!("lock {path:?}"));
                }
            }
        }
    }

    /// Returns the current path of the unfinished entry; beside a [`Place`], only its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open file.
    pub fn file_ref(&self) -> &File {
        &self.lock
    }

    /// Renames the entry to `to`. Returns `false` and removes the entry when `to` exists.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn publish_new(mut self, to: &Path) -> Result<bool> {
        self.publish_new_as(AT_FDCWD, to)
    }

    /// Renames the directory to a [`Place`], as [`StagedEntry::publish_new`] does. Its content is on the device before,
    /// and its name afterwards; a directory whose name could not be written is removed again, because the caller undoes
    /// what the directory refers to.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn publish_new_at(mut self, to: &Place) -> Result<bool> {
        linux::file::sync_file_system(self.lock.as_fd()).with_context(|| format!("sync {:?}", to.name()))?;
        let published = self.publish_new_as(to.dir(), Path::new(to.name()))?;
        if let Err(err) = sync_names(to) {
            if published && is_named(&self.lock, to.dir(), to.name()).unwrap_or(false) {
                let _ = remove_at(to.dir(), to.name());
            }
            return Err(err);
        }
        Ok(published)
    }

    fn publish_new_as(&mut self, dir: BorrowedFd<'_>, to: &Path) -> Result<bool> {
        let names = [self.name.as_os_str(), to.as_os_str()].map(|name| CString::new(name.as_bytes()));
        let [Ok(name), Ok(new)] = names else { bail!("rename to {to:?}: a NUL in the name") };
        match linux::path::rename_new(self.dir.as_fd(), &name, dir, &new) {
            Ok(()) => {
                self.published = true;
                Ok(true)
            }
            Err(err) if matches!(err.raw_os_error(), Some(libc::EEXIST | libc::ENOTEMPTY)) => Ok(false),
            Err(err) => Err(err).with_context(|| format!("rename to {to:?}")),
        }
    }

    /// Renames the file to `to` and replaces a file that exists there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn replace(self, to: &Path) -> Result<()> {
        self.replace_as(AT_FDCWD, to)
    }

    /// Renames the file to a [`Place`], as [`StagedEntry::replace`] does. Its content is on the device before, and its
    /// name afterwards.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn replace_at(self, to: &Place) -> Result<()> {
        self.lock.sync_all().with_context(|| format!("sync {:?}", to.name()))?;
        self.replace_as(to.dir(), Path::new(to.name()))?;
        sync_names(to)
    }

    /// Renames the file to a name in its own directory, as [`StagedEntry::replace_at`] does.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn replace_in(self, name: &str) -> Result<()> {
        self.lock.sync_all().with_context(|| format!("sync {name:?}"))?;
        let dir = self.dir.try_clone()?;
        self.replace_as(dir.as_fd(), Path::new(name))?;
        sync_dir_of(dir.as_fd(), OsStr::new(name))
    }

    fn replace_as(mut self, dir: BorrowedFd<'_>, to: &Path) -> Result<()> {
        renameat(&self.dir, self.name.as_os_str(), dir, to).with_context(|| format!("rename to {to:?}"))?;
        self.published = true;
        Ok(())
    }

    /// Removes `from` atomically: renames it into this directory, whose drop deletes it. Returns `false` when `from`
    /// does not exist.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take(&self, from: &Path) -> Result<bool> {
        match std::fs::rename(from, self.path.join("taken")) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(err).with_context(|| format!("remove {from:?}")),
        }
    }

    /// Leaves the unfinished entry where it is, for the next [`sweep`].
    pub fn leave(mut self) {
        self.published = true;
    }

    /// Removes the entry now, and reports errors.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(mut self) -> Result<()> {
        self.published = true;
        remove_at(self.dir.as_fd(), &self.name)
    }
}

impl Drop for StagedEntry {
    fn drop(&mut self) {
        if !self.published {
            // errors are ignored, because the next sweep tries again
            let _ = remove_at(self.dir.as_fd(), &self.name);
        }
    }
}

/// Writes the names in the directory of `to` to the device.
fn sync_names(to: &Place) -> Result<()> {
    sync_dir_of(to.dir(), to.name())
}

/// Writes the names of a directory, which has the entry `name`, to the device.
fn sync_dir_of(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = match openat(dir, ".", flags, Mode::empty()) {
        // a directory that only lets write cannot be synced, and the caller chose it
        Err(Errno::EACCES) => return Ok(()),
        dir => dir.map(File::from).with_context(|| format!("sync the directory of {name:?}"))?,
    };
    match dir.sync_all() {
        // file systems without fsync on directories have none to lose
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        done => done.with_context(|| format!("sync the directory of {name:?}")),
    }
}

fn open_tmp(tmp: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    linux::open::open(tmp, flags, Mode::empty()).with_context(|| format!("open {tmp:?}"))
}

/// Returns 256 random bits in hexadecimal, a unique name.
///
/// # Errors
/// As getrandom(2).
pub fn random_id() -> Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0u8; 32];
    linux::random::fill(&mut bytes).context("getrandom")?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // writing to a string does not fail
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Returns a name that other users cannot predict.
fn hidden_name() -> Result<OsString> {
    Ok(format!("{HIDDEN}{}", random_id()?.get(..HIDDEN_DIGITS).unwrap_or_default()).into())
}

/// Removes the entry elsewhere that a note names, if no process has locked it. Returns false when the note has to stay,
/// because the entry could not be removed now.
fn remove_noted(note: &Path) -> bool {
    let Ok(path) = std::fs::read(note).map(|bytes| PathBuf::from(OsString::from_vec(bytes))) else { return false };
    // the writer was killed before it made the entry
    if !path.is_absolute() {
        return true;
    }
    match Place::find(&path) {
        Ok(place) => remove_unused(place.dir(), place.name()),
        Err(err) => err.kind() == io::ErrorKind::NotFound,
    }
}

/// Removes what killed processes of this user left in an output directory, where others may write. Only a directory that
/// this process can list is looked at; a failure is ignored, because the caller has work of its own there.
pub fn sweep_beside(dir: BorrowedFd<'_>) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(listed) = openat(dir, ".", flags, Mode::empty()) else { return };
    for name in linux::path::read_dir_names(listed.as_fd()).unwrap_or_default() {
        remove_unused(listed.as_fd(), OsStr::from_bytes(name.as_bytes()));
    }
}

/// Removes an unfinished entry of this user that no process has locked; other names are left alone. Returns false when
/// the entry could not be removed now.
fn remove_unused(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(HIDDEN)).unwrap_or_default();
    if digits.len() != HIDDEN_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return true;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let entry = match openat(dir, name, flags, Mode::empty()).map(File::from) {
        Ok(entry) => entry,
        Err(err) => return err == Errno::ENOENT,
    };
    let own = entry.metadata().is_ok_and(|meta| meta.uid() == linux::process::euid());
    !own || lock(entry, How::TryExclusive).is_err() || remove_at(dir, name).is_ok()
}

fn make_dir(dir: &OwnedFd, name: &OsStr) -> io::Result<File> {
    mkdirat(dir, name, Mode::S_IRWXU)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(dir, name, flags, Mode::empty()).map(File::from).map_err(io::Error::from);
    let (made, meta) = opened.and_then(|made| made.metadata().map(|meta| (made, meta))).inspect_err(|_| {
        let _ = unlinkat(dir, name, UnlinkatFlags::RemoveDir);
    })?;
    // the owner of the parent directory may have replaced it
    if meta.uid() != linux::process::euid() || meta.mode() & 0o077 != 0 {
        return Err(io::Error::other("was replaced while it was created"));
    }
    Ok(made)
}

fn make_file(dir: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::from_bits_truncate(mode))?.into())
}

/// Returns whether the open file is still the entry `name` of the directory.
fn is_named(file: &File, dir: impl AsFd, name: &OsStr) -> io::Result<bool> {
    let open = file.metadata()?;
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(false),
        there => Ok(there.map(|there| (open.dev(), open.ino()) == (there.st_dev, there.st_ino))?),
    }
}

/// Removes the entries of `tmp` that no process has locked, and returns their number.
///
/// # Errors
/// The directory cannot be read, or an entry cannot be removed.
pub fn sweep(tmp: &Path) -> Result<usize> {
    let mut swept = 0;
    for entry in linux::open::read_dir(tmp).with_context(|| format!("read {tmp:?}"))? {
        let path = entry.with_context(|| format!("read {tmp:?}"))?.path();
        // a store creates only files and directories; others cannot be opened, and are removed too
        let regular = path.symlink_metadata().is_ok_and(|meta| meta.is_file() || meta.is_dir());
        let lock = match regular.then(|| File::open(&path)) {
            Some(Ok(file)) => match lock(file, How::TryExclusive) {
                Ok(lock) => Some(lock),
                Err(_) => continue,
            },
            Some(Err(err)) if err.kind() == io::ErrorKind::NotFound => continue,
            _ => None,
        };
        if path.file_name().is_some_and(|name| name.as_bytes().starts_with(NOTE.as_bytes())) && !remove_noted(&path) {
            continue;
        }
        // a killed process may have left a mount there; nothing else would be removed because of it
        for place in [&path, &path.join(MOUNT)] {
            if let Ok(name) = CString::new(place.as_os_str().as_bytes()) {
                let _ = linux::mount::detach(&name);
            }
        }
        remove_tree(&path)?;
        drop(lock);
        swept += 1;
    }
    Ok(swept)
}
