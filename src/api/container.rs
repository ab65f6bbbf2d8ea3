//! Containers: the verbs of croci as calls.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::poll::PollFlags;

use super::error::Result;
use super::job::{Job, Outcome, check_protected};
use super::options::{CheckpointOptions, CreateOptions, ExecOptions, RestoreOptions};
use crate::bundle;
use crate::cgroup::Cgroup;
use crate::cgroup::Stats;
use crate::cgroup::oom;
use crate::cli::args::{CgroupManager, Command, Delete, Document, Global, Kill, Restore, Update, Verb};
use crate::commands;
use crate::commands::Context;
use crate::commands::LoadedContainer;
use crate::config::ContainerId;
use crate::runtime::options::Descriptor;
use crate::state::Store;
use crate::state::exit;
use crate::state::status;
use base::host;
use base::log::Log;

pub use crate::state::status::Status;

/// Where containers are kept, and how their cgroups are made: the flags of croci before the verb.
#[derive(Debug, Clone, Default)]
pub struct Runtime {
    global: Global,
}

impl Runtime {
    /// Uses the state root of this user: `/run/croci` for root.
    pub fn new() -> Runtime {
        Runtime::default()
    }

    /// Uses another state root, an absolute path.
    pub fn root(mut self, path: impl Into<PathBuf>) -> Runtime {
        self.global.root = Some(path.into());
        self
    }

    /// Lets systemd create the cgroups.
    pub fn systemd_cgroups(mut self, yes: bool) -> Runtime {
        self.global.cgroup_manager = if yes { CgroupManager::Systemd } else { CgroupManager::Cgroupfs };
        self
    }

    /// Uses this program of CRIU.
    pub fn criu(mut self, path: impl Into<PathBuf>) -> Runtime {
        self.global.criu = Some(path.into());
        self
    }

    /// Calls `act` with what the verbs get, with a log that keeps warnings; returns these too.
    fn with<T>(&self, act: impl FnOnce(&Context<'_>) -> anyhow::Result<T>) -> Result<(T, Vec<String>)> {
        let log = Log::memory();
        let root = match &self.global.root {
            Some(root) => root.clone(),
            None => host::default_root()?,
        };
        let context = Context { store: Store::new(root), log: &log, global: &self.global };
        let value = act(&context)?;
        Ok((value, log.take()))
    }

    /// Runs a verb in a worker; its outcome has the pid of the container's process.
    fn verb(&self, log: &Log, verb: Verb, id: Option<&str>) -> anyhow::Result<i32> {
        commands::run(&Command { global: self.global.clone(), verb }, log)?;
        let pid = |id: &str| self.with(|context| Ok(context.find(id)?.init.map_or(0, |init| init.pid)));
        Ok(id.map(pid).transpose()?.map_or(0, |(pid, _)| pid))
    }
}

/// A bundle: a directory with config.json and, as a rule, the root file system.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
}

impl Bundle {
    /// Opens a bundle, and checks its configuration.
    ///
    /// # Errors
    /// No directory, or a configuration that is missing or wrong, by the name of its property.
    pub fn open(dir: impl AsRef<Path>) -> Result<Bundle> {
        Ok(Bundle { dir: bundle::open(dir.as_ref(), None)?.dir })
    }

    /// Names a bundle that [`Container::create`] will check.
    pub fn at(dir: impl Into<PathBuf>) -> Bundle {
        Bundle { dir: dir.into() }
    }
}

/// A container of a [`Runtime`], by its ID. It exists until it is deleted, not until this value is dropped.
#[derive(Debug, Clone)]
pub struct Container {
    runtime: Runtime,
    id: String,
}

/// What is known of a container now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its status.
    pub status: Status,
    /// Pid of its first process; 0 when that has ended.
    pub pid: i32,
    /// Its bundle.
    pub bundle: PathBuf,
}

impl Container {
    /// Names a container; whether it exists shows the first call.
    pub fn named(runtime: &Runtime, id: impl Into<String>) -> Container {
        Container { runtime: runtime.clone(), id: id.into() }
    }

    /// Returns the ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Creates a container whose program waits for [`Container::start`].
    ///
    /// # Errors
    /// Configuration, host or kernel refuse a part of it; nothing is left then.
    pub fn create(
        runtime: &Runtime,
        id: impl Into<String>,
        bundle: &Bundle,
        options: &CreateOptions,
    ) -> Result<(Container, Outcome)> {
        let container = Container::named(runtime, id);
        let outcome = container.begin_create(bundle, options)?.finish()?;
        Ok((container, outcome))
    }

    /// Begins [`Container::create`].
    ///
    /// # Errors
    /// No process for it.
    pub fn begin_create(&self, bundle: &Bundle, options: &CreateOptions) -> Result<Job> {
        let mut verb = options.verb.clone();
        (verb.id, verb.bundle) = (self.id.clone(), bundle.dir.clone());
        Job::begin(&options.streams, |log, console| {
            check_protected()?;
            verb.console = Some(console);
            self.runtime.verb(log, Verb::Create(verb), Some(&self.id))
        })
    }

    /// Starts the program of a created container.
    ///
    /// # Errors
    /// It is not created, or its program cannot be executed.
    pub fn start(&self) -> Result<Outcome> {
        self.begin_start()?.finish()
    }

    /// Begins [`Container::start`].
    ///
    /// # Errors
    /// No process for it.
    pub fn begin_start(&self) -> Result<Job> {
        self.begin(Verb::Start(vec![self.id.clone()]))
    }

    /// Runs a further process in the container; its pid is in the outcome.
    ///
    /// # Errors
    /// The container does not run, or the program cannot be executed.
    pub fn exec(&self, options: &ExecOptions) -> Result<Outcome> {
        self.begin_exec(options)?.finish()
    }

    /// Begins [`Container::exec`].
    ///
    /// # Errors
    /// No process for it.
    pub fn begin_exec(&self, options: &ExecOptions) -> Result<Job> {
        let mut verb = options.verb.clone();
        (verb.id, verb.detach) = (self.id.clone(), true);
        Job::begin(&options.streams, |log, console: Descriptor| {
            check_protected()?;
            verb.console = Some(console);
            commands::exec_detached(&self.runtime.global, &verb, log)
        })
    }

    /// Begins to prepare [`Container::exec`] in a process of its own: what changes nothing. [`Job::release`] lets it go on, with
    /// the streams, which are not taken from `options`; errors come afterwards. What is true of the container is found out
    /// again then. Dropping the job ends the process, as do ten seconds without that call.
    ///
    /// # Errors
    /// No process for it.
    pub fn prepare_exec(&self, options: &ExecOptions) -> Result<Job> {
        let mut verb = options.verb.clone();
        (verb.id, verb.detach) = (self.id.clone(), true);
        Job::begin_held(|log, console, wait| {
            check_protected()?;
            verb.console = Some(console);
            commands::exec_held(&self.runtime.global, &verb, log, wait)
        })
    }

    /// Removes a container that has stopped; with `force` in any status, and no error if there is none.
    ///
    /// # Errors
    /// It has not stopped, or something of it cannot be removed.
    pub fn delete(&self, force: bool) -> Result<Outcome> {
        self.begin_delete(force)?.finish()
    }

    /// Begins [`Container::delete`].
    ///
    /// # Errors
    /// No process for it.
    pub fn begin_delete(&self, force: bool) -> Result<Job> {
        self.begin(Verb::Delete(Delete { ids: vec![self.id.clone()], force, regex: false }))
    }

    /// Begins to write a checkpoint by CRIU. The container is deleted unless it is left running.
    ///
    /// # Errors
    /// No process for it.
    pub fn begin_checkpoint(&self, options: &CheckpointOptions) -> Result<Job> {
        let verb = crate::runtime::options::Checkpoint { id: self.id.clone(), ..options.verb.clone() };
        self.begin(Verb::Checkpoint(Box::new(verb)))
    }

    /// Begins to restore a container from a checkpoint; it runs then.
    ///
    /// # Errors
    /// No process for it.
    pub fn begin_restore(&self, bundle: &Bundle, options: &RestoreOptions) -> Result<Job> {
        let mut create = options.create.verb.clone();
        (create.id, create.bundle) = (self.id.clone(), bundle.dir.clone());
        let criu = options.criu.clone();
        Job::begin(&options.create.streams, |log, console| {
            check_protected()?;
            create.console = Some(console);
            let verb = Restore { create, criu, detach: true, ..Restore::default() };
            self.runtime.verb(log, Verb::Restore(Box::new(verb)), Some(&self.id))
        })
    }

    fn begin(&self, verb: Verb) -> Result<Job> {
        Job::begin(&super::Streams::default(), |log, _| self.runtime.verb(log, verb, None))
    }

    /// Sends a signal to the container's first process; with `all` to every process of it.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        let args = Kill { id: self.id.clone(), signal: Some(signal.to_string()), all, regex: false };
        self.runtime.with(|context| commands::kill::kill_one(context, &self.id, &args)).map(|_| ())
    }

    /// Freezes all processes of the container; returns when they are.
    ///
    /// # Errors
    /// It does not run, or has no cgroup.
    pub fn pause(&self) -> Result<()> {
        self.runtime.with(|context| commands::pause::pause(context, &self.id)).map(|_| ())
    }

    /// Thaws a paused container.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self) -> Result<()> {
        self.runtime.with(|context| commands::pause::resume(context, &self.id)).map(|_| ())
    }

    /// Sets new limits, all or none: the JSON of `linux.resources`.
    ///
    /// # Errors
    /// The kernel refuses one; the container does not run.
    pub fn update(&self, resources: impl Into<Vec<u8>>) -> Result<()> {
        let resources = Some(Document::Text(resources.into()));
        let args = Update { id: self.id.clone(), resources, settings: Vec::new() };
        self.runtime.with(|context| commands::update::update(context, &args)).map(|_| ())
    }

    /// Reads the counters of the container's cgroup.
    ///
    /// # Errors
    /// There is no such container; a counter cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        self.with(|container| Cgroup::open(&container.record.cgroup).stats())
    }

    /// Returns whether the counters are those of cgroup v2.
    ///
    /// # Errors
    /// There is no such container.
    pub fn has_unified_cgroup(&self) -> Result<bool> {
        self.with(|container| Ok(container.record.cgroup.is_pure_v2()))
    }

    /// Lists the pids of all processes.
    ///
    /// # Errors
    /// There is no such container.
    pub fn processes(&self) -> Result<Vec<i32>> {
        self.with(|container| Cgroup::open(&container.record.cgroup).pids())
    }

    /// Returns the state.
    ///
    /// # Errors
    /// There is no such container.
    pub fn state(&self) -> Result<State> {
        self.with(|container| {
            let pid = container.init.map_or(0, |init| init.pid);
            Ok(State { status: container.status, pid, bundle: container.record.bundle.clone() })
        })
    }

    /// Waits until the container has stopped; returns the exit status of its process, 128 + n for signal n, if it is known.
    /// It is where the caller is the container's parent and has not reaped it yet ([`adopt_processes`](super::adopt_processes)),
    /// and on Linux 6.15 and later.
    ///
    /// # Errors
    /// There is no such container.
    pub fn wait(&self) -> Result<Option<i32>> {
        self.with(|container| {
            let pidfd = container.init.map(status::open_pidfd).transpose()?.flatten();
            let ended = match (container.init, pidfd) {
                (Some(init), Some(pidfd)) => {
                    exit::wait(init, &pidfd)?.inspect(|ended| exit::keep(&container.entry, ended))
                }
                _ => exit::find(&container.entry, &container.record)?,
            };
            Ok(ended.and_then(|exit| exit.shell_status()))
        })
    }

    /// Watches for OOM kills; `None` without a memory controller.
    ///
    /// # Errors
    /// There is no such container.
    pub fn oom_watch(&self) -> Result<Option<OomWatch>> {
        self.with(|container| Ok(Cgroup::open(&container.record.cgroup).oom_events()?.map(OomWatch)))
    }

    /// Opens the process of the container as a pidfd.
    ///
    /// # Errors
    /// It has ended.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        self.with(|container| match container.init.map(status::open_pidfd).transpose()?.flatten() {
            Some(pidfd) => Ok(pidfd),
            None => bail!("container not running: {}", self.id),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&LoadedContainer) -> anyhow::Result<T>) -> Result<T> {
        let id = ContainerId::new(&self.id)?;
        self.runtime.with(|context| act(&commands::load(context.store.open(&id)?)?)).map(|(value, _)| value)
    }
}

/// A watch for OOM kills in a container.
#[derive(Debug)]
pub struct OomWatch(oom::OomWatch);

impl OomWatch {
    /// Returns the descriptor to poll, and whether it announces by POLLPRI (cgroup v2) and not by POLLIN.
    pub fn poll(&self) -> (BorrowedFd<'_>, bool) {
        let (fd, flags) = self.0.poll();
        (fd, flags == PollFlags::POLLPRI)
    }

    /// Returns in how many milliseconds to look again although nothing is announced, if so.
    pub fn again(&self) -> Option<u64> {
        let longest = std::time::Duration::from_secs(3600);
        let wait = self.0.poll_timeout(longest);
        (wait < longest).then_some(wait.as_millis() as u64)
    }

    /// Returns the number of kills since the last call; to be called after each poll.
    ///
    /// # Errors
    /// The kernel's file cannot be read.
    pub fn events(&mut self, announced: bool) -> Result<u64> {
        Ok(self.0.events(announced).context("OOM kills")?)
    }
}
