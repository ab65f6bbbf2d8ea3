//! `corm wait`: waits for a container's end and prints its exit status.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Context, for_each, print};
use crate::cli::args;
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::status::{Last, Status};
use crate::container::supervise::wait_gone;
use crate::store::Store;

/// Waits for each, and prints the exit statuses; at once for a container that has ended.
///
/// # Errors
/// As [`for_each`]: a container never ran, or no supervisor recorded its exit status.
pub(super) fn run(context: &Context, args: &args::Wait) -> Result<u8> {
    let store = context.store()?;
    for_each(context, &args.containers, |name| match wait(&store, name, args) {
        Err(err) if args.ignore && err.to_string().starts_with("No ") => print::line(-1),
        done => done,
    })
}

fn wait(store: &Store, name: &str, args: &args::Wait) -> Result<()> {
    if args.conditions.is_empty() { wait_for(store, name) } else { wait_until(store, name, args) }
}

/// Waits for one of several statuses, by looking again and again, and prints the exit status of a container that has
/// ended, else -1.
fn wait_until(store: &Store, name: &str, args: &args::Wait) -> Result<()> {
    let id = store.find_container(name)?.id;
    let run = RunDir::of(store.root())?;
    let wanted = |names: &[&str]| args.conditions.iter().any(|text| names.contains(&text.as_str()));
    loop {
        let record = match store.find_container(&id) {
            Err(_) if wanted(&["removing"]) && !store.has_container(&id)? => return print::line(-1),
            found => found?,
        };
        let (words, code): (&[&str], i32) = match status::of(store, &run, &record)? {
            Status::Created | Status::Bundle => (&["configured", "created", "initialized"], -1),
            Status::Running(_) => (&["running"], -1),
            Status::Paused(_) => (&["paused"], -1),
            Status::Exited(code) => (&["exited", "stopped"], code.unwrap_or(-1)),
        };
        if wanted(words) {
            return print::line(code);
        }
        std::thread::sleep(Duration::from_millis(args.interval));
    }
}

fn wait_for(store: &Store, name: &str) -> Result<()> {
    let record = store.find_container(name)?;
    let run = RunDir::of(store.root())?;
    if let Some(supervisor) = run.supervisor(&record.id)?
        && let Some(status) = supervisor.wait()?
    {
        return print::line(status);
    }
    // it has no supervisor, or its supervisor was killed
    if let Some(pid) = status::of(store, &run, &record)?.pid() {
        wait_gone(pid, None)?;
    }
    // it may have been removed meanwhile
    store.find_container(&record.id)?;
    let last = Last::read(&store.container_dir(&record.id))?;
    let last = last.with_context(|| format!("container '{}' was never started", record.name))?;
    let status = last
        .status
        .with_context(|| format!("exit status of container '{}' is unknown: its supervisor was killed", record.name))?;
    print::line(status)
}
