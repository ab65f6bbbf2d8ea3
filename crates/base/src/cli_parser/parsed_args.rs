//! The flags and operands of a parsed command line, and typed access to their values; each error names its flag.

use crate::coded;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ArgMatches;

use super::read::OPERANDS;
use super::values;

/// Flags and operands of a parsed command line, in order.
pub struct ParsedArgs {
    matches: ArgMatches,
    /// The words that are no flags: the container ID first.
    pub operands: Vec<String>,
}

impl ParsedArgs {
    pub(super) fn new(matches: ArgMatches) -> Self {
        Self { matches, operands: Vec::new() }
    }

    pub(super) fn raw_operands(&mut self) -> Vec<OsString> {
        self.matches.remove_many::<OsString>(OPERANDS).into_iter().flatten().collect()
    }

    /// Returns the position of the flag on the command line.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.matches.index_of(name)
    }

    /// Removes the flag and returns its value, unconverted.
    pub fn raw(&mut self, name: &str) -> Option<OsString> {
        self.matches.remove_one::<OsString>(name)
    }

    /// Returns the value as a path; an empty value counts as absent, because Go programs pass `--flag=` for an unset
    /// one.
    pub fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.raw(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Returns the value, which must be UTF-8.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.raw(name).map(|value| utf8(value, name)).transpose()
    }

    /// Returns all values of a repeatable flag, in order.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        self.matches.remove_many::<OsString>(name).into_iter().flatten().map(|value| utf8(value, name)).collect()
    }

    /// Returns whether a switch is on.
    pub fn switch(&mut self, name: &str) -> Result<bool> {
        self.parsed(name, values::parse_bool).map(Option::unwrap_or_default)
    }

    /// Converts the value by `parse`; an error names the flag and the value.
    pub fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text).with_context(|| format!("--{name} {text:?}")).map(Some)
    }

    /// Returns the element of `words` that the value names; without the flag, the default of the type.
    pub fn choice<T: Copy + Default>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T> {
        let pick = |text: &str| match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(*meaning),
            None => bail!(coded!(
                UsageValue,
                "must be one of {}",
                words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
            )),
        };
        self.parsed(name, pick).map(Option::unwrap_or_default)
    }

    /// Removes and returns the first operand; the caller has checked the count.
    pub fn id(&mut self) -> String {
        if self.operands.is_empty() { String::new() } else { self.operands.remove(0) }
    }

    /// Returns the operands after the ID, without the `--` that may separate them.
    pub fn trailing_args(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.operands);
        let set_off = rest.first().is_some_and(|word| word == "--");
        rest.into_iter().skip(usize::from(set_off)).collect()
    }
}

/// Converts a value to text.
///
/// # Errors
/// The value is not UTF-8; the error names the flag.
pub fn utf8(value: OsString, name: &str) -> Result<String> {
    value.into_string().map_err(|value| anyhow::anyhow!(coded!(UsageValue, "--{name} {value:?}: is not UTF-8")))
}
