//! Completion for bash. Uses no function of the package bash-completion, so that it also works without.

use std::fmt::Write as _;

use base::cli_parser::manual::{Manual, Verb};
use base::cli_parser::{Flag, FlagKind, Flags};

use super::words;
use super::words::Offer;

/// The part that is the same for both programs; `NAME` is replaced.
const FRAME: &str = include_str!("frame.bash");

/// Returns the script.
pub(crate) fn script(program: &Manual) -> String {
    let mut verbs: Vec<&str> = program.verbs.iter().map(|verb| verb.name).filter(|name| !name.contains(' ')).collect();
    verbs.extend(program.groups.iter().map(|group| group.name));
    verbs.push("help");
    let groups: Vec<&str> = program.groups.iter().map(|group| group.name).collect();
    let mut cases = String::new();
    arm(&mut cases, "''", &flag_words(program.flags), &values(program.flags), "");
    for verb in &program.verbs {
        let names: Vec<String> = words::names_of(program, verb).iter().map(|name| format!("'{name}'")).collect();
        arm(&mut cases, &names.join(" | "), &flag_words(verb.flags), &values(verb.flags), &operands(program, verb));
    }
    for group in program.groups {
        let all: Vec<&str> = words::group_words(program, group).into_iter().map(|(word, _)| word).collect();
        arm(&mut cases, &format!("'{}'", group.name), "--help", "", &format!("words '{}'", all.join(" ")));
    }
    FRAME
        .replace("NAME", program.name)
        .replace("@VERBS@", &verbs.join(" "))
        .replace("@GROUPS@", &groups.join(" "))
        .replace("@CASES@\n", &cases)
}

/// Writes the case of a verb.
fn arm(cases: &mut String, names: &str, flags: &str, values: &str, operands: &str) {
    let _ = writeln!(cases, "        {names})\n            flags='{flags}' values='{values}' offer=({operands}) ;;");
}

/// Returns the flags of a table as words, long and short.
fn flag_words(lists: Flags) -> String {
    let spell = |flag: &Flag| format!("--{}{}", flag.name, flag.short.map_or_else(String::new, |c| format!(" -{c}")));
    words::flags(lists).map(spell).collect::<Vec<_>>().join(" ")
}

/// Returns the flags that have a value, each with the kind of its value: `--bundle:dirs -b:dirs --format:table,json`.
fn values(lists: Flags) -> String {
    let mut all = Vec::new();
    for flag in words::flags(lists).filter(|flag| matches!(flag.kind, FlagKind::One | FlagKind::Many)) {
        let kind = match words::of_flag(flag) {
            Offer::Nothing | Offer::Printed(_) => "none".to_owned(),
            Offer::Files => "files".to_owned(),
            Offer::Directories => "dirs".to_owned(),
            Offer::Words(words) => words.join(","),
        };
        all.push(format!("--{}:{kind}", flag.name));
        all.extend(flag.short.map(|short| format!("-{short}:{kind}")));
    }
    all.join(" ")
}

/// Returns the words that call the function for the operands of a verb.
fn operands(program: &Manual, verb: &Verb) -> String {
    let first = shell(&words::of_operands(program, verb));
    let second = words::of_second(verb).map_or_else(String::new, |second| format!(") second=({}", shell(&second)));
    first + &second
}

/// Returns the words that call the function for what is offered.
fn shell(offer: &Offer) -> String {
    match offer {
        Offer::Nothing => String::new(),
        Offer::Files => "files".to_owned(),
        Offer::Directories => "dirs".to_owned(),
        Offer::Words(words) => format!("words '{}'", words.join(" ")),
        Offer::Printed(command) => format!("printed \"{command}\""),
    }
}
