//! Outputs that callers get with a new process: its terminal, a file with its pid, a pidfd, the listener of its filter.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::terminal::{Console, Foreground};
use crate::plan::ContainerPlan;

use linux::place::Place;

/// Outputs that the caller of a verb requested.
#[derive(Debug)]
pub(super) struct Outputs<'a> {
    /// `--console-socket`, connected.
    pub console: Option<Console>,
    /// The terminal has the size of `process.consoleSize`.
    pub sized: bool,
    /// `--pid-file`
    pub pid_file: Option<&'a Path>,
    /// `--pidfd-socket`, and the annotation `run.oci.pidfd_receiver`.
    pub pidfd_sockets: Vec<PathBuf>,
}

impl Outputs<'_> {
    /// Hands over the process `pid` and the `master` of its terminal, before the program runs. Returns the master where
    /// no console socket takes it: croci itself is then the other end, and the terminal has got the size of croci's, unless it has a configured one.
    ///
    /// # Errors
    /// A receiver does not accept, or the file cannot be written; there is no terminal for the console socket.
    pub(super) fn hand_over(
        self,
        (pid, pidfd): (i32, BorrowedFd<'_>),
        master: Option<OwnedFd>,
    ) -> Result<Option<Foreground>> {
        let own = match (self.console, master) {
            (Some(console), master) => {
                let master = master.context("--console-socket: the process has sent no terminal")?;
                console.send(master.as_fd())?;
                None
            }
            (None, master) => master.map(|master| Foreground::new(master, self.sized)),
        };
        if let Some(path) = self.pid_file {
            write_pid_file(path, pid)?;
        }
        self.pidfd_sockets.iter().try_for_each(|path| send_pidfd(path, pidfd))?;
        Ok(own)
    }
}

/// Sends the listener of the filter of process `of` to its agent, with the container's state `status` and its init
/// `pid`.
///
/// # Errors
/// The agent does not accept or read.
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

/// Writes the pid as digits and nothing else; the file appears complete or not at all (CL-6).
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let written = Place::find(path).and_then(|place| place.renew(pid.to_string().as_bytes(), 0o644));
    written.with_context(|| format!("--pid-file {path:?}"))
}

/// Time for the receiver of a pidfd to accept the connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a pidfd over the socket at `path` (CL-12).
fn send_pidfd(path: &Path, pidfd: BorrowedFd<'_>) -> Result<()> {
    let context = || format!("hand the pidfd to {path:?}");
    let stream = linux::socket::connect(path, TIMEOUT).with_context(context)?;
    linux::socket::send(stream.as_fd(), b"pidfd", &[pidfd]).with_context(context)
}
