//! Cgroups as the host sees them, v1 (also hybrid) and v2 behind the same names.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const ROOT: &str = "/sys/fs/cgroup";

static BY_SYSTEMD: AtomicBool = AtomicBool::new(false);

/// Returns whether systemd creates the containers' cgroups: by `CROCI_TEST_MANAGER=systemd`, or because the tests have
/// called [`use_systemd`].
pub fn by_systemd() -> bool {
    BY_SYSTEMD.load(Ordering::Relaxed) || std::env::var_os("CROCI_TEST_MANAGER").is_some_and(|name| name == "systemd")
}

/// Lets systemd create the containers' cgroups, for tests of systemd.
pub fn use_systemd() {
    BY_SYSTEMD.store(true, Ordering::Relaxed);
}

/// Returns the `cgroupsPath` for a container.
pub fn path_for(id: &str) -> String {
    if by_systemd() { format!("system.slice:croci:{id}") } else { format!("/{id}") }
}

/// Returns the path below the root of a hierarchy; for `slice:prefix:name` the one at which systemd creates the cgroup.
pub fn place(path: &str) -> String {
    let [slice, prefix, name] = path.split(':').collect::<Vec<_>>()[..] else {
        return path.trim_start_matches('/').to_owned();
    };
    let parts: Vec<&str> = slice.trim_end_matches(".slice").split('-').collect();
    let slices = (1..=parts.len()).map(|count| format!("{}.slice/", parts[..count].join("-")));
    format!("{}{prefix}-{name}.scope", slices.collect::<String>())
}

pub fn mounted() -> bool {
    is_v2() || Path::new(ROOT).join("memory/cgroup.procs").exists() || Path::new(ROOT).join("pids/tasks").exists()
}

/// Returns whether the unified hierarchy has the controllers.
pub fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Returns the root directories of all hierarchies.
pub fn hierarchies() -> Vec<PathBuf> {
    if is_v2() {
        return vec![ROOT.into()];
    }
    // by device, because a plain directory may have files of the same names; a link is another name of a hierarchy
    let device =
        |path: &Path| std::fs::symlink_metadata(path).ok().filter(|found| found.is_dir()).map(|found| found.dev());
    let plain = device(Path::new(ROOT));
    let entries = std::fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| path.join("cgroup.procs").exists() && device(path).is_some() && device(path) != plain)
        .collect()
}

/// Returns the directory of a process' cgroup for one controller (v1) or the only cgroup it has (v2).
pub fn dir_of(pid: i32, controller: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        if is_v2() && names.is_empty() {
            return Some(Path::new(ROOT).join(path));
        }
        if !is_v2() && names.split(',').any(|name| name == controller) {
            return Some(Path::new(ROOT).join(names).join(path));
        }
    }
    None
}

/// Returns the directory of a `cgroupsPath` for a controller.
pub fn dir(controller: &str, path: &str) -> PathBuf {
    let top = if is_v2() { PathBuf::from(ROOT) } else { Path::new(ROOT).join(controller) };
    top.join(place(path))
}

/// Returns a limit of a process' cgroup, by its file names for v1 and v2; `None` where the kernel has no such file.
pub fn read(pid: i32, controller: &str, v1: &str, v2: &str) -> Option<String> {
    let file = dir_of(pid, controller)?.join(if is_v2() { v2 } else { v1 });
    Some(std::fs::read_to_string(file).ok()?.trim().to_owned())
}

/// Returns whether the kernel has the controller.
pub fn has_controller(name: &str) -> bool {
    if is_v2() {
        let list = std::fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
        return list.split_whitespace().any(|controller| controller == name);
    }
    Path::new(ROOT).join(name).join("cgroup.procs").exists()
}

/// Returns the cgroups with `token` in their path, the deepest first.
pub fn dirs_with(token: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for top in hierarchies() {
        walk(&top, 0, &mut |path| {
            if path.to_string_lossy().contains(token) {
                found.push(path.to_owned());
            }
        });
    }
    found
}

fn walk(dir: &Path, depth: usize, visit: &mut impl FnMut(&Path)) {
    if depth > 8 {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth + 1, visit);
            visit(&entry.path());
        }
    }
}

/// Creates a cgroup (in every hierarchy on v1), and returns its directories.
pub fn create(path: &str) -> Vec<PathBuf> {
    let dirs: Vec<PathBuf> = hierarchies().iter().map(|top| top.join(path.trim_start_matches('/'))).collect();
    for dir in &dirs {
        std::fs::create_dir_all(dir).unwrap();
        if is_v2() {
            continue;
        }
        // a fresh v1 cpuset refuses members until it has CPUs and memory nodes
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = std::fs::read_to_string(dir.parent().unwrap().join(name)) {
                std::fs::write(dir.join(name), value).unwrap();
            }
        }
    }
    dirs
}

/// Freezes or thaws a cgroup, given by its `cgroupsPath`.
pub fn freeze(path: &str, frozen: bool) {
    let (file, value) = if is_v2() {
        (dir("", path).join("cgroup.freeze"), if frozen { "1" } else { "0" })
    } else {
        (dir("freezer", path).join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
    };
    std::fs::write(file, value).unwrap();
}

/// Thaws the cgroups with `token` in their path, so that the processes that a failed test left in them can be killed.
pub fn thaw_all(token: &str) {
    for dir in dirs_with(token) {
        let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
        let _ = std::fs::write(dir.join("cgroup.freeze"), "0");
    }
}

/// Removes the cgroups with `token` in their path that a failed test left.
pub fn remove_all(token: &str) {
    for _ in 0..20 {
        let dirs = dirs_with(token);
        if dirs.is_empty() {
            return;
        }
        for dir in dirs {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Returns the pids in a cgroup.
pub fn procs(dir: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
