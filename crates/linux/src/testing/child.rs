//! Changes to a child between fork and exec.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::cvt;

/// Runs `act` in the child between fork and exec. It must only make system calls, because a lock that another thread of
/// the parent holds is never released in the child, which would wait for it for ever.
pub fn before_exec(command: &mut Command, act: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: std forks without CLONE_VM, so `act` works on a copy of the memory, in which glibc's fork has left malloc
    // usable; what it captures is a copy too, and is not dropped in the child. A lock held elsewhere is a hang, no more.
    unsafe { command.pre_exec(act) };
}

/// Closes standard streams (0 to 2) of the child.
///
/// # Errors
/// `EINVAL` for another number.
pub fn close_streams(command: &mut Command, numbers: &'static [RawFd]) -> io::Result<()> {
    if !numbers.iter().all(|number| (0..=2).contains(number)) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    before_exec(command, move || {
        for number in numbers {
            // SAFETY: 0 to 2 are not owned by any value, and the child has a table of descriptors of its own.
            unsafe { libc::close(*number) };
        }
        Ok(())
    });
    Ok(())
}

/// Lets the child inherit `given` as the descriptor `number`.
///
/// # Errors
/// `EMFILE` where no number from 100 on is free.
pub fn inherit_as(command: &mut Command, given: OwnedFd, number: RawFd) -> io::Result<()> {
    // above the numbers that tests give, one of which `given` may have by chance
    // SAFETY: the descriptor is open, and the lowest number is passed by value.
    let fd = cvt(unsafe { libc::fcntl(given.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) }.into())?;
    drop(given);
    // SAFETY: the kernel has just created this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    before_exec(command, move || {
        let same = fd.as_raw_fd() == number;
        // SAFETY: `fd` is open. The table of descriptors is the child's own, and no value that owns `number` is dropped in it:
        // what another closure does with such a value reaches this file, until the child runs its program.
        cvt(unsafe { if same { libc::fcntl(number, libc::F_SETFD, 0) } else { libc::dup2(fd.as_raw_fd(), number) } }
            .into())
        .map(drop)
    });
    Ok(())
}
