//! `--chmod` and `--chown` of instructions that copy.

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result, ensure};

use crate::config;
use base::users;

/// A change of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// These permissions.
    Octal(u32),
    /// Clauses such as `u+x`.
    Symbolic(Vec<Clause>),
}

/// A clause of a symbolic mode: for whom, what is done, with which letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    who: String,
    action: char,
    what: String,
}

impl Chmod {
    /// Parses an octal number or clauses as chmod(1) has them.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o7777);
            return Ok(Self::Octal(mode.with_context(|| format!("{text:?}: not an octal number up to 7777"))?));
        }
        text.split(',')
            .map(|clause| Clause::parse(clause).with_context(|| format!("{text:?}")))
            .collect::<Result<_>>()
            .map(Self::Symbolic)
    }

    /// Returns the permissions for those that a file has.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(new) => *new,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir)),
        }
    }
}

impl Clause {
    fn parse(text: &str) -> Result<Self> {
        let at = text.find(['+', '-', '=']).context("is no mode: neither octal nor such as u+x")?;
        let (who, rest) = text.split_at(at);
        let mut letters = rest.chars();
        let (action, what) = (letters.next().context("no action")?, letters.as_str());
        let good = who.chars().all(|c| "ugoa".contains(c)) && what.chars().all(|c| "rwxXst".contains(c));
        ensure!(good, coded!(BuildInvalid, "{text:?}: is no mode: neither octal nor such as u+x"));
        Ok(Self { who: who.to_owned(), action, what: what.to_owned() })
    }

    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let all = self.who.is_empty() || self.who.contains('a');
        let (mut bits, mut reach) = (0, 0);
        for (class, shift, set_id) in [('u', 6, 0o4000), ('g', 3, 0o2000), ('o', 0, 0)] {
            if !all && !self.who.contains(class) {
                continue;
            }
            reach |= 0o7 << shift | set_id;
            for letter in self.what.chars() {
                bits |= match letter {
                    'r' => 0o4 << shift,
                    'w' => 0o2 << shift,
                    'x' => 0o1 << shift,
                    'X' if is_dir || mode & 0o111 != 0 => 0o1 << shift,
                    's' => set_id,
                    _ => 0,
                };
            }
        }
        if self.what.contains('t') {
            bits |= 0o1000;
        }
        match self.action {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !reach | bits,
        }
    }
}

/// Resolves `--chown`: names are looked up in the image. A user by number without a group has the group of that number.
///
/// # Errors
/// An unknown name.
pub fn owner(text: &str, root: BorrowedFd<'_>) -> Result<(u32, u32)> {
    let found = || -> Result<(u32, u32)> {
        if let Ok(id) = text.parse::<u32>() {
            return Ok((id, id));
        }
        if let Some(("" | "0", group)) = text.split_once(':') {
            let group = users::parse_name(group).and_then(|name| users::resolve_group(&name, root))?;
            return Ok((0, group));
        }
        let user = config::image_user(text, root)?;
        Ok((user.uid, user.gid.unwrap_or_default()))
    };
    found().with_code(Code::UsageValue, || format!("--chown {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn modes_change_as_by_chmod() {
        for (text, mode, is_dir, wanted) in [
            ("755", 0o600, false, 0o755),
            ("04755", 0o600, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("go-w,a+r", 0o222, false, 0o644),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u+s,+t", 0o755, false, 0o5755),
            ("g=", 0o2775, false, 0o705),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, is_dir), wanted, "{text} {mode:o}");
        }
        for bad in ["", "8", "77777", "u", "x+u", "u+q", "+x,", "9x"] {
            assert!(Chmod::parse(bad).is_err(), "{bad}");
        }
    }
}
