//! How results are told: TAP as they come, a table per area at the end, and JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::tests::Test;

/// What became of a test.
pub enum Verdict {
    /// It held.
    Pass,
    /// It did not, and why.
    Fail(String),
    /// This machine cannot show it, and why.
    Skip(String),
}

/// The results so far.
pub struct Report {
    runtime: String,
    version: String,
    results: Vec<(&'static str, &'static str, Verdict, Duration)>,
}

impl Report {
    /// Prints the head of the TAP text.
    pub fn begin(bench: &Bench, tests: usize) -> Self {
        let version = bench.call(["--version"]).out.lines().next().unwrap_or_default().to_owned();
        println!("TAP version 13\n# {}: {version}\n1..{tests}", bench.runtime().display());
        Self { runtime: bench.runtime().display().to_string(), version, results: Vec::new() }
    }

    /// Prints and keeps one result.
    pub fn add(&mut self, test: &Test, verdict: Verdict, took: Duration) {
        let number = self.results.len() + 1;
        let name = format!("{number} - {} {}", test.id, test.title);
        match &verdict {
            Verdict::Pass => println!("ok {name}"),
            Verdict::Skip(why) => println!("ok {name} # SKIP {}", one_line(why)),
            Verdict::Fail(why) => println!("not ok {name}\n  ---\n  message: {}\n  ...", Value::from(one_line(why))),
        }
        self.results.push((test.id, test.title, verdict, took));
    }

    fn count(&self, wanted: fn(&Verdict) -> bool) -> usize {
        self.results.iter().filter(|(_, _, verdict, _)| wanted(verdict)).count()
    }

    /// Whether there is no failure.
    pub fn none_failed(&self) -> bool {
        self.count(|verdict| matches!(verdict, Verdict::Fail(_))) == 0
    }

    /// Prints the table, as comments of the TAP text.
    pub fn end(&self) {
        let mut areas: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for (id, _, verdict, _) in &self.results {
            let [pass, fail, skip] = areas.entry(id.split('-').next().unwrap_or(id)).or_default();
            match verdict {
                Verdict::Pass => *pass += 1,
                Verdict::Fail(_) => *fail += 1,
                Verdict::Skip(_) => *skip += 1,
            }
        }
        println!("# area   passed  failed  skipped");
        for (area, [pass, fail, skip]) in &areas {
            println!("# {area:6} {pass:6}  {fail:6}  {skip:7}");
        }
        let total: [usize; 3] =
            areas.values().fold([0; 3], |sum, row| [sum[0] + row[0], sum[1] + row[1], sum[2] + row[2]]);
        println!("# total  {:6}  {:6}  {:7}", total[0], total[1], total[2]);
        let seconds: f64 = self.results.iter().map(|(_, _, _, took)| took.as_secs_f64()).sum();
        println!("# {} tests in {seconds:.1} s", self.results.len());
        for (id, title, verdict, _) in &self.results {
            if let Verdict::Fail(why) = verdict {
                println!("# failed: {id} {title}: {}", one_line(why));
            }
        }
    }

    /// All results for a program.
    pub fn json(&self) -> String {
        let tests: Vec<Value> = self.results.iter().map(|(id, title, verdict, took)| {
            let (verdict, why) = match verdict {
                Verdict::Pass => ("pass", None),
                Verdict::Fail(why) => ("fail", Some(why)),
                Verdict::Skip(why) => ("skip", Some(why)),
            };
            json!({"id": id, "title": title, "verdict": verdict, "why": why, "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX)})
        }).collect();
        format!("{:#}\n", json!({"runtime": self.runtime, "version": self.version, "tests": tests}))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
