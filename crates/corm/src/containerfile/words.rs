//! Words: quotes, escapes, and variables with their modifiers, by the rules of Dockerfiles.

use base::coded;
use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Result, bail, ensure};

use super::glob::Pattern;

/// Maximum length of an expanded text in bytes, because a variable that contains itself twice grows exponentially.
const MAX_EXPANDED: usize = 1 << 20;

/// Depth of variables in the modifiers of others.
const MAX_DEPTH: usize = 32;

/// Looks up a variable; `None` for one that is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The rules for a text.
#[derive(Clone, Copy)]
pub struct Lexer<'a> {
    escape: char,
    /// Keep quotes and escapes as they are.
    raw: bool,
    /// `None`: a dollar sign is a character.
    lookup: Option<Lookup<'a>>,
}

/// A text that is being expanded, and its words.
#[derive(Default)]
struct Expanded {
    text: String,
    words: Vec<String>,
    word: String,
    /// Whether a word has begun, perhaps an empty one in quotes.
    inside: bool,
}

impl Expanded {
    /// Appends a character that a blank would end the word with.
    fn plain(&mut self, letter: char) -> Result<()> {
        if letter.is_whitespace() {
            self.text.push(letter);
            self.end_word();
            return Ok(());
        }
        self.literal(letter)
    }

    /// Appends a character as it is.
    fn literal(&mut self, letter: char) -> Result<()> {
        ensure!(
            self.text.len() < MAX_EXPANDED,
            coded!(BuildInvalid, "its variables expand to more than {MAX_EXPANDED} bytes")
        );
        self.text.push(letter);
        self.word.push(letter);
        self.inside = true;
        Ok(())
    }

    /// Ends a word.
    fn end_word(&mut self) {
        if std::mem::take(&mut self.inside) {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

/// The rest of a text.
struct Scanner<'t> {
    letters: Peekable<Chars<'t>>,
    depth: usize,
}

impl<'a> Lexer<'a> {
    /// Creates the rules that expand variables.
    pub fn new(escape: char, lookup: Lookup<'a>) -> Self {
        Self { escape, raw: false, lookup: Some(lookup) }
    }

    /// Creates the rules that remove quotes and escapes alone.
    pub fn literal(escape: char) -> Self {
        Self { escape, raw: false, lookup: None }
    }

    /// Creates the rules that split into words alone.
    pub fn raw(escape: char) -> Self {
        Self { escape, raw: true, lookup: None }
    }

    /// Expands a text to one word.
    ///
    /// # Errors
    /// A quote or a brace without an end, an unknown modifier, a variable that `:?` requires.
    pub fn word(&self, text: &str) -> Result<String> {
        Ok(self.expand(text)?.text)
    }

    /// Expands a text and splits it into words; blanks of a variable's value split, too.
    ///
    /// # Errors
    /// As [`Lexer::word`].
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        let mut expanded = self.expand(text)?;
        expanded.end_word();
        Ok(expanded.words)
    }

    fn expand(&self, text: &str) -> Result<Expanded> {
        let mut out = Expanded::default();
        let mut scanner = Scanner { letters: text.chars().peekable(), depth: 0 };
        self.until(&mut scanner, None, &mut out)?;
        Ok(out)
    }

    /// Expands to the end, or to the character `stop`, which is taken.
    fn until(&self, scanner: &mut Scanner<'_>, stop: Option<char>, out: &mut Expanded) -> Result<()> {
        while let Some(letter) = scanner.letters.next() {
            match letter {
                _ if Some(letter) == stop => return Ok(()),
                '\'' => self.single(scanner, out)?,
                '"' => self.double(scanner, out)?,
                '$' if self.lookup.is_some() => {
                    let value = self.dollar(scanner)?;
                    value.chars().try_for_each(|letter| out.plain(letter))?;
                }
                _ if letter == self.escape => {
                    if self.raw {
                        out.literal(letter)?;
                    }
                    if let Some(next) = scanner.letters.next() {
                        out.literal(next)?;
                    }
                }
                _ => out.plain(letter)?,
            }
        }
        match stop {
            Some(stop) => bail!(coded!(BuildInvalid, "${{…: has no {stop:?}")),
            None => Ok(()),
        }
    }

    /// Takes what is in single quotes.
    fn single(&self, scanner: &mut Scanner<'_>, out: &mut Expanded) -> Result<()> {
        out.inside = true;
        if self.raw {
            out.literal('\'')?;
        }
        for letter in scanner.letters.by_ref() {
            if letter == '\'' {
                return if self.raw { out.literal(letter) } else { Ok(()) };
            }
            out.literal(letter)?;
        }
        bail!(coded!(BuildInvalid, "a single quote has no end"))
    }

    /// Takes what is in double quotes.
    fn double(&self, scanner: &mut Scanner<'_>, out: &mut Expanded) -> Result<()> {
        out.inside = true;
        if self.raw {
            out.literal('"')?;
        }
        while let Some(letter) = scanner.letters.next() {
            match letter {
                '"' => return if self.raw { out.literal(letter) } else { Ok(()) },
                '$' if self.lookup.is_some() => {
                    let value = self.dollar(scanner)?;
                    value.chars().try_for_each(|letter| out.literal(letter))?;
                }
                _ if letter == self.escape => {
                    let Some(next) = scanner.letters.next() else { break };
                    if self.raw || !(matches!(next, '"' | '$') || next == self.escape) {
                        out.literal(letter)?;
                    }
                    out.literal(next)?;
                }
                _ => out.literal(letter)?,
            }
        }
        bail!(coded!(BuildInvalid, "a double quote has no end"))
    }

    /// Expands a variable after its dollar sign.
    fn dollar(&self, scanner: &mut Scanner<'_>) -> Result<String> {
        if scanner.letters.next_if_eq(&'{').is_none() {
            let name = name(scanner);
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        scanner.depth += 1;
        ensure!(scanner.depth <= MAX_DEPTH, coded!(BuildInvalid, "${{…: more than {MAX_DEPTH} in each other"));
        let name = name(scanner);
        ensure!(!name.is_empty(), coded!(BuildInvalid, "${{…: has no name"));
        let value = self.modified(scanner, &name)?;
        scanner.depth -= 1;
        Ok(value)
    }

    /// Applies the modifier after the name of a variable in braces.
    fn modified(&self, scanner: &mut Scanner<'_>, name: &str) -> Result<String> {
        let value = self.value(name);
        let Some(mut modifier) = scanner.letters.next() else { bail!(coded!(BuildInvalid, "${{{name}: has no '}}'")) };
        let mut given = value.clone();
        if modifier == ':' {
            given = given.filter(|value| !value.is_empty());
            modifier = match scanner.letters.next() {
                Some(next @ ('+' | '-' | '?')) => next,
                Some(other) => bail!(coded!(BuildInvalid, "${{{name}:{other}…: is no modifier of a variable")),
                None => bail!(coded!(BuildInvalid, "${{{name}:: has no '}}'")),
            };
        }
        match modifier {
            '}' => Ok(value.unwrap_or_default()),
            '+' | '-' | '?' => {
                let word = self.inner(scanner, '}', false)?;
                match (modifier, given) {
                    ('+', Some(_)) | ('-', None) => Ok(word),
                    ('+', None) => Ok(String::new()),
                    ('?', None) if word.is_empty() => bail!(coded!(BuildInvalid, "{name}: is not allowed to be unset")),
                    ('?', None) => bail!(coded!(BuildInvalid, "{name}: {word}")),
                    (_, Some(given)) => Ok(given),
                    (_, None) => Ok(String::new()),
                }
            }
            '#' | '%' => {
                let longest = scanner.letters.next_if_eq(&modifier).is_some();
                let pattern = Pattern::shell(&self.inner(scanner, '}', true)?);
                Ok(trimmed(&value.unwrap_or_default(), pattern, modifier == '%', longest))
            }
            '/' => {
                let all = scanner.letters.next_if_eq(&'/').is_some();
                let pattern = Pattern::shell(&self.inner(scanner, '/', true)?);
                let with = self.inner(scanner, '}', false)?;
                Ok(replaced(&value.unwrap_or_default(), &pattern, &with, all))
            }
            other => bail!(coded!(BuildInvalid, "${{{name}{other}…: is no modifier of a variable")),
        }
    }

    /// Expands the word of a modifier; of a pattern the escapes are kept.
    fn inner(&self, scanner: &mut Scanner<'_>, stop: char, pattern: bool) -> Result<String> {
        let mut out = Expanded::default();
        let rules = Lexer { raw: false, ..*self };
        if !pattern {
            rules.until(scanner, Some(stop), &mut out)?;
            return Ok(out.text);
        }
        while let Some(letter) = scanner.letters.next() {
            match letter {
                _ if letter == stop => return Ok(out.text),
                '$' => {
                    let value = rules.dollar(scanner)?;
                    value.chars().try_for_each(|letter| out.literal(letter))?;
                }
                '"' | '\'' => {}
                _ if letter == self.escape => {
                    out.literal('\\')?;
                    if let Some(next) = scanner.letters.next() {
                        out.literal(next)?;
                    }
                }
                _ => out.literal(letter)?,
            }
        }
        bail!(coded!(BuildInvalid, "${{…: has no {stop:?}"))
    }

    fn value(&self, name: &str) -> Option<String> {
        self.lookup.and_then(|lookup| lookup(name))
    }
}

/// Takes the name of a variable: letters, digits and underscores, digits, or one special character.
fn name(scanner: &mut Scanner<'_>) -> String {
    let mut name = String::new();
    match scanner.letters.peek() {
        Some(letter) if letter.is_ascii_digit() => {
            while let Some(digit) = scanner.letters.next_if(char::is_ascii_digit) {
                name.push(digit);
            }
        }
        Some(letter) if is_name(*letter) => {
            while let Some(letter) = scanner.letters.next_if(|letter| is_name(*letter)) {
                name.push(letter);
            }
        }
        Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(scanner.letters.next()),
        _ => {}
    }
    name
}

/// Returns whether a character may be in the name of a variable.
fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Removes the shortest or longest start or end that matches.
fn trimmed(value: &str, pattern: Pattern, at_end: bool, longest: bool) -> String {
    let mut letters: Vec<char> = value.chars().collect();
    let pattern = if at_end { pattern.reversed() } else { pattern };
    if at_end {
        letters.reverse();
    }
    let ends = pattern.ends(&letters);
    let cut = if longest { ends.last() } else { ends.first() };
    letters.drain(..cut.copied().unwrap_or(0));
    if at_end {
        letters.reverse();
    }
    letters.into_iter().collect()
}

/// Replaces the first match, or all, each as long as possible.
fn replaced(value: &str, pattern: &Pattern, with: &str, all: bool) -> String {
    let letters: Vec<char> = value.chars().collect();
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while let Some(rest) = letters.get(at..).filter(|rest| !rest.is_empty()) {
        let length = pattern.ends(rest).last().copied().filter(|&length| length > 0 && (all || !done));
        match length {
            Some(length) if out.len() < MAX_EXPANDED => {
                out.push_str(with);
                at += length;
                done = true;
            }
            _ => {
                out.extend(rest.first());
                at += 1;
            }
        }
    }
    out
}
