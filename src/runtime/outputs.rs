//! Outputs that callers get with a new process: its terminal, a file with its pid, a pidfd, the listener of its filter.

use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::terminal::{Console, Foreground};
use crate::plan::ContainerPlan;

use base::log::step;
use linux::place::Place;

/// Outputs that the caller of a verb requested, opened before anything is created.
#[derive(Debug)]
pub(super) struct Outputs {
    /// `--console-socket`, connected.
    console: Option<Console>,
    /// The terminal has the size of `process.consoleSize`.
    pub sized: bool,
    /// `--pid-file`: its path, for errors, and its directory.
    pid_file: Option<(PathBuf, Place)>,
    /// `--pidfd-socket`, and the annotation `run.oci.pidfd_receiver`, connected.
    pidfd_sockets: Vec<(PathBuf, UnixStream)>,
}

/// Time for the receiver of a pidfd to accept the connection.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Outputs {
    /// Opens the directory of the pid file, and connects to the receivers of the pidfd (CL-12).
    ///
    /// # Errors
    /// The directory is missing or not to be trusted; a receiver does not listen.
    pub(super) fn open<'a>(
        console: Option<Console>,
        pid_file: Option<&Path>,
        pidfd_sockets: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Outputs> {
        let place = |path: &Path| -> Result<_> {
            let place = Place::find(path).with_context(|| in_pid_file(path))?;
            Ok((path.to_owned(), place))
        };
        let connect = |path: &PathBuf| -> Result<_> {
            let stream = linux::socket::connect(path, TIMEOUT).with_context(|| in_socket(path))?;
            Ok((path.clone(), stream))
        };
        let pid_file = pid_file.map(place).transpose()?;
        let pidfd_sockets = pidfd_sockets.into_iter().map(connect).collect::<Result<_>>()?;
        Ok(Outputs { console, sized: false, pid_file, pidfd_sockets })
    }

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
                let master = master.code(Code::TerminalNone, "--console-socket: the process has sent no terminal")?;
                console.send(master.as_fd())?;
                None
            }
            (None, master) => master.map(|master| Foreground::new(master, self.sized)),
        };
        if let Some((path, place)) = self.pid_file {
            // digits and nothing else; the file appears complete or not at all (CL-6)
            place.renew(pid.to_string().as_bytes(), 0o644).with_context(|| in_pid_file(&path))?;
        }
        for (path, stream) in &self.pidfd_sockets {
            linux::socket::send(stream.as_fd(), b"pidfd", &[pidfd]).with_context(|| in_socket(path))?;
        }
        Ok(own)
    }
}

/// Sends the listener of the filter of process `of` to its agent, with the container's state `status` and its init
/// `pid`.
///
/// # Errors
/// The agent does not accept or read, and a rule of the profile needs it.
pub(super) fn send_listener(
    listener: BorrowedFd<'_>,
    plan: &ContainerPlan,
    status: &str,
    pid: i32,
    of: i32,
) -> Result<()> {
    let filter = plan.seccomp.as_ref().code(Code::SeccompInvalid, "linux.seccomp is not set")?;
    let path = filter.listener_path.as_deref().code(Code::SeccompInvalid, "linux.seccomp.listenerPath is not set")?;
    let state: serde_json::Value = serde_json::from_slice(&plan.hook_state.state(status, Some(pid)))?;
    let sent = super::seccomp_listener::send(path, listener, of, filter.listener_metadata.as_deref(), &state);
    match sent {
        // as in runc, where an agent without a rule that notifies is not asked at all
        Err(err) if !filter.notify => {
            step(|| format!("no rule notifies: the seccomp listener is not sent: {err:#}"));
            Ok(())
        }
        sent => sent.inspect(|()| step(|| "seccomp listener sent to its agent".to_owned())),
    }
}

/// Returns the context of errors of the pid file.
fn in_pid_file(path: &Path) -> String {
    format!("--pid-file {path:?}")
}

/// Returns the context of errors of a receiver of the pidfd.
fn in_socket(path: &Path) -> String {
    format!("hand the pidfd to {path:?}")
}
