//! Counters of a container, in the JSON form of `runc events --stats`, which callers parse.
//!
//! Every file is optional: the part of a controller that is not mounted or not enabled is absent. A file that is there and
//! cannot be read is an error.

mod document;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod v1;
mod v2;

use std::cell::RefCell;
use std::io;

use anyhow::Result;
use serde_json::{Map, Value};

use super::Cgroup;
use super::files::try_read;
use base::error::HasErrno as _;

pub use document::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, Part, Pids, Pressure, PressureLine, Stats,
    Throttling,
};

/// The value for "no limit", where v2 has the word `max`.
const UNLIMITED: u64 = u64::MAX;

impl Cgroup {
    /// Reads all counters of the container: `cpu`, `memory`, `pids`, `blkio`, `hugetlb`; on v2 also `psi` in `cpu`,
    /// `memory` and `blkio`.
    pub(crate) fn stats(&self) -> Result<Stats> {
        let failed = Failed::default();
        let stats = if self.record.is_pure_v2() {
            v2::stats(&Dir { path: self.unified_path().unwrap_or_default(), failed: &failed })
        } else {
            v1::stats(&|controller| Some(Dir { path: self.controller_path(controller)?, failed: &failed }))
        };
        failed.into_inner().map_or(Ok(stats), Err)
    }
}

/// The first failure to read a file that is there: the counters would not be complete.
type Failed = RefCell<Option<anyhow::Error>>;

/// The directory of a cgroup.
struct Dir<'a> {
    /// Absolute path.
    path: String,
    /// Where a failure is kept.
    failed: &'a Failed,
}

impl Dir<'_> {
    /// Returns the value; `None` and the failure kept, unless the kernel has no such file or does not count this.
    fn present<T>(&self, file: &str, value: io::Result<T>) -> Option<T> {
        let absent = [libc::ENOENT, libc::ENODEV, libc::EOPNOTSUPP, libc::EINVAL, libc::ENOTDIR];
        value
            .map_err(|err| {
                if !err.is_errno(&absent) {
                    let path = format!("{}/{file}", self.path);
                    self.failed
                        .borrow_mut()
                        .get_or_insert_with(|| anyhow::Error::new(err).context(format!("read {path}")));
                }
            })
            .ok()
    }
}

/// Reads a file of a cgroup; `None` if there is none.
fn text(dir: &Dir<'_>, file: &str) -> Option<String> {
    dir.present(file, try_read(&format!("{}/{file}", dir.path)))
}

/// Reads a file with one number; `max` is [`UNLIMITED`].
fn number(dir: &Dir<'_>, file: &str) -> Option<u64> {
    let text = text(dir, file)?;
    let text = text.trim();
    if text == "max" { Some(UNLIMITED) } else { text.parse().ok() }
}

/// Reads a file of `KEY NUMBER` lines.
fn table(dir: &Dir<'_>, file: &str) -> Map<String, Value> {
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
fn page_sizes(dir: &Dir<'_>, suffix: &str) -> Vec<String> {
    let names = dir.present("", std::fs::read_dir(&dir.path)).into_iter().flatten().flatten();
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
