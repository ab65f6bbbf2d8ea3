//! corm's verbs, one file each: load, check, act, print.

mod attach;
mod build;
mod bundle;
mod commit;
mod config;
mod copy;
mod cp;
mod create;
mod diff;
mod exec;
mod exists;
mod explain;
mod export;
mod foreground;
mod fsck;
mod history;
mod images;
mod import;
mod info;
mod init;
mod inspect;
mod kill;
mod load;
mod login;
mod logs;
mod manifest;
mod network;
mod new_container;
mod pause;
mod port;
pub mod print;
mod prompt;
mod prune;
mod ps;
mod pull;
mod push;
mod remote;
mod remote_image;
mod rename;
mod restart;
mod rm;
mod rmi;
mod rootless;
mod run;
mod save;
mod search;
mod select;
mod start;
mod stats;
mod stop;
mod system_df;
mod tag;
mod tags;
mod top;
mod unbundle;
mod update;
mod version;
mod volume;
mod wait;

use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use base::coded;

use super::cli::args::{ContainerVerb, Global, ImageVerb, LogLevel, RegistryVerb, SystemVerb, Verb, VolumeVerb};
use super::create::Described;
use super::model::platform::Platform;
use super::store::{ContainerRecord, ImageRecord, Store, StoreOptions};
use base::error::escape::one_line;
use rootless::Dispatch;

/// Context of a verb.
#[derive(Debug, Clone)]
pub struct Context {
    /// Flags before the verb.
    pub global: Global,
}

impl Context {
    /// Opens the store that the flags name.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn store(&self) -> Result<Store> {
        let options = StoreOptions { root: self.global.root.clone(), driver: self.global.driver };
        Ok(Store::open(&options)?.with_limits(self.global.layer_limits.clone()))
    }

    /// Prints a message of one line on standard error, if it is severe enough.
    pub fn report(&self, level: LogLevel, text: impl std::fmt::Display) {
        use std::io::Write as _;
        if level <= self.global.log_level {
            // write errors are ignored: standard error may be closed
            let _ = writeln!(std::io::stderr(), "{}", one_line(&text.to_string()));
        }
    }
}

impl Context {
    /// Prints one line about what a verb has done that prints nothing else, for a person: where standard error is a terminal.
    fn note(&self, text: impl std::fmt::Display) {
        if std::io::stderr().is_terminal() {
            self.report(LogLevel::Info, format_args!("corm: {text}"));
        }
    }
}

/// Runs the verb; returns corm's exit status.
///
/// # Errors
/// The error to print on standard error.
pub fn run(context: &Context, verb: Verb) -> Result<u8> {
    let (context, verb) = match rootless::prepare(context, verb)? {
        Dispatch::Here(both) => *both,
        Dispatch::Done(status) => return Ok(status),
    };
    match verb {
        Verb::Image(verb) => run_image(&context, verb),
        Verb::Container(verb) => run_container(&context, verb),
        Verb::Manifest(verb) => manifest::run(&context, &verb),
        Verb::Registry(verb) => run_registry(&context, &verb),
        Verb::Volume(verb) => run_volume(&context, verb),
        Verb::System(verb) => run_system(&context, &verb),
        Verb::Network(verb) => network::run(&context, &verb),
    }
}

fn run_image(context: &Context, verb: ImageVerb) -> Result<u8> {
    match verb {
        ImageVerb::Init { dir, name } => init::run(context, &dir, name.as_deref()),
        ImageVerb::Import { file, name, changes, message, platform, quiet: _ } => {
            let platform = platform.as_deref().map(Platform::parse).transpose()?;
            import::run(context, &file, name.as_deref(), &Described { changes, message, platform })
        }
        ImageVerb::Export { from, output } => export::run(context, &from, output.as_deref()),
        ImageVerb::Diff(args) => diff::run(context, &args),
        ImageVerb::Config(args) => config::run(context, &args),
        ImageVerb::Bundle { image, dir, tty } => bundle::run(context, &image, &dir, tty),
        ImageVerb::Unbundle(dir) => unbundle::run(context, &dir),
        ImageVerb::Images(args) => images::run(context, &args),
        ImageVerb::Inspect(args) => inspect::run(context, &args),
        ImageVerb::History(args) => history::run(context, &args),
        ImageVerb::Load { path, name, quiet } => load::run(context, &path, name.as_deref(), quiet),
        ImageVerb::Save(args) => save::run(context, &args),
        ImageVerb::Tag { image, name } => tag::run(context, &image, &name),
        ImageVerb::Untag { image, names } => tag::remove(context, &image, &names),
        ImageVerb::Rmi { all, force, ignore, images } => {
            rmi::run(context, &images, rmi::How { all, force, ignore, quiet: false })
        }
        ImageVerb::Exists(name) => exists::run(context.store()?.find_image(&name)),
        ImageVerb::Prune { all, force, filters } => prune::images(context, all, force, &filters),
        ImageVerb::Build(args) => build::run(context, &args),
        ImageVerb::Pull(args) => pull::run(context, &args),
        ImageVerb::Push(args) => push::run(context, &args),
    }
}

fn run_container(context: &Context, verb: ContainerVerb) -> Result<u8> {
    match verb {
        ContainerVerb::Run(args) => run::run(context, &args),
        ContainerVerb::Create(args) => create::run(context, &args),
        ContainerVerb::Ps(args) => ps::run(context, &args),
        ContainerVerb::Exec(args) => exec::run(context, &args),
        ContainerVerb::Logs(args) => logs::run(context, &args),
        ContainerVerb::Wait(args) => wait::run(context, &args),
        ContainerVerb::Attach(args) => attach::run(context, &args),
        ContainerVerb::Top { container, columns } => top::run(context, &container, &columns),
        ContainerVerb::Stats(args) => stats::run(context, &args),
        ContainerVerb::Update(args) => update::run(context, &args),
        ContainerVerb::Copy(args) => cp::run(context, &args),
        ContainerVerb::Stop { how, which } => stop::run(context, &which, &how),
        ContainerVerb::Kill { signal, which } => kill::run(context, &which, &signal),
        ContainerVerb::Start(args) => start::run(context, &args),
        ContainerVerb::Restart { how, running, which } => restart::run(context, &which, &how, running),
        ContainerVerb::Rename { container, name } => rename::run(context, &container, &name),
        ContainerVerb::Pause(which) => pause::run(context, &which),
        ContainerVerb::Unpause(which) => pause::undo(context, &which),
        ContainerVerb::Exists(name) => exists::run(context.store()?.find_container(&name)),
        ContainerVerb::Prune { force, filters } => prune::containers(context, force, &filters),
        ContainerVerb::Rm(args) => rm::run(context, &args),
        ContainerVerb::Commit(args) => commit::run(context, &args),
    }
}

fn run_registry(context: &Context, verb: &RegistryVerb) -> Result<u8> {
    match verb {
        RegistryVerb::Login(args) => login::run(context, args),
        RegistryVerb::Logout(args) => login::logout(args),
        RegistryVerb::Copy(args) => copy::run(context, args),
        RegistryVerb::Search(args) => search::run(context, args),
        RegistryVerb::Tags { repository, format, remote } => tags::run(repository, format, remote),
        RegistryVerb::Delete { references, remote } => tags::delete(context, references, remote),
        RegistryVerb::Inspect { reference, raw, config, platform, remote } => {
            remote_image::run(reference, (*raw, *config), platform.as_deref(), remote)
        }
    }
}

fn run_volume(context: &Context, verb: VolumeVerb) -> Result<u8> {
    match verb {
        VolumeVerb::Create(args) => volume::create(context, &args),
        VolumeVerb::List(args) => volume::list(context, &args),
        VolumeVerb::Inspect { names, all, format } => volume::inspect(context, &names, all, &format),
        VolumeVerb::Export { name, output } => volume::export(context, &name, output.as_deref()),
        VolumeVerb::Import { name, file } => volume::import(context, &name, &file),
        VolumeVerb::Remove { names, all, force } => volume::remove(context, &names, all, force),
        VolumeVerb::Prune { force, filters } => prune::volumes(context, force, &filters),
        VolumeVerb::Exists(name) => exists::run(context.store()?.find_volume(&name)),
    }
}

fn run_system(context: &Context, verb: &SystemVerb) -> Result<u8> {
    match verb {
        SystemVerb::SystemDf(args) => system_df::run(context, args),
        SystemVerb::SystemPrune(args) => prune::system(context, args),
        SystemVerb::Fsck { repair } => fsck::run(context, *repair),
        SystemVerb::Explain(words) => explain::run(words),
        SystemVerb::Version { format } => version::run(format),
        SystemVerb::Info { format } => info::run(context, format),
    }
}

/// The image or container of a name.
enum ImageOrContainer {
    Image(ImageRecord),
    Container(Box<ContainerRecord>),
}

/// Finds an image or a container: an image precedes a container, a container an image's ID.
///
/// # Errors
/// Neither has this name.
fn find_image_or_container(store: &Store, what: &str) -> Result<ImageOrContainer> {
    match (store.find_image(what), store.find_container(what)) {
        (Ok(image), Err(_)) => Ok(ImageOrContainer::Image(image)),
        (Ok(image), Ok(container)) if container.name != what => Ok(ImageOrContainer::Image(image)),
        (_, Ok(container)) => Ok(ImageOrContainer::Container(Box::new(container))),
        (Err(image), Err(container)) => {
            // an ambiguous prefix and a damaged record are reported before "No image named"
            let missing = |err: &anyhow::Error| err.to_string().starts_with("No ");
            match (missing(&image), missing(&container)) {
                (false, _) => Err(image),
                (true, false) => Err(container),
                (true, true) => bail!(coded!(
                    ImageNotFound,
                    "No image or container named '{what}' exists (`corm pull {what}` fetches an image)"
                )),
            }
        }
    }
}

/// Runs `one` for each name, also after an error; prints every error but the last.
///
/// # Errors
/// The last error.
fn for_each(context: &Context, names: &[String], one: impl Fn(&str) -> Result<()>) -> Result<u8> {
    let mut failed = None;
    for name in names {
        if let Err(err) = one(name)
            && let Some(before) = failed.replace(err)
        {
            context.report(LogLevel::Error, format_args!("corm: {}", base::error::Report::of(&before).line()));
        }
    }
    failed.map_or(Ok(0), Err)
}
