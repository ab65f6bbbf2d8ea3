//! The foreground terminal: the caller's tty in raw mode, and a copy loop between it and the master of the container's.

use super::{Foreground, forward, reap};
use anyhow::{Context as _, Result};
use base::foreground;
use base::foreground::RawMode;
use linux::signal;
use linux::term;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::fstat;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Maximum length of one write in bytes: what a pipe that polls as writable takes without blocking (`PIPE_BUF`),
/// because croci's standard output is shared with other processes and stays in blocking mode.
const CHUNK: usize = 4096;

/// Pause after a hang-up of the terminal, which no process in the container has open then. A program may open it again,
/// as an init system does with /dev/console.
const HANGUP_PAUSE_MS: u16 = 100;

/// Bytes that were read and not written yet, at most one chunk.
struct Pending {
    bytes: [u8; CHUNK],
    start: usize,
    end: usize,
}

impl Pending {
    fn new() -> Self {
        Self { bytes: [0; CHUNK], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn fill(&mut self, from: BorrowedFd<'_>) -> nix::Result<usize> {
        let read = nix::unistd::read(from, &mut self.bytes)?;
        (self.start, self.end) = (0, read);
        Ok(read)
    }

    fn put(&mut self, byte: u8) {
        self.bytes[0] = byte;
        (self.start, self.end) = (0, 1);
    }

    fn empty_into(&mut self, to: BorrowedFd<'_>) -> nix::Result<()> {
        let written = nix::unistd::write(to, self.bytes.get(self.start..self.end).unwrap_or_default())?;
        self.start += written;
        Ok(())
    }

    fn clear(&mut self) {
        self.start = self.end;
    }
}

/// Action at the end of the input.
#[derive(PartialEq, Eq)]
enum AtEnd {
    /// Write the terminal's end-of-file character after a pipe or a file, because the program would wait forever.
    WriteEof,
    /// Write nothing after a terminal that hung up, or /dev/null: a program that reads goes on waiting.
    Ignore,
}

pub(super) struct Relay<'a> {
    pid: i32,
    pidfd: BorrowedFd<'a>,
    signals: OwnedFd,
    master: OwnedFd,
    input: Option<BorrowedFd<'a>>,
    at_end: AtEnd,
    output: Option<OwnedFd>,
    /// Terminal of the caller, for its size.
    caller: Option<BorrowedFd<'static>>,
    raw: Option<RawMode>,
    typed: Pending,
    printed: Pending,
    /// Whether no process has the other end open.
    hung_up: bool,
    /// The error that ended the output, unless its reader went away.
    lost: Option<Errno>,
}

impl<'a> Relay<'a> {
    /// Relays between the standard streams and `master`. The signals must be blocked already.
    pub(super) fn new(pid: i32, pidfd: BorrowedFd<'a>, terminal: Foreground) -> Result<Self> {
        let Foreground { master, sized } = terminal;
        let mut relay = Self::between(pid, pidfd, master, term::stdio(0), term::stdio(1))?;
        relay.caller = (0..=2).find_map(term::stdio_terminal);
        relay.raw = term::stdio_terminal(0).and_then(RawMode::keeping_output);
        if !sized {
            relay.resize();
        }
        Ok(relay)
    }

    pub(super) fn between(
        pid: i32,
        pidfd: BorrowedFd<'a>,
        master: OwnedFd,
        input: Option<BorrowedFd<'a>>,
        output: Option<BorrowedFd<'a>>,
    ) -> Result<Self> {
        let flags = OFlag::from_bits_truncate(fcntl(&master, FcntlArg::F_GETFL).context("terminal")?);
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).context("terminal")?;
        Ok(Self {
            pid,
            pidfd,
            signals: signal::descriptor(foreground::signals()).context("signalfd")?,
            master,
            at_end: input.map_or(AtEnd::Ignore, at_end),
            input,
            output: output.map(foreground::own_output).transpose().context("standard output")?,
            caller: None,
            raw: None,
            typed: Pending::new(),
            printed: Pending::new(),
            hung_up: false,
            lost: None,
        })
    }

    /// Copies until the process has ended and all its output is written. Returns its exit status.
    ///
    /// # Errors
    /// As poll(2); output of a process that has succeeded could not be written.
    pub(super) fn run(mut self) -> Result<i32> {
        let status = loop {
            if let Some(status) = self.turn()? {
                break status;
            }
        };
        self.drain();
        match self.lost {
            Some(err) if status == 0 => Err(err).context("standard output"),
            _ => Ok(status),
        }
    }

    /// Waits once, and copies what is ready.
    fn turn(&mut self) -> Result<Option<i32>> {
        let mut for_master = PollFlags::empty();
        for_master.set(PollFlags::POLLIN, self.printed.is_empty());
        for_master.set(PollFlags::POLLOUT, !self.typed.is_empty());
        let reading = self.input.filter(|_| self.typed.is_empty());
        let writing = self.output.as_ref().filter(|_| !self.printed.is_empty());

        let mut set = Vec::with_capacity(5);
        let mut watch = |fd, events| {
            set.push(PollFd::new(fd, events));
            set.len() - 1
        };
        let signals = watch(self.signals.as_fd(), PollFlags::POLLIN);
        let ended = watch(self.pidfd, PollFlags::POLLIN);
        // only descriptors that can be served now, because poll(2) reports a hang-up whatever is requested
        let input = reading.map(|fd| watch(fd, PollFlags::POLLIN));
        let output = writing.map(|fd| watch(fd.as_fd(), PollFlags::POLLOUT));
        let master = (!self.hung_up && !for_master.is_empty()).then(|| watch(self.master.as_fd(), for_master));
        let pause = if self.hung_up { PollTimeout::from(HANGUP_PAUSE_MS) } else { PollTimeout::NONE };
        match linux::event::poll(&mut set, pause) {
            Err(Errno::EINTR) => return Ok(None),
            result => result.context("poll")?,
        };
        let ready = |at: usize| set.get(at).and_then(PollFd::any).unwrap_or(false);
        let (signals, ended) = (ready(signals), ready(ended));
        let (input, output, master) = (input.is_some_and(ready), output.is_some_and(ready), master.is_some_and(ready));

        self.hung_up = false;
        if output {
            self.print();
        }
        if master {
            self.serve_master();
        }
        if input {
            self.read_input();
        }
        if signals {
            self.take_signals()?;
        }
        if ended { reap(self.pid) } else { Ok(None) }
    }

    fn print(&mut self) {
        let Some(output) = &self.output else {
            self.printed.clear();
            return;
        };
        match self.printed.empty_into(output.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(err) => {
                // a reader that went away, as a terminal that hung up, is no error
                self.lost = Some(err).filter(|err| ![Errno::EPIPE, Errno::EIO].contains(err));
                // nothing more is written, which must not block the program
                self.output = None;
                self.printed.clear();
            }
        }
    }

    fn serve_master(&mut self) {
        if !self.typed.is_empty() {
            match self.typed.empty_into(self.master.as_fd()) {
                Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => self.hung_up = true,
            }
        }
        if self.printed.is_empty() {
            match self.printed.fill(self.master.as_fd()) {
                Ok(0) => self.hung_up = true,
                Ok(_) if self.output.is_none() => self.printed.clear(),
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => self.hung_up = true,
            }
        }
    }

    fn read_input(&mut self) {
        let Some(input) = self.input else { return };
        match self.typed.fill(input) {
            Ok(0) => {
                self.input = None;
                if self.at_end == AtEnd::WriteEof
                    && let Some(end) = term::veof_char(self.master.as_fd())
                {
                    self.typed.put(end);
                }
            }
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.input = None,
        }
    }

    fn take_signals(&mut self) -> Result<()> {
        while let Some(number) = signal::read(self.signals.as_fd()).context("read a signal")? {
            match number {
                libc::SIGCHLD => {}
                libc::SIGWINCH => self.resize(),
                libc::SIGCONT => {
                    if let Some(raw) = &self.raw {
                        raw.enter();
                    }
                    self.resize();
                    forward(self.pidfd, number);
                }
                number => forward(self.pidfd, number),
            }
        }
        Ok(())
    }

    /// Sets the size of the container's terminal to that of the caller's; the kernel sends the program SIGWINCH.
    fn resize(&self) {
        if let Some(caller) = self.caller {
            term::copy_size(caller, self.master.as_fd());
        }
    }

    /// Copies the last output of the process, until there is no more, the output fails, or a signal to stop arrives.
    fn drain(&mut self) {
        loop {
            if self.printed.is_empty() {
                match self.printed.fill(self.master.as_fd()) {
                    Ok(read) if read > 0 => {}
                    Err(Errno::EINTR) => continue,
                    // hung up, or kept open by a process that writes nothing now
                    _ => return,
                }
            }
            let Some(output) = &self.output else { return };
            let mut set =
                [PollFd::new(output.as_fd(), PollFlags::POLLOUT), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match linux::event::poll(&mut set, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            let [output, signals] = set.map(|fd| fd.any().unwrap_or(false));
            if output {
                self.print();
            }
            if signals {
                match signal::read(self.signals.as_fd()) {
                    Ok(Some(libc::SIGCHLD | libc::SIGWINCH | libc::SIGCONT)) => {}
                    _ => return,
                }
            }
        }
    }
}

fn at_end(input: BorrowedFd<'_>) -> AtEnd {
    match fstat(input).map(|stat| stat.st_mode & libc::S_IFMT) {
        Ok(libc::S_IFIFO | libc::S_IFREG | libc::S_IFSOCK) => AtEnd::WriteEof,
        _ => AtEnd::Ignore,
    }
}
