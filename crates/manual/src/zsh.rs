//! Completion for zsh, by its own `_arguments`.

use std::fmt::Write as _;

use base::cli_parser::manual::{Manual, Verb};
use base::cli_parser::{Flag, FlagKind, Flags};

use super::words;
use super::words::Offer;

/// Returns the script.
pub(crate) fn script(program: &Manual) -> String {
    let own = program.name;
    let mut text = format!("#compdef {own}\n# Made by `make manual` from the table of flags; do not edit.\n\n");
    let _ = writeln!(
        text,
        "_{own}_printed() {{\n    local -a found call\n    call=({own} $_{own}_global)\n    found=(${{(f)\"$(eval \"${{(@q)call}}\" \"${{@[-1]}}\" 2>/dev/null)\"}})\n    compadd \"${{@[1,-2]}}\" -a found\n}}\n"
    );
    let _ = writeln!(text, "_{own}_verbs() {{\n    local -a verbs\n    verbs=(");
    let plain = program.verbs.iter().filter(|verb| !verb.name.contains(' ')).map(|verb| (verb.name, verb.about));
    for (name, about) in plain.chain(program.groups.iter().map(|group| (group.name, group.about))) {
        let _ = writeln!(text, "        {}", quoted(&format!("{name}:{about}")));
    }
    let _ = writeln!(text, "        'help:Show the help of a verb'\n    )\n    _describe verb verbs\n}}\n");
    main(&mut text, program);
    let _ = writeln!(text, "_{own}_verb() {{\n    case $1 in");
    for verb in &program.verbs {
        of_verb(&mut text, program, verb);
    }
    for group in program.groups {
        of_group(&mut text, program, group);
    }
    let _ = writeln!(text, "        (help) _{own}_verbs ;;\n    esac\n}}\n\n_{own} \"$@\"");
    text
}

/// Writes the function that reads the flags before the verb.
fn main(text: &mut String, program: &Manual) {
    let own = program.name;
    let _ = writeln!(
        text,
        "_{own}() {{\n    local curcontext=$curcontext state line\n    local -A opt_args\n    local -a _{own}_global\n    _arguments -C -S \\"
    );
    flags(text, own, program.flags, "        ");
    let _ = writeln!(text, "        '1: :_{own}_verbs' '*:: :->rest'");
    let _ = writeln!(text, "    [[ $state == rest ]] || return");
    let _ = writeln!(text, "    (( ! ${{+opt_args[--root]}} )) || _{own}_global=(--root \"${{opt_args[--root]}}\")");
    let _ = writeln!(text, "    _{own}_verb ${{line[1]}}\n}}\n");
}

/// Writes the case of a verb, under its names.
fn of_verb(text: &mut String, program: &Manual, verb: &Verb) {
    let own = program.name;
    let names = words::names_of(program, verb);
    let _ = writeln!(text, "        ({})\n            _arguments -S \\", names.join("|").replace(' ', "\\ "));
    flags(text, own, verb.flags, "                ");
    let action = action(own, &words::of_operands(program, verb));
    let second = words::of_second(verb).map(|second| format!("'1: :{action}' '2: :{}'", self::action(own, &second)));
    let operands = second.unwrap_or_else(|| match (verb.has_trailing_args, action.is_empty()) {
        (true, _) if verb.operands.starts_with('[') => format!("'*: :{action}'"),
        (true, true) => "'*::: :_normal'".to_owned(),
        (true, false) => format!("'1: :{action}' '*::: :_normal'"),
        // an empty action would end the completion of flags with a message
        (false, true) => String::new(),
        (false, false) => format!("'*: :{action}'"),
    });
    let _ = writeln!(text, "                {operands} ;;");
}

/// Writes the case of a group: its words, then the verb of the word.
fn of_group(text: &mut String, program: &Manual, group: &base::cli_parser::Group) {
    let own = program.name;
    let _ = writeln!(
        text,
        "        ({})\n            if (( CURRENT == 2 )); then\n                local -a verbs\n                verbs=(",
        group.name
    );
    for (word, verb) in words::group_words(program, group) {
        let _ = writeln!(text, "                    {}", quoted(&format!("{word}:{}", verb.about)));
    }
    let _ = writeln!(
        text,
        "                )\n                _describe verb verbs\n            else\n                shift words\n                (( CURRENT-- ))\n                _{own}_verb \"{} ${{words[1]}}\"\n            fi ;;",
        group.name
    );
}

/// Writes the specifications of flags, each on a line that is continued.
fn flags(text: &mut String, own: &str, lists: Flags, indent: &str) {
    for flag in words::flags(lists) {
        let repeated = if flag.kind == FlagKind::Many { "*" } else { "" };
        let help = flag.help.replace('[', "(").replace(']', ")");
        let value = match flag.kind {
            FlagKind::One | FlagKind::Many => format!(":{}:{}", plain(flag.value), action(own, &words::of_flag(flag))),
            _ => String::new(),
        };
        for name in spellings(flag) {
            let assign = if flag.kind.takes_value() && name.starts_with("--") { "=" } else { "" };
            let _ = writeln!(text, "{indent}{} \\", quoted(&format!("{repeated}{name}{assign}[{help}]{value}")));
        }
    }
}

fn spellings(flag: &Flag) -> Vec<String> {
    let mut all = vec![format!("--{}", flag.name)];
    all.extend(flag.short.map(|short| if short == '?' { "-\\?".to_owned() } else { format!("-{short}") }));
    all
}

/// Returns the action of `_arguments` for what is offered.
fn action(own: &str, offer: &Offer) -> String {
    match offer {
        Offer::Nothing => String::new(),
        Offer::Files => "_files".to_owned(),
        Offer::Directories => "_files -/".to_owned(),
        Offer::Words(words) => format!("({})", words.join(" ")),
        Offer::Printed(command) => format!("_{own}_printed \"{}\"", command.replace('\'', "'\\''")),
    }
}

/// Makes the name of a value harmless in a specification.
fn plain(value: &str) -> String {
    value.replace(':', "\\:").replace(['[', ']'], "")
}

fn quoted(word: &str) -> String {
    // an action has its quotes escaped already
    if word.contains("'\\''") { format!("'{word}'") } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
