//! A conformance suite for OCI runtimes.
//!
//! The suite uses nothing of a runtime but its command line. It has one or more tests per requirement of the checklist
//! (docs/reference/spec-checklist.md), each in a process of its own, and prints the results as TAP, table, JSON or
//! Markdown. In a container the same program is the probe, which prints the state that it finds there.

mod agent;
mod args;
mod case;
mod cgroup;
mod checks;
mod cleanup;
mod container;
mod coverage;
mod files;
mod harness;
mod markdown;
mod probe;
mod proc_facts;
mod report;
mod schedule;
mod tests;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};

use args::{Args, USAGE};
use markdown::OtherRun;
use report::Report;
use schedule::{Chosen, Schedule};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.as_slice() {
        [name, acts @ ..] if Path::new(name).file_name().is_some_and(|name| name == harness::PROBE) => {
            return probe::main(acts);
        }
        [_, flag, rest @ ..] if flag == case::FLAG => return case::main(rest),
        _ => {}
    }
    let args = match args::parse(words.into_iter().skip(1)) {
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
    let chosen: Vec<Chosen> = tests::all().enumerate().filter(|(_, test)| test.matches(&args.filters)).collect();
    if args.list {
        chosen.iter().for_each(|(_, test)| println!("{:6} {}", test.id, test.title));
        return ExitCode::SUCCESS;
    }
    if args.coverage {
        print!("{}", coverage::table());
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

/// Runs the tests; returns whether none failed.
fn run(args: &Args, chosen: &[Chosen]) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "containers are created as root: run this as root");
    let runtime = args.runtime.as_deref().context("--runtime is missing")?;
    let runtime = harness::find(runtime).with_context(|| format!("no runtime {}", runtime.display()))?;
    if chosen.is_empty() {
        bail!("no test fits {:?}", args.filters);
    }
    let schedule = Schedule::new(&runtime, args.timeout)?;
    let elsewhere = args.also.as_deref().map(OtherRun::read).transpose()?;
    let mut report = Report::begin(&runtime, chosen.len(), args.format, elsewhere);
    schedule.run(chosen, args.jobs, |outcome| report.add(outcome));
    report.end();
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(report.none_failed())
}
