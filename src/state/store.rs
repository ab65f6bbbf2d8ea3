//! The state directory: one directory per container, whose exclusive creation decides who owns the ID.
//!
//! ```text
//! ROOT/ID/record.json   journal, then (renamed into place) the committed record
//! ROOT/ID/config.json   the configuration as it was at create (CF-6)
//! ROOT/ID/start         fifo: `start` writes a byte, init waits for it
//! ROOT/ID/status        fifo: closed by init's exec, or init's last words
//! ```
//! The lock is a flock on the directory itself: held by the verbs that change the container, taken by no other.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::record::Record;
use crate::config::ContainerId;
use base::error::HasErrno as _;
use linux::place;

/// The committed record.
pub(crate) const RECORD: &str = "record.json";
/// The private copy of the configuration.
pub(crate) const CONFIG: &str = "config.json";
/// Released by `start`.
pub(crate) const START_FIFO: &str = "start";
/// Tells `start` how the exec went.
pub(crate) const STATUS_FIFO: &str = "status";

/// All containers of one `--root`.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// One container's state directory, open.
#[derive(Debug)]
pub struct Entry {
    /// The container's ID.
    pub id: ContainerId,
    /// Where the directory is.
    pub path: PathBuf,
    /// The state root. Others may be able to exchange it by another one, so that it is not looked up again.
    root: OwnedFd,
    dir: OwnedFd,
}

/// The lock of one container, released on drop.
#[derive(Debug)]
pub struct Locked(#[expect(dead_code, reason = "held, never read")] Flock<OwnedFd>);

impl Store {
    /// The store below `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Store {
        Store { root }
    }

    /// Where the state of a container is or would be.
    pub fn dir_of(&self, id: &ContainerId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Makes and locks the directory of a new container.
    ///
    /// # Errors
    /// The ID is taken; the root belongs to another user, or group or others may write to it; no space, read-only.
    pub fn create(&self, id: &ContainerId) -> Result<(Entry, Locked)> {
        let root = match self.open_root() {
            Err(err) if err.is_errno(&[libc::ENOENT]) => {
                self.make_root()?;
                self.open_root()?
            }
            other => other?,
        };
        let path = self.dir_of(id);
        match nix::sys::stat::mkdirat(&root, id.as_str(), Mode::S_IRWXU) {
            Err(nix::Error::EEXIST) => bail!("container with given ID already exists: {id}"),
            Err(err @ nix::Error::EROFS) => {
                return Err(err).with_context(|| format!("state directory {path:?} (choose another with --root)"));
            }
            other => other.with_context(|| format!("state directory {path:?}"))?,
        }
        let undo = |err: anyhow::Error| {
            let _ = unlinkat(&root, id.as_str(), UnlinkatFlags::RemoveDir);
            err
        };
        let entry = self.open_dir(&root, id).map_err(undo)?;
        let lock = entry.lock().map_err(undo)?;
        Ok((entry, lock))
    }

    fn make_root(&self) -> Result<()> {
        // 0711 is customary: others may enter it, and not list it
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.root)
            .with_context(|| format!("state root {:?}", self.root))
    }

    /// Opens the root. One that others may write to would let them make containers of ours, whose hooks run with our
    /// rights (SEC-21); so would one that they have chosen.
    fn open_root(&self) -> Result<OwnedFd> {
        let context = || format!("state root {:?}", self.root);
        let opened = place::open_by_own_way(&self.root).with_context(context)?;
        let root = opened.map_err(anyhow::Error::msg).with_context(context)?;
        check_owner(&root).with_context(context)?;
        Ok(root)
    }

    /// Opens the directory of an existing container.
    ///
    /// # Errors
    /// `container "ID" does not exist` (CL-20).
    pub fn open(&self, id: &ContainerId) -> Result<Entry> {
        self.try_open(id)?.ok_or_else(|| anyhow::anyhow!("container {:?} does not exist", id.as_str()))
    }

    /// As [`Store::open`]; `None` where there is no such container.
    ///
    /// # Errors
    /// The directory cannot be opened; it or the root belongs to another user, or group or others may write to it.
    pub fn try_open(&self, id: &ContainerId) -> Result<Option<Entry>> {
        match self.open_root().and_then(|root| self.open_dir(&root, id)) {
            Ok(entry) => Ok(Some(entry)),
            Err(err) if err.is_errno(&[libc::ENOENT]) => Ok(None),
            Err(err) => Err(err),
        }
    }

    fn open_dir(&self, root: &OwnedFd, id: &ContainerId) -> Result<Entry> {
        let path = self.root.join(id.as_str());
        let context = || format!("state directory {path:?}");
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = openat(root, id.as_str(), flags, Mode::empty()).with_context(context)?;
        check_owner(&dir).with_context(context)?;
        let root = root.try_clone().with_context(context)?;
        Ok(Entry { id: id.clone(), path, root, dir })
    }

    /// The IDs of all entries, sorted.
    ///
    /// # Errors
    /// The root exists and cannot be read, belongs to another user, or group or others may write to it.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let root = match self.open_root() {
            Err(err) if err.is_errno(&[libc::ENOENT]) => return Ok(Vec::new()),
            root => root?,
        };
        let entries = fs::read_dir(by_descriptor(&root)).with_context(|| format!("state root {:?}", self.root))?;
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("state root {:?}", self.root))?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let (true, Some(Ok(id))) = (is_dir, entry.file_name().to_str().map(ContainerId::new)) {
                ids.push(id);
            }
        }
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }
}

/// The path of an open directory, for functions that want one.
fn by_descriptor(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Checks that only this user, or root, can have written what is in the directory, or the file.
fn check_owner(dir: &OwnedFd) -> Result<()> {
    let stat = nix::sys::stat::fstat(dir)?;
    let me = linux::process::euid();
    if stat.st_uid != me && stat.st_uid != 0 {
        bail!("belongs to user {}, not to {me}", stat.st_uid);
    }
    if stat.st_mode & 0o022 != 0 {
        bail!("group or others may write to it (mode {:04o})", stat.st_mode & 0o7777);
    }
    Ok(())
}

/// Checks that a file is one that only this user, or root, can have written, also by another name.
fn check_file(file: &OwnedFd) -> Result<()> {
    check_owner(file)?;
    let stat = nix::sys::stat::fstat(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_nlink > 1 {
        bail!("is not a regular file with one name");
    }
    Ok(())
}

impl Entry {
    /// Waits for the container's lock.
    ///
    /// # Errors
    /// The container was deleted meanwhile: `does not exist`.
    pub fn lock(&self) -> Result<Locked> {
        let again = openat(&self.dir, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|err| self.gone_or(err))?;
        let lock = Flock::lock(again, FlockArg::LockExclusive)
            .map_err(|(_, err)| err)
            .with_context(|| format!("lock of {:?}", self.path))?;
        // another process may have deleted the container while this one waited
        let stat = nix::sys::stat::fstat(&self.dir).with_context(|| format!("{:?}", self.path))?;
        if stat.st_nlink == 0 {
            bail!("container {:?} does not exist", self.id.as_str());
        }
        Ok(Locked(lock))
    }

    fn gone_or(&self, err: nix::Error) -> anyhow::Error {
        if err == nix::Error::ENOENT {
            anyhow::anyhow!("container {:?} does not exist", self.id.as_str())
        } else {
            anyhow::Error::from(err).context(format!("{:?}", self.path))
        }
    }

    /// The directory, for the files in it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Writes a new file as it shall be, in place: for what no process reads before the record names it.
    ///
    /// # Errors
    /// It exists already; no space.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        self.write(name, flags, bytes)
    }

    fn write(&self, name: &str, flags: OFlag, bytes: &[u8]) -> Result<()> {
        let context = || format!("write {:?}", self.path.join(name));
        let fd = openat(&self.dir, name, flags, Mode::from_bits_truncate(0o600)).with_context(context)?;
        fs::File::from(fd).write_all(bytes).with_context(context)
    }

    /// Prepares the next record beside the present one; [`Entry::commit`] puts it in force.
    ///
    /// # Errors
    /// No space.
    pub fn prepare(&self, record: &Record) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        self.write("record.json.new", flags, &serde_json::to_vec(record)?)
    }

    /// Puts the prepared record in force, atomically.
    ///
    /// # Errors
    /// The file system refuses the rename.
    pub fn commit(&self) -> Result<()> {
        nix::fcntl::renameat(&self.dir, "record.json.new", &self.dir, RECORD)
            .with_context(|| format!("commit {:?}", self.path.join(RECORD)))
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// As [`Entry::prepare`] and [`Entry::commit`].
    pub fn save(&self, record: &Record) -> Result<()> {
        self.prepare(record)?;
        self.commit()
    }

    /// A file of the directory.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let context = || format!("read {:?}", self.path.join(name));
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let fd = openat(&self.dir, name, flags, Mode::empty()).with_context(context)?;
        check_file(&fd).with_context(context)?;
        let mut bytes = Vec::with_capacity(4096);
        fs::File::from(fd).read_to_end(&mut bytes).with_context(context)?;
        Ok(bytes)
    }

    /// The record in force.
    ///
    /// # Errors
    /// Damaged, or of a newer croci. Missing, as it is for a moment at the beginning and the end of a container's life:
    /// `does not exist`.
    pub fn record(&self) -> Result<Record> {
        match self.read(RECORD) {
            Err(err) if err.is_errno(&[libc::ENOENT]) => {
                bail!(
                    "container {:?} does not exist (if its state is left over, delete --force removes it)",
                    self.id.as_str()
                )
            }
            text => Record::parse(&text?).with_context(|| format!("container {}", self.id)),
        }
    }

    /// Removes the directory and all that is in it: the ID is free again.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self) -> Result<()> {
        // the usual files by name saves reading the directory; a damaged one may hold others
        for name in [RECORD, CONFIG, START_FIFO, STATUS_FIFO] {
            let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        }
        let gone = |result: nix::Result<()>| matches!(result, Ok(()) | Err(nix::Error::ENOENT));
        if gone(unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir)) {
            return Ok(());
        }
        match fs::remove_dir_all(by_descriptor(&self.root).join(self.id.as_str())) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                Err(err).with_context(|| format!("remove {:?}", self.path))
            }
            _ => Ok(()),
        }
    }

    /// Makes the two fifos of `start` and opens init's ends; read and write, so that neither open waits.
    ///
    /// # Errors
    /// No space, or too many open files.
    pub fn make_fifos(&self) -> Result<(OwnedFd, OwnedFd)> {
        let make = |name: &str| -> Result<OwnedFd> {
            let context = || format!("fifo {:?}", self.path.join(name));
            let mode = Mode::from_bits_truncate(0o600);
            nix::sys::stat::mknodat(&self.dir, name, nix::sys::stat::SFlag::S_IFIFO, mode, 0).with_context(context)?;
            openat(&self.dir, name, OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
                .with_context(context)
        };
        Ok((make(START_FIFO)?, make(STATUS_FIFO)?))
    }

    /// Whether a path still leads to this directory.
    pub fn exists(&self) -> bool {
        nix::sys::stat::fstatat(&self.root, self.id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }
}
