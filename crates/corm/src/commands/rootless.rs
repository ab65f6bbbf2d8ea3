//! Namespaces for an unprivileged user's verb: a new user namespace for access to trees, the container's for access to
//! a running one, none for records.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::Context;
use crate::cli::args::{ContainerVerb, ImageVerb, Verb};
use crate::container::run_dir::RunDir;
use crate::container::userns;
use crate::store;

/// Result of the preparation.
pub(super) enum Dispatch {
    /// This process runs the verb.
    Here(Context),
    /// Other processes have run the verb, with this exit status.
    Done(u8),
}

/// Data that a verb accesses.
enum NamespaceNeeds<'a> {
    /// Records and blobs, which are the user's own files.
    Records,
    /// Trees.
    Trees,
    /// The tree of a container that may be running.
    Container(&'a str),
    /// The trees of several such containers.
    Containers(&'a [String]),
}

fn needs_of(verb: &Verb) -> NamespaceNeeds<'_> {
    match verb {
        Verb::Image(verb) => needs_of_image(verb),
        Verb::Container(verb) => needs_of_container(verb),
        Verb::System(_) => NamespaceNeeds::Trees,
    }
}

fn needs_of_image(verb: &ImageVerb) -> NamespaceNeeds<'_> {
    match verb {
        ImageVerb::Images { .. }
        | ImageVerb::History { .. }
        | ImageVerb::Tag { .. }
        | ImageVerb::Push(_)
        | ImageVerb::Save(_)
        | ImageVerb::Config(_) => NamespaceNeeds::Records,
        ImageVerb::Diff(name) | ImageVerb::Inspect(name) | ImageVerb::Export { from: name, .. } => {
            NamespaceNeeds::Container(name)
        }
        _ => NamespaceNeeds::Trees,
    }
}

fn needs_of_container(verb: &ContainerVerb) -> NamespaceNeeds<'_> {
    match verb {
        ContainerVerb::Run(_) => NamespaceNeeds::Trees,
        ContainerVerb::Ps { .. } | ContainerVerb::Logs { .. } | ContainerVerb::Wait(_) => NamespaceNeeds::Records,
        ContainerVerb::Exec(exec) => NamespaceNeeds::Container(&exec.container),
        ContainerVerb::Commit(commit) => NamespaceNeeds::Container(&commit.container),
        ContainerVerb::Kill { containers, .. }
        | ContainerVerb::Stop { containers, .. }
        | ContainerVerb::Start(containers)
        | ContainerVerb::Rm { containers, .. } => NamespaceNeeds::Containers(containers),
    }
}

/// Enters the namespaces of a verb; does nothing for root. The process must have one thread.
pub(super) fn prepare(context: &Context, verb: &Verb) -> Result<Dispatch> {
    let mut context = context.clone();
    if userns::real_uid() == 0 {
        return Ok(Dispatch::Here(context));
    }
    // before corm becomes root in the namespace, which has another default
    let root = match context.global.root.take() {
        Some(root) => root,
        None => store::default_root()?,
    };
    let is_there = root.join("store.json").exists();
    context.global.root = Some(root);
    match needs_of(verb) {
        // the driver of a new store depends on what works in the namespace
        _ if !is_there => userns::enter()?,
        NamespaceNeeds::Records => {}
        NamespaceNeeds::Trees => userns::enter()?,
        NamespaceNeeds::Container(name) => enter_container(&context, name)?,
        NamespaceNeeds::Containers([name]) => enter_container(&context, name)?,
        NamespaceNeeds::Containers(names) => return run_for_each(names).map(Dispatch::Done),
    }
    Ok(Dispatch::Here(context))
}

/// Enters the namespaces of a running container, or new ones.
fn enter_container(context: &Context, name: &str) -> Result<()> {
    let store = context.store()?;
    let Ok(record) = store.find_container(name) else { return userns::enter() };
    let run = RunDir::of(store.root())?;
    let supervisor = run.supervisor(&record.id)?.map(|handle| handle.pid()).transpose()?.flatten();
    userns::enter_existing(supervisor, run.pid(&record.id))
}

/// Runs corm again for each container, because each has its own namespaces and a process can enter one.
fn run_for_each(names: &[String]) -> Result<u8> {
    let all: Vec<_> = std::env::args_os().skip(1).collect();
    // these verbs have the names as their last words
    let words = all.len().saturating_sub(names.len());
    let (flags, operands) = all.split_at_checked(words).context("arguments")?;
    let own = std::env::current_exe().context("path of the corm binary")?;
    let mut worst = 0;
    for operand in operands {
        let status = Command::new(&own).args(flags).arg(operand).status().with_context(|| format!("run {own:?}"))?;
        worst = worst.max(status.code().unwrap_or(1));
    }
    Ok(u8::try_from(worst).unwrap_or(1))
}
