//! What a shell offers in the place of a value or an operand, by the word that stands for it in the tables.

use base::cli_parser::Flag;
use base::cli_parser::manual::{Manual, Verb};

/// What is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Nothing that a shell knows.
    Nothing,
    /// Files and directories.
    Files,
    /// Directories.
    Directories,
    /// One of these words.
    Words(Vec<String>),
    /// What this command of shell prints, a word a line; `"${root[@]}"` stands for `--root DIR` as it was given.
    Printed(&'static str),
}

/// IDs of croci's containers.
const IDS: &str = "list --quiet";
/// Names of corm's containers.
const CONTAINERS: &str = "ps --all --noheading --format '{{.Names}}'";
/// Names of corm's images.
const IMAGES: &str = "images --noheading --format '{{.Repository}}:{{.Tag}}'";
/// Names of volumes.
const VOLUMES: &str = "volume ls --quiet";
/// Names of networks.
const NETWORKS: &str = "network ls --quiet";

/// Words that the help of a flag lists: `text or json`, `soft, full, strict or ignore`.
fn listed(help: &str) -> Option<Vec<String>> {
    let help = help.split(" [default").next()?;
    let list = help.rsplit_once(": ").map_or(help, |(_, list)| list);
    let words: Vec<String> = list
        .replace(" or ", ", ")
        .split(", ")
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect();
    let is_word = |word: &String| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (words.len() > 1 && words.iter().all(is_word)).then_some(words)
}

/// Returns what is offered for the value of a flag.
pub(crate) fn of_flag(flag: &Flag) -> Offer {
    match flag.value {
        "FILE" | "PATH" | "SOCKET" => Offer::Files,
        "DIR" => Offer::Directories,
        "SIGNAL" => signals(),
        "0|1" => Offer::Words(vec!["0".to_owned(), "1".to_owned()]),
        _ => listed(flag.help).map_or(Offer::Nothing, Offer::Words),
    }
}

/// Returns all names of a verb, also those in groups: `rm`, `container rm`.
pub(crate) fn names_of(program: &Manual, verb: &Verb) -> Vec<String> {
    let mut names = vec![verb.name.to_owned()];
    for group in program.groups {
        let other = group.words.iter().filter(|(_, of)| *of == verb.name);
        names.extend(other.map(|(word, _)| format!("{} {word}", group.name)));
    }
    names
}

/// Returns what is offered for the operands of a verb.
pub(crate) fn of_operands(program: &Manual, verb: &Verb) -> Offer {
    let (first, rest) = verb.operands.split_once(' ').unwrap_or((verb.operands, ""));
    match (program.name, verb.name) {
        // the ID of a container that does not exist yet
        ("croci", "create" | "run" | "restore" | "plan") => return Offer::Nothing,
        ("croci", "explain") | ("corm", "explain") => return Offer::Printed("explain 2>/dev/null | cut -d' ' -f1"),
        ("corm", "bundle" | "run" | "create" | "config" | "commit") if first == "IMAGE" => {
            return Offer::Printed(IMAGES);
        }
        _ => {}
    }
    let first = first.trim_start_matches('[').trim_end_matches([']', '.']);
    match first.split(['|', ':']).next().unwrap_or_default() {
        "ID" => Offer::Printed(IDS),
        "CONTAINER" => Offer::Printed(CONTAINERS),
        "IMAGE" | "LIST" => Offer::Printed(IMAGES),
        "VOLUME" => Offer::Printed(VOLUMES),
        "DIR" | "CONTEXT" => Offer::Directories,
        "FILE" | "PATH" => Offer::Files,
        "add" => Offer::Words(vec!["add".to_owned(), "remove".to_owned()]),
        "NAME" if verb.name.starts_with("network ") && verb.name != "network create" => Offer::Printed(NETWORKS),
        "REF" | "NAME" if rest.is_empty() && program.name == "corm" && verb.name != "volume create" => {
            Offer::Printed(IMAGES)
        }
        _ => Offer::Nothing,
    }
}

/// Returns what is offered for the operands after the first one, where that is something else.
pub(crate) fn of_second(verb: &Verb) -> Option<Offer> {
    verb.operands.contains("[SIGNAL]").then(signals)
}

/// Names of signals.
fn signals() -> Offer {
    let names = "HUP INT QUIT TERM KILL USR1 USR2 STOP CONT WINCH";
    Offer::Words(names.split(' ').map(str::to_owned).collect())
}

/// Returns the flags of a table that a person may want, each with its spellings.
pub(crate) fn flags(lists: base::cli_parser::Flags) -> impl Iterator<Item = &'static Flag> {
    lists.iter().copied().flatten().filter(|flag| flag.name != "usage")
}

/// Returns the words after a group with the verb that each means, those of its own included, in order.
pub(crate) fn group_words<'a>(program: &'a Manual, group: &base::cli_parser::Group) -> Vec<(&'a str, &'a Verb)> {
    let mut all: Vec<(&str, &Verb)> = Vec::new();
    for verb in &program.verbs {
        all.extend(group.words.iter().filter(|(_, of)| *of == verb.name).map(|(word, _)| (*word, verb)));
        all.extend(verb.name.split_once(' ').filter(|(first, _)| *first == group.name).map(|(_, word)| (word, verb)));
    }
    all.sort_unstable_by_key(|(word, _)| *word);
    all
}
