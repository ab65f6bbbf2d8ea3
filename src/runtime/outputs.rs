//! What callers get with a new process: its pid in a file, a descriptor of it, the listener of its filter.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::spawn::Init;
use crate::plan::ContainerPlan;

use linux::place::Place;

/// Hands the listener to its agent; `of` is the filtered process, `pid` the container's.
pub(super) fn send_listener(
    listener: BorrowedFd<'_>,
    plan: &ContainerPlan,
    status: &str,
    pid: i32,
    of: i32,
) -> Result<()> {
    let filter = plan.seccomp.as_ref().context("linux.seccomp is not set")?;
    let path = filter.listener_path.as_deref().context("linux.seccomp.listenerPath is not set")?;
    let state: serde_json::Value = serde_json::from_slice(&plan.hook_state.state(status, Some(pid)))?;
    super::seccomp_listener::send(path, listener, of, filter.listener_metadata.as_deref(), &state)
}

/// Digits and nothing else, there at once or not at all (CL-6).
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let written = Place::find(path).and_then(|place| place.replace(pid.to_string().as_bytes(), 0o644));
    written.with_context(|| format!("--pid-file {path:?}"))
}

/// How long the receiver of a pidfd may take to accept the connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Hands over a descriptor of the process (CL-12).
pub(super) fn send_pidfd(path: &Path, init: &Init) -> Result<()> {
    let context = || format!("hand the pidfd to {path:?}");
    let stream = linux::socket::connect(path, TIMEOUT).with_context(context)?;
    linux::socket::send(stream.as_fd(), b"pidfd", &[init.pidfd.as_fd()]).with_context(context)
}
