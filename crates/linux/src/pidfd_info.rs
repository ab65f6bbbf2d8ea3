//! What a pidfd tells of its process: `PIDFD_GET_INFO`.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::cvt;
use crate::process::ExitStatus;

/// `struct pidfd_info` in its first form, which the kernel takes by the size in the request's number.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`: the exit status, which is there once the process has been reaped. Since Linux 6.15.
const EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` for the first form's 64 bytes.
const PIDFD_GET_INFO: u32 = 0xc040_ff0b;

/// Returns how the process has ended, also one that is no child of this process; `None` before it has been reaped, and
/// on kernels that do not tell.
///
/// # Errors
/// As ioctl(2), but for those by which a kernel does not know the request.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: `info` lives through the call and has the size that is part of the request.
    let done = cvt(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) }.into());
    match done {
        Err(err) if matches!(err.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL | libc::ESRCH)) => return Ok(None),
        done => done?,
    };
    Ok((info.mask & EXIT != 0).then(|| decode(info.exit_code)))
}

/// Converts a status of wait(2).
pub fn decode(status: i32) -> ExitStatus {
    match status & 0x7f {
        0 => ExitStatus::Exited(status >> 8 & 0xff),
        signal => ExitStatus::Killed(signal),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::process::{pidfd_open, wait};
    use std::os::fd::AsFd as _;

    #[test]
    #[allow(clippy::zombie_processes, reason = "the wait of this crate reaps it")]
    fn the_end_of_a_process_is_known_after_it_was_reaped() {
        for (script, want) in [("exit 7", ExitStatus::Exited(7)), ("kill -9 $$", ExitStatus::Killed(9))] {
            let child = std::process::Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
            let pidfd = pidfd_open(child.id() as i32).unwrap();
            assert_eq!(wait(pidfd.as_fd(), true).unwrap(), Some(want));
            // older kernels do not tell
            let told = exit_status(pidfd.as_fd()).unwrap();
            assert!(told.is_none() || told == Some(want), "{told:?}");
        }
        let own = pidfd_open(std::process::id() as i32).unwrap();
        assert_eq!(exit_status(own.as_fd()).unwrap(), None);
    }
}
