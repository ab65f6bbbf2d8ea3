//! Texts that are shown: help, usage lines, version.

use std::fmt::Write as _;

use super::syntax::{Flag, GLOBAL, Kind, Syntax, VERBS};

/// What this build has, as crun words it in its last line.
const BUILT_IN: &str = "+SELINUX +APPARMOR +CAP +SECCOMP +EBPF";

/// `croci --version`: callers look for the word `version` in the first line, `commit: ` and `spec: ` before others.
pub(super) fn version() -> String {
    let commit = option_env!("CROCI_COMMIT").unwrap_or("unknown");
    let (version, spec) = (env!("CARGO_PKG_VERSION"), crate::cli::SPEC_VERSION);
    format!("croci version {version}\ncommit: {commit}\nspec: {spec}\n{BUILT_IN}\n")
}

/// The line that says how a verb is used, or without a verb, croci.
pub(super) fn usage(verb: Option<&Syntax>) -> String {
    match verb {
        None => "Usage: croci [FLAGS] VERB [FLAGS] [ID]\n`croci --help` lists the verbs and flags.\n".to_owned(),
        Some(Syntax { name, operands, .. }) => {
            format!("{}`croci {name} --help` lists the flags.\n", usage_line(name, operands))
        }
    }
}

fn usage_line(name: &str, operands: &str) -> String {
    let mut text = String::new();
    // several ways to use one verb get a line each
    let leads = std::iter::once("Usage:").chain(std::iter::repeat("      "));
    for (lead, way) in leads.zip(operands.split(" | ")) {
        let space = if way.is_empty() { "" } else { " " };
        let _ = writeln!(text, "{lead} croci {name} [FLAGS]{space}{way}");
    }
    text
}

/// `croci --help`
pub(super) fn global() -> String {
    let mut text = "croci runs containers by the OCI runtime specification.\n\n".to_owned();
    text.push_str("Usage: croci [FLAGS] VERB [FLAGS] [ID]\n\nVerbs:\n");
    for verb in VERBS {
        let _ = writeln!(text, "  {:<12}{}", verb.name, verb.about);
    }
    text.push_str("\nFlags:\n");
    flags(&mut text, GLOBAL);
    text.push_str("\n`croci VERB --help` lists the flags of a verb.\n");
    text
}

/// `croci VERB --help`
pub(super) fn verb(verb: &Syntax) -> String {
    let mut text = format!("{}\n\n{}\nFlags:\n", verb.about, usage_line(verb.name, verb.operands));
    flags(&mut text, verb.flags);
    text
}

fn flags(text: &mut String, lists: &[&[Flag]]) {
    let all = || lists.iter().copied().flatten();
    let width = all().map(|flag| left(flag).len()).max().unwrap_or_default() + 2;
    for flag in all() {
        let _ = writeln!(text, "  {:<width$}{}", left(flag), flag.help);
    }
}

/// `-b, --bundle DIR`
fn left(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = match flag.kind {
        Kind::One | Kind::Many => format!(" {}", flag.value),
        Kind::Switch | Kind::Help | Kind::Version => String::new(),
    };
    format!("{short}--{}{value}", flag.name)
}
