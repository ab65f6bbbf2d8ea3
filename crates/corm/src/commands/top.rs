//! `corm top`: lists the processes of a container, with Podman's columns.

use anyhow::{Result, bail};
use base::coded;
use base::error::{Code, Coding as _};

use super::{Context, print};
use crate::container::processes::{Process, Reader};
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::view::units;

/// Columns when the caller names none.
const DEFAULT: [&str; 8] = ["user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args"];

/// A column: its name among the arguments, its header and its content.
struct Column(&'static str, &'static str, fn(&Reader, &Process) -> String);

/// The columns that Podman has and `/proc` tells.
const COLUMNS: [Column; 18] = [
    Column("args", "COMMAND", |_, process| process.command.clone()),
    Column("comm", "COMMAND", |_, process| process.name.clone()),
    Column("etime", "ELAPSED", |_, process| units::span(process.elapsed)),
    Column("group", "GROUP", |reader, process| reader.group(process.owner.1)),
    Column("hgroup", "HGROUP", |_, process| process.owner.1.to_string()),
    Column("hpid", "HPID", |_, process| process.host_pid.to_string()),
    Column("huser", "HUSER", |_, process| process.owner.0.to_string()),
    Column("nice", "NI", |_, process| process.nice.to_string()),
    Column("pcpu", "%CPU", |_, process| {
        let elapsed = process.elapsed.as_secs_f64();
        format!("{:.3}", if elapsed > 0.0 { 100.0 * process.time.as_secs_f64() / elapsed } else { 0.0 })
    }),
    Column("pgid", "PGID", |_, process| process.group.to_string()),
    Column("pid", "PID", |_, process| process.pid.to_string()),
    Column("ppid", "PPID", |_, process| process.parent.to_string()),
    Column("rss", "RSS", |_, process| process.resident_kb.to_string()),
    Column("state", "STATE", |_, process| process.state.clone()),
    Column("time", "TIME", |_, process| units::span(process.time)),
    Column("tty", "TTY", |_, process| if process.tty.is_empty() { "?".to_owned() } else { process.tty.clone() }),
    Column("user", "USER", |reader, process| reader.user(process.owner.0)),
    Column("vsz", "VSZ", |_, process| process.virtual_kb.to_string()),
];

/// Lists the processes; `descriptors` are the names of columns.
///
/// # Errors
/// The container does not run; an unknown column; the runtime's error.
pub(super) fn run(context: &Context, container: &str, descriptors: &[String]) -> Result<u8> {
    // Docker takes them as one word, Podman also as several
    let mut names: Vec<&str> = descriptors.iter().flat_map(|word| word.split([',', ' '])).collect();
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        names = DEFAULT.to_vec();
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = COLUMNS.iter().find(|column| column.0 == name.to_ascii_lowercase()) else {
            let known: Vec<&str> = COLUMNS.iter().map(|column| column.0).collect();
            bail!(coded!(UsageValue, "unknown descriptor {name:?}: must be one of {}", known.join(", ")));
        };
        columns.push(column);
    }
    let store = context.store()?;
    let record = store.find_container(container)?;
    let run = RunDir::of(store.root())?;
    let pid = status::of(&store, &run, &record)?.pid();
    let pid =
        pid.code(Code::ContainerNotRunning, "top can only be used on running containers (`corm start` starts one)")?;
    let reader = Reader::new(pid)?;
    let pids = status::runtime(&run, &record).processes(&record.id)?;
    let rows = reader.read(&pids);
    let headers: Vec<&str> = columns.iter().map(|column| column.1).collect();
    print::table(
        &headers,
        rows.iter().map(|process| columns.iter().map(|column| (column.2)(&reader, process)).collect()),
    )?;
    Ok(0)
}
