//! corm's command line: from the words of `argv` to the structures of [`args`], or to a text to be shown.
//!
//! `syntax` has the table of verbs and flags, `convert` gives values their types; how lines are read is `base::cli_parser`.

pub mod args;
mod convert;
mod syntax;

use std::ffi::OsString;

/// What a command line asks for.
pub type Outcome = base::cli_parser::Outcome<args::Global, args::Verb>;

/// Reads a whole command line; the first word is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome {
    syntax::CORM.parse(args)
}

#[cfg(test)]
mod tests;
