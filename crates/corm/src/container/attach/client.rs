//! The caller's side: connects to the supervisor, and copies between it and corm's standard streams.

use base::coded;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::keys::DetachKeys;
use super::server::short;
use super::{Frame, SOCKET};
use crate::container::run_dir::RunDir;
use crate::driver::mount_util;
use base::foreground;
use base::foreground::RawMode;
use linux::signal;
use linux::signal::SignalSet;
use linux::term;

/// Maximum bytes of one read or write, which a pipe that polls as writable accepts without blocking (`PIPE_BUF`).
const BYTES: usize = 4096;

/// Bytes of output to write before more is read.
const MAX_UNWRITTEN: usize = 64 << 10;

/// What a caller wants.
#[derive(Debug)]
pub struct Options {
    /// Forward standard input.
    pub input: bool,
    /// The container has a terminal.
    pub tty: bool,
    /// Print standard output, and standard error.
    pub outputs: [bool; 2],
    /// Forward signals to the container; else they act on corm.
    pub forward_signals: bool,
    /// Keys by which the caller leaves.
    pub keys: DetachKeys,
}

/// How a caller's visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The container ended with this status.
    Ended(i32),
    /// The caller left by the keys.
    Detached,
}

/// Connects to the supervisor of a container.
///
/// # Errors
/// There is none.
fn connect(run: &RunDir, id: &str) -> Result<UnixStream> {
    let dir = run.container_dir(id);
    let open = mount_util::open_dir(&dir)?;
    UnixStream::connect(short(open.as_fd())).with_context(|| format!("{:?}", dir.join(SOCKET)))
}

/// Output that is not written yet, in order; each piece for one stream.
#[derive(Default)]
struct Unwritten {
    pieces: std::collections::VecDeque<(i32, Vec<u8>)>,
    bytes: usize,
}

/// A visit in progress.
struct Visit {
    socket: UnixStream,
    signals: Option<OwnedFd>,
    options: Options,
    received: Vec<u8>,
    unsent: Vec<u8>,
    unwritten: Unwritten,
    outputs: [Option<OwnedFd>; 2],
    input: Option<BorrowedFd<'static>>,
    keyboard: Option<RawMode>,
    status: Option<i32>,
}

/// Connects, and stays attached until the container ends or the caller leaves.
///
/// # Errors
/// No supervisor listens, or it was killed; standard output is closed.
pub fn visit(run: &RunDir, id: &str, options: Options) -> Result<Left> {
    // before the connection, because a signal that comes with it is meant for the program
    block_signals(&options)?;
    stay(connect(run, id)?, options)
}

/// Blocks the signals that are forwarded.
///
/// # Errors
/// As sigprocmask(2).
pub fn block_signals(options: &Options) -> Result<()> {
    if options.forward_signals {
        signal::set_mask(foreground::signals()).context("signal mask")?;
    }
    Ok(())
}

/// Returns a connection for a container that is not started yet: the caller's end, with the size of its terminal sent, and the
/// supervisor's.
///
/// # Errors
/// No descriptors.
pub fn pair(options: &Options) -> Result<(UnixStream, UnixStream)> {
    let (mut own, other) = UnixStream::pair().context("socket pair")?;
    let mut sent = Vec::new();
    size(options).iter().for_each(|frame| frame.write(&mut sent));
    own.write_all(&sent).context("socket pair")?;
    Ok((own, other))
}

/// Stays attached by a connection until the container ends or the caller leaves; the signals are blocked.
///
/// # Errors
/// The supervisor was killed; standard output is closed.
pub fn stay(socket: UnixStream, options: Options) -> Result<Left> {
    if !options.forward_signals {
        // blocked since a container was created for this caller
        signal::set_mask(SignalSet::EMPTY).context("signal mask")?;
    }
    let signals = options.forward_signals.then(|| signal::descriptor(foreground::signals()));
    let signals = signals.transpose().context("signalfd")?;
    socket.set_nonblocking(true).context("socket")?;
    let own = |number: i32, wanted: bool| {
        let own = term::stdio(number).filter(|_| wanted);
        own.map(foreground::own_output).transpose().context("standard streams")
    };
    let [out, err] = options.outputs;
    let input = term::stdio(0).filter(|_| options.input);
    let keyboard = term::stdio_terminal(0).filter(|_| options.input && options.tty).and_then(RawMode::new);
    let mut visit = Visit {
        socket,
        signals,
        received: Vec::new(),
        unsent: Vec::new(),
        unwritten: Unwritten::default(),
        outputs: [own(1, out)?, own(2, err)?],
        input,
        keyboard,
        status: None,
        options,
    };
    visit.send_size();
    visit.run()
}

impl Visit {
    fn run(&mut self) -> Result<Left> {
        loop {
            if let (Some(status), true) = (self.status, self.unwritten.pieces.is_empty()) {
                return Ok(Left::Ended(status));
            }
            self.wait()?;
            self.write_output()?;
            self.send()?;
            if self.status.is_none() && self.unwritten.bytes < MAX_UNWRITTEN {
                self.receive()?;
            }
            if self.unsent.is_empty() && self.read_input()? {
                return Ok(Left::Detached);
            }
            self.take_signals()?;
        }
    }

    /// Waits for one event.
    fn wait(&self) -> Result<()> {
        let mut set = Vec::with_capacity(4);
        if self.status.is_none() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, self.unwritten.bytes < MAX_UNWRITTEN);
            flags.set(PollFlags::POLLOUT, !self.unsent.is_empty());
            set.push(PollFd::new(self.socket.as_fd(), flags));
        }
        if let Some(output) = self.unwritten.pieces.front().and_then(|(number, _)| self.output(*number)) {
            set.push(PollFd::new(output.as_fd(), PollFlags::POLLOUT));
        }
        set.extend(self.signals.iter().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
        let input = self.input.filter(|_| self.unsent.is_empty() && self.status.is_none());
        set.extend(input.map(|input| PollFd::new(input, PollFlags::POLLIN)));
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(err) => Err(io::Error::from(err)).context("poll"),
        }
    }

    fn output(&self, number: i32) -> Option<&OwnedFd> {
        let [out, err] = &self.outputs;
        if number == 1 { out.as_ref() } else { err.as_ref() }
    }

    /// Writes output as far as possible without blocking.
    fn write_output(&mut self) -> Result<()> {
        while let Some((number, mut piece)) = self.unwritten.pieces.pop_front() {
            let written = match self.output(number) {
                // the stream is closed
                None => piece.len(),
                Some(output) if !is_ready(output.as_fd(), PollFlags::POLLOUT) => 0,
                Some(output) => match nix::unistd::write(output, piece.get(..BYTES).unwrap_or(&piece)) {
                    Ok(written) => written,
                    Err(Errno::EAGAIN | Errno::EINTR) => 0,
                    Err(err) => return Err(io::Error::from(err)).context("standard output"),
                },
            };
            self.unwritten.bytes -= written;
            piece.drain(..written);
            if !piece.is_empty() {
                self.unwritten.pieces.push_front((number, piece));
                if written == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        while !self.unsent.is_empty() && self.status.is_none() {
            match self.socket.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // the exit status may be among what was received before
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => self.unsent.clear(),
                Err(err) => return Err(err).context("send to the container's supervisor"),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut bytes = [0; 16 << 10];
        match self.socket.read(&mut bytes) {
            Ok(0) => bail!(coded!(ContainerKilled, "the container's supervisor was killed")),
            Ok(got) => self.received.extend_from_slice(bytes.get(..got).unwrap_or_default()),
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(err) => return Err(err).context("receive from the container's supervisor"),
        }
        while let Some(frame) = Frame::take(&mut self.received).context("the container's supervisor sent")? {
            match frame {
                Frame::Out(data) => self.queue(1, data),
                Frame::Err(data) => self.queue(2, data),
                Frame::Exit(status) => {
                    self.status = Some(status);
                    self.input = None;
                    // the caller's terminal mode is restored before further messages
                    self.keyboard = None;
                    break;
                }
                other => bail!(coded!(ContainerKilled, "the container's supervisor sent {other:?}")),
            }
        }
        Ok(())
    }

    fn queue(&mut self, number: i32, data: Vec<u8>) {
        self.unwritten.bytes += data.len();
        self.unwritten.pieces.push_back((number, data));
    }

    /// Reads input and queues it for the supervisor; returns whether the caller leaves.
    fn read_input(&mut self) -> Result<bool> {
        let Some(input) = self.input.filter(|input| is_ready(*input, PollFlags::POLLIN)) else { return Ok(false) };
        let mut bytes = [0; BYTES];
        let got = match nix::unistd::read(input, &mut bytes) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(err) => return Err(io::Error::from(err)).context("standard input"),
            Ok(got) => got,
        };
        if got == 0 {
            self.input = None;
            Frame::End.write(&mut self.unsent);
            return self.send().map(|()| false);
        }
        let bytes = bytes.get(..got).unwrap_or_default();
        let (text, leaves) =
            if self.keyboard.is_some() { self.options.keys.filter(bytes) } else { (bytes.to_vec(), false) };
        if !text.is_empty() {
            Frame::In(text).write(&mut self.unsent);
            self.send()?;
        }
        Ok(leaves)
    }

    fn take_signals(&mut self) -> Result<()> {
        let Some(signals) = &self.signals else { return Ok(()) };
        let mut resized = false;
        let mut frames = Vec::new();
        while let Some(number) = signal::read(signals.as_fd()).context("read a signal")? {
            match number {
                libc::SIGCHLD => {}
                libc::SIGWINCH => resized = true,
                libc::SIGCONT => {
                    if let Some(keyboard) = &self.keyboard {
                        keyboard.enter();
                    }
                    resized = true;
                }
                number => frames.push(Frame::Signal(number)),
            }
        }
        frames.iter().for_each(|frame| frame.write(&mut self.unsent));
        if resized {
            self.send_size();
        }
        self.send()
    }

    /// Tells the supervisor the size of the caller's terminal.
    fn send_size(&mut self) {
        size(&self.options).iter().for_each(|frame| frame.write(&mut self.unsent));
    }
}

/// Returns the message with the size of the caller's terminal, if the container has one, too.
fn size(options: &Options) -> Option<Frame> {
    let terminal = (0..=2).find_map(term::stdio_terminal).filter(|_| options.tty)?;
    term::window_size(terminal).ok().map(|size| Frame::Size(size.ws_row, size.ws_col))
}

fn is_ready(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    poll(&mut [PollFd::new(fd, what)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
