//! Killing a hook and its descendants.
//!
//! The pids to kill are read from procfs, and only from one that the caller trusts, because `/proc` in a container's
//! mount namespace may be a directory of the image that names any process of the host. The pids are those of the pid
//! namespace that the procfs shows. Each is opened as a pidfd and compared with its pid again before a signal is sent.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Child;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::signal::{self, Signal};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use base::host;

/// The procfs that lists the processes of a hook to kill.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Procfs<'a> {
    /// `/proc` of the runtime's mount namespace, opened when it is needed.
    Runtime,
    /// The root directory of the host's procfs, opened before the container's mounts were created.
    Host(BorrowedFd<'a>),
    /// No procfs can be trusted, because this process is in the container already.
    None,
}

/// Kills the hook, its process group, and the descendants that left the group, which are re-parented to this process.
///
/// Without a procfs, only the init of a pid namespace finds descendants outside the group: it kills every other process
/// there, as the kernel would when it exits. Elsewhere they stay in the container's cgroup.
///
/// # Errors
/// The hook cannot be waited for; procfs cannot be read.
pub(super) fn kill(child: &Child, pidfd: &OwnedFd, procfs: Procfs<'_>) -> Result<()> {
    let opened;
    let proc_dir = match procfs {
        Procfs::Runtime => {
            opened = host::proc_dir()?;
            opened.as_fd()
        }
        Procfs::Host(fd) => fd,
        Procfs::None => return kill_without_procfs(child, pidfd),
    };
    // as without a procfs where it hides this process or its children (hidepid, another pid namespace)
    let Ok((table, hook, others)) = find_hook(proc_dir, pidfd) else {
        return kill_without_procfs(child, pidfd);
    };
    linux::process::set_child_subreaper(true)?;
    // opened before the hook is killed, because its death re-parents those that left the group
    let tree = table.descendants(hook);
    kill_group(child, pidfd);
    for process in tree {
        let _ = linux::process::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
    }
    linux::process::wait(pidfd.as_fd(), true).context("wait for the killed hook")?;
    // as the subreaper this process now has the orphans as children: every child that is not in `others`
    loop {
        let orphans: Vec<i32> =
            table.children(table.own_pid)?.into_iter().filter(|pid| !others.contains(pid)).collect();
        if orphans.is_empty() {
            break;
        }
        for process in orphans.into_iter().filter_map(|pid| table.open(pid)) {
            let _ = linux::process::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
            let _ = linux::process::wait(process.as_fd(), true);
        }
    }
    Ok(linux::process::set_child_subreaper(false)?)
}

/// Finds the hook in procfs. Returns the table, the hook's pid in it and the pids of this process's other children.
fn find_hook<'a>(proc_dir: BorrowedFd<'a>, pidfd: &OwnedFd) -> Result<(Table<'a>, i32, HashSet<i32>)> {
    let table = Table::new(proc_dir)?;
    let hook = table.pid_of(pidfd)?;
    let others = table.children(table.own_pid)?.into_iter().filter(|pid| *pid != hook).collect();
    Ok((table, hook, others))
}

/// Kills the hook and its process group; as the init of a pid namespace every other process in it too.
fn kill_without_procfs(child: &Child, pidfd: &OwnedFd) -> Result<()> {
    kill_group(child, pidfd);
    linux::process::wait(pidfd.as_fd(), true).context("wait for the killed hook")?;
    if std::process::id() == 1 {
        // kill(-1) by the init of a pid namespace signals all other processes in that namespace, and no others
        let _ = signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
        while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    }
    Ok(())
}

/// Kills the process group of the hook, and the hook itself, because it may have left the group.
fn kill_group(child: &Child, pidfd: &OwnedFd) {
    let _ = signal::killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = linux::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
}

/// The processes of a procfs, by their pids there.
struct Table<'a> {
    proc_dir: BorrowedFd<'a>,
    /// Pid of this process.
    own_pid: i32,
    /// Index of this process's pid namespace in `NSpid` of `/proc/PID/status`.
    depth: usize,
}

impl<'a> Table<'a> {
    fn new(proc_dir: BorrowedFd<'a>) -> Result<Self> {
        let own_pid = readlinkat(proc_dir, "self")?;
        let own_pid: i32 = own_pid.to_str().and_then(|text| text.parse().ok()).context("/proc/self is no number")?;
        let depth = namespace_pids(&read(proc_dir, "self/status")?)
            .len()
            .checked_sub(1)
            .context("NSpid of /proc/self/status")?;
        Ok(Self { proc_dir, own_pid, depth })
    }

    /// Returns the pid of an open process; -1 after it has been reaped.
    fn pid_of(&self, pidfd: &OwnedFd) -> Result<i32> {
        let text = read(self.proc_dir, &format!("self/fdinfo/{}", pidfd.as_raw_fd()))?;
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        // without pidfds (before Linux 5.3) a process is held by its pid, which is that of this procfs only in its namespace
        let pid = pid.or_else(|| linux::handle::pid(pidfd.as_fd()).ok().filter(|_| self.depth == 0));
        pid.context("no Pid in the fdinfo of a process")
    }

    /// Opens the process `pid`; `None` when it has ended, also if the kernel has reused its pid.
    fn open(&self, pid: i32) -> Option<OwnedFd> {
        let pid_here = *namespace_pids(&read(self.proc_dir, &format!("{pid}/status")).ok()?).get(self.depth)?;
        let pidfd = linux::process::pidfd_open(pid_here).ok()?;
        (self.pid_of(&pidfd).ok()? == pid).then_some(pidfd)
    }

    fn children(&self, pid: i32) -> Result<Vec<i32>> {
        let text = read(self.proc_dir, &format!("{pid}/task/{pid}/children")).context("list children")?;
        Ok(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    fn descendants(&self, pid: i32) -> Vec<OwnedFd> {
        let mut found = self.children(pid).unwrap_or_default();
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            found.extend(self.children(pid).unwrap_or_default());
            next += 1;
        }
        found.into_iter().filter_map(|pid| self.open(pid)).collect()
    }
}

fn read(proc_dir: BorrowedFd<'_>, path: &str) -> Result<String> {
    let file = openat(proc_dir, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("procfs: {path}"))?;
    linux::file::read_text(File::from(file)).with_context(|| format!("procfs: {path}"))
}

/// Returns the pids of `NSpid`: one for each pid namespace from the procfs's own down to the process's.
fn namespace_pids(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
