//! Options of the library's calls, as builders.

use std::path::PathBuf;

use super::job::Streams;
use crate::runtime::options;
use crate::runtime::options::Document;

/// Options of [`Container::create`](super::Container::create).
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    pub(super) streams: Streams,
    pub(super) verb: options::Create,
}

impl CreateOptions {
    /// Sets the standard streams of the container's process. With `process.terminal` they are not used: the terminal is in
    /// the outcome.
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// Moves the root file system to `/` instead of pivot_root(2), for a host on an initial ram disk.
    pub fn no_pivot(mut self, yes: bool) -> Self {
        self.verb.no_pivot = yes;
        self
    }

    /// Keeps the caller's session keyring.
    pub fn no_new_keyring(mut self, yes: bool) -> Self {
        self.verb.no_new_keyring = yes;
        self
    }

    /// Writes the pid of the container's process to a file, before the container is complete.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.verb.pid_file = Some(path.into());
        self
    }
}

/// Options of [`Container::exec`](super::Container::exec).
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    pub(super) streams: Streams,
    pub(super) verb: options::Exec,
}

impl ExecOptions {
    /// Runs a program with its arguments; the rest is that of the container's process.
    pub fn command<I: IntoIterator<Item = S>, S: Into<String>>(words: I) -> Self {
        let command = words.into_iter().map(Into::into).collect();
        ExecOptions { verb: options::Exec { command, ..options::Exec::default() }, ..ExecOptions::default() }
    }

    /// Runs a process that is described as `process` of config.json is.
    pub fn process(json: impl Into<Vec<u8>>) -> Self {
        let process = Some(Document::Text(json.into()));
        ExecOptions { verb: options::Exec { process, ..options::Exec::default() }, ..ExecOptions::default() }
    }

    /// Sets the standard streams.
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// Gives the process a terminal, which is in the outcome.
    pub fn terminal(mut self, yes: bool) -> Self {
        self.verb.tty = yes;
        self
    }

    /// Sets the working directory in the container.
    pub fn cwd(mut self, path: impl Into<String>) -> Self {
        self.verb.cwd = Some(path.into());
        self
    }

    /// Adds a variable, `NAME=VALUE`.
    pub fn env(mut self, variable: impl Into<String>) -> Self {
        self.verb.env.push(variable.into());
        self
    }

    /// Sets the user, `UID[:GID]` or a name of the container's /etc/passwd.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.verb.user = Some(user.into());
        self
    }
}

/// Options of [`Container::begin_checkpoint`](super::Container::begin_checkpoint).
#[derive(Debug, Clone, Default)]
pub struct CheckpointOptions {
    pub(super) verb: options::Checkpoint,
}

impl CheckpointOptions {
    /// Writes the images to this directory.
    pub fn new(image_path: impl Into<PathBuf>) -> Self {
        let criu = options::Criu { image_path: image_path.into(), ..options::Criu::default() };
        CheckpointOptions { verb: options::Checkpoint { criu, ..options::Checkpoint::default() } }
    }

    /// Leaves the container running.
    pub fn leave_running(mut self, yes: bool) -> Self {
        self.verb.leave_running = yes;
        self
    }

    /// Sets the directory of CRIU's log.
    pub fn work_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.verb.criu.work_path = Some(path.into());
        self
    }

    /// Keeps open TCP connections.
    pub fn tcp_established(mut self, yes: bool) -> Self {
        self.verb.criu.tcp_established = yes;
        self
    }

    /// Keeps connections of unix sockets to processes outside.
    pub fn external_unix_sockets(mut self, yes: bool) -> Self {
        self.verb.criu.ext_unix_sk = yes;
        self
    }

    /// Keeps a terminal that is the caller's.
    pub fn shell_job(mut self, yes: bool) -> Self {
        self.verb.criu.shell_job = yes;
        self
    }

    /// Keeps locks of files.
    pub fn file_locks(mut self, yes: bool) -> Self {
        self.verb.criu.file_locks = yes;
        self
    }
}

/// Options of [`Container::begin_restore`](super::Container::begin_restore).
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    pub(super) create: CreateOptions,
    pub(super) criu: options::Criu,
}

impl RestoreOptions {
    /// Restores from the images in this directory.
    pub fn new(image_path: impl Into<PathBuf>, create: CreateOptions) -> Self {
        RestoreOptions { create, criu: options::Criu { image_path: image_path.into(), ..options::Criu::default() } }
    }

    /// Sets the directory of CRIU's log.
    pub fn work_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.criu.work_path = Some(path.into());
        self
    }
}
