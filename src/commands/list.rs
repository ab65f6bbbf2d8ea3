//! `list`: lists all containers of the state root.

use base::coded;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use serde_json::json;

use super::state::{self, Document};
use super::{Context, LoadedContainer, print};
use crate::cli::args;
use crate::cli::args::Format;
use crate::config::ContainerId;
use crate::state::Found;
use crate::state::Store;
use crate::state::Summary;
use crate::state::status;
use crate::state::store::is_damage;
use base::error::escape::one_line;
use base::host;

/// Number of containers from which a second thread looks at some of them. It costs as much as a few of them.
const SHARED: usize = 64;

/// Number of containers that one of the two threads takes at a time.
const BATCH: usize = 16;

/// Number of times that one call waits for a container whose creation seems to have begun this very moment.
const WAITS: usize = 10;

/// Length of a record that is read by the shorter way. It is 1 200 bytes without annotations.
const LONGEST: usize = 16 * 1024;

/// Names of the table's columns.
const COLUMNS: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// What is printed of some containers, in the order of their IDs.
#[derive(Default)]
struct Part {
    /// Rows of the table.
    rows: Rows,
    /// Documents of the array in JSON, each behind a comma.
    documents: Vec<u8>,
    /// Why the list is not complete.
    unreadable: Option<Error>,
}

/// Rows of a table, escaped for a terminal, in one text: with a text for each cell the threads would wait for each other's
/// allocations.
#[derive(Default)]
struct Rows {
    text: String,
    /// End of each cell in the text.
    ends: Vec<[usize; 6]>,
    /// Width of the widest cell of each column.
    widths: [usize; 6],
}

impl Rows {
    fn add(&mut self, cells: [&str; 6]) {
        let mut ends = [0; 6];
        for ((cell, end), widest) in cells.into_iter().zip(&mut ends).zip(&mut self.widths) {
            let cell = one_line(cell);
            self.text.push_str(&cell);
            *end = self.text.len();
            *widest = width_of(&cell).max(*widest);
        }
        self.ends.push(ends);
    }

    /// Calls a function with the cells of each row.
    fn each(&self, mut call: impl FnMut([&str; 6])) {
        let mut start = 0;
        for ends in &self.ends {
            call(ends.map(|end| self.text.get(std::mem::replace(&mut start, end)..end).unwrap_or_default()));
        }
    }
}

/// Prints IDs, a table or JSON. A damaged container is listed as damaged, and does not hide the others.
pub(super) fn list(context: &Context<'_>, args: &args::List) -> Result<i32> {
    // as runc: without --root there may have been no container yet
    if let Some(root) = context.global.root.as_ref().filter(|root| !root.exists()) {
        bail!(coded!(FileMissing, "--root {root:?}: no such file or directory"));
    }
    let ids = context.store.ids()?;
    if args.quiet {
        print(&ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect::<String>())?;
        return Ok(0);
    }
    let mut parts = in_two_threads(&ids, &context.store, &args.format)?;
    if args.format == Format::Json {
        let documents = parts.iter().map(|part| part.documents.as_slice()).collect::<Vec<_>>().concat();
        print(&format!("[{}]\n", str::from_utf8(documents.get(1..).unwrap_or_default())?))?;
    } else {
        print(&table(&parts))?;
    }
    // of no container that is damaged: the list is not complete
    parts.iter_mut().find_map(|part| part.unreadable.take()).map_or(Ok(0), Err)
}

/// Looks at some in another thread if there are many, because the kernel needs most of the time: for a file of the state,
/// one of procfs and one of the cgroup for each container.
fn in_two_threads(ids: &[ContainerId], store: &Store, format: &Format) -> Result<Vec<Part>> {
    if ids.len() < SHARED {
        return Ok(vec![part(store, ids, format, &mut Looker::new())?]);
    }
    let next = AtomicUsize::new(0);
    let look = || -> Result<Vec<(usize, Part)>> {
        let (mut looker, mut parts) = (Looker::new(), Vec::new());
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rest) = ids.get(first..).filter(|rest| !rest.is_empty()) else { return Ok(parts) };
            let batch = rest.get(..BATCH).unwrap_or(rest);
            parts.push((first, part(store, batch, format, &mut looker)?));
        }
    };
    let here = nix::sched::sched_getcpu();
    let mut parts: Vec<(usize, Part)> = std::thread::scope(|scope| {
        // without a thread where the limit of processes allows none
        let other = base::thread::start(scope, "list", || {
            // where there is another CPU
            let _ = here.map(linux::sched::leave_cpu);
            look()
        });
        let mut parts = look()?;
        if let Ok(other) = other {
            parts.extend(other.join().map_err(|_| anyhow!("the second thread ended"))??);
        }
        Ok::<_, Error>(parts)
    })?;
    parts.sort_unstable_by_key(|(first, _)| *first);
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// What looking at one container leaves for the next.
struct Looker {
    /// Names of owners, by user ID.
    owners: BTreeMap<u32, String>,
    /// How often the thread may still wait for a container that is being created.
    waits: usize,
    /// Room for a record.
    buffer: Vec<u8>,
}

impl Looker {
    fn new() -> Looker {
        Looker { owners: BTreeMap::new(), waits: WAITS, buffer: vec![0; LONGEST] }
    }
}

/// Looks at containers.
fn part(store: &Store, ids: &[ContainerId], format: &Format, looker: &mut Looker) -> Result<Part> {
    let mut part = Part::default();
    let Looker { owners, waits, buffer } = looker;
    let owner_of = |uid: &u32| host::user_name(*uid);
    for id in ids {
        if let Some(summary) = store.read_record(id, buffer).and_then(Summary::parse)
            && let Ok((status, init)) = summary.status()
        {
            let owner = owners.entry(summary.owner).or_insert_with_key(owner_of);
            let pid = init.map_or(0, |init| init.pid);
            part.add(&state::document_of_summary(&summary, status, pid, owner), format)?;
            continue;
        }
        // once more, to find out what is not as usual
        match find(store, id, waits) {
            Ok(None) => {}
            Ok(Some(LoadedContainer { record, status, init, .. })) => {
                let owner = owners.entry(record.owner).or_insert_with_key(owner_of);
                part.add(&state::document(&record, status, init.map_or(0, |init| init.pid), owner), format)?;
            }
            Err(err) => part.add_damaged(id, err),
        }
    }
    Ok(part)
}

impl Part {
    fn add(&mut self, shown: &Document<'_>, format: &Format) -> Result<()> {
        if *format == Format::Json {
            self.documents.push(b',');
            serde_json::to_writer(&mut self.documents, shown)?;
        } else {
            let (pid, bundle) = (shown.pid.to_string(), shown.bundle.to_string_lossy());
            self.rows.add([shown.id, &pid, shown.status, &bundle, shown.created, shown.owner]);
        }
        Ok(())
    }

    fn add_damaged(&mut self, id: &ContainerId, err: Error) {
        let error = base::error::describe(&err);
        let damaged = json!({"id": id.as_str(), "pid": 0, "status": "stopped", "error": error});
        self.documents.extend(format!(",{damaged}").into_bytes());
        if !is_damage(&err) {
            self.unreadable = Some(err);
        }
        self.rows.add([id.as_str(), "0", "damaged", "", "", ""]);
    }
}

/// Loads a container without its lock, because a record is replaced as a whole. `None`: it has just been deleted, or its
/// creation has just begun.
fn find(store: &Store, id: &ContainerId, waits: &mut usize) -> Result<Option<LoadedContainer>> {
    let Some(entry) = store.try_open(id)? else { return Ok(None) };
    let mut found = entry.find_record()?;
    while matches!(found, Found::Missing) {
        if entry.is_changing()? {
            return Ok(None);
        }
        // written since, or left over by a killed verb, or between the mkdir(2) and the lock of `create`
        found = entry.find_record()?;
        if *waits == 0 || !matches!(found, Found::Missing) {
            break;
        }
        *waits -= 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let record = found.or_error(id)?;
    let (status, init) = status::of_record(&record)?;
    Ok(Some(LoadedContainer { entry, record, status, init }))
}

/// Returns the rows below their header, in columns of equal width.
fn table(parts: &[Part]) -> String {
    let mut header = Rows::default();
    header.add(COLUMNS);
    let all = || std::iter::once(&header).chain(parts.iter().map(|part| &part.rows));
    let mut widths = [8; 6];
    for rows in all() {
        for (widest, width) in rows.widths.into_iter().zip(&mut widths) {
            *width = widest.max(*width);
        }
    }
    let count: usize = all().map(|rows| rows.ends.len()).sum();
    let blank = " ".repeat(widths.iter().max().map_or(0, |widest| widest + 3));
    let mut text = String::with_capacity(count * widths.iter().map(|width| width + 4).sum::<usize>());
    for rows in all() {
        rows.each(|cells| {
            for (cell, width) in cells.into_iter().zip(widths) {
                text.push_str(cell);
                text.push_str(blank.get(..width + 3 - width_of(cell)).unwrap_or_default());
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        });
    }
    text
}

/// Returns the number of characters of a cell.
fn width_of(cell: &str) -> usize {
    if cell.is_ascii() { cell.len() } else { cell.chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut part = Part::default();
        part.rows.add(["a-long-identifier", "7", "running", "/b", "2026", "root"]);
        let text = table(&[part]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("PID"), lines[1].find('7'));
        assert_eq!(lines[0].find("BUNDLE"), lines[1].find("/b"));
    }
}
