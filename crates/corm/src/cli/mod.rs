//! corm's command line: from `argv` to the types of [`args`], or to a text to print.
//!
//! `syntax` has the table of verbs and flags, `convert` converts values; `base::cli_parser` is the parser.

pub mod args;
mod convert;
mod syntax;

use std::ffi::OsString;

/// Result of parsing a command line.
pub type Outcome = base::cli_parser::Outcome<args::Global, args::Verb>;

/// Parses a whole command line; the first word is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome {
    syntax::CORM.parse(args)
}

/// Returns the tables of verbs and flags, for man pages and completions.
pub fn manual() -> base::cli_parser::manual::Manual {
    syntax::CORM.manual()
}

#[cfg(test)]
mod tests;
