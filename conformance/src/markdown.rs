//! The page docs/generated/conformance.md: each requirement of the checklist with the results of its tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::coverage::{self, Part, Requirement};
use crate::schedule::Outcome;
use crate::tests::Test;
use crate::verdict::Verdict;

/// The part of the page about the suite.
const HEAD: &str = include_str!("page.md");

/// The results of another machine, on which tests may pass that are skipped on this one.
pub struct OtherRun {
    machine: String,
    /// The ID and title of each test that passed on that machine.
    passed: BTreeSet<(String, String)>,
}

impl OtherRun {
    /// Reads the results that that machine wrote as JSON.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let all: Value = serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let tests = all["tests"].as_array().with_context(|| format!("{} has no tests", path.display()))?;
        let passed = tests.iter().filter(|test| test["verdict"] == "pass");
        Ok(Self {
            machine: word(&all["machine"]).with_context(|| format!("{} names no machine", path.display()))?,
            passed: passed.filter_map(|test| Some((word(&test["id"])?, word(&test["title"])?))).collect(),
        })
    }

    fn passed(&self, test: &Test) -> bool {
        self.passed.contains(&(test.id.to_owned(), test.title.to_owned()))
    }
}

/// The result of one test, with the other machine where that counts.
struct Row<'r> {
    outcome: &'r Outcome,
    /// The other machine's name, where the test was skipped here and has passed there.
    elsewhere: Option<&'r str>,
}

impl<'r> Row<'r> {
    fn new(outcome: &'r Outcome, elsewhere: Option<&'r OtherRun>) -> Self {
        let there = elsewhere.filter(|there| matches!(outcome.verdict, Verdict::Skip(_)) && there.passed(outcome.test));
        Self { outcome, elsewhere: there.map(|there| there.machine.as_str()) }
    }

    fn verdict(&self) -> &'static str {
        if self.elsewhere.is_some() { Verdict::Pass.name() } else { self.outcome.verdict.name() }
    }

    /// Returns the title, followed by the test's own verdict unless it passed.
    fn text(&self) -> String {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let title = self.outcome.test.title;
        match (&self.outcome.verdict, self.elsewhere) {
            (Verdict::Pass, _) => title.to_owned(),
            (Verdict::Skip(_), Some(machine)) => format!("{title} (passed on {machine})"),
            (Verdict::Skip(why), None) => format!("{title} (skipped: {})", words(why)),
            (Verdict::Fail { seen, .. }, _) => format!("{title} (failed: {})", words(seen)),
        }
    }
}

/// Returns the whole page.
pub fn page(version: &str, results: &[Outcome], elsewhere: Option<&OtherRun>) -> String {
    let rows: Vec<Row<'_>> = results.iter().map(|outcome| Row::new(outcome, elsewhere)).collect();
    let count = |name: &str| rows.iter().filter(|row| row.verdict() == name).count();
    let (binding, missing) = coverage::missing();
    let there =
        elsewhere.map(|there| format!(", and on {} for what is skipped there", there.machine)).unwrap_or_default();
    let mut text = format!(
        "{HEAD}\n## Results\n{version} on {}{there}: {} tests, {} passed, {} failed, {} skipped. Of {binding} requirements that bind (M or S), {} have a test.\n",
        machine(),
        results.len(),
        count("passed"),
        count("failed"),
        count("skipped"),
        binding - missing.len(),
    );
    for part in coverage::parts() {
        // only fails where memory allocation does
        let _ = self::part(&mut text, &part, &rows);
    }
    text
}

fn part(text: &mut String, part: &Part, rows: &[Row<'_>]) -> std::fmt::Result {
    writeln!(text, "\n### {}\n\n| ID | Str | result | tests |\n|---|---|---|---|", part.title)?;
    for one in &part.requirements {
        let own: Vec<&Row<'_>> = rows.iter().filter(|row| row.outcome.test.id == one.id).collect();
        let tests: Vec<String> = own.iter().map(|row| row.text()).collect();
        let tests = if own.is_empty() { one.unobservable().unwrap_or_default().to_owned() } else { tests.join("<br>") };
        writeln!(text, "| {} | {} | {} | {} |", one.id, one.strength, result(one, &own), escaped(&tests))?;
    }
    Ok(())
}

/// Returns the result of a requirement: that of the worst of its tests.
fn result(one: &Requirement, own: &[&Row<'_>]) -> &'static str {
    let any = |name: &str| own.iter().any(|row| row.verdict() == name);
    match () {
        () if any("failed") => "failed",
        () if any("passed") && any("skipped") => "passed, in part skipped",
        () if any("passed") => "passed",
        () if any("skipped") => "skipped",
        () if one.unobservable().is_some() => "cannot be shown",
        () => "no test",
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}

/// Returns the kernel, without what a distribution appends to its version, and the version of cgroups.
pub fn machine() -> String {
    let cgroups = if crate::cgroup::is_v2() { "v2" } else { "v1" };
    let Ok(name) = nix::sys::utsname::uname() else { return format!("an unknown kernel with cgroup {cgroups}") };
    let release = name.release().to_string_lossy();
    let release: Vec<&str> = release.splitn(3, '.').take(2).collect();
    format!("{} {} with cgroup {cgroups}", name.sysname().to_string_lossy(), release.join("."))
}

#[cfg(test)]
mod checks {
    use crate::tests;

    #[test]
    fn the_page_names_every_test() {
        let page = include_str!("../../docs/generated/conformance.md");
        for test in tests::all() {
            let title = super::escaped(test.title);
            assert!(
                page.contains(&title),
                "docs/generated/conformance.md lacks {} {title}: make conformance-docs",
                test.id
            );
        }
    }
}
