//! The verbs: each loads the container, checks its status, acts and prints.

mod checkpoint;
pub(crate) mod create;
pub(crate) mod delete;
mod events;
pub(crate) mod exec;
mod explain;
mod features;
mod gc;
mod kernel_log;
pub(crate) mod kill;
mod list;
mod mounts;
pub(crate) mod pause;
mod plan;
mod ps;
mod reached;
mod restore;
mod run;
mod spec;
mod start;
mod state;
pub(crate) mod update;
mod validate;
mod wait;
mod why;

use base::coded;
use base::error::{Code, Coding as _, escape};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::cli::args::Command;
use crate::cli::args::Exec;
use crate::cli::args::Global;
use crate::cli::args::Verb;
use crate::config::ContainerId;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::Record;
use crate::state::Status;
use crate::state::Store;
use crate::state::status;
use base::host;
use base::log::Log;

/// The context of every verb.
#[derive(Debug)]
pub struct Context<'a> {
    /// The state directories of the state root.
    pub store: Store,
    /// The log for warnings and errors.
    pub log: &'a Log,
    /// The flags before the verb.
    pub global: &'a Global,
}

/// A container with its record and present status.
#[derive(Debug)]
pub struct LoadedContainer {
    /// Its state directory.
    pub entry: Entry,
    /// Its record.
    pub record: Record,
    /// Its status when it was loaded.
    pub status: Status,
    /// Its init process, if that had not ended.
    pub init: Option<ProcessId>,
}

impl Context<'_> {
    /// Loads the container `id`.
    ///
    /// # Errors
    /// `does not exist`; as [`load`].
    pub fn find(&self, id: &str) -> Result<LoadedContainer> {
        load(self.store.open(&ContainerId::new(id)?)?)
    }

    /// Logs warnings.
    pub fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.log.warning(warning));
    }

    /// Logs warnings that the specification demands, at any log level: what the configuration asks for and does not get.
    /// To standard error only without `--log`, because with it the caller's standard error may be the container's log.
    pub fn warn_by_default(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.log.warning_by_default(warning));
    }

    /// Logs warnings that the caller must see, at any log level: configured protections that the container does not have,
    /// hooks that failed after the container was gone.
    pub fn warn_always(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.log.warning_at_any_level(warning));
    }
}

/// Loads the container of an open state directory.
///
/// # Errors
/// As `Entry::record`; procfs cannot be read.
pub fn load(entry: Entry) -> Result<LoadedContainer> {
    let record = entry.record()?;
    let (status, init) = status::of_record(&record)?;
    Ok(LoadedContainer { entry, record, status, init })
}

/// Runs a command and returns the exit status.
///
/// # Errors
/// The error of the verb.
pub fn run(command: &Command, log: &Log) -> Result<i32> {
    let without_state = matches!(command.verb, Verb::Spec(_) | Verb::Features);
    let context = context(&command.global, without_state, log)?;
    let result = dispatch(&context, command);
    if let Ok(status) = &result {
        log.debug(|| format!("done, exit status {status}"));
    }
    result
}

/// Creates a process in a container, for the library, and returns its pid.
///
/// # Errors
/// As the verb `exec`.
pub(crate) fn exec_detached(global: &Global, args: &Exec, log: &Log) -> Result<i32> {
    let context = context(global, false, log)?;
    hide_from_containers()?;
    exec::begin(&context, args).map(|executed| executed.init.pid)
}

/// As [`exec_detached`], but calls `wait` when all is prepared that changes nothing.
///
/// # Errors
/// As [`exec_detached`]; the error of `wait`.
pub(crate) fn exec_held(global: &Global, args: &Exec, log: &Log, wait: &dyn Fn() -> Result<()>) -> Result<i32> {
    let context = context(global, false, log)?;
    hide_from_containers()?;
    exec::begin_held(&context, args, wait).map(|executed| executed.init.pid)
}

/// Prepares this process for a verb and returns the verb's context.
fn context<'a>(global: &'a Global, without_state: bool, log: &'a Log) -> Result<Context<'a>> {
    // because with an inherited SIG_IGN for SIGCHLD the kernel would reap croci's children
    linux::process::default_sigchld();
    // because a write beyond RLIMIT_FSIZE is then an error (EFBIG) that croci reports after it has undone its work
    linux::signal::set_without_effect(libc::SIGXFSZ).context("SIGXFSZ")?;
    let root = match &global.root {
        Some(root) => std::path::absolute(root).with_code(Code::UsageValue, || format!("--root {root:?}"))?,
        // these verbs work without state, and so without a directory for it
        None if without_state => PathBuf::new(),
        None => host::default_root()?,
    };
    log.debug(|| {
        let words: Vec<String> =
            linux::binary::arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("version {}, state root {root:?}: {}", env!("CARGO_PKG_VERSION"), words.join(" "))
    });
    Ok(Context { store: Store::new(root), log, global })
}

fn dispatch(context: &Context<'_>, command: &Command) -> Result<i32> {
    if enters_container(&command.verb) {
        hide_from_containers()?;
    }
    match &command.verb {
        Verb::Create(args) => create::create(context, args),
        Verb::Run(args) => run::run(context, args),
        Verb::Start(ids) => start::start(context, ids),
        Verb::State(args) => state::state(context, args),
        Verb::Kill(args) => kill::kill(context, args),
        Verb::Delete(args) => delete::delete(context, args),
        Verb::Exec(args) => exec::exec(context, args),
        Verb::Ps(args) => ps::ps(context, args),
        Verb::List(args) => list::list(context, args),
        Verb::Pause(id) => pause::pause(context, id),
        Verb::Resume(id) => pause::resume(context, id),
        Verb::Update(args) => update::update(context, args),
        Verb::Events(args) => events::events(context, args),
        Verb::Spec(args) => spec::spec(args),
        Verb::Features => features::features(),
        Verb::Wait(ids) => wait::wait(context, ids),
        Verb::Why(args) => why::why(context, args),
        Verb::Gc(args) => gc::gc(context, args),
        Verb::Validate(args) => validate::validate(context, args),
        Verb::Plan(args) => plan::plan(context, args),
        Verb::Explain(words) => explain::explain(words),
        Verb::Checkpoint(args) => checkpoint::checkpoint(context, args),
        Verb::Restore(args) => restore::restore(context, args),
        Verb::Mounts(args) => mounts::mounts(context, args),
    }
}

/// Returns whether a container can see a process of this verb.
fn enters_container(verb: &Verb) -> bool {
    matches!(verb, Verb::Create(_) | Verb::Run(_) | Verb::Exec(_) | Verb::Restore(_) | Verb::Mounts(_))
}

/// Protects the runtime's binary from being written and its processes from being traced by a container (SEC-5, SEC-6).
fn hide_from_containers() -> Result<()> {
    match linux::binary::ensure_protected() {
        // its descriptors are looked up there
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => {
            bail!(coded!(HostUnsupported, "/proc is not mounted (mount -t proc proc /proc)"))
        }
        result => result.context("protect the runtime's binary from the container")?,
    }
    // Only as root: children inherit the flag until the program's execve(2). An unprivileged process that is not
    // dumpable cannot write its own files in procfs, so its child sets the flag after it has written them.
    if linux::process::euid() == 0 {
        linux::process::set_dumpable(false).context("set non-dumpable")?;
    }
    Ok(())
}

/// Prints text or JSON to standard output, with control characters escaped.
///
/// # Errors
/// As write(2); also a closed pipe is an error and no panic.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(escape::output(text).as_bytes()).and_then(|()| out.flush()).context("standard output")
}

/// Calls `one` for each ID, also after errors.
///
/// # Errors
/// The last error; earlier ones are logged.
fn for_each_id<T>(context: &Context<'_>, ids: &[T], one: impl Fn(&T) -> Result<()>) -> Result<i32> {
    let mut failed = None;
    for id in ids {
        if let Err(err) = one(id)
            && let Some(earlier) = failed.replace(err)
        {
            context.log.error(&base::error::Report::of(&earlier));
        }
    }
    failed.map_or(Ok(0), Err)
}

/// Returns the IDs of the store that match the regular expression of `--regex`.
///
/// # Errors
/// The expression cannot be parsed; as [`Store::ids`].
fn matching(context: &Context<'_>, pattern: &str) -> Result<Vec<ContainerId>> {
    let pattern = regex_lite::Regex::new(pattern).with_code(Code::UsageValue, || format!("--regex {pattern:?}"))?;
    Ok(context.store.ids()?.into_iter().filter(|id| pattern.is_match(id.as_str())).collect())
}
