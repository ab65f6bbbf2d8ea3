//! The socket pair between the runtime and init, and its messages.
//!
//! Init sends an [`InitMessage`], the runtime answers `Go`. End of file means that the peer has ended or called exec.

use base::coded;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// A message from init to the runtime.
#[derive(Debug)]
pub(crate) enum InitMessage {
    /// Device and inode of the container's namespaces; the keys are the namespace types of the configuration.
    Namespaces(BTreeMap<String, (u64, u64)>),
    /// The detached mount of a step of the plan, which the runtime has to ID-map because init may not; init waits for `Go`.
    Idmap(usize, OwnedFd),
    /// The mounts are done and pivot_root(2) is not; init waits for `Go`. Holds an empty directory when the container's
    /// process is another one, which the runtime has to create with that root, because the host's is above the container's.
    MountsDone(Option<OwnedFd>),
    /// The root directory of the complete root file system, which init has entered. Init waits for `Go`.
    RootReady(OwnedFd),
    /// The pidfd of the process that a helper has created.
    Process(OwnedFd),
    /// The notification descriptor of the seccomp filter.
    Listener(OwnedFd),
    /// The pty master of the container's terminal.
    Console(OwnedFd),
    /// Init is about to create this path in the root file system: a mount point, the working directory; init waits for
    /// `Go`.
    MountPoint(PathBuf),
    /// A step took a fallback: a warning for the caller. No answer.
    Warning(String),
    /// Every step before the program is done; init waits for `Go`.
    Ready,
    /// A step failed: the text of the error with its causes.
    Failed(String),
}

impl InitMessage {
    /// Names the message for a debug line; in runc's words where its tests look for them.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            InitMessage::Namespaces(_) => "child process in init(): namespaces entered",
            InitMessage::MountsDone(_) => "mounts done",
            InitMessage::RootReady(_) => "root file system ready",
            InitMessage::Process(_) => "process created",
            InitMessage::Idmap(..) => "a mount needs ID mappings",
            InitMessage::Listener(_) => "seccomp filter loaded, with a listener",
            InitMessage::Console(_) => "terminal opened",
            InitMessage::MountPoint(_) => "a mount point is missing",
            InitMessage::Warning(_) => "warning",
            InitMessage::Ready => "closing the pipe to signal completion: ready for the program",
            InitMessage::Failed(_) => "failed",
        }
    }
}

/// The first byte of [`InitMessage::Listener`], which is its only one.
pub(crate) const LISTENER: u8 = b'L';

/// What `start` writes into the fifo, to release init.
pub(crate) const START: u8 = b'S';

/// What init writes into the fifo just before execve(2), so that `start` can tell a program that has ended already
/// from an init that was killed before. An error text may follow.
pub(crate) const EXECUTING: u8 = b'X';

/// Size of the largest message in bytes; the text of an error is cut to it.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// Largest size of `Go` in bytes: the letter `G`, and after it at most a pid as a little-endian i32 (0: none).
const GO_LENGTH: usize = 5;

/// A function that receives a message and at most one descriptor.
type Receive = fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)>;

/// One end of the socket pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Creates the socket pair: the runtime's end and init's.
    ///
    /// # Errors
    /// As socketpair(2).
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (one, other) = linux::socket::pair()?;
        Ok((Channel(one), Channel(other)))
    }

    /// Borrows the socket, for poll(2).
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Returns the socket.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Init: sends `message`.
    ///
    /// # Errors
    /// The runtime has ended.
    pub(crate) fn send(&self, message: &InitMessage) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut fds = Vec::new();
        match message {
            InitMessage::MountsDone(root) => {
                bytes.push(b'M');
                fds.extend(root.iter().map(AsFd::as_fd));
            }
            InitMessage::Namespaces(all) => {
                bytes.push(b'N');
                for (name, (device, inode)) in all {
                    bytes.extend_from_slice(format!("{name} {device} {inode}\n").as_bytes());
                }
            }
            InitMessage::Ready => bytes.push(b'R'),
            InitMessage::Idmap(step, tree) => {
                bytes.push(b'I');
                bytes.extend_from_slice(step.to_string().as_bytes());
                fds.push(tree.as_fd());
            }
            InitMessage::RootReady(fd)
            | InitMessage::Process(fd)
            | InitMessage::Listener(fd)
            | InitMessage::Console(fd) => {
                bytes.push(match message {
                    InitMessage::RootReady(_) => b'D',
                    InitMessage::Process(_) => b'P',
                    InitMessage::Listener(_) => LISTENER,
                    _ => b'C',
                });
                fds.push(fd.as_fd());
            }
            InitMessage::MountPoint(path) => {
                bytes.push(b'O');
                bytes.extend_from_slice(path.as_os_str().as_bytes());
            }
            InitMessage::Failed(text) | InitMessage::Warning(text) => {
                bytes.push(if matches!(message, InitMessage::Failed(_)) { b'F' } else { b'W' });
                bytes.extend_from_slice(text.as_bytes());
                bytes.truncate(MAX_MESSAGE_BYTES);
            }
        }
        if fds.is_empty() {
            // write(2), as read(2) below, because the container's seccomp filter may be in force
            let written = uninterrupted(|| nix::unistd::write(&self.0, &bytes))?;
            // a filter may return 0 in the kernel's place: then nothing was sent and the runtime would wait for ever
            return if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) };
        }
        linux::socket::send(self.fd(), &bytes, &fds)
    }

    /// Init: waits for `Go`.
    ///
    /// # Errors
    /// The runtime has ended: init has to exit.
    pub(crate) fn recv_go(&self) -> Result<()> {
        match uninterrupted(|| nix::unistd::read(&self.0, &mut [0u8; GO_LENGTH])) {
            Ok(1..) => Ok(()),
            Ok(_) => bail!(coded!(ContainerKilled, "the runtime ended")),
            Err(err) => Err(err).context("wait for the runtime"),
        }
    }

    /// Init: waits for `Go` and returns the pid and the descriptor that were sent with it. Not for use under the
    /// container's seccomp filter, because a filter need not allow recvmsg(2).
    ///
    /// # Errors
    /// The runtime has ended.
    pub(crate) fn recv_go_with(&self) -> Result<(Option<i32>, Option<OwnedFd>)> {
        let mut buffer = [0u8; GO_LENGTH];
        match linux::socket::receive(self.fd(), &mut buffer).context("wait for the runtime")? {
            (0, _) => bail!(coded!(ContainerKilled, "the runtime ended")),
            (_, fd) => {
                let [_, pid @ ..] = buffer;
                Ok((Some(i32::from_le_bytes(pid)).filter(|pid| *pid != 0), fd))
            }
        }
    }

    /// Runtime: sends `Go` with a pid (0: none) and a descriptor; [`Channel::recv_go_with`] returns them in init.
    ///
    /// # Errors
    /// Init has ended.
    pub(crate) fn send_go_with(&self, pid: i32, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let [a, b, c, d] = pid.to_le_bytes();
        linux::socket::send(self.fd(), &[b'G', a, b, c, d], fd.as_slice())
    }

    /// Runtime: tells init that no answer comes; init exits.
    ///
    /// # Errors
    /// As shutdown(2).
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        Ok(nix::sys::socket::shutdown(self.0.as_raw_fd(), nix::sys::socket::Shutdown::Both)?)
    }

    /// Runtime: receives the next message; `None`: init has called exec or has ended.
    ///
    /// # Errors
    /// As recvmsg(2); an unknown message.
    pub(crate) fn recv(&self) -> Result<Option<InitMessage>> {
        self.parse(linux::socket::receive)
    }

    /// Runtime: as [`Channel::recv`], but does not wait; `None` also when there is no message.
    ///
    /// # Errors
    /// As [`Channel::recv`].
    pub(crate) fn recv_present(&self) -> Result<Option<InitMessage>> {
        self.parse(linux::socket::receive_present)
    }

    fn parse(&self, receive: Receive) -> Result<Option<InitMessage>> {
        let mut buffer = vec![0u8; MAX_MESSAGE_BYTES];
        let received = match receive(self.fd(), &mut buffer) {
            // init ended before it had read a `Go`; what it had sent comes after this error
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => receive(self.fd(), &mut buffer),
            received => received,
        };
        let (length, fd) = match received {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            received => received.context("receive from init")?,
        };
        let text = || String::from_utf8_lossy(buffer.get(1..length).unwrap_or_default()).into_owned();
        Ok(Some(match (buffer.first().copied(), fd) {
            _ if length == 0 => return Ok(None),
            (Some(b'M'), root) => InitMessage::MountsDone(root),
            (Some(b'D'), Some(fd)) => InitMessage::RootReady(fd),
            (Some(b'P'), Some(fd)) => InitMessage::Process(fd),
            (Some(b'I'), Some(fd)) => InitMessage::Idmap(text().parse().context("init: unknown mount")?, fd),
            (Some(b'N'), _) => InitMessage::Namespaces(namespaces(&text())),
            (Some(b'R'), _) => InitMessage::Ready,
            (Some(LISTENER), Some(fd)) => InitMessage::Listener(fd),
            (Some(b'C'), Some(fd)) => InitMessage::Console(fd),
            (Some(b'O'), _) => {
                InitMessage::MountPoint(PathBuf::from(OsStr::from_bytes(buffer.get(1..length).unwrap_or_default())))
            }
            (Some(b'W'), _) => InitMessage::Warning(text()),
            (Some(b'F'), _) => InitMessage::Failed(text()),
            _ => bail!("init: unknown message"),
        }))
    }
}

/// Makes a system call, again after each `EINTR`.
///
/// # Errors
/// As the call.
pub(crate) fn uninterrupted<T>(call: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::Error::EINTR) => {}
            other => return other,
        }
    }
}

fn namespaces(text: &str) -> BTreeMap<String, (u64, u64)> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some((name, (number()?, number()?)))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// A process that ends before it has read its `Go` resets the connection; its error is received nevertheless.
    #[test]
    fn the_error_of_a_process_that_has_not_read_go_is_received() {
        for receive in [Channel::recv, Channel::recv_present] {
            let (ours, theirs) = Channel::pair().unwrap();
            theirs.send(&InitMessage::Failed("wait for the runtime: i/o error".to_owned())).unwrap();
            ours.send_go_with(0, None).unwrap();
            drop(theirs);
            let got = receive(&ours).unwrap();
            assert!(matches!(&got, Some(InitMessage::Failed(text)) if text.ends_with("i/o error")), "{got:?}");
            assert!(receive(&ours).unwrap().is_none(), "and then the end of file");
        }
    }
}
