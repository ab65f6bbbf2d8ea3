//! `corm stats`: what containers use, with Podman's columns, once or until corm is stopped.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Context, print};
use crate::cli::args;
use crate::config::short_id;
use crate::container::run_dir::RunDir;
use crate::container::statistics::Usage;
use crate::container::status::{self, Last};
use crate::store::{ContainerRecord, Store};
use crate::view::listing::{Format, Listing};
use crate::view::units;

/// Moves the cursor of a terminal to the first line and clears the screen.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// CPU time at an earlier time.
type Before = HashMap<String, (Instant, Duration)>;

/// Prints the statistics of the named containers, else of those that run (`all`: of the others too).
///
/// # Errors
/// There is no such container; standard output is closed.
pub(super) fn run(context: &Context, args: &args::Stats) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let mut before = Before::new();
    let mut first = true;
    loop {
        let mut rows = Vec::new();
        for record in chosen(&store, args)? {
            let pid = status::of(&store, &run, &record)?.pid();
            if pid.is_some() || args.all || !args.containers.is_empty() {
                let mut row = row(&store, &run, &record, pid, &mut before)?;
                if args.no_trunc {
                    row[0] = record.id;
                }
                rows.push(row);
            }
        }
        if !first && std::io::stdout().is_terminal() && !args.no_reset {
            print::write(CLEAR)?;
        }
        show(&rows, &args.format)?;
        if args.no_stream {
            return Ok(0);
        }
        first = false;
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}

fn chosen(store: &Store, args: &args::Stats) -> Result<Vec<ContainerRecord>> {
    if args.containers.is_empty() {
        return store.containers();
    }
    args.containers.iter().map(|name| store.find_container(name)).collect()
}

/// Keys of a row in JSON, fields of templates, and the headers of the columns.
const COLUMNS: [(&str, &str, &str); 10] = [
    ("id", "ID", "ID"),
    ("name", "Name", "NAME"),
    ("cpu_percent", "CPUPerc", "CPU %"),
    ("mem_usage", "MemUsage", "MEM USAGE / LIMIT"),
    ("mem_percent", "MemPerc", "MEM %"),
    ("net_io", "NetIO", "NET IO"),
    ("block_io", "BlockIO", "BLOCK IO"),
    ("pids", "PIDS", "PIDS"),
    ("cpu_time", "UpTime", "CPU TIME"),
    ("avg_cpu", "AVGCPU", "AVG CPU %"),
];

fn row(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    pid: Option<i32>,
    before: &mut Before,
) -> Result<[String; 10]> {
    let usage = match pid {
        // one that ends meanwhile uses nothing
        Some(pid) => status::runtime(run, record).usage(&record.id, pid).or_else(|err| {
            if status::of(store, run, record)?.pid().is_some() { Err(err) } else { Ok(Usage::default()) }
        })?,
        None => Usage::default(),
    };
    let now = Instant::now();
    let started = Last::read(&store.container_dir(&record.id))?.and_then(|last| last.started.parse().ok());
    let age =
        started.map_or(0.0, |started: jiff::Timestamp| jiff::Timestamp::now().duration_since(started).as_secs_f64());
    let average = percent(usage.cpu.as_secs_f64(), age);
    let recent = match before.insert(record.id.clone(), (now, usage.cpu)) {
        Some((then, cpu)) => {
            percent(usage.cpu.saturating_sub(cpu).as_secs_f64(), now.saturating_duration_since(then).as_secs_f64())
        }
        None => average,
    };
    let pair = |one: u64, other: u64| format!("{} / {}", units::size(one, 4), units::size(other, 4));
    Ok([
        short_id(&record.id).to_owned(),
        record.name.clone(),
        format!("{recent:.2}%"),
        pair(usage.memory, usage.memory_limit),
        format!("{:.2}%", percent(usage.memory as f64, usage.memory_limit as f64)),
        pair(usage.network.0, usage.network.1),
        pair(usage.block.0, usage.block.1),
        usage.pids.to_string(),
        units::span(usage.cpu),
        format!("{average:.2}%"),
    ])
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}

fn show(rows: &[[String; 10]], format: &Format) -> Result<()> {
    let object = |row: &[String; 10], name: fn(&(&'static str, &'static str, &'static str)) -> &'static str| -> Value {
        let entries = COLUMNS.iter().zip(row).map(|(column, value)| (name(column).to_owned(), json!(value)));
        entries.collect::<Map<String, Value>>().into()
    };
    let mut fields: Vec<Value> = rows.iter().map(|row| object(row, |column| column.1)).collect();
    for row in &mut fields {
        // Docker's names
        for (own, other) in [("Name", "Container"), ("PIDS", "PIDs")] {
            row[other] = row[own].clone();
        }
    }
    let own = COLUMNS.map(|(_, field, _)| format!("{{{{.{field}}}}}")).join("\t");
    let headings = COLUMNS.map(|(_, field, header)| (field, header));
    let listing = Listing { format, own: &own, noheading: false, headings: &headings };
    let document = || rows.iter().map(|row| object(row, |column| column.0)).collect();
    print::write(listing.text(&fields, document)?.as_bytes())
}
