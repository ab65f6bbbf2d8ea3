//! A conformance suite for OCI runtimes.
//!
//! Knows nothing of any runtime but its command line: create, start, state, kill, delete, and `--root`. One test per
//! requirement of the checklist (docs/spec-checklist.md); the output is TAP, with a table at the end as comments.

mod bench;
mod cgroup;
mod checks;
mod container;
mod elf;
mod report;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use bench::{Bench, Skip};
use report::{Report, Verdict};
use tests::Test;

const USAGE: &str = "\
usage: conformance --runtime PATH [--list] [--json FILE] [FILTER...]
  --runtime PATH   the runtime to test: a path, or a name in PATH
  --list           print the tests (ID and title) and stop
  --json FILE      also write the results as JSON
  FILTER           run the tests whose ID is FILTER or begins with it (ST, ST-2), or whose title contains it
Needs root, and a static busybox in PATH. Exit status: 0 all passed or were skipped, 1 a test failed, 2 usage.
";

#[derive(Default)]
struct Args {
    runtime: Option<PathBuf>,
    list: bool,
    json: Option<PathBuf>,
    filters: Vec<String>,
}

fn parse(args: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let mut parsed = Args::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().map(PathBuf::from).with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--runtime" => parsed.runtime = Some(value()?),
            "--json" => parsed.json = Some(value()?),
            "--list" => parsed.list = true,
            "--help" | "-h" => return Ok(None),
            flag if flag.starts_with('-') => bail!("unknown flag {flag}"),
            filter => parsed.filters.push(filter.to_owned()),
        }
    }
    Ok(Some(parsed))
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(err) => {
            eprint!("conformance: {err:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let chosen: Vec<&Test> = tests::all().filter(|test| test.matches(&args.filters)).collect();
    if args.list {
        chosen.iter().for_each(|test| println!("{:6} {}", test.id, test.title));
        return ExitCode::SUCCESS;
    }
    match run(&args, &chosen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("conformance: {err:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the tests; whether none failed.
fn run(args: &Args, chosen: &[&Test]) -> Result<bool> {
    let runtime = args.runtime.as_deref().context("--runtime is missing")?;
    if chosen.is_empty() {
        bail!("no test fits {:?}", args.filters);
    }
    let bench = Bench::new(runtime)?;
    let mut report = Report::begin(&bench, chosen.len());
    for test in chosen {
        let start = Instant::now();
        let verdict = match (test.run)(&bench) {
            Ok(()) => Verdict::Pass,
            Err(err) => match err.downcast_ref::<Skip>() {
                Some(skip) => Verdict::Skip(skip.0.clone()),
                None => Verdict::Fail(format!("{err:#}")),
            },
        };
        report.add(test, verdict, start.elapsed());
        bench.clean();
    }
    report.end();
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()).with_context(|| format!("write {path:?}"))?;
    }
    Ok(report.none_failed())
}
