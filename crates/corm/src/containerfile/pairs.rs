//! Words and pairs of ENV, LABEL and ARG, as written: quotes and variables are kept for their expansion.

use anyhow::{Context as _, Result, ensure};
use base::coded;

/// Splits at blanks that are neither quoted nor escaped.
pub(super) fn split(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut quote, mut escaped) = (None, false);
    for letter in text.chars() {
        if quote.is_none() && !escaped && letter.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        word.push(letter);
        match letter {
            _ if escaped => escaped = false,
            _ if letter == escape && quote != Some('\'') => escaped = true,
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ => {}
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Parses `K=V K2="V 2"`, or one pair as `K VALUE`.
///
/// # Errors
/// No pair, or a word without `=`.
pub(super) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>> {
    let words = split(text, escape);
    let first = words.first().context("needs NAME=VALUE")?;
    if !first.contains('=') {
        let (name, value) =
            text.split_once(char::is_whitespace).with_context(|| format!("{text:?}: not of the form NAME=VALUE"))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| -> Result<(String, String)> {
        let (name, value) = word.split_once('=').with_context(|| format!("{word:?}: not of the form NAME=VALUE"))?;
        ensure!(!name.is_empty(), coded!(BuildInvalid, "{word:?}: the name is empty"));
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

/// Parses `NAME` and `NAME=VALUE`.
///
/// # Errors
/// No name, or an empty one.
pub(super) fn names(text: &str, escape: char) -> Result<Vec<(String, Option<String>)>> {
    let words = split(text, escape);
    ensure!(!words.is_empty(), coded!(BuildInvalid, "needs NAME or NAME=VALUE"));
    let name = |word: &String| -> Result<(String, Option<String>)> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        ensure!(!name.is_empty(), coded!(BuildInvalid, "{word:?}: the name is empty"));
        Ok((name.to_owned(), value))
    };
    words.iter().map(name).collect()
}
