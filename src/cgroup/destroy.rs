//! Removal of a container's cgroup: the directories that croci created, and those that the container created below.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::files::{self, TIMEOUT, is_gone, remove_dir, value_of, walk};
use super::freeze::{Pause, wait_for_event};
use super::{Cgroup, CgroupDir, parents};
use linux::path as sys_path;

impl Cgroup {
    /// Kills the processes in the cgroups that croci created, and removes these cgroups with all below. A cgroup that
    /// existed before the container stays with its processes. A cgroup that does not exist counts as removed.
    ///
    /// # Errors
    /// Processes that still exist two seconds after SIGKILL; the error names them. A record that is not of a container.
    pub(crate) fn destroy(&self) -> Result<()> {
        self.record.check()?;
        let created: Vec<&CgroupDir> = self.record.dirs.iter().filter(|dir| dir.created_depth > 0).collect();
        if self.record.scope.is_some() && !self.end_scope(&created)? {
            return Ok(());
        }
        // the usual case: the container has ended, and one rmdir(2) removes each directory
        let mut busy = Vec::new();
        for dir in created.iter().rev() {
            let path = self.record.path_in(dir);
            if !remove_dir(&path)? {
                busy.push((dir, path));
            }
        }
        if !busy.is_empty() {
            self.lift_cpu_limits();
            self.kill_all(&busy.iter().map(|(dir, _)| **dir).collect::<Vec<_>>())?;
            let deadline = Instant::now() + TIMEOUT;
            for (dir, path) in &busy {
                wait_and_remove(dir, path, deadline)?;
            }
        }
        created.iter().try_for_each(|dir| parents::remove(dir, &self.record.path))
    }

    /// Stops the container's unit; `false` when systemd cannot be reached and stops it by itself. systemd removes the
    /// directory: a unit whose directory is removed before systemd has seen it empty stays active.
    fn end_scope(&self, created: &[&CgroupDir]) -> Result<bool> {
        self.kill_all(created)?;
        if let Some(path) = self.main_path() {
            wait_for_event(&path, Instant::now() + TIMEOUT, |text| value_of(text, "populated") == Some(0))?;
            if !self.pids()?.is_empty() {
                return Err(in_use(&path));
            }
        }
        self.stop_scope()
    }

    /// Kills the processes in the cgroups that croci created. One kill usually empties all hierarchies; a process that
    /// was moved in only one of them is found in the list of that hierarchy.
    fn kill_all(&self, busy: &[&CgroupDir]) -> Result<()> {
        if self.record.dirs.iter().all(|dir| dir.created_depth > 0) {
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
        pause.wait(); // v1 sends no event when a cgroup becomes empty
    }
}

fn in_use(path: &str) -> anyhow::Error {
    let pids = files::processes(path).unwrap_or_default();
    let names: Vec<String> = pids.iter().take(10).map(|pid| describe_process(*pid)).collect();
    let names = if names.is_empty() { "no visible process".to_owned() } else { names.join(", ") };
    anyhow!(coded!(CgroupFailed, "cgroup {path} is still in use after {} s: {names}", TIMEOUT.as_secs()))
}

/// Removes a cgroup and all below, the innermost first; `false` when one of them is busy.
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
    walk(path, &mut |_| Ok(()), &mut leave)
        .with_code(Code::CgroupFailed, || format!("remove the cgroups below {path}"))?;
    Ok(all && remove_dir(path)?)
}

/// Describes a process that does not end: `pid 7 (name) in uninterruptible sleep at nfs_wait`.
pub(crate) fn describe_process(pid: i32) -> String {
    let read = |file: &str| files::try_read(&format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let (head, tail) = stat.rsplit_once(')').unwrap_or_default();
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let state = match tail.trim().chars().next() {
        Some('D') => format!(" in uninterruptible sleep at {}", read("wchan").trim()),
        // the init of a pid namespace ends only after all other processes of the namespace have been waited for
        Some('S') if read("wchan") == "zap_pid_ns_processes" => {
            " that waits for others of its pid namespace to be waited for by their parent (that of an exec?)".to_owned()
        }
        Some('Z') => " that its parent has not waited for".to_owned(),
        Some(state) => format!(" in state {state}"),
        None => String::new(),
    };
    format!("pid {pid} ({name}){state}")
}
