//! The order to run the program, and the answer of init.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags};
use nix::sys::stat::Mode;

use super::job_control::poll_unless_stopped;
use super::spawn::Init;
use crate::protocol::InitMessage;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::status;
use crate::state::store::START_FIFO;
use crate::state::store::STATUS_FIFO;
use base::log::step;

/// `start`: releases the init of a created container; returns when its program runs.
///
/// # Errors
/// The program, or a startContainer hook, failed; the message is init's.
pub(crate) fn signal_fifo(entry: &Entry, init: ProcessId) -> Result<()> {
    let Some(pidfd) = status::open_pidfd(init)? else { bail!("container {} exited before it was started", entry.id) };
    let open =
        |name: &str, flags| openat(entry.dir(), name, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty());
    let answer = open(STATUS_FIFO, OFlag::O_RDONLY | OFlag::O_NONBLOCK).context("open the status fifo")?;
    // ENXIO means that init has exited, because init keeps the read end open
    let order = match open(START_FIFO, OFlag::O_WRONLY | OFlag::O_NONBLOCK) {
        Err(nix::Error::ENXIO) => bail!("container {} exited before it was started", entry.id),
        other => other.context("open the start fifo")?,
    };
    File::from(order).write_all(b"S").context("release init")?;
    // exec closes init's end; the program may have ended by then, which is no failure
    let mut set = [PollFd::new(answer.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll_unless_stopped(&mut set, init.pid, &pidfd)?;
    let mut text = String::new();
    let mut answer = File::from(answer);
    match answer.read_to_string(&mut text) {
        Err(err) if err.kind() != std::io::ErrorKind::WouldBlock => return Err(err).context("read init's answer"),
        _ => {}
    }
    if text.is_empty() { Ok(()) } else { bail!("{text}") }
}

/// `run` and `exec`: releases the waiting child; returns when its program runs.
///
/// # Errors
/// As [`signal_fifo`].
pub(crate) fn signal_channel(init: &Init) -> Result<()> {
    step(|| format!("order process {} to run its program", init.pid));
    init.send_go()?;
    poll_unless_stopped(&mut [PollFd::new(init.channel.fd(), PollFlags::POLLIN)], init.pid, &init.pidfd)?;
    match init.channel.recv()? {
        None => {
            step(|| "the program runs".to_owned());
            Ok(())
        }
        Some(InitMessage::Failed(text)) => bail!("{text}"),
        Some(other) => bail!("init: unexpected message {other:?} while waiting for the program"),
    }
}
