//! Completion for fish.

use std::fmt::Write as _;

use base::cli_parser::manual::{Manual, Verb};
use base::cli_parser::{FlagKind, Flags};

use super::words;
use super::words::Offer;

/// The functions that find the verb; `NAME` is replaced.
const FRAME: &str = include_str!("frame.fish");

/// Returns the script.
pub(crate) fn script(program: &Manual) -> String {
    let own = program.name;
    let with_value: Vec<String> = words::flags(program.flags)
        .filter(|flag| flag.kind.takes_value())
        .map(|flag| format!("--{}", flag.name))
        .collect();
    let groups: Vec<&str> = program.groups.iter().map(|group| group.name).collect();
    let mut text =
        FRAME.replace("NAME", own).replace("@VALUES@", &with_value.join(" ")).replace("@GROUPS@", &groups.join(" "));
    let none = format!("test -z \"$(__{own}_verb)\"");
    flags(&mut text, own, program.flags, &none);
    let plain = program.verbs.iter().filter(|verb| !verb.name.contains(' ')).map(|verb| (verb.name, verb.about));
    let all = plain.chain(program.groups.iter().map(|group| (group.name, group.about)));
    for (name, about) in all.chain([("help", "Show the help of a verb")]) {
        for when in [&none, &format!("test \"$(__{own}_verb)\" = help")] {
            let _ = writeln!(text, "complete -c {own} -n {} -a {name} -d {}", quoted(when), quoted(about));
        }
    }
    for verb in &program.verbs {
        of_verb(&mut text, program, verb);
    }
    for group in program.groups {
        for (word, verb) in words::group_words(program, group) {
            let when = quoted(&format!("test \"$(__{own}_verb)\" = {}", group.name));
            let _ = writeln!(text, "complete -c {own} -n {when} -a {word} -d {}", quoted(verb.about));
        }
    }
    text
}

/// Writes the flags and operands of a verb, under its names.
fn of_verb(text: &mut String, program: &Manual, verb: &Verb) {
    let own = program.name;
    let names: Vec<String> = words::names_of(program, verb).iter().map(|name| name.replace(' ', "\\ ")).collect();
    let when = format!("contains -- \"$(__{own}_verb)\" {}", names.join(" "));
    flags(text, own, verb.flags, &when);
    for offer in std::iter::once(words::of_operands(program, verb)).chain(words::of_second(verb)) {
        let offer = offered(own, &offer);
        if !offer.is_empty() {
            let _ = writeln!(text, "complete -c {own} -n {} {offer}", quoted(&when));
        }
    }
}

/// Writes a line for each flag.
fn flags(text: &mut String, own: &str, lists: Flags, when: &str) {
    for flag in words::flags(lists) {
        let short = flag.short.map_or_else(String::new, |short| format!(" -s {short}"));
        let value = match flag.kind {
            FlagKind::One | FlagKind::Many => match offered(own, &words::of_flag(flag)) {
                offer if offer.is_empty() => " -x".to_owned(),
                offer if offer.starts_with("-F") => " -r -F".to_owned(),
                offer => format!(" -x {offer}"),
            },
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "complete -c {own} -n {}{short} -l {}{value} -d {}",
            quoted(when),
            flag.name,
            quoted(flag.help)
        );
    }
}

/// Returns the arguments of `complete` for what is offered.
fn offered(own: &str, offer: &Offer) -> String {
    match offer {
        Offer::Nothing => String::new(),
        Offer::Files => "-F".to_owned(),
        Offer::Directories => "-a '(__fish_complete_directories (commandline -ct))'".to_owned(),
        Offer::Words(words) => format!("-a {}", quoted(&words.join(" "))),
        Offer::Printed(command) => format!("-a {}", quoted(&format!("(__{own}_printed {})", quoted(command)))),
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\\', "\\\\").replace('\'', "\\'"))
}
