//! The command line of a program with verbs: tables of flags in, typed values or a text to be shown out.
//!
//! Pure: nothing is printed and nothing is opened here. Which verbs and flags there are is `cli` for croci and
//! `image::cli` for corm; `read` applies a table to the words, `given` gives values their types, `help` makes the texts.

mod given;
mod help;
mod read;
pub mod values;

use std::ffi::OsString;

use anyhow::Result;

pub use given::{ParsedArgs, utf8};
use read::Stop;

/// How a flag is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// `--flag`, and as Go programs write it `--flag=true` or `--flag=false`.
    Switch,
    /// `--flag VALUE`; given again, the last one wins.
    One,
    /// `--flag VALUE`; given again, the values add up.
    Many,
    /// Shows the help and does nothing else.
    Help,
    /// Shows the version and does nothing else.
    Version,
}

impl FlagKind {
    /// Whether the next word may belong to the flag.
    pub fn takes_value(self) -> bool {
        matches!(self, FlagKind::One | FlagKind::Many)
    }
}

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its long name, without dashes.
    pub name: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// How it is given.
    pub kind: FlagKind,
    /// What the help calls the value.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// Lists of flags that belong together: verbs share some.
pub type Flags = &'static [&'static [Flag]];

/// A [`FlagKind::Switch`].
pub const fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { name, short, kind: FlagKind::Switch, value: "", help }
}

/// A [`FlagKind::One`].
pub const fn one(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short, kind: FlagKind::One, value, help }
}

/// A [`FlagKind::Many`].
pub const fn many(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short, kind: FlagKind::Many, value, help }
}

/// `--help`, and `--usage` as some call it.
pub const HELP: &[Flag] = &[
    Flag { name: "help", short: Some('h'), kind: FlagKind::Help, value: "", help: "Show this help" },
    Flag { name: "usage", short: Some('?'), kind: FlagKind::Help, value: "", help: "The same as --help" },
];

/// `--version`
pub const VERSION: Flag =
    Flag { name: "version", short: Some('v'), kind: FlagKind::Version, value: "", help: "Show the version" };

/// One verb; `V` is what a line with it becomes.
pub struct VerbSpec<V: 'static> {
    /// The word.
    pub name: &'static str,
    /// What it does, one line.
    pub about: &'static str,
    /// The operands as the usage line shows them; several ways with ` | ` between them.
    pub operands: &'static str,
    /// The fewest operands, and the most.
    pub count: (usize, usize),
    /// Everything after the first operand is handed on untouched (the command of `exec`, the options of `ps`).
    pub has_trailing_args: bool,
    /// Its flags.
    pub flags: Flags,
    /// From what was given to the value.
    pub make: fn(&mut ParsedArgs) -> Result<V>,
}

/// A program: `G` is what the flags before the verb become.
pub struct Program<G: 'static, V: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What it is, one sentence.
    pub about: &'static str,
    /// The operand that most verbs take, as the usage line shows it.
    pub operand: &'static str,
    /// What `--version` shows.
    pub version: fn() -> String,
    /// Flags before the verb.
    pub global: Flags,
    /// What they become. What was understood is there also beside an error.
    pub make: fn(&mut ParsedArgs) -> (G, Result<()>),
    /// In the order in which the help lists them.
    pub verbs: &'static [VerbSpec<V>],
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<G, V> {
    /// A verb to be done.
    Run(G, V),
    /// A help or version text: to standard output, exit 0.
    Print(String),
    /// Wrong usage.
    Usage {
        /// What is wrong, one line without the program's name and newline.
        message: String,
        /// How it is right, with its newline: to standard error only.
        usage: String,
        /// The flags before the verb as far as they were understood.
        global: Box<G>,
        /// The verb, if it came so far.
        verb: Option<&'static str>,
    },
}

impl<G: Default, V> Program<G, V> {
    /// Reads a whole command line; the first word is the program's name.
    pub fn parse(&self, args: impl IntoIterator<Item = OsString>) -> Outcome<G, V> {
        let words: Vec<OsString> = args.into_iter().skip(1).collect();
        let matches = match read::read(self.name, words.iter().cloned(), self.global, true) {
            Ok(matches) => matches,
            Err(Stop::Help) => return Outcome::Print(help::global(self)),
            Err(Stop::Version) => return Outcome::Print((self.version)()),
            Err(Stop::Wrong(message)) => {
                let understood = read::read_tolerantly(self.name, words.into_iter(), self.global);
                let global = understood.map(|matches| (self.make)(&mut ParsedArgs::new(matches)).0);
                return self.wrong(message, None, global.unwrap_or_default());
            }
        };
        let mut given = ParsedArgs::new(matches);
        let (global, understood) = (self.make)(&mut given);
        let rest = given.raw_operands();
        match (understood, rest.split_first()) {
            (Err(err), _) => self.wrong(crate::error::describe(&err), None, global),
            (Ok(()), None) => self.wrong("no verb is given".to_owned(), None, global),
            (Ok(()), Some((name, rest))) => self.verb(name, rest, global),
        }
    }

    fn find(&self, name: &str) -> Option<&'static VerbSpec<V>> {
        self.verbs.iter().find(|verb| verb.name == name)
    }

    fn verb(&self, name: &OsString, rest: &[OsString], global: G) -> Outcome<G, V> {
        let name = name.to_string_lossy();
        let Some(syntax) = self.find(&name) else { return self.no_such_verb(&name, rest, global) };
        let matches = match read::read(syntax.name, rest.iter().cloned(), syntax.flags, syntax.has_trailing_args) {
            Ok(matches) => matches,
            Err(Stop::Help) => return Outcome::Print(help::verb(self.name, syntax)),
            Err(Stop::Version) => return Outcome::Print((self.version)()),
            Err(Stop::Wrong(message)) => {
                return self.wrong(format!("{}: {message}", syntax.name), Some(syntax), global);
            }
        };
        let mut given = ParsedArgs::new(matches);
        let operands = given.raw_operands().into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>();
        given.operands = match operands {
            Ok(operands) => operands,
            Err(word) => return self.wrong(format!("{}: {word:?} is not UTF-8", syntax.name), Some(syntax), global),
        };
        if let Some(message) = self.arity_error(syntax, given.operands.len()) {
            return self.wrong(message, Some(syntax), global);
        }
        match (syntax.make)(&mut given) {
            Ok(verb) => Outcome::Run(global, verb),
            Err(err) => self.wrong(crate::error::describe(&err.context(syntax.name)), Some(syntax), global),
        }
    }

    fn no_such_verb(&self, name: &str, rest: &[OsString], global: G) -> Outcome<G, V> {
        let asked = rest.first().map(|word| word.to_string_lossy());
        match (name, asked.as_deref().map(|asked| self.find(asked))) {
            ("help", None) => Outcome::Print(help::global(self)),
            ("help", Some(Some(syntax))) => Outcome::Print(help::verb(self.name, syntax)),
            ("help", Some(None)) => self.wrong(format!("unknown verb {:?}", asked.unwrap_or_default()), None, global),
            _ => self.wrong(format!("unknown verb {name:?}"), None, global),
        }
    }

    /// What is wrong with the number of operands, in runc's words.
    fn arity_error(&self, syntax: &VerbSpec<V>, got: usize) -> Option<String> {
        let (least, most) = syntax.count;
        let bound = match (least, most) {
            _ if (least..=most).contains(&got) => return None,
            (least, most) if least == most => format!("exactly {least}"),
            (least, _) if got < least => format!("at least {least}"),
            (_, most) => format!("at most {most}"),
        };
        let number = if bound.ends_with(" 1") { "argument" } else { "arguments" };
        let which = if syntax.operands.is_empty() { String::new() } else { format!(" ({})", syntax.operands) };
        Some(format!("\"{} {}\" requires {bound} {number}{which}, got {got}", self.name, syntax.name))
    }

    fn wrong(&self, message: String, syntax: Option<&'static VerbSpec<V>>, global: G) -> Outcome<G, V> {
        let usage = help::usage(self, syntax);
        Outcome::Usage { message, usage, global: Box::new(global), verb: syntax.map(|syntax| syntax.name) }
    }
}
