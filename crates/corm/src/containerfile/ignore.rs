//! `.containerignore` and `.dockerignore`: which files of a context are left out.

use anyhow::{Context as _, Result, ensure};

use super::glob::Pattern;

/// Rules in the order of the file; the last that matches a path or a directory above it decides.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

/// A line of the file.
#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    /// `!`: what matches is kept.
    keeps: bool,
}

impl Ignore {
    /// Parses the file; `name` is for messages.
    ///
    /// # Errors
    /// A malformed pattern, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut found = Self::default();
        for (at, line) in text.lines().enumerate() {
            if !line.starts_with('#') {
                found.add(line).with_context(|| format!("{name}:{}: {line:?}", at + 1))?;
            }
        }
        Ok(found)
    }

    /// Adds a rule; an empty one means nothing.
    ///
    /// # Errors
    /// A malformed pattern.
    pub fn add(&mut self, line: &str) -> Result<()> {
        let line = line.trim();
        let (keeps, text) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
        ensure!(!keeps || !text.is_empty(), "`!` alone is no pattern");
        let clean = clean(text);
        if text.is_empty() || clean.is_empty() {
            return Ok(());
        }
        self.rules.push(Rule { pattern: Pattern::path(&clean, true)?, keeps });
        Ok(())
    }

    /// Returns whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns whether a path below the context, without a leading slash, is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // only rules that would change the result
            if rule.keeps == excluded && rule.matches(path) {
                excluded = !rule.keeps;
            }
        }
        excluded
    }

    /// Returns whether a file below an excluded directory could be kept.
    pub fn may_keep_below(&self, _dir: &str) -> bool {
        self.rules.iter().any(|rule| rule.keeps)
    }
}

impl Rule {
    /// Returns whether the path or a directory above it matches.
    fn matches(&self, path: &str) -> bool {
        let letters: Vec<char> = path.chars().collect();
        let ends = self.pattern.ends(&letters);
        ends.into_iter().any(|end| letters.get(end).is_none_or(|letter| *letter == '/'))
    }
}

/// Removes `.`, `..` and repeated slashes by the text, and the slash at the start.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_last_rule_that_matches_decides() {
        for (text, path, wanted) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "b/a", false),
            ("/a/", "a", true),
            ("*/a", "b/a", true),
            ("**/a", "b/c/a/d", true),
            ("*\n!keep", "keep", false),
            ("*\n!keep", "other", true),
            ("!keep\n*", "keep", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", false),
            ("dir\n!dir/x", "dir/x", false),
            ("dir\n!dir/x", "dir/y", true),
            ("# a\n  \n./b/../c", "c", true),
            ("# a", "# a", false),
            ("temp?", "tempa", true),
            ("  d  ", "d", true),
            (".", "a", false),
            ("**", "a/b", true),
        ] {
            assert_eq!(Ignore::parse("i", text).unwrap().excludes(path), wanted, "{text:?} {path}");
        }
        let err = Ignore::parse("i", "a\n[").unwrap_err();
        assert!(format!("{err:#}").starts_with("i:2: \"[\""), "{err:#}");
        assert!(Ignore::parse("i", "!").is_err() && Ignore::parse("i", "! ").is_err());
    }
}
