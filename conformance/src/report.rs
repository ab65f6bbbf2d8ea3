//! Prints the results: TAP as they arrive; at the end a table, JSON, or the page docs/generated/conformance.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::args::Format;
use crate::coverage;
use crate::markdown::{OtherRun, machine, page};
use crate::schedule::Outcome;
use crate::tests::Test;
use crate::verdict::Verdict;

/// The results so far.
pub struct Report {
    runtime: String,
    version: String,
    format: Format,
    elsewhere: Option<OtherRun>,
    begun: Instant,
    results: Vec<Outcome>,
}

impl Report {
    /// Creates an empty report; prints the head of the TAP text if the format is TAP.
    pub fn begin(runtime: &Path, tests: usize, format: Format, elsewhere: Option<OtherRun>) -> Self {
        let version = first_line(Command::new(runtime).arg("--version"));
        let runtime = runtime.display().to_string();
        if format == Format::Tap {
            println!("TAP version 13\n# {runtime}: {version}\n1..{tests}");
        }
        Self { runtime, version, format, elsewhere, begun: Instant::now(), results: Vec::new() }
    }

    /// Adds one result, and prints it if the format is TAP.
    pub fn add(&mut self, outcome: Outcome) {
        if self.format == Format::Tap {
            println!("{}", tap(self.results.len() + 1, &outcome));
        }
        self.results.push(outcome);
    }

    /// Returns whether there is no failure.
    pub fn none_failed(&self) -> bool {
        !self.results.iter().any(|one| matches!(one.verdict, Verdict::Fail { .. }))
    }

    /// Prints the end of the output: in every format but TAP, all of it.
    pub fn end(&self) {
        match self.format {
            Format::Tap => {
                self.areas().lines().for_each(|line| println!("# {line}"));
                for Outcome { test, verdict, .. } in &self.results {
                    if let Verdict::Fail { seen, .. } = verdict {
                        println!("# failed: {} {}: {}", test.id, expected(test, verdict), one_line(seen));
                    }
                }
                self.second_runs().lines().for_each(|line| println!("# {line}"));
            }
            Format::Table => print!("{}", self.table()),
            Format::Json => print!("{}", self.json()),
            Format::Markdown => print!("{}", page(&self.version, &self.results, self.elsewhere.as_ref())),
        }
    }

    /// Returns a line for each test, then a line for each area.
    fn table(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.runtime, self.version);
        for Outcome { test, verdict, .. } in &self.results {
            text += &line(test, verdict);
            match verdict {
                Verdict::Pass => {}
                Verdict::Skip(why) => text += &format!("{:21}why: {}\n", "", one_line(why)),
                Verdict::Fail { seen, .. } => {
                    text += &format!("{:21}expected: {}\n", "", expected(test, verdict));
                    text += &format!("{:21}seen: {}\n", "", one_line(seen));
                }
            }
        }
        text += "\n";
        text += &self.areas();
        // once more at the end, where it is seen
        for Outcome { test, verdict, .. } in &self.results {
            if let Verdict::Fail { seen, .. } = verdict {
                text += &format!("{}{:21}seen: {}\n", line(test, verdict), "", one_line(seen));
            }
        }
        text + &self.second_runs()
    }

    /// Returns a line for each test that failed and passed in a second run.
    fn second_runs(&self) -> String {
        let line = |one: &Outcome| {
            let seen = one.first.as_ref()?;
            Some(format!(
                "passed the second time: {} {}; seen before: {}\n",
                one.test.id,
                one.test.title,
                one_line(seen)
            ))
        };
        self.results.iter().filter_map(line).collect()
    }

    /// Returns a line for each area, the sum and the time.
    fn areas(&self) -> String {
        let mut areas: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        let mut total = [0; 3];
        for Outcome { test, verdict, .. } in &self.results {
            let column = match verdict {
                Verdict::Pass => 0,
                Verdict::Fail { .. } => 1,
                Verdict::Skip(_) => 2,
            };
            let area = areas.entry(test.id.split('-').next().unwrap_or(test.id)).or_default();
            area[column] += 1;
            total[column] += 1;
        }
        let mut text = String::from("area   passed  failed  skipped\n");
        for (area, [pass, fail, skip]) in areas.iter().chain([(&"total", &total)]) {
            text += &format!("{area:6} {pass:6}  {fail:6}  {skip:7}\n");
        }
        let failed = self.results.iter().filter(|one| matches!(one.verdict, Verdict::Fail { .. }));
        let (binding, other): (Vec<_>, Vec<_>) =
            failed.partition(|one| coverage::strength(one.test.id).contains(['M', 'S']));
        let (binding, other) = (binding.len(), other.len());
        text += &format!(
            "failed: {binding} of what is required or recommended (M, S), {other} of what is optional or customary (O, X)\n"
        );
        text + &format!("{} tests in {:.1} s\n", self.results.len(), self.begun.elapsed().as_secs_f64())
    }

    /// Returns all results as JSON.
    pub fn json(&self) -> String {
        let tests: Vec<Value> = self
            .results
            .iter()
            .map(|Outcome { test, verdict, took, .. }| {
                let mut one = verdict.to_json();
                one["id"] = test.id.into();
                one["strength"] = coverage::strength(test.id).into();
                one["title"] = test.title.into();
                one["milliseconds"] = milliseconds(*took).into();
                one
            })
            .collect();
        format!(
            "{:#}\n",
            json!({"runtime": self.runtime, "version": self.version, "machine": machine(), "tests": tests})
        )
    }
}

/// Returns the line of one test in the table.
fn line(test: &Test, verdict: &Verdict) -> String {
    format!("{:8} {:6} {:4} {}\n", verdict.name(), test.id, coverage::strength(test.id), test.title)
}

/// Returns one result in TAP.
fn tap(number: usize, Outcome { test, verdict, .. }: &Outcome) -> String {
    let name = format!("{number} - {} {}", test.id, test.title);
    match verdict {
        Verdict::Pass => format!("ok {name}"),
        Verdict::Skip(why) => format!("ok {name} # SKIP {}", one_line(why)),
        Verdict::Fail { seen, .. } => format!(
            "not ok {name}\n  ---\n  requirement: {}\n  expected: {}\n  seen: {}\n  ...",
            Value::from(test.id),
            Value::from(expected(test, verdict)),
            Value::from(one_line(seen))
        ),
    }
}

/// Returns the wanted result: the requirement in the test's words, unless the failure is more exact.
fn expected(test: &Test, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fail { expected: Some(expected), .. } => format!("{}: {}", test.title, one_line(expected)),
        _ => test.title.to_owned(),
    }
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

fn first_line(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = done.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
