//! A verb that runs in a process of its own, because the caller's may have several threads.
//!
//! croci clones, joins namespaces and changes its own affinity and signal mask on the way to a container's process. None of
//! that can be done in a program of several threads, and none of it may be seen in the caller's. So such a verb runs in a
//! fork of the caller, which has one thread, and reports by a socket: first the terminal, if the process has one, then the
//! result. Such a process may also begin before the verb is called for: it prepares what changes nothing, and waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use crate::runtime::options::Descriptor;
use base::error::HasErrno as _;
use base::log::Log;
use linux::signal::SignalSet;
use linux::worker::Fork;

/// Longest report in bytes: the largest message that a socket takes by default is above it.
const MAX_REPORT: usize = 64 * 1024;

/// Time for [`Job::release`] after which a process that waits for it ends.
pub(super) const HELD: Duration = Duration::from_secs(10);

/// Standard streams of a new process; `/dev/null` in the place of one that is not given.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// Standard input, output and error.
    list: [Option<Arc<OwnedFd>>; 3],
}

impl Streams {
    /// Takes standard input, output and error.
    pub fn new(stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Streams {
        Streams { list: [stdin, stdout, stderr].map(|fd| fd.map(Arc::new)) }
    }

    /// Puts the streams into their places in this process.
    fn install(&self) -> anyhow::Result<()> {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).context("open /dev/null")?;
        // above 2 first, because a stream may be at another's place now
        let above = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().context("copy a standard stream");
        let sources = self.list.iter().map(|fd| above(fd.as_ref().map_or(null.as_fd(), |fd| fd.as_fd())));
        let sources = sources.collect::<anyhow::Result<Vec<OwnedFd>>>()?;
        for (number, source) in (0..).zip(&sources) {
            linux::term::replace_stdio(source.as_fd(), number).context("standard streams")?;
        }
        Ok(())
    }
}

/// What a verb reports.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Pid of the process that was created, in the caller's pid namespace; 0 for a verb that creates none.
    pub pid: i32,
    /// The master of the process's terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// Warnings: what was configured and is not so, and what was done otherwise.
    pub warnings: Vec<String>,
}

/// The report, as it is sent.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    result: Result<i32>,
    warnings: Vec<String>,
}

/// A verb at work. Its descriptor is readable when something has happened: then call [`Job::advance`].
///
/// When it has reported, dropping it waits for the end of its process, which takes a fraction of a millisecond.
#[derive(Debug)]
#[must_use]
pub struct Job {
    socket: OwnedFd,
    pid: i32,
    pidfd: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    reported: bool,
}

impl AsFd for Job {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Job {
    /// Starts `work` in a process of its own. It gets a log for warnings and the socket for a terminal.
    pub(super) fn begin(streams: &Streams, work: impl FnOnce(&Log, Descriptor) -> anyhow::Result<i32>) -> Result<Job> {
        Job::fork(|log, socket| {
            streams.install()?;
            work(log, socket)
        })
    }

    /// Starts `work` in a process of its own, without streams. It gets a function that waits for [`Job::release`] and installs
    /// those that come with it.
    pub(super) fn begin_held(
        work: impl FnOnce(&Log, Descriptor, &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<i32>,
    ) -> Result<Job> {
        Job::fork(|log, socket| {
            let own = socket.clone();
            work(log, socket, &|| wait_for_release(own.0.as_fd())?.install())
        })
    }

    /// Starts `work` in a process of its own.
    fn fork(work: impl FnOnce(&Log, Descriptor) -> anyhow::Result<i32>) -> Result<Job> {
        let (ours, theirs) = linux::socket::pair().context("socket pair")?;
        match linux::worker::fork().context("create a process for the verb")? {
            Fork::Parent(pid, pidfd) => Ok(Job { socket: ours, pid, pidfd, terminal: None, reported: false }),
            Fork::Child => {
                drop(ours);
                // because a panic must not go on in the caller's code
                let sent = catch_unwind(AssertUnwindSafe(|| report(theirs, work)));
                linux::process::exit(i32::from(sent.is_err()))
            }
        }
    }

    /// Returns the pid of the process that does the work. A program that reaps all its children gets that one, too.
    pub fn worker(&self) -> i32 {
        self.pid
    }

    /// Lets a process that was only prepared do its work, with these streams.
    ///
    /// # Errors
    /// It has ended, because it was not released within ten seconds: nothing was done.
    pub fn release(&self, streams: &Streams) -> Result<()> {
        let given: Vec<BorrowedFd<'_>> = streams.list.iter().flatten().map(|fd| fd.as_fd()).collect();
        let places = streams.list.each_ref().map(|fd| u8::from(fd.is_some()));
        linux::socket::send(self.socket.as_fd(), &places, &given).context("release the process of the verb")?;
        Ok(())
    }

    /// Gives the process up to the caller, who reaps all its children, and does not wait for the end of it.
    pub fn leave(mut self) {
        self.pidfd = None;
    }

    /// Reads what has come; `None` while the verb is at work. Does not wait.
    ///
    /// # Errors
    /// The verb's own; its process was killed.
    pub fn advance(&mut self) -> Option<Result<Outcome>> {
        self.read(false)
    }

    /// Waits for the end of the verb.
    ///
    /// # Errors
    /// As [`Job::advance`].
    pub fn finish(mut self) -> Result<Outcome> {
        loop {
            if let Some(result) = self.read(true) {
                return result;
            }
        }
    }

    /// Reads the messages that have come, or waits for the next one.
    fn read(&mut self, wait: bool) -> Option<Result<Outcome>> {
        let mut buffer = vec![0; MAX_REPORT];
        loop {
            let receive = if wait { linux::socket::receive } else { linux::socket::receive_present };
            match receive(self.socket.as_fd(), &mut buffer) {
                Err(err) if err.is_errno(&[libc::EAGAIN]) => return None,
                Ok((_, Some(terminal))) => self.terminal = Some(terminal),
                Ok((length, None)) if length > 0 => return Some(self.end(buffer.get(..length).unwrap_or_default())),
                _ => return Some(Err(self.died())),
            }
        }
    }

    /// Returns the report of the process, which ends at once.
    fn end(&mut self, text: &[u8]) -> Result<Outcome> {
        self.reported = true;
        let report: Report = serde_json::from_slice(text).context("the report of the verb's process")?;
        let pid = report.result?;
        Ok(Outcome { pid, terminal: self.terminal.take(), warnings: report.warnings })
    }

    /// Returns the error for a process that ended without a report.
    fn died(&mut self) -> Error {
        self.reap();
        anyhow::anyhow!("the process that did the work was killed").into()
    }

    /// Waits for the end of the process, which has reported and ends at once. No error where another part of the program
    /// has reaped it.
    fn reap(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            let _ = linux::process::wait(pidfd.as_fd(), true);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // one that is at work goes on without its caller; one that waits to be released ends
        if self.reported {
            self.reap();
        }
    }
}

/// Does the work in the new process and sends its report.
fn report(socket: OwnedFd, work: impl FnOnce(&Log, Descriptor) -> anyhow::Result<i32>) {
    let log = Log::memory();
    let socket = Arc::new(socket);
    let result = settle().and_then(|()| work(&log, Descriptor(socket.clone())));
    let report = Report { result: result.map_err(Error::from), warnings: log.take() };
    let bytes = serde_json::to_vec(&report).unwrap_or_default();
    // the caller is gone, or the list of warnings is too long: then it learns the result alone
    if bytes.len() > MAX_REPORT || linux::socket::send(socket.as_fd(), &bytes, &[]).is_err() {
        let short = Report { warnings: Vec::new(), ..report };
        let _ = linux::socket::send(socket.as_fd(), &serde_json::to_vec(&short).unwrap_or_default(), &[]);
    }
}

/// Gives the new process what a program croci would begin with, whatever the caller has changed in its own.
fn settle() -> anyhow::Result<()> {
    linux::signal::set_mask(SignalSet::EMPTY).context("signal mask")?;
    linux::process::default_sigchld();
    linux::signal::set_ignored(libc::SIGPIPE).context("SIGPIPE")?;
    for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        linux::signal::set_default(number).context("signals")?;
    }
    Ok(())
}

/// Waits for [`Job::release`]; returns the streams that came with it.
///
/// # Errors
/// The caller is gone or does not want it any more, or too much time has passed.
fn wait_for_release(socket: BorrowedFd<'_>) -> anyhow::Result<Streams> {
    // another process may hold a copy of the caller's end of the socket
    linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    if !linux::socket::wait_readable(socket, HELD).context("wait to be released")? {
        bail!("the process was not released");
    }
    let mut places = [0; 3];
    let (length, fds) = linux::socket::receive_streams(socket, &mut places).context("wait to be released")?;
    if length != places.len() {
        bail!("the caller is gone");
    }
    linux::process::set_parent_death_signal(0).context("parent death signal")?;
    let mut fds = fds.into_iter().map(Arc::new);
    Ok(Streams { list: places.map(|place| if place == 1 { fds.next() } else { None }) })
}

/// Fails if a program in a container could overwrite this one.
pub(super) fn check_protected() -> anyhow::Result<()> {
    if !linux::binary::is_protected().context("/proc/self/exe")? {
        bail!("the container could overwrite this program: call croci::api::protect_program first in main");
    }
    Ok(())
}
