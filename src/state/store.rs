//! The state directories: one for each container. mkdir(2) of it reserves the container's ID.
//!
//! ```text
//! ROOT/ID/record.json   journal, then (renamed into place) the committed record
//! ROOT/ID/config.json   the configuration as it was at create (CF-6)
//! ROOT/ID/exec.fifo     fifo: init waits for a byte of `start`; closed by init's execve, or init writes the error to it
//! ```
//! The lock is a flock(2) on the directory itself. Verbs that change the container hold it, other verbs do not lock.
//!
//! A file that is missing or damaged is one case, a failure to look at it (no descriptors, no memory, no permission, an
//! I/O error) another: such a failure says nothing of the container, and is an error of every verb.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::elsewhere;
use super::record::{RECORD, Record};
use crate::config::ContainerId;
use linux::file;
use linux::place;

/// File name of the next record, until it is renamed.
const NEXT_RECORD: &str = "record.json.new";
/// File name of the private copy of the configuration.
pub(crate) const CONFIG: &str = "config.json";
/// File name of the fifo to which `start` writes a byte, and from which it reads the error of a failed execve; runc's name,
/// because programs that look at a waiting init know it.
pub(crate) const START_FIFO: &str = "exec.fifo";

/// The state directories below one state root (`--root`).
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// The state root, opened and checked at the first use.
    opened: OnceLock<Arc<OwnedFd>>,
}

/// The open state directory of one container.
#[derive(Debug)]
pub struct Entry {
    /// The container's ID.
    pub id: ContainerId,
    /// Path of the directory.
    pub path: PathBuf,
    /// The state root: kept open because other users may be able to replace the directory at its path.
    root: Arc<OwnedFd>,
    dir: Arc<OwnedFd>,
}

/// The exclusive lock of one container, released on drop.
#[derive(Debug)]
pub struct Locked(Arc<OwnedFd>);

impl Drop for Locked {
    fn drop(&mut self) {
        // because a child may still have a copy of the descriptor; an error changes nothing, the lock ends with them
        let _ = file::unlock(self.0.as_fd());
    }
}

/// The record of a state directory, as far as there is one.
#[derive(Debug)]
pub enum Found {
    /// The committed record, or the journal.
    Record(Box<Record>),
    /// There is none: `create` has not written it yet, or `delete` has removed it already.
    Missing,
    /// The file is no record: another type of file, another user's, no JSON, another format.
    Damaged(anyhow::Error),
}

impl Found {
    /// Returns the record.
    ///
    /// # Errors
    /// The record is missing (`does not exist`) or damaged.
    pub fn or_error(self, id: &ContainerId) -> Result<Record> {
        match self {
            Found::Record(record) => Ok(*record),
            Found::Missing => bail!(coded!(
                ContainerNotFound,
                "container {:?} does not exist (if its state is left over, delete --force removes it)",
                id.as_str()
            )),
            Found::Damaged(err) => Err(err),
        }
    }
}

/// Opens a name in `dir`, close-on-exec.
fn openat(dir: &OwnedFd, name: &str, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    linux::open::openat(dir, name, flags | OFlag::O_CLOEXEC, mode)
}

/// Returns whether a failed read of a state file shows that the file is missing or damaged. Other failures are of this
/// process or this machine.
pub(crate) fn is_damage(err: &anyhow::Error) -> bool {
    // a symlink, a socket or a device without a driver, a directory; without an errno the content or the owner is wrong
    err.errno().is_none() || err.is_errno(&[libc::ENOENT, libc::ELOOP, libc::ENXIO, libc::ENODEV, libc::EISDIR])
}

impl Store {
    /// Returns the store of the state root `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Store {
        Store { root, opened: OnceLock::new() }
    }

    /// Returns the path of a container's state directory, which need not exist.
    pub fn dir_of(&self, id: &ContainerId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Creates and locks the directory of a new container.
    ///
    /// # Errors
    /// The ID is in use; the state root is another user's, or writable for group or others; as mkdir(2).
    pub fn create(&self, id: &ContainerId) -> Result<(Entry, Locked)> {
        let root = match self.open_root() {
            Err(err) if err.is_errno(&[libc::ENOENT]) => {
                self.make_root()?;
                self.open_root()?
            }
            other => other?,
        };
        let path = self.dir_of(id);
        match nix::sys::stat::mkdirat(root, id.as_str(), Mode::S_IRWXU) {
            Err(nix::Error::EEXIST) => bail!(coded!(ContainerExists, "container with given ID already exists: {id}")),
            Err(err @ nix::Error::EROFS) => {
                return Err(err)
                    .with_code(Code::StateRoot, || format!("state directory {path:?} (choose another with --root)"));
            }
            other => other.with_code(Code::StateRoot, || format!("state directory {path:?}"))?,
        }
        let undo = |err: anyhow::Error| {
            let _ = unlinkat(root, id.as_str(), UnlinkatFlags::RemoveDir);
            err
        };
        let entry = self.open_dir(root, id).map_err(undo)?;
        let lock = entry.lock().map_err(undo)?;
        Ok((entry, lock))
    }

    fn make_root(&self) -> Result<()> {
        // 0711, as runc: other users may search the directory and not list it
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.root)
            .with_code(Code::StateRoot, || format!("state root {:?}", self.root))
    }

    /// Opens the state root and checks that no other user has created it or may write to it: other users could create
    /// containers there, whose hooks would run with our rights (SEC-21).
    fn open_root(&self) -> Result<&Arc<OwnedFd>> {
        if let Some(root) = self.opened.get() {
            return Ok(root);
        }
        let context = || format!("state root {:?}", self.root);
        let opened = place::open_by_own_way(&self.root).with_code(Code::StateRoot, context)?;
        let root = opened.map_err(|other| coded!(StateUnsafe, "{other}")).with_context(context)?;
        check_owner(&root).with_context(context)?;
        Ok(self.opened.get_or_init(|| Arc::new(root)))
    }

    /// Opens the directory of an existing container.
    ///
    /// # Errors
    /// `container "ID" does not exist` (CL-20).
    pub fn open(&self, id: &ContainerId) -> Result<Entry> {
        self.try_open(id)?.ok_or_else(|| {
            anyhow::anyhow!(coded!(
                ContainerNotFound,
                "container {:?} does not exist{}",
                id.as_str(),
                elsewhere::hint(&self.root, id, &self.ids().unwrap_or_default())
            ))
        })
    }

    /// Opens the directory of a container; `None` when the container does not exist.
    ///
    /// # Errors
    /// As open(2); the directory or the state root is another user's, or writable for group or others.
    pub fn try_open(&self, id: &ContainerId) -> Result<Option<Entry>> {
        match self.open_root().and_then(|root| self.open_dir(root, id)) {
            Ok(entry) => Ok(Some(entry)),
            Err(err) if err.is_errno(&[libc::ENOENT]) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Reads a container's record into `buffer` by fewer calls than by its open directory. `None`: the record does not fit, or
    /// something is not as usual, and the directory has to be opened to find out what.
    pub fn read_record<'b>(&self, id: &ContainerId, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let root = self.open_root().ok()?;
        let dir = nix::sys::stat::fstatat(root, id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        check_attributes(&dir).ok()?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
        // the buffer has room for the path too
        let parts = [id.as_str(), "/", RECORD].map(str::as_bytes);
        let mut end = 0;
        for byte in parts.into_iter().flatten() {
            *buffer.get_mut(end)? = *byte;
            end += 1;
        }
        let file = linux::open::openat2(root, buffer.get(..end)?, how).ok()?;
        check_file(&file).ok()?;
        let count = nix::unistd::read(&file, buffer).ok()?;
        (count < buffer.len()).then(|| buffer.get(..count))?
    }

    fn open_dir(&self, root: &Arc<OwnedFd>, id: &ContainerId) -> Result<Entry> {
        let path = self.root.join(id.as_str());
        let context = || format!("state directory {path:?}");
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let dir = openat(root, id.as_str(), flags, Mode::empty()).with_context(context)?;
        check_owner(&dir).with_context(context)?;
        Ok(Entry { id: id.clone(), path, root: root.clone(), dir: Arc::new(dir) })
    }

    /// Returns the IDs of all containers, sorted.
    ///
    /// # Errors
    /// The state root cannot be read; it is another user's, or writable for group or others.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let root = match self.open_root() {
            Err(err) if err.is_errno(&[libc::ENOENT]) => return Ok(Vec::new()),
            root => root?,
        };
        let entries = fs::read_dir(fd_path(root)).with_context(|| format!("state root {:?}", self.root))?;
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.with_code(Code::StateRoot, || format!("state root {:?}", self.root))?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let (true, Some(Ok(id))) = (is_dir, entry.file_name().to_str().map(ContainerId::new)) {
                ids.push(id);
            }
        }
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }
}

/// Returns a path in `/proc/self/fd` of an open directory, for functions that take only paths.
fn fd_path(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Checks that only this user or root can have written to the directory or file `fd`, and returns its attributes.
fn check_owner(fd: &OwnedFd) -> Result<FileStat> {
    let stat = nix::sys::stat::fstat(fd).context("fstat")?;
    check_attributes(&stat)?;
    Ok(stat)
}

/// Checks by its attributes that only this user or root can have written to a file.
fn check_attributes(stat: &FileStat) -> Result<()> {
    let euid = linux::process::euid();
    if stat.st_uid != euid && stat.st_uid != 0 {
        bail!(coded!(StateUnsafe, "belongs to user {}, not to {euid}", stat.st_uid));
    }
    if stat.st_mode & 0o022 != 0 {
        bail!(coded!(StateUnsafe, "group or others may write to it (mode {:04o})", stat.st_mode & 0o7777));
    }
    Ok(())
}

/// Checks that `file` is regular and that only this user or root can have written to it, by any hard link. Returns its
/// size.
fn check_file(file: &OwnedFd) -> Result<usize> {
    let stat = check_owner(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_nlink > 1 {
        bail!(coded!(StateUnsafe, "is not a regular file with one name"));
    }
    Ok(usize::try_from(stat.st_size).unwrap_or(0))
}

impl Entry {
    /// Locks the container; waits while another process holds the lock.
    ///
    /// # Errors
    /// The container was deleted before the lock was free: `does not exist`; as [`Entry::try_lock`].
    pub fn lock(&self) -> Result<Locked> {
        self.try_lock()?.ok_or_else(|| {
            anyhow::anyhow!(coded!(ContainerNotFound, "container {:?} does not exist", self.id.as_str()))
        })
    }

    /// Locks the container; waits while another process holds the lock. `None`: the container was deleted before the
    /// lock was free.
    ///
    /// # Errors
    /// As flock(2); another process did not release it in time. No other process has deleted the container then.
    pub fn try_lock(&self) -> Result<Option<Locked>> {
        super::lock::wait(self.dir.as_fd()).with_code(Code::ContainerBusy, || format!("lock {:?}", self.path))?;
        let lock = Locked(self.dir.clone());
        // another process may have deleted the container while this one waited for the lock
        let stat = nix::sys::stat::fstat(&self.dir)
            .with_code(Code::StateRoot, || format!("state directory {:?}", self.path))?;
        Ok((stat.st_nlink > 0).then_some(lock))
    }

    /// Returns whether another process holds the lock, or has deleted the container meanwhile: a directory without a record
    /// is being created or deleted then, and nothing that is left over.
    ///
    /// # Errors
    /// As flock(2) and fstat(2).
    pub fn is_changing(&self) -> Result<bool> {
        Ok(self.lock_if_free().with_context(|| format!("lock {:?}", self.path))?.is_none())
    }

    /// Locks the container if no other process holds the lock; `None`: one does, or the container was deleted.
    ///
    /// # Errors
    /// As flock(2).
    pub fn lock_if_free(&self) -> Result<Option<Locked>> {
        if !linux::file::try_lock_exclusive(self.dir.as_fd())? {
            return Ok(None);
        }
        let lock = Locked(self.dir.clone());
        Ok((nix::sys::stat::fstat(&self.dir)?.st_nlink > 0).then_some(lock))
    }

    /// Returns how long ago something in the directory was created, renamed or removed.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn unchanged_for(&self) -> Result<std::time::Duration> {
        let changed = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(nix::sys::stat::fstat(&self.dir)?.st_mtime.try_into().unwrap_or_default());
        Ok(changed.elapsed().unwrap_or_default())
    }

    /// Removes the next record of a verb that was killed. The container must be locked.
    ///
    /// # Errors
    /// As unlinkat(2); there is none.
    pub fn remove_next_record(&self) -> Result<()> {
        let context = || format!("remove {:?}", self.path.join(NEXT_RECORD));
        unlinkat(&self.dir, NEXT_RECORD, UnlinkatFlags::NoRemoveDir).with_code(Code::StateRoot, context)
    }

    /// Returns whether a verb that was killed has left its next record.
    pub fn has_next_record(&self) -> bool {
        nix::sys::stat::fstatat(&self.dir, NEXT_RECORD, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Borrows the directory, to open files in it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Creates a file with its final name; only for files that no process reads before the record is committed.
    ///
    /// # Errors
    /// As open(2) with O_EXCL, and write(2).
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let context = || format!("write {:?}", self.path.join(name));
        let fd = openat(&self.dir, name, flags, Mode::from_bits_truncate(0o600)).with_code(Code::StateRoot, context)?;
        fs::File::from(fd).write_all(bytes).with_code(Code::StateRoot, context)
    }

    /// Writes the next record to `record.json.new`; [`Entry::commit`] renames it.
    ///
    /// # Errors
    /// As open(2) and write(2).
    pub fn prepare(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record)?;
        match self.write_new(NEXT_RECORD, &bytes) {
            // of a verb that was killed; removed and not opened, because an open of another type of file may never end
            Err(err) if err.is_errno(&[libc::EEXIST]) => {
                unlinkat(&self.dir, NEXT_RECORD, UnlinkatFlags::NoRemoveDir)
                    .with_context(|| format!("remove {:?}", self.path.join(NEXT_RECORD)))?;
                self.write_new(NEXT_RECORD, &bytes)
            }
            written => written,
        }
    }

    /// Replaces the record by the one of [`Entry::prepare`], atomically.
    ///
    /// # Errors
    /// As rename(2).
    pub fn commit(&self) -> Result<()> {
        nix::fcntl::renameat(&self.dir, NEXT_RECORD, &self.dir, RECORD)
            .with_context(|| format!("commit {:?}", self.path.join(RECORD)))
    }

    /// Writes the record and replaces the present one.
    ///
    /// # Errors
    /// As [`Entry::prepare`] and [`Entry::commit`].
    pub fn save(&self, record: &Record) -> Result<()> {
        self.prepare(record)?;
        self.commit()
    }

    /// Reads a file of the directory.
    ///
    /// # Errors
    /// As open(2) and read(2); another user may have written to the file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let context = || format!("read {:?}", self.path.join(name));
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let fd = openat(&self.dir, name, flags, Mode::empty()).with_context(context)?;
        let size = check_file(&fd).with_context(context)?;
        // of the size that it has: a file of the state is replaced, never written again
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory)).with_context(context)?;
        fs::File::from(fd).take(size as u64).read_to_end(&mut bytes).with_context(context)?;
        Ok(bytes)
    }

    /// Reads the committed record or the journal.
    ///
    /// # Errors
    /// As [`Entry::find_record`], and for a record that is missing (`does not exist`) or damaged.
    pub fn record(&self) -> Result<Record> {
        self.find_record()?.or_error(&self.id)
    }

    /// Reads the committed record or the journal, if it is there and undamaged.
    ///
    /// # Errors
    /// The file cannot be read: too many open files, no memory, no permission, an I/O error.
    pub fn find_record(&self) -> Result<Found> {
        let damaged = |err: anyhow::Error| Found::Damaged(err.context(format!("container {}", self.id)));
        match self.read(RECORD) {
            Ok(bytes) => Ok(Record::parse(&bytes).map_or_else(damaged, |record| Found::Record(Box::new(record)))),
            Err(err) if err.is_errno(&[libc::ENOENT]) => Ok(Found::Missing),
            Err(err) if is_damage(&err) => Ok(damaged(err)),
            Err(err) => Err(err),
        }
    }

    /// Removes the directory with all files in it, and so frees the ID.
    ///
    /// # Errors
    /// As unlink(2) and rmdir(2).
    pub fn remove(&self) -> Result<()> {
        // by name first, which saves reading the directory; a damaged state may have other files
        for name in [RECORD, CONFIG, START_FIFO] {
            let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        }
        let removed = |result: nix::Result<()>| matches!(result, Ok(()) | Err(nix::Error::ENOENT));
        if removed(unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir)) {
            return Ok(());
        }
        match fs::remove_dir_all(fd_path(&self.root).join(self.id.as_str())) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                Err(err).with_context(|| format!("remove {:?}", self.path))
            }
            _ => Ok(()),
        }
    }

    /// Creates the fifo of `start` and opens it for init, with O_RDWR because the open may not wait for a peer.
    ///
    /// # Errors
    /// As mknod(2) and open(2).
    pub fn make_fifo(&self) -> Result<OwnedFd> {
        let context = || format!("fifo {:?}", self.path.join(START_FIFO));
        let mode = Mode::from_bits_truncate(0o600);
        nix::sys::stat::mknodat(&self.dir, START_FIFO, nix::sys::stat::SFlag::S_IFIFO, mode, 0)
            .with_code(Code::StateRoot, context)?;
        openat(&self.dir, START_FIFO, OFlag::O_RDWR | OFlag::O_NOFOLLOW, Mode::empty())
            .with_code(Code::StateRoot, context)
    }
}
