//! Removes what a runtime left behind: processes, cgroups, mounts, directories. The tests check whether it left
//! anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::files::read;

/// The directory below which cgroup file systems are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The depth below a hierarchy's root to which containers' cgroups are searched for.
const CGROUP_DEPTH: u32 = 5;
/// The time that killed processes may take to end.
const DEATH_LIMIT: Duration = Duration::from_secs(5);

/// Kills all descendants of this process, which has to be a subreaper, and removes the cgroups whose name contains
/// `name`, the mounts below `place` and `place` itself.
pub fn all(name: &str, place: &Path) {
    thaw(name);
    end_descendants();
    remove_cgroups(name);
    unmount(place);
    let _ = fs::remove_dir_all(place);
}

/// Kills `root` and all processes below it.
pub fn kill_tree(root: Pid) {
    for pid in descendants(root) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    let _ = kill(root, Signal::SIGKILL);
}

/// Kills and reaps all children, and their children once these have become ours.
pub fn end_descendants() {
    let deadline = Instant::now() + DEATH_LIMIT;
    while Instant::now() < deadline {
        for pid in descendants(Pid::this()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return,
                Err(_) | Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
            }
        }
        sleep(Duration::from_millis(2));
    }
}

/// Returns all processes below `root`, parents first.
fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = read(&entry.path().join("stat"));
        // the name, in parentheses, may contain any character
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut todo = vec![root.as_raw()];
    while let Some(pid) = todo.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().map(|&pid| Pid::from_raw(pid)));
        todo.extend(below);
    }
    found
}

/// Thaws frozen cgroups, because on version 1 a frozen process cannot even be killed.
fn thaw(name: &str) {
    for cgroup in cgroups_below(Path::new(CGROUPS), name, CGROUP_DEPTH) {
        let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
        let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
    }
}

/// Kills the processes in the cgroups whose name contains `name`, and removes these with all cgroups below them.
pub fn remove_cgroups(name: &str) {
    let deadline = Instant::now() + DEATH_LIMIT;
    thaw(name);
    loop {
        let left = cgroups_below(Path::new(CGROUPS), name, CGROUP_DEPTH);
        let mut tree: Vec<PathBuf> = left.iter().flat_map(|cgroup| with_below(cgroup)).collect();
        // the longest first: children before their parents
        tree.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
        for cgroup in &tree {
            for pid in read(&cgroup.join("cgroup.procs")).lines().filter_map(|line| line.parse().ok()) {
                // 0 is a process of another pid namespace; kill(2) would take it for our whole process group
                if pid > 1 && pid != Pid::this().as_raw() {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            let _ = fs::remove_dir(cgroup);
        }
        if tree.is_empty() || Instant::now() > deadline {
            return;
        }
        sleep(Duration::from_millis(2));
    }
}

fn with_below(cgroup: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let dirs = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = dirs.flat_map(|entry| with_below(&entry.path())).collect();
    all.push(cgroup.to_owned());
    all
}

/// Returns the topmost cgroups below `dir` whose name contains `name`, from the entries of `dir` to `depth` levels below
/// them; a plain directory beside the cgroup mounts is not counted.
pub fn cgroups_below(dir: &Path, name: &str, depth: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if names(&entry.file_name().to_string_lossy(), name) && on_cgroup_fs(&entry.path()) {
            found.push(entry.path());
        } else if depth > 0 {
            found.extend(cgroups_below(&entry.path(), name, depth - 1));
        }
    }
    found
}

/// Returns whether a cgroup's name is derived from a container's: `croci-cf7-1.scope` from `cf7-1`, but not from
/// `cf7-10`.
fn names(cgroup: &str, name: &str) -> bool {
    let open = name.ends_with(|last: char| last.is_ascii_digit());
    cgroup.match_indices(name).any(|(at, _)| {
        let rest = cgroup.get(at + name.len()..).unwrap_or_default();
        !open || !rest.starts_with(|next: char| next.is_ascii_digit())
    })
}

fn on_cgroup_fs(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&fs.filesystem_type()))
}

/// Unmounts every mount below `place`: a container without a mount namespace is mounted on the host.
pub fn unmount(place: &Path) {
    for path in read(Path::new("/proc/self/mountinfo")).lines().rev().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(path).starts_with(place) {
            let _ = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_cgroup_is_known_by_the_whole_name() {
        for (cgroup, name, is) in [
            ("cf7-1", "cf7-1", true),
            ("croci-cf7-1.scope", "cf7-1", true),
            ("cf7-10", "cf7-1", false),
            ("cf7-10", "cf7-", true),
            ("cf77-1", "cf7-", false),
        ] {
            assert_eq!(names(cgroup, name), is, "{cgroup} {name}");
        }
    }
}
