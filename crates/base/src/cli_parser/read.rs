//! Parsing of one half of a command line (before the verb, or after it) by its table of flags.
//!
//! clap parses; before that, Go-style long names with one dash get the second one. `parsed_args` converts the values.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Flag, FlagKind, Flags};

/// Name of the operands among clap's matches.
pub(super) const OPERANDS: &str = "operands";

/// Reason for which parsing stopped early.
#[derive(Debug)]
pub(super) enum Stop {
    Help,
    Version,
    /// A flag that is not in the table, as it was given.
    UnknownFlag(String),
    /// The error message, one line.
    Wrong(String),
}

/// Parses `args`; with `trailing_args`, everything after the first operand is an operand.
pub(super) fn read(
    name: &'static str,
    args: impl Iterator<Item = OsString>,
    flags: Flags,
    trailing_args: bool,
) -> Result<ArgMatches, Stop> {
    let args = add_second_dash(args, flags, trailing_args);
    clap_command(name, flags, trailing_args).try_get_matches_from(args).map_err(|err| stop(&err))
}

/// Parses the valid flags of a part before the verb that [`read`] refused.
pub(super) fn read_tolerantly(
    name: &'static str,
    args: impl Iterator<Item = OsString>,
    flags: Flags,
) -> Option<ArgMatches> {
    // clap would stop at the first unknown flag, and at --help
    let is_known = |word: &OsString| {
        let word = word.as_bytes();
        let shows = |flag: &Flag| matches!(flag.kind, FlagKind::Help | FlagKind::Version);
        !word.starts_with(b"-") || find_long(word, flags).is_some_and(|flag| !shows(flag))
    };
    let args = add_second_dash(args.filter(is_known), flags, true);
    clap_command(name, flags, true).ignore_errors(true).try_get_matches_from(args).ok()
}

/// Returns clap's form of the tables, for parsing only: without texts it is built faster.
fn clap_command(name: &'static str, flags: Flags, trailing_args: bool) -> Command {
    let operands = Arg::new(OPERANDS)
        .num_args(0..)
        .action(ArgAction::Append)
        .trailing_var_arg(trailing_args)
        .value_parser(ValueParser::os_string());
    Command::new(name)
        .no_binary_name(true)
        .version("") // clap requires a version where a flag prints one
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true) // Podman gives --leave-running twice
        .args(flags.iter().copied().flatten().map(arg))
        .arg(operands)
}

fn arg(flag: &Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).value_parser(ValueParser::os_string());
    let arg = if let Some(short) = flag.short { arg.short(short) } else { arg };
    match flag.kind {
        FlagKind::Switch => {
            arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        // as getopt and Go do: the next word is the value, whatever it looks like ("-1", "-")
        FlagKind::One => arg.action(ArgAction::Set).allow_hyphen_values(true),
        FlagKind::Many => arg.action(ArgAction::Append).allow_hyphen_values(true),
        FlagKind::Help => Arg::new(flag.name).long(flag.name).short(flag.short).action(ArgAction::Help),
        FlagKind::Version => {
            Arg::new(flag.name).long(flag.name).short(flag.short).short_alias('V').action(ArgAction::Version)
        }
    }
}

fn stop(err: &clap::Error) -> Stop {
    let culprit = match err.get(ContextKind::InvalidArg) {
        // clap appends the name of the value ("--bundle <bundle>")
        Some(ContextValue::String(name)) => name,
        _ => "",
    };
    match err.kind() {
        ErrorKind::DisplayHelp => Stop::Help,
        ErrorKind::DisplayVersion => Stop::Version,
        ErrorKind::UnknownArgument => Stop::UnknownFlag(culprit.to_owned()),
        // the only check that clap performs: all values are accepted unconverted
        ErrorKind::InvalidValue => {
            Stop::Wrong(format!("{} requires an argument", culprit.split(' ').next().unwrap_or_default()))
        }
        _ => Stop::Wrong(one_line(&err.to_string())),
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Adds the second dash to long names with one dash, as Go programs write them (containerd: `-no-subreaper`).
fn add_second_dash(args: impl Iterator<Item = OsString>, flags: Flags, trailing_args: bool) -> Vec<OsString> {
    let mut args = args.fuse();
    let mut out = Vec::with_capacity(args.size_hint().0);
    while let Some(arg) = args.next() {
        let word = arg.as_bytes();
        let operand = word.len() < 2 || word.first() != Some(&b'-');
        if word == b"--" || (operand && trailing_args) {
            out.push(arg);
            break;
        }
        let value_follows = !operand && value_follows(word, flags);
        if !operand && !word.starts_with(b"--") && find_long(word, flags).is_some() {
            let mut longer = OsString::from("-");
            longer.push(&arg);
            out.push(longer);
        } else {
            out.push(arg);
        }
        if value_follows {
            out.extend(args.next());
        }
    }
    out.extend(args);
    out
}

/// Returns the flag whose long name `word` has, after one dash or two.
fn find_long(word: &[u8], flags: Flags) -> Option<&'static Flag> {
    let name = word.strip_prefix(b"--").or(word.strip_prefix(b"-"))?;
    let name = name.split(|b| *b == b'=').next()?;
    flags.iter().copied().flatten().find(|flag| flag.name.as_bytes() == name)
}

/// Returns whether the word after `word` is its value.
fn value_follows(word: &[u8], flags: Flags) -> bool {
    if let Some(flag) = find_long(word, flags) {
        return flag.kind.takes_value() && !word.contains(&b'=');
    }
    if word.starts_with(b"--") {
        return false;
    }
    // a cluster: switches, then perhaps one flag with a value, which follows when nothing is left of the word
    for (place, letter) in word.iter().enumerate().skip(1) {
        let short = |flag: &&Flag| flag.short == Some(char::from(*letter));
        match flags.iter().copied().flatten().find(short) {
            Some(flag) if flag.kind.takes_value() => return place + 1 == word.len(),
            Some(_) => {}
            None => return false,
        }
    }
    false
}
