//! Cgroups as the host sees them, v1 (also hybrid) and v2 behind the same names: the cgroup of a process, the content
//! of a limit's file, and cgroups that the suite creates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;

use crate::files::read;
use crate::harness::{skip, wait_until};

const ROOT: &str = "/sys/fs/cgroup";

/// Returns whether cgroup v2 is the only hierarchy.
pub fn is_v2() -> bool {
    statfs(ROOT).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Skips the test on cgroup v1, because it checks what only v2 has.
pub fn need_v2() -> Result<()> {
    if is_v2() { Ok(()) } else { skip("cgroup v1 on this machine: this is about v2") }
}

/// Skips the test on cgroup v2, because it checks what only v1 has.
pub fn need_v1() -> Result<()> {
    if is_v2() { skip("cgroup v2 on this machine: this is about v1") } else { Ok(()) }
}

/// Returns the mount points of all hierarchies, each with its controllers (none for v2 and for named ones).
pub fn hierarchies() -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for line in read(Path::new("/proc/self/mountinfo")).lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(mount), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
        let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
        if ["cgroup", "cgroup2"].contains(&kind) && Path::new(mount).starts_with(ROOT) {
            let names = options.split(',').filter(|name| kind == "cgroup" && !["rw", "ro"].contains(name));
            found.push((mount.into(), names.map(str::to_owned).collect()));
        }
    }
    found
}

/// Returns whether some hierarchy of this machine has the controller.
pub fn has_controller(name: &str) -> bool {
    if is_v2() {
        let list = read(&Path::new(ROOT).join("cgroup.controllers"));
        return list.split_whitespace().any(|have| have == name);
    }
    hierarchies().iter().any(|(_, names)| names.iter().any(|have| have == name))
}

/// Skips the test where no hierarchy has the controller.
pub fn need_controller(name: &str) -> Result<()> {
    if has_controller(name) { Ok(()) } else { skip(&format!("this machine has no cgroup controller {name:?}")) }
}

/// Returns the path of a process' cgroup below the mount point, in the hierarchy of a controller (v1) or in the only
/// one (v2).
pub fn path_of(pid: Pid, controller: &str) -> Result<String> {
    let text = read(Path::new(&format!("/proc/{pid}/cgroup")));
    path_in(&text, controller).with_context(|| format!("process {pid} is in no cgroup of {controller}: {text:?}"))
}

/// Returns the path of the cgroup as [`path_of`] does, from the text of `/proc/PID/cgroup`.
pub fn path_in(text: &str, controller: &str) -> Option<String> {
    let v2 = is_v2();
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = if v2 { names.is_empty() } else { names.split(',').any(|name| name == controller) };
        fits.then(|| path.to_owned())
    })
}

/// Returns a cgroup's directory by its path below the mount point of the controller's hierarchy.
pub fn dir(controller: &str, path: &str) -> PathBuf {
    let mount = if is_v2() { None } else { hierarchies().into_iter().find(|(_, n)| n.iter().any(|n| n == controller)) };
    mount.map_or_else(|| ROOT.into(), |(mount, _)| mount).join(path.trim_start_matches('/'))
}

/// A limit: the controller, its file on v1 and on v2.
pub struct Limit(pub &'static str, pub &'static str, pub &'static str);

pub const MEMORY: Limit = Limit("memory", "memory.limit_in_bytes", "memory.max");
pub const SWAP: Limit = Limit("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
pub const RESERVATION: Limit = Limit("memory", "memory.soft_limit_in_bytes", "memory.low");
pub const SHARES: Limit = Limit("cpu", "cpu.shares", "cpu.weight");
pub const QUOTA: Limit = Limit("cpu", "cpu.cfs_quota_us", "cpu.max");
pub const PERIOD: Limit = Limit("cpu", "cpu.cfs_period_us", "cpu.max");
pub const BURST: Limit = Limit("cpu", "cpu.cfs_burst_us", "cpu.max.burst");
pub const IDLE: Limit = Limit("cpu", "cpu.idle", "cpu.idle");
pub const PIDS: Limit = Limit("pids", "pids.max", "pids.max");
pub const CPUS: Limit = Limit("cpuset", "cpuset.cpus", "cpuset.cpus");
pub const MEMS: Limit = Limit("cpuset", "cpuset.mems", "cpuset.mems");

/// The number by which v1 writes "no limit" for memory.
pub const UNLIMITED: &str = "9223372036854771712";

impl Limit {
    fn file(&self) -> &'static str {
        if is_v2() { self.2 } else { self.1 }
    }

    /// Returns the content of the file in the process' cgroup; skips the test where the kernel has no such file.
    pub fn read(&self, pid: Pid) -> Result<String> {
        need_controller(self.0)?;
        let directory = dir(self.0, &path_of(pid, self.0)?);
        let file = self.file();
        match fs::read_to_string(directory.join(file)) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound && directory.is_dir() => {
                // the file is missing too where the runtime did not enable the controller, which is a failure
                let known = fs::read_dir(&directory)?.flatten();
                let enabled = format!("{}.", self.0);
                let enabled = known.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(&enabled));
                ensure!(enabled || !is_v2(), "the controller {} is not enabled for the container", self.0);
                skip(&format!("this kernel has no {file}"))
            }
            Err(err) => Err(err).with_context(|| format!("read {file}")),
        }
    }

    /// Fails unless the file contains the given value, one for v1 and one for v2.
    pub fn must_be(&self, pid: Pid, v1: &str, v2: &str) -> Result<()> {
        let wanted = if is_v2() { v2 } else { v1 };
        let now = self.read(pid)?;
        ensure!(now == wanted, "{} reads {now:?}, it has to read {wanted:?}", self.file());
        Ok(())
    }
}

/// A cgroup that the suite creates in every hierarchy; its processes are killed and it is removed on drop.
pub struct Group {
    /// The path below each mount point, with a leading slash.
    pub path: String,
    dirs: Vec<PathBuf>,
    members: Vec<Child>,
}

impl Group {
    /// Creates the cgroup.
    pub fn new(path: &str) -> Result<Self> {
        let path = format!("/{}", path.trim_start_matches('/'));
        let mut group = Self { dirs: Vec::new(), members: Vec::new(), path };
        for (mount, _) in hierarchies() {
            let dir = mount.join(group.path.trim_start_matches('/'));
            fs::create_dir_all(&dir).with_context(|| format!("make {dir:?}"))?;
            // a fresh v1 cpuset refuses members until it has CPUs and memory nodes
            for name in ["cpuset.cpus", "cpuset.mems"] {
                if let (Ok(value), false) = (fs::read_to_string(mount.join(name)), is_v2()) {
                    fs::write(dir.join(name), value)?;
                }
            }
            group.dirs.push(dir);
        }
        Ok(group)
    }

    /// Starts a sleeping process in the cgroup.
    pub fn occupy(&mut self) -> Result<Pid> {
        let child = Command::new("sleep").arg("1000").spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        self.members.push(child);
        for dir in &self.dirs {
            fs::write(dir.join("cgroup.procs"), pid.to_string()).with_context(|| format!("join {dir:?}"))?;
        }
        Ok(pid)
    }

    /// Freezes or thaws the cgroup.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        freeze(&self.path, frozen)
    }

    /// Returns whether the cgroup still exists.
    pub fn exists(&self) -> bool {
        self.dirs.iter().all(|dir| dir.is_dir())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.freeze(false);
        for child in &mut self.members {
            let _ = child.kill();
            let _ = child.wait();
        }
        for dir in &self.dirs {
            let _ =
                wait_until("its members are gone", || Ok((!dir.is_dir() || fs::remove_dir(dir).is_ok()).then_some(())));
        }
    }
}

/// Freezes or thaws a cgroup by its path; on v1 waits until the kernel reports the new state.
pub fn freeze(path: &str, frozen: bool) -> Result<()> {
    let directory = dir("freezer", path);
    if is_v2() {
        fs::write(directory.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
        return Ok(());
    }
    need_controller("freezer")?;
    let state = if frozen { "FROZEN" } else { "THAWED" };
    fs::write(directory.join("freezer.state"), state)?;
    wait_until("the cgroup freezes", || Ok((read(&directory.join("freezer.state")).trim_end() == state).then_some(())))
}
