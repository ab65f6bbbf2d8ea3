//! Command lines of callers and people, and the structures that they are parsed into.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod callers;
mod flags;
mod misuse;

use std::ffi::OsString;

use super::args::{Command, Create, Exec, Global, LogFormat, Verb};
use super::{Outcome, parse};

/// Parses a line whose words have no spaces; `''` is an empty word.
fn outcome(line: &str) -> Outcome {
    let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
    parse(std::iter::once("croci").chain(words).map(OsString::from))
}

fn command(line: &str) -> Command {
    match outcome(line) {
        Outcome::Run(command) => *command,
        other => panic!("{line}: {other:?}"),
    }
}

fn verb(line: &str) -> Verb {
    command(line).verb
}

/// Returns the message and the usage text of an invalid line.
fn refused(line: &str) -> (String, String) {
    match outcome(line) {
        Outcome::Usage { error, usage, .. } => (error.message, usage),
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(line: &str) -> String {
    match outcome(line) {
        Outcome::Print(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn create() -> Create {
    Create { id: "c1".to_owned(), bundle: ".".into(), ..Create::default() }
}

fn exec() -> Exec {
    Exec { id: "c1".to_owned(), ..Exec::default() }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
