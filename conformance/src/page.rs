//! The page docs/conformance.md: each requirement of the checklist with what became of its tests.

use std::fmt::Write as _;

use crate::coverage::{self, Part, Requirement};
use crate::schedule::Outcome;
use crate::verdict::Verdict;

/// What the page says about the suite.
const HEAD: &str = include_str!("page.md");

/// The whole page.
pub fn page(version: &str, results: &[Outcome]) -> String {
    let count = |name: &str| results.iter().filter(|one| one.verdict.name() == name).count();
    let (binding, missing) = coverage::missing();
    let mut text = format!(
        "{HEAD}\n## Results\n{version} on {}: {} tests, {} passed, {} failed, {} skipped. Of {binding} requirements that bind (M or S), {} have a test.\n",
        machine(),
        results.len(),
        count("passed"),
        count("failed"),
        count("skipped"),
        binding - missing.len(),
    );
    for part in coverage::parts() {
        // only fails where memory does
        let _ = self::part(&mut text, &part, results);
    }
    text
}

fn part(text: &mut String, part: &Part, results: &[Outcome]) -> std::fmt::Result {
    writeln!(text, "\n### {}\n\n| ID | Str | result | tests |\n|---|---|---|---|", part.title)?;
    for one in &part.requirements {
        let own: Vec<&Outcome> = results.iter().filter(|outcome| outcome.test.id == one.id).collect();
        let tests: Vec<String> = own.iter().map(|outcome| told(outcome)).collect();
        let tests = if own.is_empty() { one.unobservable().unwrap_or_default().to_owned() } else { tests.join("<br>") };
        writeln!(text, "| {} | {} | {} | {} |", one.id, one.strength, result(one, &own), escaped(&tests))?;
    }
    Ok(())
}

/// The requirement's result: as bad as the worst of its tests.
fn result(one: &Requirement, own: &[&Outcome]) -> &'static str {
    let any = |name: &str| own.iter().any(|outcome| outcome.verdict.name() == name);
    match () {
        () if any("failed") => "failed",
        () if any("passed") && any("skipped") => "passed, in part skipped",
        () if any("passed") => "passed",
        () if any("skipped") => "skipped",
        () if one.unobservable().is_some() => "cannot be shown",
        () => "no test",
    }
}

/// One test, with its own verdict where that is not that it passed.
fn told(Outcome { test, verdict, .. }: &Outcome) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match verdict {
        Verdict::Pass => test.title.to_owned(),
        Verdict::Skip(why) => format!("{} (skipped: {})", test.title, words(why)),
        Verdict::Fail { seen, .. } => format!("{} (failed: {})", test.title, words(seen)),
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}

/// The kernel, without what a distribution appends to its version.
fn machine() -> String {
    let Ok(name) = nix::sys::utsname::uname() else { return "an unknown machine".to_owned() };
    let release = name.release().to_string_lossy();
    let release: Vec<&str> = release.splitn(3, '.').take(2).collect();
    format!("{} {}", name.sysname().to_string_lossy(), release.join("."))
}

#[cfg(test)]
mod checks {
    use crate::tests;

    #[test]
    fn the_page_names_every_test() {
        let page = include_str!("../../docs/conformance.md");
        for test in tests::all() {
            let title = super::escaped(test.title);
            assert!(page.contains(&title), "docs/conformance.md lacks {} {title}: make conformance-docs", test.id);
        }
    }
}
