//! The clone: one `clone3` for all that it can do, with the detours that some namespaces need.

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::job_control::poll_unless_stopped;
use crate::cgroup::Cgroup;
use crate::init;
use crate::init::Part;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::protocol::Channel;
use crate::protocol::InitMessage;
use crate::state::status;
use base::signal_guard::SignalGuard;

use linux::process::CloneResult;
use linux::process::ExitStatus;
use nix::poll::{PollFd, PollFlags};

/// A child of the runtime that becomes the container's process. Dropped before [`Init::keep`] it is ended and reaped,
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

/// Time for init to notice the end of the channel and to undo its work, in milliseconds.
const UNDO_TIME: u16 = 1000;
/// Time for a process to end that was killed or has closed its channel, in milliseconds.
const END_TIME: u16 = 10_000;

impl Drop for Init {
    fn drop(&mut self) {
        if !self.kept {
            // init ends by itself without an answer, and removes what it has created in the image
            if self.channel.shutdown().is_ok() {
                let _ = status::wait_ended(&self.pidfd, UNDO_TIME);
            }
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

    /// Waits until the channel can be read or has been closed.
    ///
    /// # Errors
    /// A signal has arrived (`signal_guard::Interrupted`); the process was stopped for too long and was killed.
    pub(crate) fn wait_for_message(&self, interrupt: &SignalGuard) -> Result<()> {
        let mut set =
            [PollFd::new(self.channel.fd(), PollFlags::POLLIN), PollFd::new(interrupt.fd(), PollFlags::POLLIN)];
        poll_unless_stopped(&mut set, self.pid, &self.pidfd)?;
        if set[1].any().unwrap_or(false) { interrupt.check() } else { Ok(()) }
    }

    /// Sends the process the message for which it waits.
    ///
    /// # Errors
    /// The process has ended meanwhile; the error is its own, or has its exit status, instead of `EPIPE`.
    pub(crate) fn send_go(&self) -> Result<()> {
        self.send_go_with(0, None)
    }

    /// As [`Init::send_go`], with a pid, or 0, and a descriptor in the message.
    ///
    /// # Errors
    /// As [`Init::send_go`].
    pub(crate) fn send_go_with(&self, pid: i32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        match self.channel.send_go_with(pid, fd) {
            Err(err) if err.raw_os_error() == Some(libc::EPIPE) => {
                // it has ended; so that the wait ends in any case
                let _ = linux::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
                let status = self.wait()?;
                while let Ok(Some(message)) = self.channel.recv_present() {
                    if let InitMessage::Failed(text) = message {
                        return Err(base::error::from_wire(&text));
                    }
                }
                bail!(coded!(ContainerKilled, "init ended before the container was ready: {status}"))
            }
            other => other.context("answer init"),
        }
    }

    /// Waits until the process has ended, and reaps it.
    ///
    /// # Errors
    /// The process is not a child of this one, was reaped before, or does not end within 10 s.
    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        let ended = status::wait_ended(&self.pidfd, END_TIME)?.then_some(());
        ended.with_context(|| format!("process {} does not end", self.pid))?;
        let status = linux::process::wait(self.pidfd.as_fd(), false).context("wait for init")?;
        status.with_context(|| format!("process {} has not ended", self.pid))
    }
}

/// Creates the process that builds the root file system; the child runs `init::run` and does not return. In a pid
/// namespace that exists, that child is not the container's process: [`spawn_inside`] creates that one.
///
/// # Errors
/// The kernel refuses the namespaces, the cgroup or another process.
pub(crate) fn spawn(plan: &ContainerPlan, opened: &mut Opened, cgroup: Option<BorrowedFd<'_>>) -> Result<Init> {
    let namespaces = &plan.namespaces;
    let part = || if namespaces.pid.is_some() { Part::Root } else { Part::Whole };
    // a user namespace has to be joined before the clone, because it has to own the new namespaces; and a process in a
    // new user namespace may not join others any more
    if namespaces.user.is_some() && namespaces.clone_flags != 0 || namespaces.joined_before_clone() {
        let init = via_helper(plan, opened, None, |opened, _| help(plan, opened, cgroup), |_| part())?;
        init.send_go()?;
        return Ok(init);
    }
    let (ours, theirs) = Channel::pair().context("socket pair")?;
    // with the kernel's mounts init itself unshares the mount namespace
    let later = if opened.kernel_mounts.is_some() { libc::CLONE_NEWNS } else { 0 };
    match linux::process::clone3((namespaces.clone_flags & !later) as u64, cgroup).map_err(|err| explain(err, plan))? {
        CloneResult::Child => {
            drop(ours);
            init::run(plan, opened, &part(), theirs)
        }
        CloneResult::Parent { pid, pidfd } => Ok(Init::new(pid, pidfd, ours)),
    }
}

/// Creates a process in the namespaces and the root directory of `opened.target`, and in the cgroup `cgroup`.
///
/// Processes of the container can see the new process from its clone on, and some may trace it. Therefore a helper,
/// which they cannot see because it is in the runtime's pid namespace, first does all that needs the host: it joins the
/// cgroups and all namespaces, changes to the root and closes descriptors of the host. Only the child that it then
/// clones is in the container's pid namespace (SEC-5).
///
/// That child waits for a `Go` before any other step, and for another one with the container's root directory when it has
/// to wait for that.
///
/// # Errors
/// The kernel refuses a namespace, the cgroup or another process.
pub(crate) fn spawn_inside(plan: &ContainerPlan, opened: &mut Opened, cgroup: Option<BorrowedFd<'_>>) -> Result<Init> {
    let clone = |opened: &mut Opened, channel: &Channel| {
        init::inside::enter(plan, opened, channel)?;
        linux::process::clone3(libc::CLONE_PARENT as u64, None).map_err(|err| explain(err, plan))
    };
    let awaits_root = opened.target.as_ref().is_some_and(|target| target.awaits_root);
    via_helper(plan, opened, cgroup, clone, |terminal| Part::Program { terminal, awaits_root })
}

/// Creates a process as [`spawn_inside`] does, in the container's `cgroup`: cloned into its directory `into`, or moved
/// by systemd where only that may do so (`by_systemd`).
///
/// The helper counts in the cgroup too. If it fails and the limit of the cgroup has room for a number of processes that
/// is in `by_pid`, the process is created in croci's own cgroup and moved by its pid. That is slower, because it takes
/// the system-wide lock of thread groups.
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

/// Lets a helper process clone the child with `CLONE_PARENT`, which makes it a child of this process. The child waits
/// for a `Go`, so that the helper's report is the first message, and then runs its `part` of init.
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
                Err(err) => InitMessage::Failed(base::error::to_wire(&err)),
            };
            linux::process::exit(i32::from(theirs.send(&report).is_err()))
        }
        CloneResult::Parent { pid, pidfd: helper } => {
            drop(theirs);
            // waited for first, because its child keeps the channel open when it was killed before its report
            poll_unless_stopped(&mut [PollFd::new(helper.as_fd(), PollFlags::POLLIN)], pid, &helper)?;
            let report = ours.recv_present().context("receive from the helper process");
            let ended = linux::process::wait(helper.as_fd(), true).context("wait for the helper process")?;
            let pidfd = match report? {
                Some(InitMessage::Process(pidfd)) => {
                    linux::handle::claim(pidfd).context("the process of the helper")?
                }
                Some(InitMessage::Failed(text)) => return Err(base::error::from_wire(&text)),
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

/// Joins, in the helper, the namespaces that have to be joined before the clone of new ones, and clones.
fn help(plan: &ContainerPlan, opened: &Opened, cgroup: Option<BorrowedFd<'_>>) -> Result<CloneResult> {
    let namespaces = &plan.namespaces;
    let others = opened.namespaces.joins.iter().filter(|_| namespaces.joined_before_clone());
    for join in opened.namespaces.user.iter().chain(others) {
        linux::process::setns(join.fd.as_fd(), join.flag)
            .with_code(Code::NamespaceJoin, || format!("join the {} namespace", join.name))?;
    }
    let flags = namespaces.clone_flags | libc::CLONE_PARENT;
    linux::process::clone3(flags as u64, cgroup).map_err(|err| explain(err, plan))
}

/// Reads the pid of a pidfd that another process sent.
fn pid_of(opened: &Opened, pidfd: &OwnedFd) -> Result<i32> {
    let name = format!("self/fdinfo/{}", pidfd.as_raw_fd());
    let file = openat(&opened.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open /proc/{name}"))?;
    let text = linux::file::read_record(&file).with_context(|| format!("read /proc/{name}"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    // without pidfds it is the directory of the process
    let pid = pid.or_else(|| linux::handle::pid(pidfd.as_fd()).ok());
    pid.filter(|pid| *pid > 0).code(Code::ContainerKilled, "init has ended at once")
}

/// Adds to a failed clone the limit that it reached, because the errno alone misleads.
fn explain(err: std::io::Error, plan: &ContainerPlan) -> anyhow::Error {
    let (code, hint) = match err.raw_os_error() {
        Some(libc::EAGAIN) => (
            Code::CgroupPidsLimit,
            "create the container's process: a pids limit is reached (pids.max of the cgroup, or RLIMIT_NPROC)",
        ),
        Some(libc::ENOSPC) => (
            Code::NamespaceLimit,
            "create the container's namespaces: a limit of /proc/sys/user/max_*_namespaces is reached",
        ),
        Some(libc::EPERM) if plan.namespaces.clone_flags & libc::CLONE_NEWUSER == 0 => {
            let hint = "create the container's namespaces without privilege: a user namespace is needed";
            (Code::NamespaceDenied, hint)
        }
        _ => (Code::NamespaceDenied, "create the container's process"),
    };
    code.add_to(err.into(), hint)
}
