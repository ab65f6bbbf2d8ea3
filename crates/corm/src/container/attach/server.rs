//! The supervisor's side: a socket among the container's run-time files, and its callers.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Frame, SOCKET};
use crate::container::log::Stream;
use crate::driver::mount_util;

/// Bytes of output that a caller may leave unread before the container's output waits for it.
const MAX_UNREAD: usize = 256 << 10;

/// Maximum number of callers.
const MAX_CALLERS: usize = 64;

/// Time limit for callers to read the last output after the container's end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A caller.
struct Caller {
    socket: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    gone: bool,
}

/// The socket and its callers.
#[derive(Default)]
pub struct Server {
    listener: Option<UnixListener>,
    callers: Vec<Caller>,
}

/// Returns a path of the socket that is short enough for `sun_path`; the directory must stay open.
pub(super) fn short(dir: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(SOCKET)
}

impl Server {
    /// Creates the socket in a container's run-time directory; `first` is a caller that is connected already.
    ///
    /// # Errors
    /// As bind(2).
    pub(in crate::container) fn new(dir: &Path, first: Option<UnixStream>) -> Result<Self> {
        let context = || format!("{:?}", dir.join(SOCKET));
        // of a supervisor that was killed
        let _ = std::fs::remove_file(dir.join(SOCKET));
        let open = mount_util::open_dir(dir)?;
        let listener = UnixListener::bind(short(open.as_fd())).with_context(context)?;
        listener.set_nonblocking(true).with_context(context)?;
        let mut server = Self { listener: Some(listener), callers: Vec::new() };
        if let Some(socket) = first {
            socket.set_nonblocking(true).context("the caller's socket")?;
            server.add(socket);
        }
        Ok(server)
    }

    fn add(&mut self, socket: UnixStream) {
        self.callers.push(Caller { socket, received: Vec::new(), unsent: Vec::new(), gone: false });
    }

    /// Adds what to wait for; `input` tells whether the container takes input now.
    pub(in crate::container) fn watch<'a>(&'a self, set: &mut Vec<PollFd<'a>>, input: bool) {
        let listener = self.listener.as_ref().filter(|_| self.callers.len() < MAX_CALLERS);
        set.extend(listener.map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        for caller in &self.callers {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, input);
            flags.set(PollFlags::POLLOUT, !caller.unsent.is_empty());
            set.push(PollFd::new(caller.socket.as_fd(), flags));
        }
    }

    /// Returns whether output must wait, because a caller does not read.
    pub(in crate::container) fn is_full(&self) -> bool {
        self.callers.iter().any(|caller| caller.unsent.len() > MAX_UNREAD)
    }

    /// Sends output to every caller.
    pub(in crate::container) fn send(&mut self, stream: Stream, bytes: &[u8]) {
        if self.callers.is_empty() {
            return;
        }
        let frame = match stream {
            Stream::Out => Frame::Out(bytes.to_vec()),
            Stream::Err => Frame::Err(bytes.to_vec()),
        };
        self.callers.iter_mut().for_each(|caller| frame.write(&mut caller.unsent));
    }

    /// Accepts callers, sends what they take, and returns the next frame of one when the container takes input.
    pub(in crate::container) fn serve(&mut self, input: bool) -> Option<Frame> {
        if self.callers.len() < MAX_CALLERS
            && let Some(Ok((socket, _))) = self.listener.as_ref().map(UnixListener::accept)
            && socket.set_nonblocking(true).is_ok()
        {
            self.add(socket);
        }
        let mut found = None;
        for caller in &mut self.callers {
            caller.flush();
            if input && found.is_none() {
                found = caller.receive();
            }
        }
        self.callers.retain(|caller| !caller.gone);
        found
    }

    /// Sends the exit status, and waits a limited time until the callers have read everything.
    pub(in crate::container) fn finish(&mut self, status: i32) {
        self.listener = None;
        self.callers.iter_mut().for_each(|caller| Frame::Exit(status).write(&mut caller.unsent));
        let end = Instant::now() + END_TIMEOUT;
        loop {
            self.callers.iter_mut().for_each(Caller::flush);
            self.callers.retain(|caller| !caller.gone && !caller.unsent.is_empty());
            let left = end.saturating_duration_since(Instant::now());
            if self.callers.is_empty() || left.is_zero() {
                return;
            }
            let mut set: Vec<PollFd<'_>> =
                self.callers.iter().map(|caller| PollFd::new(caller.socket.as_fd(), PollFlags::POLLOUT)).collect();
            let _ = poll(&mut set, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
    }
}

impl Caller {
    /// Sends as much as the socket takes.
    fn flush(&mut self) {
        while !self.unsent.is_empty() && !self.gone {
            match self.socket.write(&self.unsent) {
                Ok(0) => self.gone = true,
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }

    /// Returns the next frame; a caller that sends something else is dropped.
    fn receive(&mut self) -> Option<Frame> {
        loop {
            match Frame::take(&mut self.received) {
                Ok(None) => {}
                Ok(frame) => return frame,
                Err(_) => {
                    self.gone = true;
                    return None;
                }
            }
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => self.gone = true,
                Ok(got) => {
                    self.received.extend_from_slice(bytes.get(..got).unwrap_or_default());
                    continue;
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => self.gone = true,
            }
            return None;
        }
    }
}
