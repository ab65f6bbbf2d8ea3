//! The command line: from the words of `argv` to the structures of [`args`], or to a text to be shown.
//!
//! Pure: nothing is printed and nothing is opened here.
//!
//! `syntax` has the table of verbs and flags, `convert` gives values their types; how lines are read is `argv`.

pub mod args;
mod convert;
mod syntax;

use std::ffi::OsString;

use base::cli_parser;

/// The version of the runtime specification that `--version` names.
const SPEC_VERSION: &str = "1.3.0";

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A verb to be done.
    Run(Box<args::Command>),
    /// A help or version text: to standard output, exit 0.
    Print(String),
    /// Wrong usage: exit 1, of `exec` 255.
    Usage {
        /// What is wrong, one line without `croci: ` and newline: to standard error and the log.
        message: String,
        /// How it is right, with its newline: to standard error only; empty where it would not help.
        usage: String,
        /// The flags before the verb as far as they were understood: where the log is.
        global: Box<args::Global>,
        /// The verb, once it is known.
        verb: Option<&'static str>,
    },
}

/// Reads a whole command line; the first word is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome {
    match syntax::CROCI.parse(args) {
        cli_parser::Outcome::Run(global, verb) => Outcome::Run(Box::new(args::Command { global, verb })),
        cli_parser::Outcome::Print(text) => Outcome::Print(text),
        cli_parser::Outcome::Usage { message, usage, global, verb } => Outcome::Usage { message, usage, global, verb },
    }
}

#[cfg(test)]
mod tests;
