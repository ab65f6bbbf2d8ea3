//! Small reads and writes of cgroup files, and walks over cgroup directories.

use std::fs;
use std::io::{self, Read as _, Write as _};

use anyhow::{Context as _, Result};

/// Writes `value` with one call, as these files want it.
pub(super) fn try_write(path: &str, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// The same, with the error naming both.
pub(super) fn write(path: &str, value: &str) -> Result<()> {
    try_write(path, value).with_context(|| write_context(path, value))
}

pub(super) fn write_context(path: &str, value: &str) -> String {
    format!("write {value:?} to {path}")
}

/// Reads a file of a few lines. Without the size query of `fs::read_to_string`: these files say they are empty.
pub(super) fn try_read(path: &str) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut text = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let count = file.read(&mut buffer)?;
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        // A read that does not fill the buffer has met the end. Files of more than a page are continued line by line.
        if count == 0 || count < buffer.len() / 2 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

pub(super) fn read(path: &str) -> Result<String> {
    try_read(path).with_context(|| format!("read {path}"))
}

/// The number behind `key` in a file of `KEY VALUE` lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// The cgroups directly below, by path; none if the cgroup is gone.
pub(super) fn children(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| format!("{path}/{}", entry.file_name().to_string_lossy()))
        .collect()
}

/// The processes in a cgroup and in all below it, each once.
pub(super) fn processes(path: &str) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    collect(path, &mut pids)?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn collect(path: &str, pids: &mut Vec<i32>) -> io::Result<()> {
    match try_read(&format!("{path}/cgroup.procs")) {
        // a pid of 0 is a process outside this pid namespace: nothing that could be signalled from here
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0)),
        Err(err) if is_gone(&err) => return Ok(()),
        // the member of a threaded subtree lists its processes at the top of that subtree
        Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        Err(err) => return Err(err),
    }
    children(path).iter().try_for_each(|child| collect(child, pids))
}

/// A cgroup that somebody has removed: the path is gone, or a file of it that is still open.
pub(super) fn is_gone(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
