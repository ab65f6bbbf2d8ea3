//! The processes of a container, from the host's /proc: the container's own could show anything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::driver::mount_util;
use linux::path;
use linux::process::of_ticks;

/// Maximum size of the container's passwd and group files that is read.
const MAX_NAMES: u64 = 1 << 20;

/// A process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Pid in the host's pid namespace.
    pub host_pid: i32,
    /// Pid in the container's.
    pub pid: i32,
    /// Pid of its parent in the container's pid namespace; 0 for one outside.
    pub parent: i32,
    /// Process group in the container's pid namespace.
    pub group: i32,
    /// State, one letter.
    pub state: String,
    /// Terminal; empty for none.
    pub tty: String,
    /// CPU time used.
    pub time: Duration,
    /// Time since its start.
    pub elapsed: Duration,
    /// Nice value.
    pub nice: i32,
    /// Virtual memory in kilobytes.
    pub virtual_kb: u64,
    /// Resident memory in kilobytes.
    pub resident_kb: u64,
    /// Effective user and group, as this process sees them.
    pub owner: (u32, u32),
    /// Name of the program.
    pub name: String,
    /// Command line; the name in brackets where there is none.
    pub command: String,
}

/// What is needed to read the processes of one container.
pub struct Reader {
    /// Index of the container's pid namespace in `NSpid`.
    level: usize,
    uptime: f64,
    users: Names,
    groups: Names,
}

/// Names of IDs: the container's file, and the ID map of its user namespace.
struct Names {
    names: BTreeMap<u32, String>,
    /// First ID inside, first outside, count.
    map: Vec<(u32, u32, u32)>,
}

impl Names {
    fn new(init: i32, root: BorrowedFd<'_>, file: &std::ffi::CStr, map: &str) -> Self {
        // hostile and perhaps missing: a name that is not found is shown as a number
        let mut text = Vec::new();
        let flags = libc::O_RDONLY | libc::O_NONBLOCK;
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        if let Ok(open) = path::openat2(root, file, flags, resolve).map(File::from)
            && open.metadata().is_ok_and(|meta| meta.is_file())
        {
            let _ = open.take(MAX_NAMES).read_to_end(&mut text);
        }
        let mut names = BTreeMap::new();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse)) {
                names.entry(id).or_insert_with(|| name.to_owned());
            }
        }
        // in its own namespace the kernel shows a map in the IDs of the one above
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
        let map = if namespace("self") == namespace(&init.to_string()) {
            format!("0 0 {}", u32::MAX)
        } else {
            std::fs::read_to_string(format!("/proc/{init}/{map}")).unwrap_or_default()
        };
        let numbers = |line: &str| -> Option<(u32, u32, u32)> {
            let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
            Some((numbers.next()??, numbers.next()??, numbers.next()??))
        };
        Self { names, map: map.lines().filter_map(numbers).collect() }
    }

    /// Returns the name of an ID as this process sees it.
    fn name(&self, outside: u32) -> String {
        let inside = self.map.iter().find_map(|&(inside, first, count)| {
            outside.checked_sub(first).filter(|offset| *offset < count).map(|offset| inside.saturating_add(offset))
        });
        let Some(id) = inside else { return outside.to_string() };
        self.names.get(&id).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| id.to_string())
    }
}

impl Reader {
    /// Prepares for the container with this first process.
    ///
    /// # Errors
    /// The process has ended.
    pub fn new(init: i32) -> Result<Self> {
        let root = mount_util::open_root_of(init)?;
        let status =
            std::fs::read_to_string(format!("/proc/{init}/status")).context("the container's first process")?;
        let level = field(&status, "NSpid:").split_whitespace().count().saturating_sub(1);
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        Ok(Self {
            level,
            uptime: uptime.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or_default(),
            users: Names::new(init, root.as_fd(), c"etc/passwd", "uid_map"),
            groups: Names::new(init, root.as_fd(), c"etc/group", "gid_map"),
        })
    }

    /// Returns the name of a user in the container.
    pub fn user(&self, id: u32) -> String {
        self.users.name(id)
    }

    /// Returns the name of a group in the container.
    pub fn group(&self, id: u32) -> String {
        self.groups.name(id)
    }

    /// Reads the processes with these pids; one that has ended meanwhile is left out.
    pub fn read(&self, pids: &[i32]) -> Vec<Process> {
        let mut found: Vec<Process> = pids.iter().filter_map(|pid| self.one(*pid)).collect();
        found.sort_by_key(|process| process.pid);
        found
    }

    fn one(&self, host_pid: i32) -> Option<Process> {
        let read = |name: &str| std::fs::read(format!("/proc/{host_pid}/{name}")).ok();
        let text = |name: &str| read(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (stat, status) = (text("stat")?, text("status")?);
        let second = |name: &str| field(&status, name).split_whitespace().nth(1).and_then(|id| id.parse().ok());
        // the fields after the name, which may have parentheses
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
        let unsigned = |at: usize| u64::try_from(number(at)).unwrap_or_default();
        let kilobytes = |name: &str| {
            field(&status, name).split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let name = field(&status, "Name:").to_owned();
        let words = read("cmdline").unwrap_or_default();
        let words: Vec<_> =
            words.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
        let started = of_ticks(unsigned(19)).as_secs_f64();
        Some(Process {
            host_pid,
            pid: self.inside(&status, "NSpid:"),
            parent: self.parent(i32::try_from(number(1)).unwrap_or_default()),
            group: self.inside(&status, "NSpgid:"),
            state: (*fields.first()?).to_owned(),
            tty: tty(unsigned(4)),
            time: of_ticks(unsigned(11).saturating_add(unsigned(12))),
            elapsed: Duration::try_from_secs_f64((self.uptime - started).max(0.0)).unwrap_or_default(),
            nice: i32::try_from(number(16)).unwrap_or_default(),
            virtual_kb: kilobytes("VmSize:"),
            resident_kb: kilobytes("VmRSS:"),
            owner: (second("Uid:")?, second("Gid:")?),
            command: if words.is_empty() { format!("[{name}]") } else { words.join(" ") },
            name,
        })
    }

    /// Returns the number of a line of pids that is of the container's pid namespace.
    fn inside(&self, status: &str, name: &str) -> i32 {
        field(status, name).split_whitespace().nth(self.level).and_then(|pid| pid.parse().ok()).unwrap_or_default()
    }

    fn parent(&self, host_pid: i32) -> i32 {
        let status = std::fs::read_to_string(format!("/proc/{host_pid}/status")).unwrap_or_default();
        self.inside(&status, "NSpid:")
    }
}

/// Returns the rest of a line of `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

/// Returns the name of a terminal by its device number: `pts/0`, `tty1`, else the numbers.
fn tty(device: u64) -> String {
    let (major, minor) = (libc::major(device), libc::minor(device));
    match major {
        _ if device == 0 => String::new(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn this_process_is_found_with_its_attributes() {
        let me = i32::try_from(std::process::id()).unwrap();
        let reader = Reader::new(me).unwrap();
        let found = reader.read(&[me, i32::MAX]);
        assert_eq!(found.len(), 1);
        assert!(found[0].pid > 0 && found[0].owner.0 == linux::process::euid(), "{found:?}");
        assert!(!found[0].command.is_empty() && found[0].elapsed < Duration::from_secs(3600), "{found:?}");
    }

    #[test]
    fn terminals_and_ids_have_names() {
        assert_eq!([0, 136 << 8, (137 << 8) | 1, (4 << 8) | 1].map(tty), ["", "pts/0", "pts/257", "tty1"]);
        let names = Names { names: [(0, "root".to_owned())].into(), map: vec![(0, 1000, 1), (1, 5000, 10)] };
        assert_eq!([1000, 5003, 7].map(|id| names.name(id)), ["root", "4", "7"]);
    }
}
