//! A process of the caller's program with one thread, for work that a program of several threads must not do itself.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};

use super::{cvt, process};

/// The side of a fork.
#[derive(Debug)]
pub enum Fork {
    /// The caller's process, with the pid of the new one and its pidfd, if it had not been reaped yet.
    Parent(i32, Option<OwnedFd>),
    /// The new process: it has one thread, and ends by [`process::exit`].
    Child,
}

/// Forks. The C library keeps its own locks (of the heap and of streams) usable in the child; what another thread of the
/// caller had locked otherwise stays locked there.
///
/// # Errors
/// `EAGAIN`: a limit of processes; `ENOMEM`.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the child has a copy of all memory and one thread. Its callers use no lock that another thread of the program
    // may have held, but those of the C library, which its fork(3) takes before and releases on both sides.
    let pid = cvt(unsafe { libc::fork() }.into())? as i32;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    Ok(Fork::Parent(pid, process::pidfd_open(pid).ok()))
}

/// Starts a program with `fds` as its descriptors from 3 on, `/dev/null` as its streams, and no others. Returns its pid.
///
/// # Errors
/// As fork(2); the program cannot be executed.
pub fn spawn_with(program: &CStr, arguments: &[CString], environment: &[CString], fds: &[OwnedFd]) -> io::Result<i32> {
    // closed by the execve; the other end reads the errno of one that fails
    let (mut failed, failing) = io::pipe()?;
    match fork()? {
        Fork::Parent(pid, _) => {
            drop(failing);
            let mut errno = [0; 4];
            match failed.read(&mut errno)? {
                4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
                _ => Ok(pid),
            }
        }
        Fork::Child => {
            let Ok(failing) = above(failing.as_raw_fd()) else { process::exit(127) };
            let err = execute_with(program, arguments, environment, fds);
            let _ = File::from(failing).write_all(&err.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes());
            process::exit(127)
        }
    }
}

/// Copies a descriptor to a number above all that [`execute_with`] assigns.
fn above(raw: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only, and returns a new descriptor, which is then owned here alone.
    Ok(unsafe { OwnedFd::from_raw_fd(cvt(libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, 64).into())? as RawFd) })
}

/// Places the descriptors and executes the program, in the child.
fn execute_with(program: &CStr, arguments: &[CString], environment: &[CString], fds: &[OwnedFd]) -> io::Error {
    let place = || -> io::Result<()> {
        super::signal::set_mask(super::signal::SignalSet::EMPTY)?;
        super::signal::set_default(libc::SIGPIPE)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let given = [null.as_raw_fd(); 3].into_iter().chain(fds.iter().map(AsRawFd::as_raw_fd));
        let copies = given.map(above).collect::<io::Result<Vec<_>>>()?;
        process::set_cloexec_from(3)?;
        for (number, copy) in (0..).zip(copies) {
            // SAFETY: both are open or free numbers. What was at this number is not used again: the caller's values are copies of memory
            // in a process that ends or executes another program.
            cvt(unsafe { libc::dup2(copy.as_raw_fd(), number) }.into())?;
        }
        Ok(())
    };
    if let Err(err) = place() {
        return err;
    }
    match nix::unistd::execve(program, arguments, environment) {
        Err(errno) => errno.into(),
        Ok(never) => match never {},
    }
}
