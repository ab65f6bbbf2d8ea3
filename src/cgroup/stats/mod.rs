//! Counters of a container, in the JSON form of `runc events --stats`, which callers parse.
//!
//! Every file is optional: the part of a controller that is not mounted or not enabled is absent.

mod document;
mod v1;
mod v2;

use anyhow::Result;
use serde_json::{Map, Value};

use super::Cgroup;
use super::files::try_read;

use document::BlkioEntry;
pub(crate) use document::Stats;

/// The value for "no limit", where v2 has the word `max`.
const UNLIMITED: u64 = u64::MAX;

impl Cgroup {
    /// Reads all counters of the container: `cpu`, `memory`, `pids`, `blkio`, `hugetlb`; on v2 also `psi` in `cpu`,
    /// `memory` and `blkio`.
    pub(crate) fn stats(&self) -> Result<Stats> {
        Ok(if self.record.is_pure_v2() {
            v2::stats(&self.unified_path().unwrap_or_default())
        } else {
            v1::stats(&|controller: &str| self.controller_path(controller))
        })
    }
}

/// Reads a file of a cgroup; `None` if it cannot be read.
fn text(dir: &str, file: &str) -> Option<String> {
    try_read(&format!("{dir}/{file}")).ok()
}

/// Reads a file with one number; `max` is [`UNLIMITED`].
fn number(dir: &str, file: &str) -> Option<u64> {
    let text = text(dir, file)?;
    let text = text.trim();
    if text == "max" { Some(UNLIMITED) } else { text.parse().ok() }
}

/// Reads a file of `KEY NUMBER` lines.
fn table(dir: &str, file: &str) -> Map<String, Value> {
    let text = text(dir, file).unwrap_or_default();
    let line = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), Value::from(value.trim().parse::<u64>().ok()?)))
    };
    text.lines().filter_map(line).collect()
}

fn get(table: &Map<String, Value>, key: &str) -> u64 {
    table.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Parses `MAJOR:MINOR`.
fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn blkio_entry((major, minor): (u64, u64), op: &str, value: u64) -> BlkioEntry {
    BlkioEntry { major, minor, op: op.to_owned(), value }
}

/// Lists the sizes of huge pages, from the names of the files in a hugetlb cgroup.
fn page_sizes(dir: &str, suffix: &str) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut sizes: Vec<String> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
            (!size.contains('.')).then(|| size.to_owned())
        })
        .collect();
    sizes.sort();
    sizes
}

#[cfg(test)]
mod tests;
