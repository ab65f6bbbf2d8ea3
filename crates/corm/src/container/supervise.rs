//! The supervisor's loop until the program ends: it copies output to the log and, in the foreground, to corm's standard
//! streams, and forwards input and signals to the container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::attach::Frame;
use super::attach::server::Server;
use super::log::{Log, Stream};
use base::foreground;
use base::foreground::RawMode;
use linux::event;
use linux::process;
use linux::process::ExitStatus;
use linux::signal;
use linux::signal::SignalSet;
use linux::term;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// Maximum bytes of one write, which a pipe that polls as writable accepts without blocking (`PIPE_BUF`), because
/// corm's standard output is shared with other processes and stays in blocking mode.
const WRITE_BYTES: usize = 4096;

/// Maximum bytes that a pipe (fs.pipe-max-size) or a terminal holds: later output was written after the container's
/// end, by other processes with a descriptor of it.
const MAX_BUFFERED_BYTES: usize = 2 << 20;

/// Time between two checks of a terminal that no process in the container has open, in milliseconds.
const HANGUP_PAUSE_MS: u16 = 100;

/// A started container: its process and corm's ends of its streams.
#[derive(Debug)]
pub struct Started {
    /// Pid of its first process, in corm's pid namespace.
    pub pid: i32,
    /// Pidfd of that process.
    pub pidfd: OwnedFd,
    /// Its standard output, or the pty master.
    pub output: OwnedFd,
    /// Its standard error; `None` with a terminal.
    pub errors: Option<OwnedFd>,
    /// Its standard input, where corm forwards that; with a terminal another descriptor of the pty master.
    pub input: Option<OwnedFd>,
}

/// An output stream from the container to the log and perhaps to corm's own stream.
struct OutputStream {
    from: Option<OwnedFd>,
    stream: Stream,
    to: Option<OwnedFd>,
    pending: Vec<u8>,
    at: usize,
    /// Whether no process has the other end of the terminal open.
    hung_up: bool,
    terminal: bool,
    /// The error that ended the output of the program or to corm's own stream, unless its reader went away.
    lost: Option<Errno>,
}

impl OutputStream {
    fn new(from: Option<OwnedFd>, stream: Stream, to: Option<OwnedFd>, terminal: bool) -> Result<Self> {
        if let Some(from) = &from {
            let flags = OFlag::from_bits_retain(fcntl(from, FcntlArg::F_GETFL).context("output")?);
            fcntl(from, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).context("output")?;
        }
        Ok(Self { from, stream, to, pending: Vec::new(), at: 0, hung_up: false, terminal, lost: None })
    }

    fn is_pending(&self) -> bool {
        self.at < self.pending.len()
    }

    /// Reads available output; returns the number of bytes, or `None` when there is none.
    fn read(&mut self, log: &mut Option<Log>, attached: &mut Server) -> Option<usize> {
        let from = self.from.as_ref()?;
        self.pending.resize(READ_BYTES, 0);
        self.at = 0;
        let got = loop {
            match nix::unistd::read(from, &mut self.pending) {
                Err(Errno::EINTR) => {}
                other => break other,
            }
        };
        self.pending.truncate(got.unwrap_or(0));
        match got {
            Ok(0) => self.end(),
            Ok(count) => {
                // a full disk stops the log and not the container
                if log.as_mut().is_some_and(|log| log.write(self.stream, &self.pending).is_err()) {
                    *log = None;
                }
                attached.send(self.stream, &self.pending);
                if self.to.is_none() {
                    self.pending.clear();
                }
                return Some(count);
            }
            Err(Errno::EAGAIN) => {}
            // all other ends of the terminal are closed
            Err(Errno::EIO) if self.terminal => self.end(),
            Err(err) => {
                self.lost = Some(err);
                self.end();
            }
        }
        None
    }

    fn end(&mut self) {
        if self.terminal {
            self.hung_up = true;
        } else {
            self.from = None;
        }
    }

    /// Writes pending output as far as possible without blocking.
    fn write(&mut self) {
        while self.is_pending() {
            let Some(to) = &self.to else { break };
            if !ready(to.as_fd(), PollFlags::POLLOUT) {
                return;
            }
            let slice = self.pending.get(self.at..).unwrap_or_default();
            match nix::unistd::write(to, slice.get(..WRITE_BYTES).unwrap_or(slice)) {
                Ok(written) => self.at += written,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(err) => {
                    if err != Errno::EPIPE {
                        self.lost = Some(err);
                    }
                    // the reader is gone: the program gets EPIPE by its next write, as from any pipe
                    self.to = None;
                    if !self.terminal {
                        self.from = None;
                    }
                }
            }
        }
        self.pending.clear();
        self.at = 0;
    }
}

fn ready(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    linux::event::poll(&mut [PollFd::new(fd, what)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Input from corm's standard input to the container.
struct InputStream {
    from: Option<BorrowedFd<'static>>,
    to: Option<OwnedFd>,
    pending: Vec<u8>,
    terminal: bool,
    /// The error that ended the input, unless corm's own terminal hung up.
    lost: Option<Errno>,
}

impl InputStream {
    fn read(&mut self) {
        let Some(from) = self.from else { return };
        self.pending.resize(WRITE_BYTES, 0);
        let got = nix::unistd::read(from, &mut self.pending);
        self.pending.truncate(got.unwrap_or(0));
        match got {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(err) => {
                let hung_up = err == Errno::EIO && nix::unistd::isatty(from).unwrap_or(false);
                self.lost = Some(err).filter(|_| !hung_up);
                self.end();
            }
            Ok(0) => self.end(),
            Ok(_) => {}
        }
    }

    /// Ends the input: closes the pipe, or sends the terminal's VEOF character.
    fn end(&mut self) {
        let was_terminal = self.from.take().is_some_and(|from| nix::unistd::isatty(from).unwrap_or(false));
        match &self.to {
            Some(to) if self.terminal => {
                if let Some(end) = term::veof_char(to.as_fd()).filter(|_| !was_terminal) {
                    self.pending.push(end);
                }
            }
            _ => self.to = None,
        }
    }

    fn write(&mut self) {
        let Some(to) = &self.to else {
            self.pending.clear();
            return;
        };
        match nix::unistd::write(to, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.pending.clear();
                if !self.terminal {
                    (self.from, self.to) = (None, None);
                }
            }
        }
    }
}

/// The end of a container's program.
#[derive(Debug)]
pub struct Ended {
    /// Exit status as in a shell: the status, or 128 + the signal.
    pub status: i32,
    /// The number of the signal that killed it.
    pub signal: Option<i32>,
    /// Whether all output was written to corm's own streams, or their readers went away, and all input was read.
    pub streams: Result<()>,
}

/// Prepares to supervise a container. With `foreground` corm's own streams are connected. Done before the start is
/// reported, because a container without a supervisor ends.
///
/// The caller has blocked signals since before the start of the container. They stay blocked, because the cleanup must
/// not be interrupted.
///
/// # Errors
/// No descriptors, no memory.
pub fn supervise(started: Started, log: Log, attached: Server, foreground: bool) -> Result<Supervisor> {
    let signals = signal::descriptor(foreground::signals()).context("signalfd")?;
    let Started { pid, pidfd, output, errors, input } = started;
    let terminal = errors.is_none();
    let own = |number| match term::stdio(number).filter(|_| foreground) {
        Some(fd) => foreground::own_output(fd).map(Some),
        None => Ok(None),
    };
    let mut keyboard = None;
    if terminal && foreground {
        if let Some(caller) = (0..=2).find_map(term::stdio_terminal) {
            term::copy_size(caller, output.as_fd());
        }
        keyboard = input.as_ref().and_then(|_| term::stdio_terminal(0)).and_then(RawMode::new);
    }
    if let Some(input) = &input {
        let flags = OFlag::from_bits_retain(fcntl(input, FcntlArg::F_GETFL).context("input")?);
        fcntl(input, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).context("input")?;
    }
    let from = input.as_ref().and_then(|_| term::stdio(0)).filter(|_| foreground);
    Ok(Supervisor {
        pid,
        signals,
        pidfd,
        outputs: [
            OutputStream::new(Some(output), Stream::Out, own(1).context("standard output")?, terminal)?,
            OutputStream::new(errors, Stream::Err, own(2).context("standard error")?, false)?,
        ],
        typed: InputStream { from, to: input, pending: Vec::new(), terminal, lost: None },
        log: Some(log),
        attached,
        keyboard,
        foreground,
        stop: None,
    })
}

/// A started container with what its supervision needs.
pub struct Supervisor {
    pid: i32,
    signals: OwnedFd,
    pidfd: OwnedFd,
    outputs: [OutputStream; 2],
    typed: InputStream,
    log: Option<Log>,
    attached: Server,
    keyboard: Option<RawMode>,
    foreground: bool,
    /// Readable once the container is to be killed; taken when it was.
    stop: Option<OwnedFd>,
}

impl Supervisor {
    /// Returns the pid of the container's first process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends the output of the container to a pipe, and kills the container when `stop` is readable; no signal is forwarded.
    ///
    /// # Errors
    /// No descriptors.
    pub fn pipe_to(&mut self, to: &OwnedFd, stop: BorrowedFd<'_>) -> Result<()> {
        for output in &mut self.outputs {
            output.to = Some(to.try_clone().context("pipe")?);
        }
        self.signals = signal::descriptor(SignalSet::EMPTY).context("signalfd")?;
        self.stop = Some(stop.try_clone_to_owned().context("the end of a build")?);
        Ok(())
    }

    /// Supervises the container to its end.
    ///
    /// # Errors
    /// The end cannot be waited for.
    pub fn run(mut self) -> Result<Ended> {
        let ended = loop {
            if let Some(ended) = self.step()? {
                break ended;
            }
        };
        self.drain();
        // the caller's terminal mode is restored before further messages
        self.keyboard = None;
        self.attached.finish(ended.status());
        let [out, errors] = &self.outputs;
        let lost = [("output", out.lost), ("error", errors.lost), ("input", self.typed.lost)];
        let lost = lost.into_iter().find_map(|(name, lost)| Some((name, lost?)));
        let streams = lost.map_or(Ok(()), |(name, err)| Err(err).with_context(|| format!("standard {name}")));
        let signal = match ended {
            ExitStatus::Killed(signal) => Some(signal),
            ExitStatus::Exited(_) => None,
        };
        Ok(Ended { status: ended.status(), signal, streams })
    }

    /// Waits for one event and handles it.
    fn step(&mut self) -> Result<Option<ExitStatus>> {
        let mut set = Vec::with_capacity(8);
        let mut watch = |fd, events| {
            set.push(PollFd::new(fd, events));
            set.len() - 1
        };
        let signals = watch(self.signals.as_fd(), PollFlags::POLLIN);
        let ended = watch(self.pidfd.as_fd(), PollFlags::POLLIN);
        let stop = self.stop.as_ref().map(|stop| watch(stop.as_fd(), PollFlags::POLLIN));
        let mut hung_up = false;
        // only streams that can make progress: poll(2) reports a hang-up whatever is requested
        for output in &self.outputs {
            match (&output.from, &output.to) {
                (_, Some(to)) if output.is_pending() => drop(watch(to.as_fd(), PollFlags::POLLOUT)),
                // the container waits for attached callers that do not read
                (Some(_), _) if self.attached.is_full() => {}
                (Some(from), _) if !output.hung_up => drop(watch(from.as_fd(), PollFlags::POLLIN)),
                _ => hung_up |= output.hung_up,
            }
        }
        match (&self.typed.to, self.typed.from) {
            (Some(to), _) if !self.typed.pending.is_empty() => drop(watch(to.as_fd(), PollFlags::POLLOUT)),
            (Some(_), Some(from)) => drop(watch(from, PollFlags::POLLIN)),
            _ => {}
        }
        self.attached.watch(&mut set, self.typed.pending.is_empty());
        let pause = if hung_up { PollTimeout::from(HANGUP_PAUSE_MS) } else { PollTimeout::NONE };
        match linux::event::poll(&mut set, pause) {
            Err(Errno::EINTR) => return Ok(None),
            // the kernel lacks memory for a moment: the container is not ended for that
            Err(Errno::ENOMEM) => {
                std::thread::sleep(std::time::Duration::from_millis(u64::from(HANGUP_PAUSE_MS)));
                return Ok(None);
            }
            other => drop(other.context("poll")?),
        }
        let is_ready = |at: usize| set.get(at).and_then(PollFd::any).unwrap_or(false);
        let (signals, ended, stop) = (is_ready(signals), is_ready(ended), stop.is_some_and(is_ready));
        if stop {
            self.stop = None;
            drop(process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL));
        }
        for output in &mut self.outputs {
            output.hung_up = false;
            if !output.is_pending() && !self.attached.is_full() {
                output.read(&mut self.log, &mut self.attached);
            }
            output.write();
        }
        self.serve();
        if !self.typed.pending.is_empty() {
            self.typed.write();
        } else if self.typed.to.is_some() && self.typed.from.is_some_and(|from| ready(from, PollFlags::POLLIN)) {
            self.typed.read();
        }
        if signals {
            self.take_signals()?;
        }
        if ended { self.reap() } else { Ok(None) }
    }

    /// Serves attached callers.
    fn serve(&mut self) {
        while let Some(frame) = self.attached.serve(self.typed.pending.is_empty()) {
            match frame {
                Frame::In(data) if self.typed.to.is_some() => self.typed.pending = data,
                Frame::End => self.typed.end(),
                Frame::Signal(number) => drop(process::pidfd_send_signal(self.pidfd.as_fd(), number)),
                Frame::Size(rows, columns) => self.set_size(rows, columns),
                _ => {}
            }
        }
    }

    /// Gives the container's terminal the size of an attached caller's.
    fn set_size(&self, rows: u16, columns: u16) {
        if let [OutputStream { from: Some(master), terminal: true, .. }, _] = &self.outputs {
            let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = term::set_window_size(master.as_fd(), &size);
        }
    }

    fn reap(&self) -> Result<Option<ExitStatus>> {
        process::wait(self.pidfd.as_fd(), false)
            .with_context(|| format!("wait for the container's process {}", self.pid))
    }

    fn take_signals(&mut self) -> Result<()> {
        while let Some(number) = signal::read(self.signals.as_fd()).context("read a signal")? {
            match number {
                libc::SIGCHLD => {}
                libc::SIGWINCH => self.resize(),
                libc::SIGCONT => {
                    if let Some(keyboard) = &self.keyboard {
                        keyboard.enter();
                    }
                    self.resize();
                }
                // SIGHUP of corm's terminal is passed to the program
                number => drop(process::pidfd_send_signal(self.pidfd.as_fd(), number)),
            }
        }
        Ok(())
    }

    fn resize(&self) {
        let [OutputStream { from: Some(master), terminal: true, .. }, _] = &self.outputs else { return };
        if let Some(caller) = (0..=2).find_map(term::stdio_terminal).filter(|_| self.foreground) {
            term::copy_size(caller, master.as_fd());
        }
    }

    /// Copies the remaining output. All processes of the container have ended with the first one, but other processes
    /// may have its streams and write for ever: only the bytes that the streams can hold are read. A signal ends a
    /// blocked copy.
    fn drain(&mut self) {
        let mut left = self.outputs.each_ref().map(|_| MAX_BUFFERED_BYTES);
        loop {
            let mut more = false;
            for (output, left) in self.outputs.iter_mut().zip(&mut left) {
                if output.is_pending() {
                    more = true;
                } else if *left > 0
                    && let Some(read) = output.read(&mut self.log, &mut self.attached)
                {
                    *left = left.saturating_sub(read);
                    more = true;
                }
                output.write();
            }
            let stuck: Vec<BorrowedFd<'_>> = self
                .outputs
                .iter()
                .filter(|output| output.is_pending())
                .filter_map(|output| output.to.as_ref().map(AsFd::as_fd))
                .collect();
            if stuck.is_empty() {
                if more {
                    continue;
                }
                return;
            }
            let mut set: Vec<PollFd<'_>> = stuck.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLOUT)).collect();
            set.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
            match linux::event::poll(&mut set, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            match signal::read(self.signals.as_fd()) {
                Ok(None | Some(libc::SIGCHLD | libc::SIGWINCH | libc::SIGCONT)) => {}
                _ => return,
            }
        }
    }
}

/// Waits for the end of a process that is not corm's child; `false` after the time limit.
///
/// # Errors
/// As pidfd_open(2) and poll(2).
pub fn wait_gone(pid: i32, limit: Option<std::time::Duration>) -> Result<bool> {
    let pidfd = match process::pidfd_open(pid) {
        Err(err) if err.raw_os_error() == Some(libc::ESRCH) => return Ok(true),
        other => other.with_context(|| format!("process {pid}"))?,
    };
    let end = limit.map(|limit| std::time::Instant::now() + limit);
    loop {
        let left = end.map(|end| end.saturating_duration_since(std::time::Instant::now()));
        let timeout = match left {
            None => PollTimeout::NONE,
            Some(left) => PollTimeout::try_from(left.as_millis().min(60_000) as u32).unwrap_or(PollTimeout::MAX),
        };
        match linux::event::poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(err) => return Err(io::Error::from(err)).context("poll"),
        }
    }
}

/// Follows growing files of the directory `path` until the process `writer` has ended; `grown` reads new content.
///
/// # Errors
/// As inotify_add_watch(2).
pub fn follow(path: &std::path::Path, writer: i32, mut grown: impl FnMut() -> Result<()>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let watch = event::watch_writes(&name).with_context(|| format!("watch {path:?}"))?;
    let writer = match process::pidfd_open(writer) {
        Err(err) if err.raw_os_error() == Some(libc::ESRCH) => return grown(),
        other => other.context("the container's supervisor")?,
    };
    loop {
        grown()?;
        let mut set = [PollFd::new(watch.as_fd(), PollFlags::POLLIN), PollFd::new(writer.as_fd(), PollFlags::POLLIN)];
        match linux::event::poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(io::Error::from(err)).context("poll"),
        }
        let [changed, ended] = set.map(|fd| fd.any().unwrap_or(false));
        if changed {
            let mut events = [0; 4096];
            // the events' content is not needed, because `grown` reads the files
            let _ = nix::unistd::read(&watch, &mut events);
        }
        if ended {
            return grown();
        }
    }
}
