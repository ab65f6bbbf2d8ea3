//! The clone: one `clone3` for all that it can do, with the detours that some namespaces need.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::stopped::poll_unless_stopped;
use crate::cgroup::Cgroup;
use crate::init;
use crate::init::Part;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::protocol::Channel;
use crate::protocol::InitMessage;
use base::signal_guard::SignalGuard;

use linux::process::CloneResult;
use linux::process::ExitStatus;
use nix::poll::{PollFd, PollFlags};

/// A child of the runtime that becomes the container's process. Dropped before [`Init::keep`] it is killed and reaped,
/// because the verb may fail, or be interrupted, at any step until it commits.
#[derive(Debug)]
pub(crate) struct Init {
    /// Pid in the runtime's pid namespace.
    pub pid: i32,
    /// Descriptor of the process, readable when it has ended.
    pub pidfd: OwnedFd,
    /// Channel to the process, closed by the execve of its program.
    pub channel: Channel,
    kept: bool,
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.kept {
            self.abort();
        }
    }
}

impl Init {
    fn new(pid: i32, pidfd: OwnedFd, channel: Channel) -> Init {
        Init { pid, pidfd, channel, kept: false }
    }

    /// Lets the process outlive this value.
    pub(crate) fn keep(mut self) -> Init {
        self.kept = true;
        self
    }

    /// Kills the process and reaps it.
    pub(crate) fn abort(&self) {
        let _ = linux::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = self.wait();
    }

    /// Waits until its channel can be read or has been closed.
    ///
    /// # Errors
    /// A signal has come (`signal_guard::Interrupted`); the process was stopped and had to be killed.
    pub(crate) fn wait_for_message(&self, interrupt: &SignalGuard) -> Result<()> {
        let mut set =
            [PollFd::new(self.channel.fd(), PollFlags::POLLIN), PollFd::new(interrupt.fd(), PollFlags::POLLIN)];
        poll_unless_stopped(&mut set, self.pid, &self.pidfd)?;
        if set[1].any().unwrap_or(false) { interrupt.check() } else { Ok(()) }
    }

    /// Lets it go on from where it waits.
    ///
    /// # Errors
    /// It has ended meanwhile: told by how, not by the broken pipe that shows it.
    pub(crate) fn release(&self) -> Result<()> {
        self.release_with(0, None)
    }

    /// The same with what it gets along: a pid, or 0, and a descriptor.
    ///
    /// # Errors
    /// As [`Init::release`].
    pub(crate) fn release_with(&self, pid: i32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        match self.channel.send_go_with(pid, fd) {
            Err(err) if err.raw_os_error() == Some(libc::EPIPE) => {
                bail!("init ended before the container was ready: {}", self.wait()?)
            }
            other => other.context("answer init"),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It is no child of this process.
    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        linux::process::wait(self.pidfd.as_fd(), true)?.context("init has not ended")
    }
}

/// Creates the process that builds the root file system; it runs `init::run` and never comes back here. Where the pid
/// namespace is one that exists, it is not the container's process yet: [`spawn_inside`] creates that one.
///
/// # Errors
/// The kernel refuses the namespaces, the cgroup or another process.
pub(crate) fn spawn(plan: &ContainerPlan, opened: &mut Opened, cgroup: Option<BorrowedFd<'_>>) -> Result<Init> {
    let namespaces = &plan.namespaces;
    let part = || if namespaces.pid.is_some() { Part::Root } else { Part::Whole };
    // new namespaces must belong to a user namespace that is joined: it has to be entered before the clone; and who is
    // in a new one has no right to others any more
    if namespaces.user.is_some() && namespaces.clone_flags != 0 || namespaces.joined_before_clone() {
        let init = via_helper(plan, opened, None, |opened, _| help(plan, opened, cgroup), |_| part())?;
        init.release()?;
        return Ok(init);
    }
    let (ours, theirs) = Channel::pair().context("socket pair")?;
    match linux::process::clone3(namespaces.clone_flags as u64, cgroup).map_err(|err| explain(err, plan))? {
        CloneResult::Child => {
            drop(ours);
            init::run(plan, opened, &part(), theirs)
        }
        CloneResult::Parent { pid, pidfd } => Ok(Init::new(pid, pidfd, ours)),
    }
}

/// Creates a process in the namespaces and the root directory of the target that is open, and in the cgroup `cgroup`.
///
/// Processes of the container can see it from its first moment on, and some may trace it. A helper, which is in the
/// runtime's pid namespace and so out of their sight, therefore does first all that needs the host: it joins the cgroups
/// and all namespaces, changes to the root and closes what leads elsewhere. Only the child that it clones then is in the
/// container's pid namespace (SEC-5).
///
/// That child waits for a `Go` before it does anything.
///
/// # Errors
/// The kernel refuses a namespace, the cgroup or another process.
pub(crate) fn spawn_inside(plan: &ContainerPlan, opened: &mut Opened, cgroup: Option<BorrowedFd<'_>>) -> Result<Init> {
    let clone = |opened: &mut Opened, channel: &Channel| {
        init::inside::enter(plan, opened, channel)?;
        linux::process::clone3(libc::CLONE_PARENT as u64, None).map_err(|err| explain(err, plan))
    };
    via_helper(plan, opened, cgroup, clone, |terminal| Part::Program { terminal })
}

/// As [`spawn_inside`], in the cgroup `into`, the container's if `by_pid` is not empty. By systemd where only that may
/// move the process (`by_systemd`).
///
/// The helper counts in the cgroup too. Where a limit leaves room for as many processes as `by_pid` has a number of and
/// the helper fails, the process is created outside and moved in by its pid: slower, because that takes the system-wide
/// lock of thread groups.
///
/// # Errors
/// As [`spawn_inside`].
pub(crate) fn spawn_in_cgroup(
    plan: &ContainerPlan,
    opened: &mut Opened,
    (cgroup, into): (&Cgroup, Option<BorrowedFd<'_>>),
    by_systemd: bool,
    by_pid: &[u64],
) -> Result<Init> {
    let into = into.filter(|_| !by_systemd);
    match spawn_inside(plan, opened, into) {
        Ok(init) => {
            if by_systemd {
                cgroup.enter_by_systemd(init.pid)?;
            }
            Ok(init)
        }
        Err(_) if !by_systemd && cgroup.free_pids().is_some_and(|free| by_pid.contains(&free)) => {
            opened.cgroup_join.clear();
            let init = spawn_inside(plan, opened, None).map_err(|err| cgroup.explain_clone(err))?;
            cgroup.join_pid(init.pid)?;
            Ok(init)
        }
        Err(err) => Err(cgroup.explain_clone(err)),
    }
}

/// Has a helper process clone the child as its sibling, which makes it a child of this process. The child waits for a
/// `Go`, so that the helper's report of it is the first message, and then takes its part.
fn via_helper(
    plan: &ContainerPlan,
    opened: &mut Opened,
    cgroup: Option<BorrowedFd<'_>>,
    clone: impl FnOnce(&mut Opened, &Channel) -> Result<CloneResult>,
    part: impl FnOnce(Option<OwnedFd>) -> Part,
) -> Result<Init> {
    let (ours, theirs) = Channel::pair().context("socket pair")?;
    match linux::process::clone3(0, cgroup).map_err(|err| explain(err, plan))? {
        CloneResult::Child => {
            drop(ours);
            let report = match clone(opened, &theirs) {
                Ok(CloneResult::Child) => match theirs.recv_go_with() {
                    Ok((_, fd)) => init::run(plan, opened, &part(fd), theirs),
                    Err(_) => linux::process::exit(1),
                },
                Ok(CloneResult::Parent { pidfd, .. }) => InitMessage::Process(pidfd),
                Err(err) => InitMessage::Failed(base::error::describe(&err)),
            };
            linux::process::exit(i32::from(theirs.send(&report).is_err()))
        }
        CloneResult::Parent { pidfd: helper, .. } => {
            drop(theirs);
            let report = ours.recv().context("listen to the helper process");
            let ended = linux::process::wait(helper.as_fd(), true).context("wait for the helper process")?;
            let pidfd = match report? {
                Some(InitMessage::Process(pidfd)) => pidfd,
                Some(InitMessage::Failed(text)) => bail!("{text}"),
                _ => bail!("the helper process ended{}", ended.map_or(String::new(), |how| format!(": {how}"))),
            };
            let pid = pid_of(opened, &pidfd)?;
            // a process of the container that may trace the child could have sent another's descriptor
            linux::process::wait(pidfd.as_fd(), false)
                .context("the helper process reported no child of the runtime")?;
            Ok(Init::new(pid, pidfd, ours))
        }
    }
}

/// In the helper: joins what has to be joined before the clone of new namespaces, and clones.
fn help(plan: &ContainerPlan, opened: &Opened, cgroup: Option<BorrowedFd<'_>>) -> Result<CloneResult> {
    let namespaces = &plan.namespaces;
    let others = opened.namespaces.joins.iter().filter(|_| namespaces.joined_before_clone());
    for join in opened.namespaces.user.iter().chain(others) {
        linux::process::setns(join.fd.as_fd(), join.flag)
            .with_context(|| format!("join the {} namespace", join.name))?;
    }
    let flags = namespaces.clone_flags | libc::CLONE_PARENT;
    linux::process::clone3(flags as u64, cgroup).map_err(|err| explain(err, plan))
}

/// The pid behind a descriptor that another process made.
fn pid_of(opened: &Opened, pidfd: &OwnedFd) -> Result<i32> {
    let name = format!("self/fdinfo/{}", pidfd.as_raw_fd());
    let file = openat(&opened.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let text = std::io::read_to_string(std::fs::File::from(file)).context("read fdinfo of init")?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).context("init has ended at once")
}

/// Says which limit a failing clone has met: the kernel's errno alone misleads.
fn explain(err: std::io::Error, plan: &ContainerPlan) -> anyhow::Error {
    let hint = match err.raw_os_error() {
        Some(libc::EAGAIN) => {
            "make the container's process: a pids limit is reached (pids.max of the cgroup, or RLIMIT_NPROC)"
        }
        Some(libc::ENOSPC) => "make the container's namespaces: a limit of /proc/sys/user/max_*_namespaces is reached",
        Some(libc::EPERM) if plan.namespaces.clone_flags & libc::CLONE_NEWUSER == 0 => {
            "make the container's namespaces without privilege: a user namespace is needed"
        }
        _ => "make the container's process",
    };
    anyhow::Error::from(err).context(hint)
}
