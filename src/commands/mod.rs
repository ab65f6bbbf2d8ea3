//! The verbs: each loads the container, asks the table of transitions, calls, prints. No verb knows how another works.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod restore;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::cli::args::Command;
use crate::cli::args::Global;
use crate::cli::args::Verb;
use crate::config::ContainerId;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::Record;
use crate::state::Status;
use crate::state::Store;
use crate::state::status;
use base::error::escape;
use base::host;
use base::log::Log;

/// What every verb works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The containers.
    pub store: Store,
    /// Where messages go.
    pub log: &'a Log,
    /// Flags before the verb.
    pub global: &'a Global,
}

/// A container, as it is found.
#[derive(Debug)]
pub struct LoadedContainer {
    /// Its state directory.
    pub entry: Entry,
    /// Its record.
    pub record: Record,
    /// Its status now.
    pub status: Status,
    /// Its first process, while that lives.
    pub init: Option<ProcessId>,
}

impl Context<'_> {
    /// Finds a container.
    ///
    /// # Errors
    /// `does not exist`, a damaged state.
    pub fn find(&self, id: &str) -> Result<LoadedContainer> {
        found(self.store.open(&ContainerId::new(id)?)?)
    }

    /// Warnings go to the log and do not change what happens.
    pub fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.log.warning(warning));
    }

    /// Tells the caller, whatever the log level, which protections the container does without.
    pub fn warn_of_unprotected(&self, missing: &[String]) {
        missing.iter().for_each(|missing| self.log.warning_at_any_level(missing));
    }
}

/// The record and status of an entry.
///
/// # Errors
/// A damaged state.
pub fn found(entry: Entry) -> Result<LoadedContainer> {
    let record = entry.record()?;
    let (status, init) = status::of_record(&record)?;
    Ok(LoadedContainer { entry, record, status, init })
}

/// Runs a command; its exit status.
///
/// # Errors
/// Whatever the verb says.
pub fn run(command: &Command, log: &Log) -> Result<i32> {
    // a caller that ignores SIGCHLD would hide our children's ends from us
    linux::process::default_sigchld();
    let global = &command.global;
    let root = match &global.root {
        Some(root) => std::path::absolute(root).with_context(|| format!("--root {root:?}"))?,
        None => host::default_root()?,
    };
    log.debug(|| {
        let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("version {}, state root {root:?}: {}", env!("CARGO_PKG_VERSION"), words.join(" "))
    });
    let context = Context { store: Store::new(root), log, global };
    let result = dispatch(&context, command);
    if let Ok(status) = &result {
        log.debug(|| format!("done, exit status {status}"));
    }
    result
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
        Verb::Checkpoint(args) => checkpoint::checkpoint(context, args),
        Verb::Restore(args) => restore::restore(context, args),
        Verb::Mounts(args) => mounts::mounts(context, args),
    }
}

/// Whether a process of the runtime's becomes visible to a container.
fn enters_container(verb: &Verb) -> bool {
    matches!(verb, Verb::Create(_) | Verb::Run(_) | Verb::Exec(_) | Verb::Restore(_) | Verb::Mounts(_))
}

/// What a container can see of the runtime must be neither written nor traced (SEC-5, SEC-6).
fn hide_from_containers() -> Result<()> {
    linux::binary::ensure_protected().context("protect the runtime's binary from the container")?;
    // As root, for good: children inherit it, and it ends with the program's execve. To another user the kernel would close
    // its own files in procfs, some of which have to be written before: the child follows when that is done.
    if linux::process::euid() == 0 {
        linux::process::set_dumpable(false).context("set non-dumpable")?;
    }
    Ok(())
}

/// Prints lines of text or of JSON to standard output, without any character that a terminal obeys; a reader that went
/// away is no reason to panic.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(escape::output(text).as_bytes()).and_then(|()| out.flush()).context("standard output")
}

/// Does `one` for each; earlier failures are logged as they are replaced by later ones, the last one is the verb's.
///
/// # Errors
/// The last failure, when all were tried.
fn for_each_id<T>(context: &Context<'_>, ids: &[T], one: impl Fn(&T) -> Result<()>) -> Result<i32> {
    let mut failed = None;
    for id in ids {
        if let Err(err) = one(id)
            && let Some(earlier) = failed.replace(err)
        {
            context.log.error(&base::error::describe(&earlier));
        }
    }
    failed.map_or(Ok(0), Err)
}

/// The regular expression of `--regex`, over the IDs of the store.
///
/// # Errors
/// A wrong expression.
fn matching(context: &Context<'_>, pattern: &str) -> Result<Vec<ContainerId>> {
    let pattern = regex_lite::Regex::new(pattern).with_context(|| format!("--regex {pattern:?}"))?;
    Ok(context.store.ids()?.into_iter().filter(|id| pattern.is_match(id.as_str())).collect())
}
