//! The tables of a program as plain data, for a generator of man pages and completions (`crates/manual`).

use super::{Flags, Group, Program};

/// A program and its verbs.
#[derive(Debug)]
pub struct Manual {
    /// Program name.
    pub name: &'static str,
    /// Description in one sentence.
    pub about: &'static str,
    /// Operand that most verbs take.
    pub operand: &'static str,
    /// Flags before the verb.
    pub flags: Flags,
    /// Exit statuses in words.
    pub status: &'static str,
    /// Verbs in the order of the help, those of groups included.
    pub verbs: Vec<Verb>,
    /// Groups of verbs.
    pub groups: &'static [Group],
}

/// A verb.
#[derive(Debug)]
pub struct Verb {
    /// Name on the command line; `GROUP WORD` for a verb that only a group has.
    pub name: &'static str,
    /// Description in one line.
    pub about: &'static str,
    /// Operands as the usage line shows them; alternatives are separated by ` | `.
    pub operands: &'static str,
    /// Whether the rest of the line belongs to another program.
    pub has_trailing_args: bool,
    /// Flags that follow the verb.
    pub flags: Flags,
    /// Lines of shell.
    pub example: &'static str,
    /// Exit statuses in words.
    pub status: &'static str,
}

impl<G: Default, V> Program<G, V> {
    /// Returns the tables without their conversions.
    pub fn manual(&self) -> Manual {
        let verbs = self.verbs().map(|verb| Verb {
            name: verb.name,
            about: verb.about,
            operands: verb.operands,
            has_trailing_args: verb.has_trailing_args,
            flags: verb.flags,
            example: self.example(verb.name),
            status: self.status(verb.name),
        });
        Manual {
            name: self.name,
            about: self.about,
            operand: self.operand,
            flags: self.global,
            status: self.status(""),
            verbs: verbs.collect(),
            groups: self.groups,
        }
    }
}
