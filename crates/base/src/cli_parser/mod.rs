//! Parser for the command line of a program with verbs: from tables of flags to typed values, or to a text to print.
//!
//! Pure: it prints and opens nothing. The tables of verbs and flags are in croci's and corm's `cli`; `read` applies a
//! table to the words, `parsed_args` converts values, `help` formats the texts, `manual` shows the tables to a generator.

mod help;
pub mod manual;
mod parsed_args;
mod read;
pub mod values;

use crate::coded;
use crate::error::{Code, Coded, Report};
use std::ffi::OsString;

use anyhow::Result;

use crate::suggest::did_you_mean;

pub use parsed_args::{ParsedArgs, utf8};
use read::Stop;

/// Number of values of a flag, and their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// A boolean: `--flag`, and as Go programs write it `--flag=true` or `--flag=false`.
    Switch,
    /// `--flag VALUE`; the last one counts.
    One,
    /// `--flag VALUE`, repeatable: all values are kept, in order.
    Many,
    /// Prints the help and exits.
    Help,
    /// Prints the version and exits.
    Version,
}

impl FlagKind {
    /// Returns whether the flag takes the next word as its value.
    pub fn takes_value(self) -> bool {
        matches!(self, FlagKind::One | FlagKind::Many)
    }
}

/// A flag of the command line.
#[derive(Debug)]
pub struct Flag {
    /// Long name, without dashes.
    pub name: &'static str,
    /// Short name, one letter.
    pub short: Option<char>,
    /// Number of values.
    pub kind: FlagKind,
    /// Name of the value in the help.
    pub value: &'static str,
    /// Help text, one line.
    pub help: &'static str,
}

/// Lists of flags; verbs share some of them.
pub type Flags = &'static [&'static [Flag]];

/// Defines a [`FlagKind::Switch`].
pub const fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { name, short, kind: FlagKind::Switch, value: "", help }
}

/// Defines a [`FlagKind::One`].
pub const fn one(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short, kind: FlagKind::One, value, help }
}

/// Defines a [`FlagKind::Many`].
pub const fn many(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short, kind: FlagKind::Many, value, help }
}

/// `--help` and its alias `--usage`.
pub const HELP: &[Flag] = &help(Some('h'));

/// [`HELP`] of a verb that has another flag `-h`.
pub const LONG_HELP: &[Flag] = &help(None);

const fn help(short: Option<char>) -> [Flag; 2] {
    [
        Flag { name: "help", short, kind: FlagKind::Help, value: "", help: "Show this help" },
        Flag { name: "usage", short: Some('?'), kind: FlagKind::Help, value: "", help: "The same as --help" },
    ]
}

/// Word of [`LATEST`] in the place of the first operand.
pub const LATEST_WORD: &str = "--latest";

/// `--latest`, which stands for the first operand of a verb that has operands: the program knows what it names.
pub const LATEST: Flag = switch("latest", Some('l'), "The container created last, in the place of a name");

/// `--version`; the parser takes `-V` too.
pub const VERSION: Flag =
    Flag { name: "version", short: Some('v'), kind: FlagKind::Version, value: "", help: "Show the version (also -V)" };

/// A verb of the program; `V` is the type of its parsed form.
pub struct VerbSpec<V: 'static> {
    /// Name on the command line; `GROUP WORD` for a verb that only a group has.
    pub name: &'static str,
    /// Help text, one line.
    pub about: &'static str,
    /// Operands as the usage line shows them; alternatives are separated by ` | `.
    pub operands: &'static str,
    /// Minimum and maximum number of operands.
    pub count: (usize, usize),
    /// Whether everything after the first operand is passed on unparsed (the command of `exec`, the options of `ps`).
    pub has_trailing_args: bool,
    /// Flags that follow the verb.
    pub flags: Flags,
    /// Converts the parsed words to the typed value.
    pub make: fn(&mut ParsedArgs) -> Result<V>,
}

/// A group of verbs, for `PROGRAM GROUP WORD`: those in `words`, and those whose name is `GROUP WORD`.
#[derive(Debug)]
pub struct Group {
    /// Name on the command line.
    pub name: &'static str,
    /// Help text, one line.
    pub about: &'static str,
    /// Words after the group, each with the name of its verb.
    pub words: &'static [(&'static str, &'static str)],
}

/// A program with verbs: `G` is the type of the parsed flags before the verb.
pub struct Program<G: 'static, V: 'static> {
    /// Program name.
    pub name: &'static str,
    /// Description in one sentence.
    pub about: &'static str,
    /// Operand that most verbs take, as the usage line shows it.
    pub operand: &'static str,
    /// Returns the text of `--version`.
    pub version: fn() -> String,
    /// Flags before the verb.
    pub global: Flags,
    /// Converts the flags before the verb. The value holds what was valid also beside an error.
    pub make: fn(&mut ParsedArgs) -> (G, Result<()>),
    /// Lists of verbs in the order of the help.
    pub verbs: &'static [&'static [VerbSpec<V>]],
    /// Groups of verbs.
    pub groups: &'static [Group],
    /// Lines of shell for each verb, by its name.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit statuses in words: of the verbs in the list, or where it is empty of all others.
    pub statuses: &'static [(&'static [&'static str], &'static str)],
    /// Whether a line without a verb is answered with the help and exit status 0, as runc does; else it is an error.
    pub helps_without_verb: bool,
}

/// Result of parsing a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<G, V> {
    /// A verb to run, with the flags before it.
    Run(G, V),
    /// A help or version text: to print on standard output, exit status 0.
    Print(String),
    /// A usage error.
    Usage {
        /// The error.
        error: Box<Report>,
        /// Usage lines with their newline, for standard error only.
        usage: String,
        /// The flags before the verb, as far as they were valid.
        global: Box<G>,
        /// The verb, if one was recognised.
        verb: Option<&'static str>,
    },
}

/// Returns the flag of a word such as `--name` or `-n`.
fn find_flag(word: &str, flags: Flags) -> Option<&'static Flag> {
    let long = word.strip_prefix("--");
    let short = word.strip_prefix('-').and_then(|rest| rest.chars().next());
    flags.iter().copied().flatten().find(|flag| match long {
        Some(name) => flag.name == name,
        None => flag.short.is_some() && flag.short == short,
    })
}

/// Returns the error about an unknown flag, with the one that may be meant.
fn unknown_flag(word: &str, flags: Flags) -> Coded {
    let names: Vec<String> = flags.iter().copied().flatten().map(|flag| format!("--{}", flag.name)).collect();
    let near = did_you_mean(word, names.iter().map(String::as_str));
    coded!(UsageFlag, "unknown flag {word:?}{near}")
}

impl<G: Default, V> Program<G, V> {
    /// Parses a whole command line; the first word is the program's name.
    pub fn parse(&self, args: impl IntoIterator<Item = OsString>) -> Outcome<G, V> {
        let words: Vec<OsString> = args.into_iter().skip(1).collect();
        let matches = match read::read(self.name, words.iter().cloned(), self.global, true) {
            Ok(matches) => matches,
            Err(stop) => {
                let error: anyhow::Error = match stop {
                    Stop::UnknownFlag(flag) => unknown_flag(&flag, self.global).into(),
                    Stop::Wrong(message) => Code::UsageArguments.error(message).into(),
                    Stop::Help => return Outcome::Print(help::global(self)),
                    Stop::Version => return Outcome::Print((self.version)()),
                };
                let understood = read::read_tolerantly(self.name, words.into_iter(), self.global);
                let global = understood.map(|matches| (self.make)(&mut ParsedArgs::new(matches)).0);
                return self.wrong(error, None, global.unwrap_or_default());
            }
        };
        let mut given = ParsedArgs::new(matches);
        let (global, understood) = (self.make)(&mut given);
        let rest = given.raw_operands();
        match (understood, rest.split_first()) {
            (Err(err), _) => self.wrong(err, None, global),
            (Ok(()), None) if self.helps_without_verb => Outcome::Print(help::global(self)),
            (Ok(()), None) => Outcome::Usage {
                error: Box::new(Report::of(&coded!(UsageVerb, "no verb is given").into())),
                usage: help::global(self),
                global: Box::new(global),
                verb: None,
            },
            (Ok(()), Some((name, rest))) => self.verb(name, rest, global),
        }
    }

    /// Returns all verbs, those of groups included.
    pub fn verbs(&self) -> impl Iterator<Item = &'static VerbSpec<V>> {
        self.verbs.iter().copied().flatten()
    }

    fn find(&self, name: &str) -> Option<&'static VerbSpec<V>> {
        self.verbs().find(|verb| verb.name == name)
    }

    fn find_group(&self, name: &str) -> Option<&'static Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    fn find_in(&self, group: &Group, word: &str) -> Option<&'static VerbSpec<V>> {
        let (_, name) = group.words.iter().find(|(known, _)| *known == word).copied().unzip();
        self.find(name.unwrap_or(&format!("{} {word}", group.name)))
    }

    fn verb(&self, name: &OsString, rest: &[OsString], global: G) -> Outcome<G, V> {
        let name = name.to_string_lossy();
        match (self.find_group(&name), self.find(&name)) {
            (Some(group), _) => self.group(group, rest, global),
            (None, Some(syntax)) if !name.contains(' ') => self.read_verb(syntax, rest, global),
            _ => self.no_such_verb(&name, rest, global),
        }
    }

    fn group(&self, group: &'static Group, rest: &[OsString], global: G) -> Outcome<G, V> {
        let Some((word, rest)) = rest.split_first() else {
            let name = format!("{} {}", self.name, group.name);
            return self.wrong(coded!(UsageVerb, "{name:?} requires a verb"), None, global);
        };
        match &*word.to_string_lossy() {
            "-h" | "--help" | "--usage" => Outcome::Print(help::group(self, group)),
            word => match self.find_in(group, word) {
                Some(syntax) => self.read_verb(syntax, rest, global),
                None => {
                    let own = self.verbs().filter_map(|verb| verb.name.strip_prefix(group.name)?.strip_prefix(' '));
                    let near = did_you_mean(word, group.words.iter().map(|(word, _)| *word).chain(own));
                    let name = format!("{} {word}", group.name);
                    self.wrong(coded!(UsageVerb, "unknown verb {name:?}{near}"), None, global)
                }
            },
        }
    }

    fn read_verb(&self, syntax: &'static VerbSpec<V>, rest: &[OsString], global: G) -> Outcome<G, V> {
        let matches = match read::read(syntax.name, rest.iter().cloned(), syntax.flags, syntax.has_trailing_args) {
            Ok(matches) => matches,
            Err(Stop::Help) => return Outcome::Print(help::verb(self, syntax)),
            Err(Stop::Version) => return Outcome::Print((self.version)()),
            Err(Stop::UnknownFlag(flag)) => {
                let error = if find_flag(&flag, self.global).is_some() {
                    coded!(UsageFlag, "unknown flag {flag:?} (a flag of {} itself: give it before the verb)", self.name)
                } else {
                    unknown_flag(&flag, syntax.flags)
                };
                return self.wrong(anyhow::Error::new(error).context(syntax.name), Some(syntax), global);
            }
            Err(Stop::Wrong(message)) => {
                return self.wrong(coded!(UsageArguments, "{}: {message}", syntax.name), Some(syntax), global);
            }
        };
        let mut given = ParsedArgs::new(matches);
        let operands = given.raw_operands().into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>();
        given.operands = match operands {
            Ok(operands) => operands,
            Err(word) => {
                return self.wrong(coded!(UsageValue, "{}: {word:?} is not UTF-8", syntax.name), Some(syntax), global);
            }
        };
        let stands = syntax.count.1 > 0 && syntax.flags.iter().copied().flatten().any(|flag| flag.name == LATEST.name);
        match stands.then(|| given.switch(LATEST.name)) {
            Some(Ok(true)) => given.operands.insert(0, LATEST_WORD.to_owned()),
            Some(Err(err)) => {
                return self.wrong(err.context(syntax.name), Some(syntax), global);
            }
            _ => {}
        }
        if let Some(error) = self.arity_error(syntax, given.operands.len()) {
            return self.wrong(error, Some(syntax), global);
        }
        match (syntax.make)(&mut given) {
            Ok(verb) => Outcome::Run(global, verb),
            Err(err) => self.wrong(err.context(syntax.name), Some(syntax), global),
        }
    }

    fn no_such_verb(&self, name: &str, rest: &[OsString], global: G) -> Outcome<G, V> {
        let asked = rest.first().map(|word| word.to_string_lossy());
        if let Some(group) = asked.as_deref().filter(|_| name == "help").and_then(|asked| self.find_group(asked)) {
            return match rest.get(1).map(|word| self.find_in(group, &word.to_string_lossy())) {
                Some(Some(syntax)) => Outcome::Print(help::verb(self, syntax)),
                _ => Outcome::Print(help::group(self, group)),
            };
        }
        match (name, asked.as_deref().map(|asked| self.find(asked))) {
            ("help", None) => Outcome::Print(help::global(self)),
            ("version", None) => Outcome::Print((self.version)()),
            ("help", Some(Some(syntax))) => Outcome::Print(help::verb(self, syntax)),
            ("help", Some(None)) => self.no_help_topic(&asked.unwrap_or_default(), global),
            (_, _) if matches!(asked.as_deref(), Some("-h" | "--help")) => self.no_help_topic(name, global),
            _ => {
                let near = self.near_verb(name);
                self.wrong(coded!(UsageVerb, "unknown verb {name:?}{near}"), None, global)
            }
        }
    }

    /// Returns the example of a verb; empty where there is none.
    fn example(&self, verb: &str) -> &'static str {
        self.examples.iter().find(|(name, _)| *name == verb).map_or("", |(_, example)| example)
    }

    /// Returns the exit statuses of a verb in words.
    fn status(&self, verb: &str) -> &'static str {
        let of = |names: &[&str]| names.is_empty() || names.contains(&verb);
        self.statuses.iter().find(|(names, _)| of(names)).map_or("", |(_, text)| text)
    }

    /// Returns the verb or group that `name` may be meant to be, as [`did_you_mean`].
    fn near_verb(&self, name: &str) -> String {
        let groups = self.groups.iter().map(|group| group.name);
        did_you_mean(name, self.verbs().map(|verb| verb.name).filter(|name| !name.contains(' ')).chain(groups))
    }

    /// Answers a question for the help of a verb that does not exist, in runc's words.
    fn no_help_topic(&self, name: &str, global: G) -> Outcome<G, V> {
        self.wrong(coded!(UsageVerb, "unknown verb {name:?}: No help topic for '{name}'"), None, global)
    }

    /// Returns an error when the number of operands is wrong, in runc's words.
    fn arity_error(&self, syntax: &VerbSpec<V>, got: usize) -> Option<Coded> {
        let (least, most) = syntax.count;
        let bound = match (least, most) {
            _ if (least..=most).contains(&got) => return None,
            (least, most) if least == most => format!("exactly {least}"),
            (least, _) if got < least => format!("at least {least}"),
            (_, most) => format!("at most {most}"),
        };
        let number = if bound.ends_with(" 1") { "argument" } else { "arguments" };
        let which = if syntax.operands.is_empty() { String::new() } else { format!(" ({})", syntax.operands) };
        Some(coded!(UsageArguments, "\"{} {}\" requires {bound} {number}{which}, got {got}", self.name, syntax.name))
    }

    fn wrong(&self, error: impl Into<anyhow::Error>, syntax: Option<&'static VerbSpec<V>>, global: G) -> Outcome<G, V> {
        let error = Box::new(Report::of(&Code::UsageValue.attach(error.into())));
        let usage = help::usage(self, syntax);
        Outcome::Usage { error, usage, global: Box::new(global), verb: syntax.map(|syntax| syntax.name) }
    }
}
