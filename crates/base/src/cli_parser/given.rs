//! What a line gave, and types for its values; each error names its flag.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ArgMatches;

use super::read::OPERANDS;
use super::values;

/// What a line gave: its operands, and the flags by name.
pub struct ParsedArgs {
    matches: ArgMatches,
    /// The container ID and whatever else is no flag.
    pub operands: Vec<String>,
}

impl ParsedArgs {
    pub(super) fn new(matches: ArgMatches) -> Self {
        Self { matches, operands: Vec::new() }
    }

    pub(super) fn raw_operands(&mut self) -> Vec<OsString> {
        self.matches.remove_many::<OsString>(OPERANDS).into_iter().flatten().collect()
    }

    /// Where in the line the flag stands.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.matches.index_of(name)
    }

    /// The value as it came.
    pub fn raw(&mut self, name: &str) -> Option<OsString> {
        self.matches.remove_one::<OsString>(name)
    }

    /// An empty value is none: Go programs pass what they have not got as `--flag=`.
    pub fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.raw(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The value, which has to be UTF-8.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.raw(name).map(|value| utf8(value, name)).transpose()
    }

    /// All values of a flag that may be repeated.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        self.matches.remove_many::<OsString>(name).into_iter().flatten().map(|value| utf8(value, name)).collect()
    }

    /// Whether a switch is on.
    pub fn switch(&mut self, name: &str) -> Result<bool> {
        self.parsed(name, values::parse_bool).map(Option::unwrap_or_default)
    }

    /// The value through `parse`; an error says which flag and which value.
    pub fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text).with_context(|| format!("--{name} {text:?}")).map(Some)
    }

    /// One of a list of words; the default of the type when not given.
    pub fn choice<T: Copy + Default>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T> {
        let pick = |text: &str| match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(*meaning),
            None => bail!("must be one of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")),
        };
        self.parsed(name, pick).map(Option::unwrap_or_default)
    }

    /// The first operand: the caller checked the count.
    pub fn id(&mut self) -> String {
        if self.operands.is_empty() { String::new() } else { self.operands.remove(0) }
    }

    /// The operands after the ID, without a `--` that only set them off.
    pub fn trailing_args(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.operands);
        let set_off = rest.first().is_some_and(|word| word == "--");
        rest.into_iter().skip(usize::from(set_off)).collect()
    }
}

/// A value that has to be text.
///
/// # Errors
/// Names the flag.
pub fn utf8(value: OsString, name: &str) -> Result<String> {
    value.into_string().map_err(|value| anyhow::anyhow!("--{name} {value:?}: is not UTF-8"))
}
