//! A power cut for tests: a file system that stops at once and keeps only what is on its device.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `FS_IOC_SHUTDOWN`, as the macro `_IOR('X', 125, __u32)` makes it.
const SHUTDOWN: u64 = (2 << 30) | ((size_of::<u32>() as u64) << 16) | ((b'X' as u64) << 8) | 125;

/// `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`: neither data nor the journal is written any more.
const NO_LOG_FLUSH: u32 = 2;

/// Shuts the file system of the open directory down as a power cut does. It can only be unmounted afterwards.
///
/// # Errors
/// `ENOTTY` where the file system cannot, as btrfs before Linux 6.19.
pub fn shut_down(dir: BorrowedFd<'_>) -> io::Result<()> {
    let flags = NO_LOG_FLUSH;
    // SAFETY: the kernel reads a u32, which lives through the call.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), SHUTDOWN as libc::Ioctl, &raw const flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
