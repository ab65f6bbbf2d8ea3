//! Man pages, in the macros of man(7): one for the program, one for each verb and each group of verbs.

use std::fmt::Write as _;

use base::cli_parser::manual::{Manual, Verb};
use base::cli_parser::{Flag, FlagKind, Group};

use super::words;

/// First line of a page, against edits.
const HEAD: &str = ".\\\" Made by `make manual` from the table of flags; do not edit.\n";

/// Returns the name of each page and its text.
pub(crate) fn pages(program: &Manual) -> Vec<(String, String)> {
    let own = program.name;
    let mut pages = vec![(format!("{own}.1"), whole(program))];
    for verb in &program.verbs {
        pages.push((format!("{}.1", title(own, verb.name)), of_verb(program, verb)));
    }
    for group in program.groups {
        pages.push((format!("{}.1", title(own, group.name)), of_group(program, group)));
    }
    pages
}

/// Returns the name of a page: `corm-system-df`.
fn title(own: &str, verb: &str) -> String {
    format!("{own}-{}", verb.replace(' ', "-"))
}

/// Makes text safe for roff: no escapes, no requests, and dashes that can be copied.
fn text(plain: &str) -> String {
    let escaped = plain.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

fn bold(plain: &str) -> String {
    format!("\\fB{}\\fR", text(plain))
}

fn italic(plain: &str) -> String {
    format!("\\fI{}\\fR", text(plain))
}

/// Begins a page.
fn begin(own: &str, title: &str, about: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (upper, name) = (title.to_uppercase(), text(title));
    format!("{HEAD}.TH {upper} 1 \"\" \"{own} {version}\" \"User Commands\"\n.SH NAME\n{name} \\- {}\n", text(about))
}

/// Returns the page of the program.
fn whole(program: &Manual) -> String {
    let own = program.name;
    let mut page = begin(own, own, program.about);
    let _ = writeln!(
        page,
        ".SH SYNOPSIS\n{} [{}] {} [{}] [{}]",
        bold(own),
        italic("FLAGS"),
        italic("VERB"),
        italic("FLAGS"),
        italic(program.operand)
    );
    let _ = writeln!(page, ".SH DESCRIPTION\nFlags of {own} itself stand before the verb, flags of the verb after it.");
    page.push_str("A long flag may have one dash or two, and its value follows a space or an equals sign.\n");
    page.push_str(".SH VERBS\n");
    for verb in program.verbs.iter().filter(|verb| !verb.name.contains(' ')) {
        let _ = writeln!(page, ".TP\n.BR {} (1)\n{}.", text(&title(own, verb.name)), text(verb.about));
    }
    for group in program.groups {
        let _ = writeln!(page, ".TP\n.BR {} (1)\n{}.", text(&title(own, group.name)), text(group.about));
    }
    let _ = writeln!(
        page,
        ".TP\n{}\nShow the help of a verb.\n.TP\n{}\nShow the version.",
        bold("help [VERB]"),
        bold("version")
    );
    options(&mut page, program.flags);
    let _ = writeln!(page, ".SH EXIT STATUS\n{}.", text(program.status));
    page.push_str(".SH DIAGNOSTICS\n");
    let _ = writeln!(
        page,
        "An error is one line on standard error with a code in brackets at its end; {} shows what the code means and what to do.",
        bold(&format!("{own} explain CODE"))
    );
    see_also(&mut page, program, own);
    page
}

/// Returns the page of a verb.
fn of_verb(program: &Manual, verb: &Verb) -> String {
    let own = program.name;
    let mut page = begin(own, &title(own, verb.name), verb.about);
    page.push_str(".SH SYNOPSIS\n");
    for (number, form) in verb.operands.split(" | ").enumerate() {
        let lead = if number > 0 { ".br\n" } else { "" };
        let operands = if form.is_empty() { String::new() } else { format!(" {}", text(form)) };
        let _ = writeln!(
            page,
            "{lead}{} [{}] {} [{}]{operands}",
            bold(own),
            italic("GLOBAL FLAGS"),
            bold(verb.name),
            italic("FLAGS")
        );
    }
    let _ = writeln!(page, ".SH DESCRIPTION\n{}.", text(verb.about));
    if verb.has_trailing_args {
        page.push_str(
            "The words after the first operand are passed on as they are, also where they look like flags.\n",
        );
    }
    let others: Vec<String> = program
        .groups
        .iter()
        .flat_map(|group| {
            group.words.iter().filter(|(_, of)| *of == verb.name).map(|(word, _)| format!("{} {word}", group.name))
        })
        .collect();
    if !others.is_empty() {
        let _ = writeln!(page, "Other names: {}.", text(&others.join(", ")));
    }
    options(&mut page, verb.flags);
    let global: Vec<String> = words::flags(program.flags)
        .filter(|flag| !matches!(flag.kind, FlagKind::Help | FlagKind::Version))
        .map(|flag| bold(&format!("--{}", flag.name)))
        .collect();
    let _ = writeln!(page, ".SH GLOBAL FLAGS\nBefore the verb, as\n.BR {own} (1)\nhas them: {}.", global.join(", "));
    let _ = writeln!(page, ".SH EXIT STATUS\n{}.", text(verb.status));
    if !verb.example.is_empty() {
        page.push_str(".SH EXAMPLES\n.EX\n");
        for line in verb.example.lines() {
            let _ = writeln!(page, "{}", text(line));
        }
        page.push_str(".EE\n");
    }
    see_also(&mut page, program, verb.name);
    page
}

/// Returns the page of a group of verbs.
fn of_group(program: &Manual, group: &Group) -> String {
    let own = program.name;
    let mut page = begin(own, &title(own, group.name), group.about);
    let _ = writeln!(
        page,
        ".SH SYNOPSIS\n{} [{}] {} {} [{}]",
        bold(own),
        italic("GLOBAL FLAGS"),
        bold(group.name),
        italic("VERB"),
        italic("FLAGS")
    );
    let _ = writeln!(page, ".SH DESCRIPTION\n{}.\n.SH VERBS", text(group.about));
    for (word, verb) in words::group_words(program, group) {
        let _ =
            writeln!(page, ".TP\n{}\n{}; see\n.BR {} (1).", bold(word), text(verb.about), text(&title(own, verb.name)));
    }
    see_also(&mut page, program, group.name);
    page
}

/// Writes the list of flags.
fn options(page: &mut String, lists: base::cli_parser::Flags) {
    page.push_str(".SH OPTIONS\n");
    for flag in words::flags(lists) {
        let _ = writeln!(page, ".TP\n{}\n{}", spellings(flag), text(flag.help));
    }
}

/// Formats a flag with its value.
fn spellings(flag: &Flag) -> String {
    let short = flag.short.map_or_else(String::new, |short| format!("{}, ", bold(&format!("-{short}"))));
    let value = if flag.kind.takes_value() { format!(" {}", italic(flag.value)) } else { String::new() };
    format!("{short}{}{value}", bold(&format!("--{}", flag.name)))
}

/// Writes the list of other pages: the program's, the group's, and the peer's.
fn see_also(page: &mut String, program: &Manual, at: &str) {
    let other = if program.name == "croci" { "corm" } else { "croci" };
    let group = at.split_once(' ').map(|(group, _)| format!(".BR {} (1),\n", text(&title(program.name, group))));
    let own = if at == program.name { String::new() } else { format!(".BR {} (1),\n", program.name) };
    let _ = writeln!(page, ".SH SEE ALSO\n{own}{}.BR {other} (1)", group.unwrap_or_default());
}
