//! The runtime's side of a container's streams: handing a terminal over, or attending the process in the foreground.
//!
//! The pty itself is made by the child, in the container's devpts: `init::console`.

mod relay;

use super::notify::Notify;
use anyhow::{Context as _, Result, bail};
use base::foreground;
use linux::signal;
use linux::term;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use relay::Relay;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The socket of `--console-socket`, connected before anything is created: a caller that does not listen is noticed first.
#[derive(Debug)]
pub(crate) struct Console(UnixStream);

/// How long the caller may take to accept a connection or a message: another process may fill the socket's backlog.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Console {
    /// Connects to the caller's socket.
    ///
    /// # Errors
    /// No process listens there.
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        let stream = linux::socket::connect(path, TIMEOUT);
        stream.with_context(|| format!("--console-socket {path:?}")).map(Self)
    }

    /// Sends the master in one message. The caller reads less than 4096 bytes beside it, and must get at least one.
    ///
    /// # Errors
    /// The caller has closed its end.
    pub(crate) fn send(self, master: BorrowedFd<'_>) -> Result<()> {
        let rights = [master.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&rights)];
        let text = [IoSlice::new(b"/dev/ptmx")];
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &text, &control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(nix::errno::Errno::EINTR) => {}
                result => return result.map(drop).context("--console-socket: send the terminal"),
            }
        }
    }
}

/// Stays with the process until it ends: passes signals on, and with `master`, the terminal of the process, what is
/// typed and printed. Returns its exit status, or 128 + the signal that killed it.
///
/// The signals stay blocked: what the caller still has to clear away is not to be interrupted. SIGCHLD must not be
/// ignored since before the process was created.
///
/// # Errors
/// The status cannot be had.
pub(crate) fn wait_relaying(pid: i32, pidfd: &OwnedFd, master: Option<OwnedFd>) -> Result<i32> {
    signal::set_mask(foreground::signals()).context("signal mask")?;
    match master {
        None => wait(pid, pidfd.as_fd()),
        Some(master) => Relay::new(pid, pidfd.as_fd(), master)?.run(),
    }
}

/// Gives the program's terminal the size of the caller's: before the program starts, which looks but once.
pub(crate) fn adopt_size(master: BorrowedFd<'_>) {
    // what croci prints is a program's output, with the program's line ends; the caller's terminal adds its own
    let _ = term::clear_onlcr(master);
    if let Some(caller) = (0..=2).find_map(term::stdio_terminal) {
        term::copy_size(caller, master);
    }
}

/// Passes signals on, and what the program tells of itself, until it is ready or has ended; [`wait_relaying`] comes next.
///
/// # Errors
/// The service manager cannot be told.
pub(crate) fn until_ready(pidfd: &OwnedFd, notify: &mut Notify) -> Result<()> {
    signal::set_mask(foreground::signals()).context("signal mask")?;
    let signals = signal::descriptor(foreground::signals()).context("signalfd")?;
    while let Some(socket) = notify.fd() {
        let watched = [socket, pidfd.as_fd(), signals.as_fd()];
        let mut set = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut set, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.context("poll")?,
        };
        let [_, ended, signalled] = set.map(|entry| entry.any().unwrap_or(false));
        // also when it has ended: its last word may have been that it was ready
        notify.forward()?;
        if ended {
            return Ok(());
        }
        if signalled
            && let Some(number) = signal::read(signals.as_fd()).context("read the signal")?
            && number != libc::SIGCHLD
        {
            forward(pidfd.as_fd(), number);
        }
    }
    Ok(())
}

/// Without a terminal: the fewest calls, nothing to poll.
fn wait(pid: i32, pidfd: BorrowedFd<'_>) -> Result<i32> {
    loop {
        if let Some(status) = reap(pid)? {
            return Ok(status);
        }
        match signal::wait(foreground::signals()) {
            Ok(libc::SIGCHLD) => {}
            Ok(number) => forward(pidfd, number),
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err).context("wait for a signal"),
        }
    }
}

/// Reaps every child that has ended, also orphans of the container that came to us; the status of `pid`, if it is one.
fn reap(pid: i32) -> Result<Option<i32>> {
    loop {
        match signal::reap() {
            Ok(Some((ended, status))) if ended == pid => return Ok(Some(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(err) if err.raw_os_error() == Some(libc::ECHILD) => {
                bail!("the exit status of process {pid} is lost: somebody else has reaped it")
            }
            Err(err) => return Err(err).context("wait for the process"),
        }
    }
}

/// Passes a signal on. That the process has just ended is no error: its status comes next.
fn forward(pidfd: BorrowedFd<'_>, number: i32) {
    let _ = linux::process::pidfd_send_signal(pidfd, number);
}

#[cfg(test)]
mod tests;
