//! Run-time files of containers: below `/run`, or the user's run-time directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::supervise::wait_gone;
use super::userns;
use crate::model::digest::Digest;
use crate::store::{ContainerRecord, is_id};
use base::error::{Code, Coding as _};
use base::run_dir;
use base::run_dir::make_private;

/// Time between two looks at a lock that another process releases.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Digits of the digest that distinguishes stores.
const KEY_DIGITS: usize = 16;

/// The run-time directory of one store.
#[derive(Debug, Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Opens or creates the directory of the store at `root`.
    ///
    /// # Errors
    /// The directory cannot be created, or is another user's.
    pub fn of(root: &Path) -> Result<Self> {
        let top = if userns::unprivileged() {
            run_dir::of_user(userns::real_uid())?.join("corm")
        } else {
            PathBuf::from("/run/corm")
        };
        let key = Digest::of(root.as_os_str().as_encoded_bytes());
        let dir = top.join(key.hex().get(..KEY_DIGITS).unwrap_or_default());
        make_private(&top)?;
        make_private(&dir)?;
        Ok(Self(dir))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the runtime's state directory.
    pub fn runtime_root(&self) -> PathBuf {
        self.0.join("runtime")
    }

    /// Returns the path of the console socket. It is short, because sun_path has room for 107 bytes.
    pub fn console(&self, id: &str) -> PathBuf {
        self.0.join(format!("tty-{}", id.get(..12).unwrap_or(id)))
    }

    /// Returns the directory of a container's run-time files.
    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.container(id)
    }

    /// Returns the directory of networks, and creates it.
    ///
    /// # Errors
    /// As [`RunDir::of`].
    pub fn networks(&self) -> Result<PathBuf> {
        let dir = self.0.join("networks");
        make_private(&dir)?;
        Ok(dir)
    }

    /// Returns the path of a container's network namespace.
    pub fn netns(&self, id: &str) -> PathBuf {
        self.container(id).join("netns")
    }

    /// Returns the path of the description of a container's network.
    pub fn network_file(&self, id: &str) -> PathBuf {
        self.container(id).join("network.json")
    }

    /// Returns the path of the pid file of the network's program.
    pub fn network_pid(&self, id: &str) -> PathBuf {
        self.container(id).join("network.pid")
    }

    /// Returns the path of the messages of the network's program.
    pub fn network_log(&self, id: &str) -> PathBuf {
        self.container(id).join("network.log")
    }

    /// Returns the path of the network's program's socket. It is short, because sun_path has room for 107 bytes.
    pub fn network_socket(&self, id: &str) -> PathBuf {
        self.0.join(format!("net-{}", id.get(..12).unwrap_or(id)))
    }

    fn container(&self, id: &str) -> PathBuf {
        self.0.join(id)
    }

    /// Returns the path of the pid file.
    pub fn pid_file(&self, id: &str) -> PathBuf {
        self.container(id).join("pid")
    }

    /// Returns the pid of the container's first process, if it was started since boot. The pid may have been reused;
    /// ask the runtime before signalling it.
    ///
    /// # Errors
    /// The file cannot be read, which tells nothing of the container.
    pub fn pid(&self, id: &str) -> Result<Option<i32>> {
        let path = self.pid_file(id);
        match std::fs::read_to_string(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(text.with_context(|| format!("{path:?}"))?.trim().parse().ok()),
        }
    }

    /// Returns the IDs of containers with run-time files.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn containers(&self) -> Result<Vec<String>> {
        let context = || format!("read {:?}", self.0);
        let mut ids = Vec::new();
        for entry in linux::open::read_dir(&self.0).with_context(context)? {
            let name = entry.with_context(context)?.file_name().into_string();
            ids.extend(name.into_iter().filter(|name| is_id(name)));
        }
        Ok(ids)
    }

    /// Returns whether a container has, or had since boot, a supervisor.
    ///
    /// # Errors
    /// As stat(2).
    pub fn had_supervisor(&self, id: &str) -> Result<bool> {
        exists(&self.container(id).join("supervisor"))
    }

    /// Becomes the supervisor of a container that has run-time files; `None` when there is one, or when the files are
    /// gone by now.
    ///
    /// # Errors
    /// As [`RunDir::lock_supervisor`].
    pub fn lock_existing(&self, id: &str) -> Result<Option<SupervisorLock>> {
        if exists(&self.container(id))? { self.lock_supervisor(id) } else { Ok(None) }
    }

    /// Becomes the supervisor of a container; `None` when there is one.
    ///
    /// # Errors
    /// The files cannot be created.
    pub fn lock_supervisor(&self, id: &str) -> Result<Option<SupervisorLock>> {
        make_private(&self.container(id))?;
        let path = self.container(id).join("supervisor");
        let context = || format!("{path:?}");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = file.with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {
                let mut supervisor = SupervisorLock { lock };
                supervisor.write_pid()?;
                Ok(Some(supervisor))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(err).with_context(context),
        }
    }

    /// Returns the supervisor of a container, to wait for it; `None` when there is none.
    ///
    /// # Errors
    /// As flock(2).
    pub fn supervisor(&self, id: &str) -> Result<Option<SupervisorHandle>> {
        let path = self.container(id).join("supervisor");
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

    /// Removes the container's run-time files.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove_files(&self, id: &str) -> Result<()> {
        let dir = self.container(id);
        let mut tries = 0;
        loop {
            match std::fs::remove_dir_all(&dir) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
                // another process that looks whether there is a supervisor has made the file of the lock again
                Err(err) if err.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 10 => tries += 1,
                other => return other.with_context(|| format!("remove {dir:?}")),
            }
        }
    }
}

/// The lock of a container's supervisor, and the file with its pid and the exit status. The lock is that of the open
/// file description: a fork shares it, and it is released with the last descriptor.
#[derive(Debug)]
pub struct SupervisorLock {
    lock: File,
}

impl SupervisorLock {
    /// Writes this process's pid to the file; repeated after a fork.
    ///
    /// # Errors
    /// No space.
    pub fn write_pid(&mut self) -> Result<()> {
        self.lock.set_len(0).context("supervisor file")?;
        self.lock.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).context("supervisor file")
    }

    /// Writes the exit status, for processes that wait.
    ///
    /// # Errors
    /// No space.
    pub fn write_exit_status(&mut self, status: i32) -> Result<()> {
        use std::io::Seek as _;
        self.lock.seek(io::SeekFrom::End(0)).context("supervisor file")?;
        self.lock.write_all(format!("{status}\n").as_bytes()).context("supervisor file")
    }
}

impl std::os::fd::AsRawFd for SupervisorLock {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.lock.as_raw_fd()
    }
}

/// A running supervisor.
#[derive(Debug)]
pub struct SupervisorHandle(File);

impl SupervisorHandle {
    /// Returns its pid.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pid(&self) -> Result<Option<i32>> {
        Ok(self.lines()?.first().copied())
    }

    /// Waits until the supervisor has ended, or the time is over; returns whether it has ended.
    ///
    /// # Errors
    /// As flock(2).
    pub fn wait_at_most(&self, limit: Duration) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            match self.0.try_lock_shared() {
                Ok(()) => return Ok(true),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(false),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(err)) => return Err(err).context("wait for the end of a supervisor"),
            }
            // flock(2) has no time limit; the pid may be that of a process that has forked the supervisor
            match self.pid()? {
                Some(pid) if !wait_gone(pid, Some(POLL_INTERVAL * 10))? => {}
                _ => std::thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Waits until the supervisor has ended; returns the program's exit status, unless the supervisor was killed.
    ///
    /// # Errors
    /// As flock(2).
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
        let length = linux::file::read_at(&self.0, &mut bytes, 0).context("supervisor file")?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

/// Returns whether a file exists; one that cannot be looked at is an error.
fn exists(path: &Path) -> Result<bool> {
    path.try_exists().with_context(|| format!("{path:?}"))
}

/// Becomes the supervisor of a container that has none.
///
/// # Errors
/// The container is running.
pub fn become_supervisor(run: &RunDir, record: &ContainerRecord) -> Result<SupervisorLock> {
    let supervisor = run.lock_supervisor(&record.id)?;
    supervisor.with_code(Code::ContainerStatus, || format!("container '{}' is running already", record.name))
}
