//! The clone: one `clone3` for all that it can do, with the detours that some namespaces need.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::channel::Channel;
use crate::init;
use crate::plan::ContainerPlan;
use crate::sys;
use crate::sys::process::{Cloned, Ended};

/// A child that is on its way to becoming the container's process.
#[derive(Debug)]
pub struct Init {
    /// Its pid as croci sees it.
    pub pid: i32,
    /// Becomes readable when it has ended.
    pub pidfd: OwnedFd,
    /// The talk with it.
    pub channel: Channel,
}

impl Init {
    /// Kills it and waits until it is gone; nothing of it stays.
    pub fn abort(&self) {
        let _ = sys::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = self.wait();
    }

    /// Lets it go on from where it waits.
    ///
    /// # Errors
    /// It has ended meanwhile: told by how, not by the broken pipe that shows it.
    pub fn let_go(&self) -> Result<()> {
        match self.channel.go() {
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
    pub fn wait(&self) -> Result<Ended> {
        sys::process::wait(self.pidfd.as_fd(), true)?.context("init has not ended")
    }
}

/// Makes the child; it runs `init::run` and never comes back here.
///
/// # Errors
/// The kernel refuses the namespaces, the cgroup or another process.
pub fn spawn(plan: &ContainerPlan, cgroup: Option<BorrowedFd<'_>>) -> Result<Init> {
    let (ours, theirs) = Channel::pair().context("socket pair")?;
    let spaces = &plan.namespaces;
    // new namespaces must belong to a user namespace that is joined: it has to be entered before the clone
    if spaces.user.is_some() && (spaces.clone_flags != 0 || spaces.pid.is_some()) {
        return through_helper(plan, cgroup, ours, theirs);
    }
    let own = match enter_pid_namespace(plan)? {
        Entered::No => None,
        Entered::From(own) => Some(own),
        Entered::Refused => return through_helper(plan, cgroup, ours, theirs),
    };
    let seen = is_seen_at_once(plan);
    if seen {
        sys::process::set_dumpable(false).context("set non-dumpable")?;
    }
    let cloned = match sys::process::clone3(spaces.clone_flags as u64, cgroup) {
        Ok(Cloned::Child) => {
            drop(ours);
            close_foreign(plan, &theirs);
            init::run(plan, theirs)
        }
        Ok(Cloned::Parent { pid, pidfd }) => Ok(Init { pid, pidfd, channel: ours }),
        Err(err) => Err(explain(err, plan)),
    };
    if seen {
        sys::process::set_dumpable(true).context("set dumpable")?;
    }
    // before any other child is made: hooks belong to the host's pid namespace
    let restored = own.map_or(Ok(()), |own| sys::process::setns(own.as_fd(), libc::CLONE_NEWPID));
    let init = cloned?;
    if let Err(err) = restored {
        init.abort();
        return Err(err).context("return to the own pid namespace");
    }
    Ok(init)
}

/// Processes of the container see the child from its first moment on (SEC-5, SEC-6): it must be born non-dumpable.
fn is_seen_at_once(plan: &ContainerPlan) -> bool {
    plan.target.is_some() || plan.namespaces.pid.is_some()
}

/// Among processes of the container, which may be allowed to trace: what only the runtime needs (state, log, sockets) is
/// closed at once (SEC-5).
fn close_foreign(plan: &ContainerPlan, channel: &Channel) {
    let Some((target, _)) = &plan.target else { return };
    let mut keep = vec![channel.fd().as_raw_fd(), plan.proc_dir.as_raw_fd(), target.as_raw_fd()];
    keep.extend(plan.cgroup_join.borrow().iter().map(|fd| fd.as_raw_fd()));
    keep.extend(0..3 + plan.preserve_fds as i32);
    sys::process::close_all_but(keep);
}

/// Whether children of this process will be in the pid namespace of the plan.
enum Entered {
    /// There is none to enter.
    No,
    /// They will; this is the one to return to.
    From(OwnedFd),
    /// It can be entered, or left, only by another process: without privilege over the container's or over our own.
    Refused,
}

fn enter_pid_namespace(plan: &ContainerPlan) -> Result<Entered> {
    let wanted = match (&plan.target, &plan.namespaces.pid) {
        (Some((pidfd, flags)), _) if flags & libc::CLONE_NEWPID != 0 => pidfd,
        (None, Some(join)) => &join.fd,
        _ => return Ok(Entered::No),
    };
    let own = openat(&plan.proc_dir, "self/ns/pid", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .context("own pid namespace")?;
    // root of a user namespace could not come back: ours is not its own
    let tried =
        [own.as_fd(), wanted.as_fd()].into_iter().try_for_each(|fd| sys::process::setns(fd, libc::CLONE_NEWPID));
    match tried {
        Ok(()) => Ok(Entered::From(own)),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Ok(Entered::Refused),
        Err(err) => Err(err).context("join the pid namespace"),
    }
}

/// A helper process enters the user (and pid) namespace and makes the child as its sibling, that is, as ours.
fn through_helper(
    plan: &ContainerPlan,
    cgroup: Option<BorrowedFd<'_>>,
    ours: Channel,
    theirs: Channel,
) -> Result<Init> {
    let (report, reporter) = sys::socket::pair().context("socket pair")?;
    match sys::process::clone3(0, None).context("make the helper process")? {
        Cloned::Child => {
            drop(ours);
            let failed = match help(plan, cgroup) {
                Ok(Cloned::Child) => {
                    close_foreign(plan, &theirs);
                    init::run(plan, theirs)
                }
                Ok(Cloned::Parent { pidfd, .. }) => {
                    let _ = sys::socket::send(reporter.as_fd(), b"P", &[pidfd.as_fd()]);
                    sys::process::exit_now(0)
                }
                Err(err) => crate::error::describe(&err),
            };
            let _ = sys::socket::send(reporter.as_fd(), failed.as_bytes(), &[]);
            sys::process::exit_now(1)
        }
        Cloned::Parent { pidfd, .. } => {
            drop((theirs, reporter));
            let mut text = vec![0u8; 4096];
            let received = sys::socket::receive(report.as_fd(), &mut text).context("listen to the helper process");
            sys::process::wait(pidfd.as_fd(), true).context("wait for the helper process")?;
            let (length, child) = received?;
            let Some(pidfd) = child else {
                text.truncate(length);
                bail!("{}", String::from_utf8_lossy(&text));
            };
            let pid = pid_of(plan, &pidfd)?;
            Ok(Init { pid, pidfd, channel: ours })
        }
    }
}

fn help(plan: &ContainerPlan, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    if is_seen_at_once(plan) {
        // inherited; it gives this process's own files to the machine's root, so what is to be written comes first
        if let Some(process) = &plan.process {
            init::identity::oom_score(process, plan.proc_dir.as_fd(), "self")?;
        }
        sys::process::set_dumpable(false).context("set non-dumpable")?;
    }
    match &plan.target {
        Some((pidfd, flags)) => {
            let flags = flags & (libc::CLONE_NEWUSER | libc::CLONE_NEWPID);
            sys::process::setns(pidfd.as_fd(), flags).context("join the container's namespaces")?;
        }
        None => {
            for join in plan.namespaces.user.iter().chain(&plan.namespaces.pid) {
                sys::process::setns(join.fd.as_fd(), join.flag)
                    .with_context(|| format!("join the {} namespace", join.name))?;
            }
        }
    }
    let flags = plan.namespaces.clone_flags | libc::CLONE_PARENT;
    sys::process::clone3(flags as u64, cgroup).map_err(|err| explain(err, plan))
}

/// The pid behind a descriptor that another process made.
fn pid_of(plan: &ContainerPlan, pidfd: &OwnedFd) -> Result<i32> {
    let name = format!("self/fdinfo/{}", pidfd.as_raw_fd());
    let file = openat(&plan.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
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
        Some(libc::EBUSY) => "enter the cgroup: its parent, or it, has processes and delegates controllers",
        Some(libc::EPERM) if plan.namespaces.clone_flags & libc::CLONE_NEWUSER == 0 => {
            "make the container's namespaces without privilege: a user namespace is needed"
        }
        _ => "make the container's process",
    };
    anyhow::Error::from(err).context(hint)
}
