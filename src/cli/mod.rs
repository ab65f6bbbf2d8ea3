//! The command line: from the words of `argv` to the structures of [`args`], or to a text to be shown.
//!
//! Pure: nothing is printed and nothing is opened here.
//!
//! `syntax` has the table of verbs and flags, `read` applies it to the words, `convert` gives values their types,
//! `help` makes the texts.

pub mod args;
mod convert;
mod help;
mod read;
mod syntax;
mod values;

use std::ffi::OsString;

use clap::ArgMatches;

use convert::{Given, NotYet};
use read::{OPERANDS, Stop};
use syntax::{GLOBAL, Syntax};

/// The version of the runtime specification that `--version` names.
const SPEC_VERSION: &str = "1.3.0";

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A verb to be done.
    Run(Box<args::Command>),
    /// A help or version text: to standard output, exit 0.
    Print(String),
    /// Wrong usage: exit 1.
    Usage {
        /// What is wrong, one line without `croci: ` and newline: to standard error and the log.
        message: String,
        /// How it is right, with its newline: to standard error only; empty where it would not help.
        usage: String,
        /// The flags before the verb as far as they were understood: where the log is.
        global: Box<args::Global>,
    },
}

/// Reads a whole command line; the first word is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome {
    let words: Vec<OsString> = args.into_iter().skip(1).collect();
    let matches = match read::read("croci", words.iter().cloned(), GLOBAL, true) {
        Ok(matches) => matches,
        Err(Stop::Help) => return Outcome::Print(help::global()),
        Err(Stop::Version) => return Outcome::Print(help::version()),
        Err(Stop::Wrong(message)) => {
            let understood = read::read_tolerantly(words.into_iter(), GLOBAL);
            let global = understood.map(|matches| convert::global(&mut Given { matches, operands: Vec::new() }).0);
            return wrong(message, None, global.unwrap_or_default());
        }
    };
    let mut given = Given { matches, operands: Vec::new() };
    let (global, understood) = convert::global(&mut given);
    let rest = operands(&mut given.matches);
    match (understood, rest.split_first()) {
        (Err(err), _) => refuse(&err, None, global),
        (Ok(()), None) => wrong("no verb is given".to_owned(), None, global),
        (Ok(()), Some((name, rest))) => verb(name, rest, global),
    }
}

fn operands(matches: &mut ArgMatches) -> Vec<OsString> {
    matches.remove_many::<OsString>(OPERANDS).into_iter().flatten().collect()
}

fn verb(name: &OsString, rest: &[OsString], global: args::Global) -> Outcome {
    let name = name.to_string_lossy();
    let Some(syntax) = Syntax::find(&name) else { return no_such_verb(&name, rest, global) };
    let mut matches = match read::read(syntax.name, rest.iter().cloned(), syntax.flags, syntax.hands_on) {
        Ok(matches) => matches,
        Err(Stop::Help) => return Outcome::Print(help::verb(syntax)),
        Err(Stop::Version) => return Outcome::Print(help::version()),
        Err(Stop::Wrong(message)) => return wrong(format!("{}: {message}", syntax.name), Some(syntax), global),
    };
    let operands = match operands(&mut matches).into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>() {
        Ok(operands) => operands,
        Err(word) => return wrong(format!("{}: {word:?} is not UTF-8", syntax.name), Some(syntax), global),
    };
    if let Some(message) = miscounted(syntax, operands.len()) {
        return wrong(message, Some(syntax), global);
    }
    match (syntax.make)(&mut Given { matches, operands }) {
        Ok(verb) => Outcome::Run(Box::new(args::Command { global, verb })),
        Err(err) => refuse(&err.context(syntax.name), Some(syntax), global),
    }
}

fn no_such_verb(name: &str, rest: &[OsString], global: args::Global) -> Outcome {
    let asked = rest.first().map(|word| word.to_string_lossy());
    match (name, asked.as_deref().map(Syntax::find)) {
        ("help", None) => Outcome::Print(help::global()),
        ("help", Some(Some(syntax))) => Outcome::Print(help::verb(syntax)),
        ("help", Some(None)) => wrong(format!("unknown verb {:?}", asked.unwrap_or_default()), None, global),
        _ => wrong(format!("unknown verb {name:?}"), None, global),
    }
}

/// What is wrong with the number of operands, in runc's words.
fn miscounted(syntax: &Syntax, got: usize) -> Option<String> {
    let (least, most) = syntax.count;
    let bound = match (least, most) {
        _ if (least..=most).contains(&got) => return None,
        (least, most) if least == most => format!("exactly {least}"),
        (least, _) if got < least => format!("at least {least}"),
        (_, most) => format!("at most {most}"),
    };
    let number = if bound.ends_with(" 1") { "argument" } else { "arguments" };
    let which = if syntax.operands.is_empty() { String::new() } else { format!(" ({})", syntax.operands) };
    Some(format!("\"croci {}\" requires {bound} {number}{which}, got {got}", syntax.name))
}

fn refuse(err: &anyhow::Error, syntax: Option<&Syntax>, global: args::Global) -> Outcome {
    let message = crate::error::describe(err);
    match err.downcast_ref::<NotYet>() {
        Some(_) => Outcome::Usage { message, usage: String::new(), global: Box::new(global) },
        None => wrong(message, syntax, global),
    }
}

fn wrong(message: String, syntax: Option<&Syntax>, global: args::Global) -> Outcome {
    Outcome::Usage { message, usage: help::usage(syntax), global: Box::new(global) }
}

#[cfg(test)]
mod tests;
