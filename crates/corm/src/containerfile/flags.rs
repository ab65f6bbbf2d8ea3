//! The flags of an instruction: `--name=value` before its operands.

use anyhow::{Result, bail, ensure};
use base::coded;

/// Flags in the order given; each is taken by its name, and what is left is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlagList(Vec<(String, Option<String>)>);

impl FlagList {
    /// Splits the flags off; returns them and the rest. `--` alone ends them.
    ///
    /// # Errors
    /// A flag without a name, a quote that does not end.
    pub fn split(text: &str) -> Result<(Self, String)> {
        let mut flags = Vec::new();
        let mut rest = text.trim_start();
        while rest.starts_with("--") {
            let (word, after) = word(rest)?;
            rest = after.trim_start();
            if word == "--" {
                break;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let name = name.trim_start_matches('-');
            ensure!(!name.is_empty(), coded!(BuildInvalid, "{word:?}: a flag without a name"));
            flags.push((name.to_owned(), value));
        }
        Ok((Self(flags), rest.trim_end().to_owned()))
    }

    /// Takes the value of a flag that is given at most once.
    ///
    /// # Errors
    /// It is given twice or without a value.
    pub fn one(&mut self, name: &str) -> Result<Option<String>> {
        let mut all = self.many(name)?;
        ensure!(all.len() < 2, coded!(BuildInvalid, "--{name}: is given twice"));
        Ok(all.pop())
    }

    /// Takes all values of a flag.
    ///
    /// # Errors
    /// One has no value.
    pub fn many(&mut self, name: &str) -> Result<Vec<String>> {
        let mut values = Vec::new();
        let mut bare = false;
        self.0.retain(|(other, value)| {
            if other != name {
                return true;
            }
            bare |= value.is_none();
            values.extend(value.clone());
            false
        });
        ensure!(!bare, coded!(BuildInvalid, "--{name}: needs a value"));
        Ok(values)
    }

    /// Takes a flag that is on or off.
    ///
    /// # Errors
    /// It is given twice, or its value is neither `true` nor `false`.
    pub fn switch(&mut self, name: &str) -> Result<bool> {
        let Some(at) = self.0.iter().position(|(other, _)| other == name) else { return Ok(false) };
        let (_, value) = self.0.remove(at);
        ensure!(!self.0.iter().any(|(other, _)| other == name), coded!(BuildInvalid, "--{name}: is given twice"));
        match value.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => bail!(coded!(BuildInvalid, "--{name}={other:?}: is neither true nor false")),
        }
    }

    /// Checks that no flag is left.
    ///
    /// # Errors
    /// Names one that the instruction does not have.
    pub fn end(self, instruction: &str) -> Result<()> {
        match self.0.first() {
            Some((name, _)) => bail!(coded!(BuildInvalid, "--{name}: is no flag of {instruction}")),
            None => Ok(()),
        }
    }
}

/// Takes the first word, whose quotes and escapes are removed; returns it and the rest.
fn word(text: &str) -> Result<(String, &str)> {
    let (mut word, mut quote, mut escaped) = (String::new(), None, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ if letter.is_whitespace() && quote.is_none() => return Ok((word, text.get(at..).unwrap_or_default())),
            _ => word.push(letter),
        }
    }
    ensure!(quote.is_none(), coded!(BuildInvalid, "{word:?}: a quote has no end"));
    Ok((word, ""))
}
