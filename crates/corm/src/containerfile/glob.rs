//! Patterns of names and paths: those of Go's `filepath.Match` with `**`, and those of a shell's `${v#PATTERN}`.
//!
//! A pattern is matched by following all of its possible positions at once, so that no pattern takes longer than its
//! length times that of the text.

use anyhow::{Result, bail};
use base::coded;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This character.
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**`, which also matches `/`.
    All,
    /// `**/`, which also matches nothing.
    Directories,
    /// `[a-z]`, `[^a-z]`
    Class(bool, Vec<(char, char)>),
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    /// Whether `*` and `?` match `/`, too.
    crosses: bool,
}

/// Returns whether a text has a character that patterns give a meaning to.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

impl Pattern {
    /// Parses a pattern of paths; `**` is known with `deep`.
    ///
    /// # Errors
    /// A class or an escape without an end.
    pub fn path(text: &str, deep: bool) -> Result<Self> {
        let (mut tokens, mut letters) = (Vec::new(), text.chars().peekable());
        while let Some(letter) = letters.next() {
            tokens.push(match letter {
                '*' if deep && letters.next_if_eq(&'*').is_some() => {
                    // as Docker: further stars mean nothing
                    while letters.next_if_eq(&'*').is_some() {}
                    if letters.next_if_eq(&'/').is_some() { Token::Directories } else { Token::All }
                }
                '*' => Token::Many,
                '?' => Token::One,
                '[' => class(&mut letters, text)?,
                '\\' => match letters.next() {
                    Some(next) => Token::Char(next),
                    None => bail!(coded!(BuildInvalid, "{text:?}: a pattern ends with a backslash")),
                },
                other => Token::Char(other),
            });
        }
        Ok(Self { tokens, crosses: false })
    }

    /// Parses a pattern of a shell, in which `*` and `?` match any character and there are no classes.
    pub fn shell(text: &str) -> Self {
        let (mut tokens, mut letters) = (Vec::new(), text.chars());
        while let Some(letter) = letters.next() {
            tokens.push(match letter {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Char(letters.next().unwrap_or('\\')),
                other => Token::Char(other),
            });
        }
        Self { tokens, crosses: true }
    }

    /// Returns the pattern of the reversed texts.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.tokens.reverse();
        self
    }

    /// Returns whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        self.ends(&letters).last().is_some_and(|&end| end == letters.len())
    }

    /// Returns the lengths of all starts of a text that match, shortest first.
    pub fn ends(&self, text: &[char]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = vec![false; self.tokens.len() + 1];
        self.reach(&mut at, 0, true);
        for (length, letter) in text.iter().map(Some).chain([None]).enumerate() {
            if at.last() == Some(&true) {
                ends.push(length);
            }
            let Some(&letter) = letter else { break };
            let mut next = vec![false; at.len()];
            for (index, token) in self.tokens.iter().enumerate() {
                if at.get(index) == Some(&true) {
                    self.advance(&mut next, index, token, letter);
                }
            }
            if !next.contains(&true) {
                break;
            }
            at = next;
        }
        ends
    }

    /// Marks a position and those that are reached from it without a character. `fresh` is whether a name begins there.
    fn reach(&self, at: &mut [bool], index: usize, fresh: bool) {
        // no recursion, because a pattern can have as many tokens as a file has bytes
        for (index, place) in at.iter_mut().enumerate().skip(index) {
            if std::mem::replace(place, true) {
                return;
            }
            match self.tokens.get(index) {
                Some(Token::Many | Token::All) => {}
                Some(Token::Directories) if fresh => {}
                _ => return,
            }
        }
    }

    /// Marks the positions after a character.
    fn advance(&self, next: &mut [bool], index: usize, token: &Token, letter: char) {
        let any = self.crosses || letter != '/';
        match token {
            Token::Char(wanted) if *wanted == letter => self.reach(next, index + 1, letter == '/'),
            Token::One if any => self.reach(next, index + 1, false),
            Token::Many if any => self.reach(next, index, false),
            Token::All | Token::Directories => self.reach(next, index, letter == '/'),
            Token::Class(negated, ranges)
                if letter != '/' && ranges.iter().any(|(low, high)| (low..=high).contains(&&letter)) != *negated =>
            {
                self.reach(next, index + 1, false);
            }
            _ => {}
        }
    }
}

/// Parses a class after its `[`.
fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &str) -> Result<Token> {
    let negated = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let one = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| match letters.next() {
        Some('\\') => letters.next(),
        other => other,
    };
    loop {
        match letters.peek() {
            None => bail!(coded!(BuildInvalid, "{text:?}: a class of characters has no end")),
            Some(']') if !ranges.is_empty() => {
                letters.next();
                return Ok(Token::Class(negated, ranges));
            }
            Some(']' | '-') => bail!(coded!(BuildInvalid, "{text:?}: a class of characters is malformed")),
            Some(_) => {}
        }
        let Some(low) = one(letters) else { bail!(coded!(BuildInvalid, "{text:?}: a class of characters has no end")) };
        let high = if letters.next_if_eq(&'-').is_some() { one(letters) } else { Some(low) };
        let Some(high) = high else { bail!(coded!(BuildInvalid, "{text:?}: a class of characters has no end")) };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn long_patterns_need_no_stack_and_no_second_try() {
        for (part, times) in [("**/", 300_000), ("a*", 20_000), ("*", 300_000)] {
            let pattern = Pattern::path(&part.repeat(times), true).unwrap();
            assert_eq!(pattern.matches(&"a".repeat(30)), part == "*", "{part}");
        }
    }

    #[test]
    fn patterns_match_as_gos_do() {
        for (pattern, text, wanted) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a/b", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a?c", "a/c", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "aze", true),
            ("a[^b-d]e", "a/e", false),
            ("a\\*b", "a*b", true),
            ("**", "a/b/c", true),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/c", "a/bc", false),
            ("a/**", "a/b/c", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "abz", false),
            ("**/*.txt", "x/y.txt", true),
            ("**.txt", "x/y.txt", true),
            ("", "", true),
        ] {
            assert_eq!(Pattern::path(pattern, true).unwrap().matches(text), wanted, "{pattern} {text}");
        }
        for bad in ["[", "[a", "[]a]", "[-]", "[x-]", "a[", "a\\", "[a-"] {
            assert!(Pattern::path(bad, true).is_err(), "{bad}");
        }
    }
}
