//! Removing a container's cgroup: what croci made, and what the container made below it.

use std::ffi::CStr;
use std::fs;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::files::{self, is_gone, value_of, walk};
use super::freeze::{Pause, wait_for_event};
use super::{Cgroup, CgroupDir};
use base::error::HasErrno as _;
use linux::path as sys_path;

/// How long dying processes are waited for: one that frees gigabytes takes its time.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Kills what is left in the cgroups that croci made, and removes them with all below. A cgroup that was there
    /// before the container keeps its processes and stays. One that is gone is as good as removed.
    ///
    /// # Errors
    /// When processes outlive SIGKILL by two seconds; the error names them.
    pub(crate) fn destroy(&self) -> Result<()> {
        let own: Vec<&CgroupDir> = self.record.dirs.iter().filter(|dir| dir.made > 0).collect();
        if self.record.scope.is_some() && !self.end_scope(&own)? {
            return Ok(());
        }
        // the usual case: the container has ended, and each directory goes with one call
        let mut busy = Vec::new();
        for dir in own.iter().rev() {
            let path = self.record.path_in(dir);
            if !remove_dir(&path)? {
                busy.push((dir, path));
            }
        }
        if !busy.is_empty() {
            self.empty(&busy.iter().map(|(dir, _)| **dir).collect::<Vec<_>>())?;
            let deadline = Instant::now() + TIMEOUT;
            for (dir, path) in &busy {
                wait_and_remove(dir, path, deadline)?;
            }
        }
        own.iter().for_each(|dir| remove_parents(dir, &self.record.path));
        Ok(())
    }

    /// Ends the container's unit; `false` when systemd does that by itself. Its directory is systemd's to remove: one that is
    /// gone before systemd has seen it empty leaves a unit that lives on without it.
    fn end_scope(&self, own: &[&CgroupDir]) -> Result<bool> {
        self.empty(own)?;
        if let Some(path) = self.main_path() {
            wait_for_event(&path, Instant::now() + TIMEOUT, |text| value_of(text, "populated") == Some(0))?;
            if !self.pids()?.is_empty() {
                return Err(in_use(&path));
            }
        }
        self.stop_scope()
    }

    /// Kills, hierarchy by hierarchy, what is in the cgroups that are croci's. The first usually empties the others;
    /// where a process has been moved in one of them only, the list of that one finds it.
    fn empty(&self, busy: &[&CgroupDir]) -> Result<()> {
        if self.record.dirs.iter().all(|dir| dir.made > 0) {
            self.kill(libc::SIGKILL)?;
        }
        for dir in busy {
            let record =
                super::CgroupRecord { path: self.record.path.clone(), dirs: vec![(*dir).clone()], scope: None };
            let part = Cgroup::open(&record);
            if !part.pids()?.is_empty() {
                part.kill(libc::SIGKILL)?;
            }
        }
        Ok(())
    }
}

/// `false` when it has processes or children.
fn remove_dir(path: &str) -> Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(err) if is_gone(&err) => Ok(true),
        Err(err) if err.is_errno(&[libc::EBUSY, libc::ENOTEMPTY]) => Ok(false),
        Err(err) => Err(err).with_context(|| format!("remove cgroup {path}")),
    }
}

fn wait_and_remove(dir: &CgroupDir, path: &str, deadline: Instant) -> Result<()> {
    let mut pause = Pause::new();
    loop {
        if dir.unified {
            wait_for_event(path, deadline, |text| value_of(text, "populated") == Some(0))?;
        }
        if remove_tree(path)? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(in_use(path));
        }
        pause.wait(); // v1 does not announce that a cgroup has become empty
    }
}

fn in_use(path: &str) -> anyhow::Error {
    let pids = files::processes(path).unwrap_or_default();
    let who: Vec<String> = pids.iter().take(10).map(|pid| describe_process(*pid)).collect();
    let who = if who.is_empty() { "no process to be seen".to_owned() } else { who.join(", ") };
    anyhow!("cgroup {path} is still in use after {} s: {who}", TIMEOUT.as_secs())
}

/// Bottom-up. `false` when something is still busy.
fn remove_tree(path: &str) -> Result<bool> {
    let mut all = true;
    let mut leave = |dir: BorrowedFd<'_>, name: &CStr| match sys_path::unlinkat(dir, name, true) {
        Err(err) if err.is_errno(&[libc::EBUSY, libc::ENOTEMPTY]) => {
            all = false;
            Ok(())
        }
        Err(err) if !is_gone(&err) => Err(err),
        _ => Ok(()),
    };
    walk(path, &mut |_| Ok(()), &mut leave).with_context(|| format!("remove the cgroups below {path}"))?;
    Ok(all && remove_dir(path)?)
}

/// Cgroups above that were made for this container, unless others have moved in meanwhile.
fn remove_parents(dir: &CgroupDir, path: &str) {
    let mut path = path;
    for _ in 1..dir.made {
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if path.is_empty() || fs::remove_dir(format!("{}{path}", dir.mount)).is_err_and(|err| !is_gone(&err)) {
            return;
        }
    }
}

/// `pid 7 (name) in uninterruptible sleep at nfs_wait`
pub(crate) fn describe_process(pid: i32) -> String {
    let read = |file: &str| files::try_read(&format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let (head, tail) = stat.rsplit_once(')').unwrap_or_default();
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let state = match tail.trim().chars().next() {
        Some('D') => format!(" in uninterruptible sleep at {}", read("wchan").trim()),
        // the kernel holds the first process of a pid namespace back until all others have been waited for
        Some('S') if read("wchan") == "zap_pid_ns_processes" => {
            " that waits for others of its pid namespace to be waited for by their parent (that of an exec?)".to_owned()
        }
        Some('Z') => " that its parent has not waited for".to_owned(),
        Some(state) => format!(" in state {state}"),
        None => String::new(),
    };
    format!("pid {pid} ({name}){state}")
}
