//! Help and usage texts.

use std::fmt::Write as _;

use super::{Flag, FlagKind, Flags, Group, Program, VerbSpec};

/// Returns the usage lines of a verb, or of the program.
pub(super) fn usage<G, V>(program: &Program<G, V>, verb: Option<&VerbSpec<V>>) -> String {
    let Program { name: program, operand, .. } = program;
    match verb {
        None => {
            format!(
                "Usage: {program} [FLAGS] VERB [FLAGS] [{operand}]\n`{program} --help` lists the verbs and flags.\n"
            )
        }
        Some(VerbSpec { name, operands, .. }) => {
            format!("{}`{program} {name} --help` lists the flags.\n", usage_line(program, name, operands))
        }
    }
}

fn usage_line(program: &str, name: &str, operands: &str) -> String {
    let mut text = String::new();
    // each alternative form of a verb has a line
    let leads = std::iter::once("Usage:").chain(std::iter::repeat("      "));
    for (lead, way) in leads.zip(operands.split(" | ")) {
        let space = if way.is_empty() { "" } else { " " };
        let _ = writeln!(text, "{lead} {program} {name} [FLAGS]{space}{way}");
    }
    text
}

/// Returns the text of `PROGRAM --help`.
pub(super) fn global<G: Default, V>(program: &Program<G, V>) -> String {
    let Program { name, about, operand, groups, global, .. } = program;
    let mut text = format!("NAME:\n   {name} - {about}\n\nUsage: {name} [FLAGS] VERB [FLAGS] [{operand}]\n\nVerbs:\n");
    for verb in program.verbs().filter(|verb| !verb.name.contains(' ')) {
        let _ = writeln!(text, "  {:<12}{}", verb.name, verb.about);
    }
    for group in *groups {
        let _ = writeln!(text, "  {:<12}{}", group.name, group.about);
    }
    text.push_str("\nFlags:\n");
    flags(&mut text, global);
    let status = program.status("");
    let _ = writeln!(text, "\nThese flags stand before the verb. Exit status: {status}.");
    let _ = writeln!(
        text,
        "`{name} help VERB` and `{name} VERB --help` list the flags of a verb; so does `man {name}-VERB`."
    );
    text
}

/// Returns the text of `PROGRAM GROUP --help`.
pub(super) fn group<G: Default, V>(program: &Program<G, V>, group: &Group) -> String {
    let (name, Group { name: own, about, words }) = (program.name, group);
    let mut text = format!("NAME:\n   {name} {own} - {about}\n\nUsage: {name} {own} VERB [FLAGS] [ARG...]\n\nVerbs:\n");
    let mut all: Vec<(&str, &str)> = Vec::new();
    for verb in program.verbs() {
        let named = words.iter().filter(|(_, of)| *of == verb.name).map(|(word, _)| *word);
        let word = verb.name.split_once(' ').filter(|(first, _)| first == own).map(|(_, word)| word);
        all.extend(named.chain(word).map(|word| (word, verb.about)));
    }
    all.sort_unstable();
    for (word, about) in all {
        let _ = writeln!(text, "  {word:<12}{about}");
    }
    let _ = writeln!(text, "\n`{name} {own} VERB --help` lists the flags of a verb.");
    text
}

/// Returns the text of `PROGRAM VERB --help`.
pub(super) fn verb<G: Default, V>(program: &Program<G, V>, verb: &VerbSpec<V>) -> String {
    let VerbSpec { name, about, operands, .. } = verb;
    let own = program.name;
    let usage = usage_line(own, name, operands);
    let mut text = format!("NAME:\n   {own} {name} - {about}\n\n{usage}\nFlags:\n");
    flags(&mut text, verb.flags);
    let example = program.example(name);
    if !example.is_empty() {
        text.push_str("\nExample:\n");
        for line in example.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let _ = writeln!(text, "\nExit status: {}.", program.status(name));
    let _ = writeln!(text, "Flags of {own} itself stand before the verb: `{own} --help` lists them.");
    text
}

fn flags(text: &mut String, lists: Flags) {
    let all = || lists.iter().copied().flatten();
    let width = all().map(|flag| left(flag).len()).max().unwrap_or_default() + 2;
    for flag in all() {
        let _ = writeln!(text, "  {:<width$}{}", left(flag), flag.help);
    }
}

/// Formats the left column of a flag: `-b, --bundle DIR`.
fn left(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = match flag.kind {
        FlagKind::One | FlagKind::Many => format!(" {}", flag.value),
        FlagKind::Switch | FlagKind::Help | FlagKind::Version => String::new(),
    };
    format!("{short}--{}{value}", flag.name)
}
