//! `corm logs`: prints the output of containers.

use std::io::BufWriter;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use anyhow::{Context as _, Error, Result, anyhow};
use base::thread::start;

use super::Context;
use crate::cli::args::views::Logs;
use crate::config::short_id;
use crate::container::log::Reader;
use crate::container::run_dir::RunDir;
use crate::container::supervise;
use crate::store::{ContainerRecord, Store};
use crate::view::log::{Lines, Selection, Streams};

/// Prints the logs, each stream to its own; with `follow` until the end of the containers.
///
/// # Errors
/// A container does not exist, its log cannot be read, or the output is closed.
pub(super) fn run(context: &Context, args: &Logs) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    // all are looked up before anything is printed
    let records: Vec<_> = args.containers.iter().map(|name| store.find_container(name)).collect::<Result<_>>()?;
    let (mut out, mut err) = (BufWriter::new(std::io::stdout()), BufWriter::new(std::io::stderr()));
    let streams = Mutex::new(Streams::new(&mut out, &mut err));
    let several = records.len() > 1;
    let selection = |record: &ContainerRecord| {
        let name = if args.names { record.name.as_str() } else { short_id(&record.id) };
        let prefix = if several { format!("{name} ") } else { String::new() };
        Selection { since: args.since, until: args.until, timestamps: args.timestamps, prefix }
    };
    let print = |record: &ContainerRecord| {
        one(&store, &run, record, Lines::new(selection(record), args.tail), args.follow, &streams)
    };
    if !(several && args.follow) {
        records.iter().try_for_each(print)?;
        return Ok(0);
    }
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = records
            .iter()
            .map(|record| {
                // the driver of a store stays in its thread
                let (context, lines) = (context.clone(), Lines::new(selection(record), args.tail));
                let (run, streams) = (&run, &streams);
                start(scope, "log", move || one(&context.store()?, run, record, lines, true, streams))
            })
            .collect();
        let join = |thread: ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread that follows a log failed")))
        };
        threads.into_iter().map(|thread| thread.and_then(join)).collect()
    });
    results.into_iter().find_map(Result::err).map_or(Ok(0), Err)
}

/// Prints the log of one container.
fn one(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    mut lines: Lines,
    follow: bool,
    streams: &Mutex<Streams<'_>>,
) -> Result<()> {
    let dir = store.container_dir(&record.id);
    // before the log is read: later output is waited for
    let supervisor = run.supervisor(&record.id)?;
    let Some(mut reader) = Reader::open(&dir, record.setup.log)? else { return Ok(()) };
    let mut print = || -> Result<(), Error> {
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        reader.read(&mut |entry| lines.take(entry, &mut streams))?;
        lines.print_kept(&mut streams)
    };
    match supervisor.filter(|_| follow).map(|supervisor| supervisor.pid()).transpose()?.flatten() {
        Some(writer) => supervise::follow(&dir, writer, print).context("follow the log"),
        None => print(),
    }
}
