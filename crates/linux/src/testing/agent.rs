//! The receiving end of the runtime's messages, and the answers of a seccomp agent.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Receives one message into `buffer`; returns its length and all of its descriptors, at most 16.
///
/// # Errors
/// Those of recvmsg(2); `ENOBUFS` for more descriptors.
pub fn receive_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 16]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just put these descriptors into our table; no other value owns them.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, fds))
}

/// Waits for the next notification of a seccomp listener and lets its system call go on; returns the number of that.
/// [seccomp_unotify(2)](https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html)
///
/// # Errors
/// `ENOENT` where the process that made the call was killed, or no process has the filter any more.
pub fn continue_next(listener: BorrowedFd<'_>) -> io::Result<i32> {
    Ok(crate::seccomp::continue_next(listener)?.number as i32)
}
