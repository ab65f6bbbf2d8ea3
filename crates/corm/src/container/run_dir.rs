//! Where things are while they run: below `/run`, or the user's own such directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::userns;
use crate::model::digest::Digest;

/// Digits of a digest that keep stores apart.
const KEY: usize = 16;

/// The directory of one store's running containers.
#[derive(Debug, Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// That of the store at `root`.
    ///
    /// # Errors
    /// It cannot be created, or belongs to another user.
    pub fn of(root: &Path) -> Result<Self> {
        let top = if userns::unprivileged() { user_run_dir()?.join("corm") } else { PathBuf::from("/run/corm") };
        let key = Digest::of(root.as_os_str().as_encoded_bytes());
        let dir = top.join(key.hex().get(..KEY).unwrap_or_default());
        make(&top)?;
        make(&dir)?;
        Ok(Self(dir))
    }

    /// The runtime's own state.
    pub fn runtime_root(&self) -> PathBuf {
        self.0.join("runtime")
    }

    /// The socket over which a runtime hands a terminal over. Short: an address has room for 107 bytes.
    pub fn console(&self, id: &str) -> PathBuf {
        self.0.join(format!("tty-{}", id.get(..12).unwrap_or(id)))
    }

    fn container(&self, id: &str) -> PathBuf {
        self.0.join(id)
    }

    /// Where the runtime writes the pid.
    pub fn pid_file(&self, id: &str) -> PathBuf {
        self.container(id).join("pid")
    }

    /// The pid of the container's first process, if it was started since the machine was; whether it still is a process
    /// of the container only the runtime knows.
    pub fn pid(&self, id: &str) -> Option<i32> {
        std::fs::read_to_string(self.pid_file(id)).ok()?.trim().parse().ok()
    }

    /// Becomes the attendant of a container; `None` when there is one.
    ///
    /// # Errors
    /// The files cannot be created.
    pub fn lock_supervisor(&self, id: &str) -> Result<Option<SupervisorLock>> {
        make(&self.container(id))?;
        let path = self.container(id).join("attendant");
        let context = || format!("{path:?}");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = file.with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {
                let mut attendant = SupervisorLock { lock };
                attendant.is_me()?;
                Ok(Some(attendant))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(err).with_context(context),
        }
    }

    /// The attendant of a container, to wait for its end; `None` when there is none.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub fn supervisor(&self, id: &str) -> Result<Option<SupervisorHandle>> {
        let path = self.container(id).join("attendant");
        let file = match File::open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("{path:?}"))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(SupervisorHandle(file))),
            Err(TryLockError::Error(err)) => Err(err).with_context(|| format!("{path:?}")),
        }
    }

    /// Removes what is there of a container.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn forget(&self, id: &str) -> Result<()> {
        let dir = self.container(id);
        match std::fs::remove_dir_all(&dir) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("remove {dir:?}")),
        }
    }
}

/// The lock of who attends a container, and what waits for its end may read. It belongs to the open file, so that a fork
/// has it too and it ends with the last descriptor: it is not unlocked.
#[derive(Debug)]
pub struct SupervisorLock {
    lock: File,
}

impl SupervisorLock {
    /// Writes down who holds it: again after a fork.
    ///
    /// # Errors
    /// No space.
    pub fn is_me(&mut self) -> Result<()> {
        self.lock.set_len(0).context("attendant")?;
        self.lock.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).context("attendant")
    }

    /// Tells whoever waits how the program ended.
    ///
    /// # Errors
    /// No space.
    pub fn ended(&mut self, status: i32) -> Result<()> {
        use std::io::Seek as _;
        self.lock.seek(io::SeekFrom::End(0)).context("attendant")?;
        self.lock.write_all(format!("{status}\n").as_bytes()).context("attendant")
    }
}

impl std::os::fd::AsRawFd for SupervisorLock {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.lock.as_raw_fd()
    }
}

/// An attendant at work.
#[derive(Debug)]
pub struct SupervisorHandle(File);

impl SupervisorHandle {
    /// Its pid.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pid(&self) -> Result<Option<i32>> {
        Ok(self.lines()?.first().copied())
    }

    /// Waits until it has ended; how the program did, unless the attendant was killed.
    ///
    /// # Errors
    /// The lock cannot be waited for.
    pub fn wait(self) -> Result<Option<i32>> {
        loop {
            match self.0.lock_shared() {
                Ok(()) => return Ok(self.lines()?.get(1).copied()),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err).context("wait for the end of a container"),
            }
        }
    }

    fn lines(&self) -> Result<Vec<i32>> {
        let mut bytes = [0; 64];
        let length = self.0.read_at(&mut bytes, 0).context("attendant")?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

/// The user's directory for what runs: `$XDG_RUNTIME_DIR`, or one in `/tmp` that is the user's alone.
fn user_run_dir() -> Result<PathBuf> {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() => Ok(dir),
        Some(dir) if !dir.as_os_str().is_empty() => bail!("XDG_RUNTIME_DIR={dir:?}: not an absolute path"),
        _ => {
            let dir = std::env::temp_dir().join(format!("corm-run-{}", userns::real_uid()));
            make(&dir)?;
            Ok(dir)
        }
    }
}

/// Creates a directory for its owner only; one that is there must be such a directory and ours.
fn make(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.with_context(|| format!("make {dir:?}")),
    }
    let meta = dir.symlink_metadata().with_context(|| format!("{dir:?}"))?;
    let ours = meta.is_dir() && meta.uid() == linux::process::euid() && meta.mode() & 0o022 == 0;
    ensure!(ours, "{dir:?}: is no directory that only this user writes to");
    Ok(())
}
