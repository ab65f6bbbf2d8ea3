//! The one socket pair between runtime and init, and what is said on it.
//!
//! Init speaks, the runtime answers `Go`; a closed end means that the other side is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

use crate::sys;

/// What init tells.
#[derive(Debug)]
pub enum Event {
    /// Mounts are done, the root has not changed yet; waits for `Go`.
    MountsDone,
    /// The descriptor of a seccomp listener.
    Listener(OwnedFd),
    /// The master of the container's terminal.
    Console(OwnedFd),
    /// All is done but the program; waits for `Go`.
    Ready,
    /// A step failed: the whole message.
    Failed(String),
}

/// A message fits: the text of an error is cut to this.
const LARGEST: usize = 8 * 1024;

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (one, other) = sys::socket::pair()?;
        Ok((Channel(one), Channel(other)))
    }

    /// The descriptor, to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The descriptor itself.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Init: tells `event`.
    ///
    /// # Errors
    /// The runtime is gone.
    pub fn tell(&self, event: &Event) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut fds = Vec::new();
        match event {
            Event::MountsDone => bytes.push(b'M'),
            Event::Ready => bytes.push(b'R'),
            Event::Listener(fd) => {
                bytes.push(b'L');
                fds.push(fd.as_fd());
            }
            Event::Console(fd) => {
                bytes.push(b'C');
                fds.push(fd.as_fd());
            }
            Event::Failed(text) => {
                bytes.push(b'F');
                bytes.extend_from_slice(text.as_bytes());
                bytes.truncate(LARGEST);
            }
        }
        if fds.is_empty() {
            // write(2), as read(2) below: the container's seccomp filter may be in force
            let written = nix::unistd::write(&self.0, &bytes)?;
            // a filter may answer 0 and send nothing: the runtime would wait for ever
            return if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) };
        }
        sys::socket::send(self.fd(), &bytes, &fds)
    }

    /// Init: waits for `Go`.
    ///
    /// # Errors
    /// The runtime is gone: whatever was being made is no longer wanted.
    pub fn wait_go(&self) -> Result<()> {
        let mut byte = [0u8; 1];
        match nix::unistd::read(&self.0, &mut byte) {
            Ok(1) => Ok(()),
            Ok(_) => bail!("the runtime ended"),
            Err(err) => Err(err).context("wait for the runtime"),
        }
    }

    /// Runtime: lets init go on.
    ///
    /// # Errors
    /// Init is gone.
    pub fn go(&self) -> io::Result<()> {
        sys::socket::send(self.fd(), b"G", &[])
    }

    /// Runtime: what init tells next; `None`: it has closed its end, by exec or by ending.
    ///
    /// # Errors
    /// The socket failed.
    pub fn next(&self) -> Result<Option<Event>> {
        let mut buffer = vec![0u8; LARGEST];
        let (length, fd) = match sys::socket::receive(self.fd(), &mut buffer) {
            // init ended with a `Go` unread
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => other.context("listen to init")?,
        };
        let text = || String::from_utf8_lossy(buffer.get(1..length).unwrap_or_default()).into_owned();
        Ok(Some(match (buffer.first().copied(), fd) {
            _ if length == 0 => return Ok(None),
            (Some(b'M'), _) => Event::MountsDone,
            (Some(b'R'), _) => Event::Ready,
            (Some(b'L'), Some(fd)) => Event::Listener(fd),
            (Some(b'C'), Some(fd)) => Event::Console(fd),
            (Some(b'F'), _) => Event::Failed(text()),
            _ => bail!("init said something unknown"),
        }))
    }
}
