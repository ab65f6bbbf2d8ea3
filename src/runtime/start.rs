//! The order to run the program, and the answer of init.

use base::coded;
use base::error::HasErrno as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::poll::{PollFd, PollFlags};
use nix::sys::stat::{Mode, fstatat};

use super::job_control::{poll_unless_stopped, poll_until_executed};
use super::spawn::Init;
use crate::protocol::EXECUTING;
use crate::protocol::InitMessage;
use crate::protocol::START;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::status;
use crate::state::store::START_FIFO;
use base::log::step;

/// The error for a process that did not come to its program.
const KILLED: &str = "init ended before it ran the program: another process has killed it";

/// `start`: releases the init of a created container; returns when its program runs.
///
/// # Errors
/// The program, or a startContainer hook, failed; the message is init's.
pub(crate) fn signal_fifo(entry: &Entry, init: ProcessId) -> Result<()> {
    let Some(pidfd) = status::open_pidfd(init)? else {
        bail!(coded!(ContainerNotRunning, "container {} exited before it was started", entry.id))
    };
    // first, because ENXIO means that init has exited, because only init has the read end open then
    let order = match open_fifo(entry, OFlag::O_WRONLY) {
        Err(err) if err.is_errno(&[libc::ENXIO]) => {
            bail!(coded!(ContainerNotRunning, "container {} exited before it was started", entry.id))
        }
        order => order?,
    };
    let answer = open_fifo(entry, OFlag::O_RDONLY)?;
    // the write end closes with it, because exec's closing of init's end has to be the last
    File::from(order).write_all(&[START]).context("release init")?;
    // the program may have ended by then, which is no failure
    let mut set = [PollFd::new(answer.as_fd(), PollFlags::empty()), PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll_until_executed(&mut set, init, &pidfd)?;
    let mut text = String::new();
    let mut answer = File::from(answer);
    match answer.read_to_string(&mut text) {
        Err(err) if err.kind() != std::io::ErrorKind::WouldBlock => return Err(err).context("read init's answer"),
        _ => {}
    }
    // the order is still there when init was killed before it read it
    let rest =
        text.strip_prefix(char::from(START)).filter(|rest| rest.is_empty() || rest.starts_with(char::from(EXECUTING)));
    let text = rest.unwrap_or(&text);
    let executing = text.starts_with(char::from(EXECUTING));
    let text = text.strip_prefix(char::from(EXECUTING)).unwrap_or(text);
    if !text.is_empty() {
        return Err(base::error::from_wire(text));
    }
    check_executed(init, executing)
}

/// Checks that init has run its program. Where it is gone, `executing` is whether it was about to.
///
/// # Errors
/// It was killed before.
pub(crate) fn check_executed(init: ProcessId, executing: bool) -> Result<()> {
    let stat = status::read_stat(init.pid)?.filter(|stat| stat.start_time == init.start_time);
    if stat.map_or(executing, |stat| !stat.before_exec) {
        return Ok(());
    }
    bail!(coded!(ContainerKilled, "{KILLED}"))
}

/// As [`check_executed`], for a child that was not waited for, so that its pid is not another's.
///
/// # Errors
/// The child was killed before.
pub(crate) fn check_child_executed(init: &Init) -> Result<()> {
    ensure!(!status::read_stat(init.pid)?.is_some_and(|stat| stat.before_exec), coded!(ContainerKilled, "{KILLED}"));
    Ok(())
}

/// Opens the fifo of the state; never waits for its other end.
fn open_fifo(entry: &Entry, flags: OFlag) -> Result<OwnedFd> {
    let context = || format!("open the fifo {:?}", entry.path.join(START_FIFO));
    let stat = fstatat(entry.dir(), START_FIFO, AtFlags::AT_SYMLINK_NOFOLLOW).with_context(context)?;
    // before the open, which does something to other types of files
    ensure!(stat.st_mode & libc::S_IFMT == libc::S_IFIFO, coded!(ContainerDamaged, "{}: it is no fifo", context()));
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(entry.dir(), START_FIFO, flags, Mode::empty()).with_context(context)
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
        Some(InitMessage::Failed(text)) => Err(base::error::from_wire(&text)),
        Some(other) => bail!("init: unexpected message {other:?} while waiting for the program"),
    }
}
