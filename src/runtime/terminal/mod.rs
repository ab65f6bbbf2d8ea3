//! The runtime's side of a container's streams: sending the pty master to a console socket, or relaying in the
//! foreground.
//!
//! The child opens the pty, in the container's devpts: `init::console`.

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

/// The socket of `--console-socket`, connected before anything is created: a caller that does not listen is noticed
/// first.
#[derive(Debug)]
pub(crate) struct Console(UnixStream);

/// Time limit for connect(2) and send(2), because another process may fill the socket's backlog.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Console {
    /// Connects to the caller's socket.
    ///
    /// # Errors
    /// As connect(2): no process listens on the socket.
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        let stream = linux::socket::connect(path, TIMEOUT);
        stream.with_context(|| format!("--console-socket {path:?}")).map(Self)
    }

    /// Sends the pty master in one message, with a text of 1 to 4095 bytes because callers read at most that.
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

/// Waits until the process ends, forwards signals, and with `master` relays between the caller's terminal and the pty.
/// Returns its exit status, or 128 + the signal that killed it.
///
/// The signals remain blocked on return, because they must not interrupt the caller's cleanup. The caller must set the
/// default action of SIGCHLD before it creates the process.
///
/// # Errors
/// As waitid(2) and poll(2): another process has reaped the child.
pub(crate) fn wait_relaying(pid: i32, pidfd: &OwnedFd, master: Option<OwnedFd>) -> Result<i32> {
    signal::set_mask(foreground::signals()).context("signal mask")?;
    match master {
        None => wait(pid, pidfd.as_fd()),
        Some(master) => Relay::new(pid, pidfd.as_fd(), master)?.run(),
    }
}

/// Copies the window size of the caller's terminal to the pty; before the program starts, because it may read it only
/// once.
pub(crate) fn adopt_size(master: BorrowedFd<'_>) {
    if let Some(caller) = (0..=2).find_map(term::stdio_terminal) {
        term::copy_size(caller, master);
    }
}

/// Forwards signals and notify messages until the program is ready or has ended; to be called before [`wait_relaying`].
///
/// # Errors
/// As [`Notify::forward`].
pub(crate) fn wait_until_ready(pidfd: &OwnedFd, notify: &mut Notify) -> Result<()> {
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
        // also after the process has ended, because it may have sent READY=1 before
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

/// Waits for the process without a terminal: by rt_sigtimedwait(2) alone, because there is nothing to poll.
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

/// Reaps every child that has ended, also orphans of the container; returns the status of `pid` if that was one of
/// them.
fn reap(pid: i32) -> Result<Option<i32>> {
    loop {
        match signal::reap() {
            Ok(Some((ended, status))) if ended == pid => return Ok(Some(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(err) if err.raw_os_error() == Some(libc::ECHILD) => {
                bail!("the exit status of process {pid} is lost: another thread or process has reaped it")
            }
            Err(err) => return Err(err).context("wait for the process"),
        }
    }
}

/// Forwards a signal. Errors are ignored, because the process may have just ended.
fn forward(pidfd: BorrowedFd<'_>, number: i32) {
    let _ = linux::process::pidfd_send_signal(pidfd, number);
}

#[cfg(test)]
mod tests;
