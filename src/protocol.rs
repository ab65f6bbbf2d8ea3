//! The one socket pair between runtime and init, and what is said on it.
//!
//! Init speaks, the runtime answers `Go`; a closed end means that the other side is gone.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

/// What init tells.
#[derive(Debug)]
pub(crate) enum InitMessage {
    /// Device and inode of the container's namespaces, by the configuration's names for them.
    Namespaces(BTreeMap<String, (u64, u64)>),
    /// Mounts are done, the root has not changed yet; waits for `Go`. With the root directory where another process is
    /// to be created in it.
    MountsDone(Option<OwnedFd>),
    /// The root file system is complete and entered: its directory. Waits for `Go`.
    RootReady(OwnedFd),
    /// The descriptor of a process that a helper has created.
    Process(OwnedFd),
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
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// `Go` is a letter and a pid.
const GO_LENGTH: usize = 5;

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (one, other) = linux::socket::pair()?;
        Ok((Channel(one), Channel(other)))
    }

    /// The descriptor, to poll.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The descriptor itself.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Init: tells `event`.
    ///
    /// # Errors
    /// The runtime is gone.
    pub(crate) fn send(&self, event: &InitMessage) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut fds = Vec::new();
        match event {
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
            InitMessage::RootReady(fd)
            | InitMessage::Process(fd)
            | InitMessage::Listener(fd)
            | InitMessage::Console(fd) => {
                bytes.push(match event {
                    InitMessage::RootReady(_) => b'D',
                    InitMessage::Process(_) => b'P',
                    InitMessage::Listener(_) => b'L',
                    _ => b'C',
                });
                fds.push(fd.as_fd());
            }
            InitMessage::Failed(text) => {
                bytes.push(b'F');
                bytes.extend_from_slice(text.as_bytes());
                bytes.truncate(MAX_MESSAGE_BYTES);
            }
        }
        if fds.is_empty() {
            // write(2), as read(2) below: the container's seccomp filter may be in force
            let written = nix::unistd::write(&self.0, &bytes)?;
            // a filter may answer 0 and send nothing: the runtime would wait for ever
            return if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) };
        }
        linux::socket::send(self.fd(), &bytes, &fds)
    }

    /// Init: waits for `Go`.
    ///
    /// # Errors
    /// The runtime is gone: whatever was being created is no longer wanted.
    pub(crate) fn recv_go(&self) -> Result<()> {
        let mut bytes = [0u8; GO_LENGTH];
        match nix::unistd::read(&self.0, &mut bytes) {
            Ok(1..) => Ok(()),
            Ok(_) => bail!("the runtime ended"),
            Err(err) => Err(err).context("wait for the runtime"),
        }
    }

    /// Init: waits for `Go` and takes what comes with it: a pid, a descriptor. Not for a process under a seccomp filter,
    /// which need not allow recvmsg(2).
    ///
    /// # Errors
    /// The runtime is gone.
    pub(crate) fn recv_go_with(&self) -> Result<(Option<i32>, Option<OwnedFd>)> {
        let mut buffer = [0u8; GO_LENGTH];
        match linux::socket::receive(self.fd(), &mut buffer).context("wait for the runtime")? {
            (0, _) => bail!("the runtime ended"),
            (_, fd) => {
                let [_, pid @ ..] = buffer;
                Ok((Some(i32::from_le_bytes(pid)).filter(|pid| *pid != 0), fd))
            }
        }
    }

    /// Runtime: lets init go on.
    ///
    /// # Errors
    /// Init is gone.
    pub(crate) fn send_go(&self) -> io::Result<()> {
        linux::socket::send(self.fd(), b"G", &[])
    }

    /// Runtime: lets init go on with what [`Channel::recv_go_with`] returns there.
    ///
    /// # Errors
    /// Init is gone.
    pub(crate) fn send_go_with(&self, pid: i32, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let [a, b, c, d] = pid.to_le_bytes();
        linux::socket::send(self.fd(), &[b'G', a, b, c, d], fd.as_slice())
    }

    /// Runtime: what init tells next; `None`: it has closed its end, by exec or by ending.
    ///
    /// # Errors
    /// The socket failed.
    pub(crate) fn recv(&self) -> Result<Option<InitMessage>> {
        let mut buffer = vec![0u8; MAX_MESSAGE_BYTES];
        let (length, fd) = match linux::socket::receive(self.fd(), &mut buffer) {
            // init ended with a `Go` unread
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => other.context("listen to init")?,
        };
        let text = || String::from_utf8_lossy(buffer.get(1..length).unwrap_or_default()).into_owned();
        Ok(Some(match (buffer.first().copied(), fd) {
            _ if length == 0 => return Ok(None),
            (Some(b'M'), root) => InitMessage::MountsDone(root),
            (Some(b'D'), Some(fd)) => InitMessage::RootReady(fd),
            (Some(b'P'), Some(fd)) => InitMessage::Process(fd),
            (Some(b'N'), _) => InitMessage::Namespaces(namespaces(&text())),
            (Some(b'R'), _) => InitMessage::Ready,
            (Some(b'L'), Some(fd)) => InitMessage::Listener(fd),
            (Some(b'C'), Some(fd)) => InitMessage::Console(fd),
            (Some(b'F'), _) => InitMessage::Failed(text()),
            _ => bail!("init said something unknown"),
        }))
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
