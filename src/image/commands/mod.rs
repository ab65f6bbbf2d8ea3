//! corm's verbs, one file each: load, check, act, print.

mod fsck;
mod history;
mod images;
mod inspect;
mod load;
pub mod print;
mod prune;
mod pull;
mod push;
mod rmi;
mod save;
mod system_df;
mod tag;

use std::path::Path;

use anyhow::Result;

use super::bundle;
use super::cli::args::{Global, LogLevel, Verb};
use super::store::{Store, StoreOptions};

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
    match verb {
        Verb::Bundle { image, dir } => bundle::make(Path::new(&image), &dir).map(|()| 0),
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

fn name(verb: &Verb) -> String {
    let text = format!("{verb:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_lowercase()
}
