//! The command line: parses the words of `argv` into the structures of [`args`], or into a text to print.
//!
//! Pure: prints nothing and opens nothing.
//!
//! `syntax` has the table of verbs and flags, `examples` their examples and exit statuses, `convert` the types of their values; the parser is `base::cli_parser`.

pub mod args;
mod convert;
mod examples;
mod syntax;

use base::error::Report;
use std::ffi::OsString;

use base::cli_parser;

/// The version of the runtime specification that `--version` names.
const SPEC_VERSION: &str = "1.3.0";

/// The result of parsing a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A verb to run.
    Run(Box<args::Command>),
    /// A help or version text for standard output; exit status 0.
    Print(String),
    /// Wrong usage; exit status 1, of `exec` 255.
    Usage {
        /// The error for standard error and the log.
        error: Box<Report>,
        /// The usage text for standard error, with its newline; may be empty.
        usage: String,
        /// The flags before the verb that were parsed before the error, because they name the log.
        global: Box<args::Global>,
        /// The verb, once it is known.
        verb: Option<&'static str>,
    },
}

/// Parses a command line; the first word is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome {
    match syntax::CROCI.parse(args) {
        cli_parser::Outcome::Run(global, verb) => Outcome::Run(Box::new(args::Command { global, verb })),
        cli_parser::Outcome::Print(text) => Outcome::Print(text),
        cli_parser::Outcome::Usage { error, usage, global, verb } => Outcome::Usage { error, usage, global, verb },
    }
}

/// Returns the tables of verbs and flags, for man pages and completions.
pub fn manual() -> cli_parser::manual::Manual {
    syntax::CROCI.manual()
}

#[cfg(test)]
mod tests;
