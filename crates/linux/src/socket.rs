//! Unix sockets: the pair between runtime and init, connections to a caller's socket, passing of descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::place;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Creates a connected pair of SOCK_SEQPACKET, both ends close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one message with the descriptors `fds`.
///
/// # Errors
/// `EPIPE`: the other end is closed (no SIGPIPE is raised).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Connects to the stream socket at `path`, opened by [`place::open_socket`]. Neither the connect nor a later send
/// waits longer than `timeout`.
///
/// # Errors
/// `ECONNREFUSED`: no process listens; `EAGAIN`: the listener's backlog stayed full; as [`place::open_socket`].
pub fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
    use nix::sys::time::TimeVal;
    let found = place::open_socket(path)?;
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // SO_SNDTIMEO limits connect(2) too
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(timeout.as_secs() as i64, 0))?;
    let address = UnixAddr::new(format!("/proc/self/fd/{}", found.as_raw_fd()).as_str())?;
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => {
                let text = format!("the listener did not accept within {} s", timeout.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            other => {
                other?;
                return Ok(UnixStream::from(fd));
            }
        }
    }
}

/// Waits until `socket` is readable or hung up; returns `false` after `timeout`.
///
/// # Errors
/// As poll(2).
pub fn wait_readable(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let mut set = [PollFd::new(socket, PollFlags::POLLIN)];
        match poll(&mut set, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// Receives one message into `buffer`; returns its length (0 = the other end is closed) and at most one descriptor.
///
/// # Errors
/// `ECONNRESET`: the other end was closed with unread messages.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    one(receive_with::<1>(socket, buffer, MsgFlags::MSG_CMSG_CLOEXEC)?)
}

/// As [`receive`], but does not wait for a message.
///
/// # Errors
/// As [`receive`]; `EAGAIN`: there is no message.
pub fn receive_present(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    one(receive_with::<1>(socket, buffer, MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT)?)
}

/// As [`receive`], with up to three descriptors: the standard streams of a process.
///
/// # Errors
/// As [`receive`].
pub fn receive_streams(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    receive_with::<3>(socket, buffer, MsgFlags::MSG_CMSG_CLOEXEC)
}

/// Returns what came with the last of the descriptors.
fn one((length, mut fds): (usize, Vec<OwnedFd>)) -> io::Result<(usize, Option<OwnedFd>)> {
    Ok((length, fds.pop()))
}

/// Receives one message with up to `N` descriptors.
fn receive_with<const N: usize>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; N]);
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let received = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        let mut fds = Vec::new();
        if let Ok(messages) = received.cmsgs() {
            for message in messages {
                if let ControlMessageOwned::ScmRights(raws) = message {
                    for raw in raws {
                        // SAFETY: the kernel has just put this descriptor into our table; nothing else knows it.
                        fds.push(unsafe { OwnedFd::from_raw_fd(raw) });
                    }
                }
            }
        }
        return Ok((received.bytes, fds));
    }
}
