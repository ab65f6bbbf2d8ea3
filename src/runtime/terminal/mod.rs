//! The runtime's side of a container's streams: sends the terminal to the caller, or relays it in the foreground.
//!
//! The child creates the pty, in the container's devpts: `init::console`.

mod relay;

use super::notify::Notify;
use super::options::Descriptor;
use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use base::foreground;
use linux::signal;
use linux::term;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use relay::Relay;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Socket of `--console-socket`, connected before anything is created, so that a caller that does not listen is an
/// early error.
#[derive(Debug)]
pub(crate) struct Console(UnixStream);

/// The master of a terminal whose other end croci itself is.
#[derive(Debug)]
pub(crate) struct Foreground {
    /// The pty master.
    master: OwnedFd,
    /// The size is `process.consoleSize`, which the caller's must not replace before the caller resizes its terminal.
    sized: bool,
}

impl Foreground {
    /// Takes the terminal over before the program starts. Without a configured size (`sized`) it gets that of the
    /// caller's terminal, now because many programs read it only once.
    pub(crate) fn new(master: OwnedFd, sized: bool) -> Self {
        // what croci prints is a program's output, with the program's line ends; the caller's terminal adds its own
        let _ = term::clear_onlcr(master.as_fd());
        if let Some(caller) = (0..=2).find_map(term::stdio_terminal).filter(|_| !sized) {
            term::copy_size(caller, master.as_fd());
        }
        Self { master, sized }
    }
}

/// Time for the caller to accept a connection or a message, because another process may fill the socket's backlog.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Console {
    /// Connects to the caller's socket.
    ///
    /// # Errors
    /// No process listens there.
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        let stream = linux::socket::connect(path, TIMEOUT);
        stream.with_code(Code::TerminalListener, || format!("--console-socket {path:?}")).map(Self)
    }

    /// Takes a socket that is connected already.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(crate) fn of(socket: &Descriptor) -> Result<Self> {
        Ok(Self(UnixStream::from(socket.0.try_clone().context("copy the descriptor of the console")?)))
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
                result => return result.map(drop).code(Code::TerminalListener, "--console-socket: send the terminal"),
            }
        }
    }
}

/// Blocks the signals that [`wait_relaying`] forwards, before the program runs, because a signal that arrives between
/// its start and the wait would end croci instead.
///
/// # Errors
/// As sigprocmask(2).
pub(crate) fn block_forwarded() -> Result<()> {
    signal::set_mask(foreground::signals()).context("signal mask").map(drop)
}

/// Waits until the process ends. Forwards signals and, with the pty `master` of the process, input and output. Returns
/// the exit status, or 128 + the signal that killed the process.
///
/// The signals have to be blocked ([`block_forwarded`]), and stay so after the return, because they must not interrupt
/// the caller's cleanup. SIGCHLD must not have been ignored when the process was created.
///
/// # Errors
/// Another process has reaped the process.
pub(crate) fn wait_relaying(pid: i32, pidfd: &OwnedFd, master: Option<Foreground>) -> Result<i32> {
    match master {
        None => wait(pid, pidfd.as_fd()),
        Some(master) => Relay::new(pid, pidfd.as_fd(), master)?.run(),
    }
}

/// Forwards signals, and the program's messages to the service manager, until the program is ready or has ended; to be
/// called before [`wait_relaying`].
///
/// # Errors
/// The service manager does not receive.
pub(crate) fn wait_until_ready(pidfd: &OwnedFd, notify: &mut Notify) -> Result<()> {
    let signals = signal::descriptor(foreground::signals()).context("signalfd")?;
    while let Some(socket) = notify.fd() {
        let watched = [socket, pidfd.as_fd(), signals.as_fd()];
        let mut set = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match linux::event::poll(&mut set, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.context("poll")?,
        };
        let [_, ended, signalled] = set.map(|entry| entry.any().unwrap_or(false));
        // also after the end, because the last message may have been READY=1
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

/// Waits without a terminal, by the fewest system calls.
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

/// Reaps every child that has ended, also orphans of the container, of which croci is the subreaper; returns the status
/// of `pid`, if that has ended.
fn reap(pid: i32) -> Result<Option<i32>> {
    loop {
        match signal::reap() {
            Ok(Some((ended, status))) if ended == pid => return Ok(Some(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(err) if err.raw_os_error() == Some(libc::ECHILD) => {
                bail!(coded!(ContainerBusy, "the exit status of process {pid} is lost: another process has reaped it"))
            }
            Err(err) => return Err(err).context("wait for the process"),
        }
    }
}

/// Forwards a signal, but for SIGWINCH, which is about croci's own terminal and not the program's. Ignores that the process has just ended, because its status is read next.
fn forward(pidfd: BorrowedFd<'_>, number: i32) {
    if number == libc::SIGWINCH {
        return;
    }
    let _ = linux::process::pidfd_send_signal(pidfd, number);
}

#[cfg(test)]
mod tests;
