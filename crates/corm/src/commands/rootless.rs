//! Namespaces for an unprivileged user's verb: a new user namespace for access to trees, the container's for access to
//! a running one, none for records.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};

use super::{Context, cp};
use crate::cli::args::views::ContainerOrder;
use crate::cli::args::{ContainerVerb, ImageVerb, Push, RegistryVerb, Save, Selection, SystemVerb, Verb, VolumeVerb};
use crate::container::run_dir::RunDir;
use crate::container::userns;
use crate::store;
use linux::process;
use linux::process::CloneResult;

/// Result of the preparation.
pub(super) enum Dispatch {
    /// This process runs the verb.
    Here(Box<(Context, Verb)>),
    /// Other processes have run the verb, with this exit status.
    Done(u8),
}

/// Data that a verb accesses.
enum NamespaceNeeds<'a> {
    /// Nothing of the store.
    Nothing,
    /// Records and blobs, which are the user's own files.
    Records,
    /// Trees.
    Trees,
    /// The tree of a container that may be running.
    Container(&'a str),
    /// The trees of several such containers.
    Containers(&'a Selection),
}

fn needs_of(verb: &Verb) -> NamespaceNeeds<'_> {
    match verb {
        Verb::Image(verb) => needs_of_image(verb),
        Verb::Container(verb) => needs_of_container(verb),
        Verb::Registry(RegistryVerb::Copy(_)) | Verb::Manifest(_) => NamespaceNeeds::Trees,
        Verb::Registry(_) => NamespaceNeeds::Nothing,
        Verb::Volume(VolumeVerb::List(_) | VolumeVerb::Inspect { .. } | VolumeVerb::Exists(_)) => {
            NamespaceNeeds::Records
        }
        Verb::System(SystemVerb::Explain(_) | SystemVerb::Version { .. } | SystemVerb::Info { .. }) => {
            NamespaceNeeds::Records
        }
        Verb::Volume(_) | Verb::System(_) => NamespaceNeeds::Trees,
        Verb::Network(_) => NamespaceNeeds::Records,
    }
}

fn needs_of_image(verb: &ImageVerb) -> NamespaceNeeds<'_> {
    match verb {
        ImageVerb::Inspect(inspect) if inspect.size => NamespaceNeeds::Trees,
        ImageVerb::Images(_)
        | ImageVerb::Inspect(_)
        | ImageVerb::History(_)
        | ImageVerb::Tag { .. }
        // with another compression unused layers are removed
        | ImageVerb::Push(Push { compression: None, .. })
        | ImageVerb::Save(Save { compression: None, .. })
        | ImageVerb::Exists(_)
        | ImageVerb::Config(_) => NamespaceNeeds::Records,
        ImageVerb::Diff(diff) => NamespaceNeeds::Container(&diff.what),
        ImageVerb::Export { from: name, .. } => NamespaceNeeds::Container(name),
        _ => NamespaceNeeds::Trees,
    }
}

fn needs_of_container(verb: &ContainerVerb) -> NamespaceNeeds<'_> {
    if let Some(which) = verb.selection() {
        return NamespaceNeeds::Containers(which);
    }
    match verb {
        ContainerVerb::Run(run) | ContainerVerb::Create(run) => match run.settings.namespaces.joined().next() {
            // only in the user namespace of the other container its namespaces can be joined
            Some((_, name)) => NamespaceNeeds::Container(name),
            None => NamespaceNeeds::Trees,
        },
        ContainerVerb::Ps(ps) if ps.size || ps.order == ContainerOrder::Size => NamespaceNeeds::Trees,
        ContainerVerb::Ps(_)
        | ContainerVerb::Logs(_)
        | ContainerVerb::Wait(_)
        | ContainerVerb::Exists(_)
        | ContainerVerb::Attach(_)
        | ContainerVerb::Stats(_)
        | ContainerVerb::Rename { .. } => NamespaceNeeds::Records,
        ContainerVerb::Copy(args) => cp::container(args).map_or(NamespaceNeeds::Trees, NamespaceNeeds::Container),
        ContainerVerb::Top { container, .. } => NamespaceNeeds::Container(container),
        ContainerVerb::Update(args) => NamespaceNeeds::Container(&args.container),
        ContainerVerb::Exec(exec) => NamespaceNeeds::Container(&exec.container),
        ContainerVerb::Commit(commit) => NamespaceNeeds::Container(&commit.container),
        _ => NamespaceNeeds::Trees,
    }
}

/// Enters the namespaces of a verb; does nothing for root. The process must have one thread.
pub(super) fn prepare(context: &Context, verb: Verb) -> Result<Dispatch> {
    let mut context = context.clone();
    if userns::real_uid() == 0 || matches!(needs_of(&verb), NamespaceNeeds::Nothing) {
        return Ok(Dispatch::Here(Box::new((context, verb))));
    }
    // before corm becomes root in the namespace, which has another default
    let root = match context.global.root.take() {
        Some(root) => root,
        None => store::default_root()?,
    };
    let is_there = root.join("store.json").exists();
    context.global.root = Some(root);
    match needs_of(&verb) {
        // the driver of a new store depends on what works in the namespace
        _ if !is_there => userns::enter()?,
        NamespaceNeeds::Nothing | NamespaceNeeds::Records => {}
        NamespaceNeeds::Trees => userns::enter()?,
        NamespaceNeeds::Container(name) => enter_container(&context, name)?,
        NamespaceNeeds::Containers(which) => {
            let which = which.clone();
            return for_each_fork(context, verb, &which);
        }
    }
    Ok(Dispatch::Here(Box::new((context, verb))))
}

/// Enters the namespaces of a running container, or new ones.
fn enter_container(context: &Context, name: &str) -> Result<()> {
    let store = context.store()?;
    let Ok(record) = store.find_container(name) else { return userns::enter() };
    let run = RunDir::of(store.root())?;
    let supervisor = run.supervisor(&record.id)?.map(|handle| handle.pid()).transpose()?.flatten();
    userns::enter_existing(supervisor, run.pid(&record.id)?)
}

/// Runs the verb in a fork for each container, because each has its own namespaces and a process can enter one.
fn for_each_fork(context: Context, mut verb: Verb, which: &Selection) -> Result<Dispatch> {
    let mut names = which.names.clone();
    if which.is_among_all() {
        // containers to which the verb does not apply are left out by the fork
        names = context.store()?.containers()?.into_iter().map(|record| record.id).collect();
    }
    let mut worst = 0;
    for name in &names {
        // one needs no fork; and what is started in the foreground needs the terminal's process
        if names.len() > 1 || which.is_among_all() {
            match process::clone3(0, None).context("fork")? {
                CloneResult::Parent { pidfd, .. } => {
                    let ended = process::wait(pidfd.as_fd(), true).context("wait for a fork")?;
                    worst = worst.max(ended.map_or(1, |ended| ended.status()));
                    continue;
                }
                CloneResult::Child => {}
            }
        }
        enter_container(&context, name)?;
        if let Verb::Container(verb) = &mut verb {
            verb.select(Selection { names: vec![name.clone()], ..which.clone() });
        }
        return Ok(Dispatch::Here(Box::new((context, verb))));
    }
    Ok(Dispatch::Done(u8::try_from(worst).unwrap_or(1)))
}
