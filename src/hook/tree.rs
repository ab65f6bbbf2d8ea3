//! Ending a hook with everything it started.
//!
//! Whom to kill is read from procfs, and only from one that the caller vouches for: what lies at `/proc` in a container's
//! mount namespace may be the image's, and could name any process of the host. Numbers found there are those of the pid
//! namespace it belongs to. Each becomes a pidfd that is compared with the number again before a signal is sent.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Child;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use base::host;

/// The procfs in which the processes of a hook are looked up when it has to be ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Procfs<'a> {
    /// The one at `/proc`, in the mount namespace of the runtime: opened when it is needed.
    Runtime,
    /// The root of the host's, which was opened before the container's mounts were created.
    Host(BorrowedFd<'a>),
    /// None that can be trusted: the process is in the container already.
    None,
}

/// Kills the hook, its process group, and by way of re-parenting whatever left the group.
///
/// Without a procfs, what left the group is found only in a pid namespace that belongs to this process: all of it is
/// killed, as it would be by the end of this process. Elsewhere it stays in the container's cgroup.
pub(super) fn end(child: &Child, pidfd: &OwnedFd, procfs: Procfs<'_>) -> Result<()> {
    let opened;
    let proc_dir = match procfs {
        Procfs::Runtime => {
            opened = host::proc_dir()?;
            opened.as_fd()
        }
        Procfs::Host(fd) => fd,
        Procfs::None => return end_group(child, pidfd),
    };
    // a procfs in which this process or its children are not shown is as good as none
    let Ok((table, hook, others)) = look_up(proc_dir, pidfd) else { return end_group(child, pidfd) };
    linux::process::set_child_subreaper(true)?;
    // descendants that made groups of their own are opened first: their ancestry is lost when the hook dies
    let tree = table.descendants(hook);
    kill_group(child, pidfd);
    for process in tree {
        let _ = linux::process::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
    }
    linux::process::wait(pidfd.as_fd(), true).context("wait for the killed hook")?;
    // orphans are our children now: those that were not there before are the hook's
    loop {
        let orphans: Vec<i32> = table.children(table.me)?.into_iter().filter(|pid| !others.contains(pid)).collect();
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

/// The table, the hook's number in it, and the numbers of the other children of this process.
fn look_up<'a>(proc_dir: BorrowedFd<'a>, pidfd: &OwnedFd) -> Result<(Table<'a>, i32, HashSet<i32>)> {
    let table = Table::of(proc_dir)?;
    let hook = table.number_of(pidfd)?;
    let others = table.children(table.me)?.into_iter().filter(|pid| *pid != hook).collect();
    Ok((table, hook, others))
}

/// What can be ended without a list of processes.
fn end_group(child: &Child, pidfd: &OwnedFd) -> Result<()> {
    kill_group(child, pidfd);
    linux::process::wait(pidfd.as_fd(), true).context("wait for the killed hook")?;
    if std::process::id() == 1 {
        // the first process of a pid namespace: this reaches all others in it and nothing outside
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    }
    Ok(())
}

/// The hook was given a group of its own; it may have left it.
fn kill_group(child: &Child, pidfd: &OwnedFd) {
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = linux::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
}

/// Processes as a procfs numbers them.
struct Table<'a> {
    proc_dir: BorrowedFd<'a>,
    /// This process.
    me: i32,
    /// At which place of `NSpid` the pid namespace of this process stands.
    depth: usize,
}

impl<'a> Table<'a> {
    fn of(proc_dir: BorrowedFd<'a>) -> Result<Self> {
        let me = readlinkat(proc_dir, "self")?;
        let me: i32 = me.to_str().and_then(|text| text.parse().ok()).context("/proc/self is no number")?;
        let depth = namespace_pids(&read(proc_dir, "self/status")?)
            .len()
            .checked_sub(1)
            .context("NSpid of /proc/self/status")?;
        Ok(Self { proc_dir, me, depth })
    }

    /// The number of an open process; -1 of one that has ended.
    fn number_of(&self, pidfd: &OwnedFd) -> Result<i32> {
        let text = read(self.proc_dir, &format!("self/fdinfo/{}", pidfd.as_raw_fd()))?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        number.context("no Pid in the fdinfo of a process")
    }

    /// Opens the process of a number; `None` when it has ended, also when another one has got the number meanwhile.
    fn open(&self, number: i32) -> Option<OwnedFd> {
        let own = *namespace_pids(&read(self.proc_dir, &format!("{number}/status")).ok()?).get(self.depth)?;
        let pidfd = linux::process::pidfd_open(own).ok()?;
        (self.number_of(&pidfd).ok()? == number).then_some(pidfd)
    }

    fn children(&self, number: i32) -> Result<Vec<i32>> {
        let text = read(self.proc_dir, &format!("{number}/task/{number}/children")).context("list children")?;
        Ok(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    fn descendants(&self, number: i32) -> Vec<OwnedFd> {
        let mut found = self.children(number).unwrap_or_default();
        let mut next = 0;
        while let Some(number) = found.get(next).copied() {
            found.extend(self.children(number).unwrap_or_default());
            next += 1;
        }
        found.into_iter().filter_map(|number| self.open(number)).collect()
    }
}

fn read(proc_dir: BorrowedFd<'_>, path: &str) -> Result<String> {
    let file = openat(proc_dir, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("procfs: {path}"))?;
    linux::file::read_text(File::from(file)).with_context(|| format!("procfs: {path}"))
}

/// The numbers of a process, from the namespace of the procfs to its own.
fn namespace_pids(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
