//! Waiting for a process that a container can see, and so can stop: the wait has to end all the same.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollTimeout};

use crate::state::ProcessId;
use crate::state::status;

/// Interval between two reads of the process state while no event arrives.
const INTERVAL: Duration = Duration::from_secs(2);
/// Time that the process may be stopped (`T` or `t` in `/proc/PID/stat`). In a paused container it is in another state.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until one of `set` is ready. Kills the process `pid` with the descriptor `pidfd` when a signal or a tracer
/// stops it, or one of its descendants, for 10 s.
///
/// # Errors
/// The process was killed for that reason; as poll(2).
pub(super) fn poll_unless_stopped(set: &mut [PollFd<'_>], pid: i32, pidfd: &std::os::fd::OwnedFd) -> Result<()> {
    poll_until(set, pid, pidfd, &|| Ok(false))
}

/// As [`poll_unless_stopped`], and also ends when the process has called exec or has ended, because `set` may have no
/// event of either: a file of the state may be another than init's.
///
/// # Errors
/// As [`poll_unless_stopped`].
pub(super) fn poll_until_executed(set: &mut [PollFd<'_>], id: ProcessId, pidfd: &std::os::fd::OwnedFd) -> Result<()> {
    poll_until(set, id.pid, pidfd, &|| Ok(!status::alive(id)?.is_some_and(|stat| stat.before_exec)))
}

/// Waits until one of `set` is ready, or `done` returns true, which is called while no event arrives.
fn poll_until(
    set: &mut [PollFd<'_>],
    pid: i32,
    pidfd: &std::os::fd::OwnedFd,
    done: &dyn Fn() -> Result<bool>,
) -> Result<()> {
    let interval = PollTimeout::try_from(INTERVAL).unwrap_or(PollTimeout::MAX);
    let mut since = None;
    loop {
        match linux::event::poll(set, interval) {
            Err(nix::Error::EINTR) => {}
            Ok(0) => {
                if done()? {
                    return Ok(());
                }
                if !any_is_stopped(pid)? {
                    since = None;
                } else if since.get_or_insert_with(Instant::now).elapsed() >= TIMEOUT {
                    let _ = linux::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
                    bail!(
                        "process {pid}, or a hook that it ran, was stopped before it ran its program, and was killed"
                    );
                }
            }
            other => {
                other.with_context(|| format!("wait for process {pid}"))?;
                return Ok(());
            }
        }
    }
}

/// Returns whether the process or a descendant is stopped. Before the program, the descendants of init are its hooks,
/// which the container can see where they run in its pid namespace.
fn any_is_stopped(pid: i32) -> Result<bool> {
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(pid) = pids.get(next).copied() {
        if status::read_stat(pid)?.is_some_and(|stat| stat.stopped) {
            return Ok(true);
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        pids.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        next += 1;
    }
    Ok(false)
}
