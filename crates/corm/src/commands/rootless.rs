//! What a verb of an ordinary user needs before it is done: a user namespace for what touches trees, that of the container
//! for what touches one that runs, none for what only reads records.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::Context;
use crate::cli::args::Verb;
use crate::container::run_dir::RunDir;
use crate::container::userns;
use crate::store;

/// What there is left to do.
pub(super) enum Dispatch {
    /// The verb, by this process.
    Here(Context),
    /// Nothing: other processes have done it.
    Done(u8),
}

/// What a verb touches.
enum NamespaceNeeds<'a> {
    /// Records and blobs, which are the user's own files.
    Records,
    /// Trees.
    Trees,
    /// The tree of a container that may be running.
    Container(&'a str),
    /// The same of several.
    Containers(&'a [String]),
}

fn touches(verb: &Verb) -> NamespaceNeeds<'_> {
    match verb {
        Verb::Ps { .. } | Verb::Logs { .. } | Verb::Wait(_) | Verb::Images { .. } | Verb::History { .. } => {
            NamespaceNeeds::Records
        }
        Verb::Tag { .. } | Verb::Push(_) | Verb::Save(_) | Verb::Config(_) => NamespaceNeeds::Records,
        Verb::Exec(exec) => NamespaceNeeds::Container(&exec.container),
        Verb::Commit(commit) => NamespaceNeeds::Container(&commit.container),
        Verb::Diff(name) | Verb::Inspect(name) | Verb::Export { from: name, .. } => NamespaceNeeds::Container(name),
        Verb::Kill { containers, .. }
        | Verb::Stop { containers, .. }
        | Verb::Start(containers)
        | Verb::Rm { containers, .. } => NamespaceNeeds::Containers(containers),
        _ => NamespaceNeeds::Trees,
    }
}

/// Prepares a verb; nothing for root. To be called while the process has one thread.
pub(super) fn prepare(context: &Context, verb: &Verb) -> Result<Dispatch> {
    let mut context = context.clone();
    if userns::real_uid() == 0 {
        return Ok(Dispatch::Here(context));
    }
    // said before corm seems to be root
    let root = match context.global.root.take() {
        Some(root) => root,
        None => store::default_root()?,
    };
    let is_there = root.join("store.json").exists();
    context.global.root = Some(root);
    match touches(verb) {
        // the driver of a new store is chosen by what works in the namespace
        _ if !is_there => userns::enter()?,
        NamespaceNeeds::Records => {}
        NamespaceNeeds::Trees => userns::enter()?,
        NamespaceNeeds::Container(name) => enter_container(&context, name)?,
        NamespaceNeeds::Containers([name]) => enter_container(&context, name)?,
        NamespaceNeeds::Containers(names) => return one_by_one(names).map(Dispatch::Done),
    }
    Ok(Dispatch::Here(context))
}

/// The namespaces of a container where it runs; what is no container gets new ones.
fn enter_container(context: &Context, name: &str) -> Result<()> {
    let store = context.store()?;
    let Ok(record) = store.find_container(name) else { return userns::enter() };
    let run = RunDir::of(store.root())?;
    let attendant = run.supervisor(&record.id)?.map(|attended| attended.pid()).transpose()?.flatten();
    userns::enter_of(attendant, run.pid(&record.id))
}

/// Each container has namespaces of its own, and a process can enter those of one: the same command line for each.
fn one_by_one(names: &[String]) -> Result<u8> {
    let all: Vec<_> = std::env::args_os().skip(1).collect();
    // the names are the last words: nothing comes after the operands of these verbs
    let words = all.len().saturating_sub(names.len());
    let (flags, operands) = all.split_at_checked(words).context("arguments")?;
    let own = std::env::current_exe().context("where corm itself is")?;
    let mut worst = 0;
    for operand in operands {
        let status = Command::new(&own).args(flags).arg(operand).status().with_context(|| format!("run {own:?}"))?;
        worst = worst.max(status.code().unwrap_or(1));
    }
    Ok(u8::try_from(worst).unwrap_or(1))
}
