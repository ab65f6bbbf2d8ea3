//! corm's verbs, one file each: load, check, act, print.

mod bundle;
mod commit;
mod config;
mod exec;
mod fsck;
mod history;
mod images;
mod inspect;
mod kill;
mod load;
mod logs;
pub mod print;
mod prune;
mod ps;
mod pull;
mod push;
mod rm;
mod rmi;
mod rootless;
mod run;
mod save;
mod start;
mod stop;
mod system_df;
mod tag;
mod unbundle;
mod wait;

use anyhow::Result;

use super::cli::args::{Global, LogLevel, Verb};
use super::store::{Store, StoreOptions};
use rootless::Prepared;

/// What every verb gets.
#[derive(Debug, Clone)]
pub struct Context {
    /// Flags before the verb.
    pub global: Global,
}

impl Context {
    /// The store that the flags name.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn store(&self) -> Result<Store> {
        Store::open(&StoreOptions { root: self.global.root.clone(), driver: self.global.driver })
    }

    /// A message on standard error, if it is severe enough.
    pub fn say(&self, level: LogLevel, text: impl std::fmt::Display) {
        use std::io::Write as _;
        if level <= self.global.log_level {
            // nobody is left to tell when standard error is closed
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Does what the command line asks for; corm's exit status.
///
/// # Errors
/// What failed, for one line on standard error.
pub fn run(context: &Context, verb: Verb) -> Result<u8> {
    let context = &match rootless::prepare(context, &verb)? {
        Prepared::Here(context) => context,
        Prepared::Done(status) => return Ok(status),
    };
    match verb {
        Verb::Config(args) => config::run(context, &args),
        Verb::Bundle { image, dir } => bundle::run(context, &image, &dir),
        Verb::Unbundle(dir) => unbundle::run(context, &dir),
        Verb::Run(args) => run::run(context, &args),
        Verb::Ps { all, quiet, format } => ps::run(context, all, quiet, format),
        Verb::Exec(args) => exec::run(context, &args),
        Verb::Logs { follow, container } => logs::run(context, &container, follow),
        Verb::Wait(container) => wait::run(context, &container),
        Verb::Stop { timeout, containers } => stop::run(context, &containers, timeout),
        Verb::Kill { signal, containers } => kill::run(context, &containers, &signal),
        Verb::Start(containers) => start::run(context, &containers),
        Verb::Rm { force, containers } => rm::run(context, &containers, force),
        Verb::Commit(args) => commit::run(context, &args),
        Verb::Images { quiet, format } => images::run(context, quiet, format),
        Verb::Inspect(what) => inspect::run(context, &what),
        Verb::History { image, format } => history::run(context, &image, format),
        Verb::Load { path, name } => load::run(context, &path, name.as_deref()),
        Verb::Save(args) => save::run(context, &args),
        Verb::Tag { image, name } => tag::run(context, &image, &name),
        Verb::Rmi { force, images } => rmi::run(context, &images, force),
        Verb::SystemDf { format } => system_df::run(context, format),
        Verb::SystemPrune { all } => prune::run(context, all),
        Verb::Fsck { repair } => fsck::run(context, repair),
        Verb::Pull(args) => pull::run(context, &args),
        Verb::Push(args) => push::run(context, &args),
        other => anyhow::bail!("{}: not built in", name(&other)),
    }
}

/// Does the same to each; all are tried, and the first error is told last.
///
/// # Errors
/// One could not be done.
fn each(context: &Context, names: &[String], one: impl Fn(&str) -> Result<()>) -> Result<u8> {
    let mut failed = None;
    for name in names {
        if let Err(err) = one(name)
            && let Some(before) = failed.replace(err)
        {
            context.say(LogLevel::Error, format_args!("corm: {}", crate::error::describe(&before)));
        }
    }
    failed.map_or(Ok(0), Err)
}

fn name(verb: &Verb) -> String {
    let text = format!("{verb:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_lowercase()
}
