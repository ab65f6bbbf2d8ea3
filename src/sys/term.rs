//! Terminals: the ioctls of a pty.

use super::cvt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Allows the slave of `master` to be opened.
///
/// # Errors
/// `ENOTTY` where `master` is none.
pub fn unlock(master: BorrowedFd<'_>) -> io::Result<()> {
    let locked: libc::c_int = 0;
    // SAFETY: the kernel reads one int, which lives for the call.
    cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }.into())?;
    Ok(())
}

/// Opens the slave of `master` without any path.
/// [ioctl_tty(2)](https://man7.org/linux/man-pages/man2/ioctl_tty.2.html)
///
/// # Errors
/// `EIO` while it is locked, `ENOTTY` where `master` is none.
pub fn open_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the flags are passed by value.
    let fd = cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())?;
    // SAFETY: the kernel just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Makes `terminal` the controlling terminal of this session, whose leader the caller is.
///
/// # Errors
/// `EPERM` where the caller leads no session or has a terminal already, or the terminal another session.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument 0 (do not steal it from another session) is passed by value.
    cvt(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())?;
    Ok(())
}

/// Rows and columns of a terminal.
///
/// # Errors
/// `ENOTTY` where it is none.
pub fn window_size(terminal: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel stores one winsize, which lives for the call.
    cvt(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// Sets rows and columns; the foreground process group gets SIGWINCH when they change.
///
/// # Errors
/// `ENOTTY` where it is no terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &libc::winsize) -> io::Result<()> {
    // SAFETY: the kernel reads one winsize, which lives for the call.
    cvt(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size)) }.into())?;
    Ok(())
}

/// Puts `source` in the place of descriptor 0, 1 or 2, inheritable.
///
/// # Errors
/// `EINVAL` for another number.
pub fn replace_stdio(source: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if !(0..=2).contains(&number) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: 0 to 2 are not owned by any Rust object of croci; the standard library uses them by number.
    cvt(unsafe { libc::dup2(source.as_raw_fd(), number) }.into())?;
    Ok(())
}

/// Standard input, output or error as a borrowed descriptor, if it is open.
pub fn stdio(number: i32) -> Option<BorrowedFd<'static>> {
    if !(0..=2).contains(&number) {
        return None;
    }
    // SAFETY: asks for the flags of a number; nothing is dereferenced.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } != -1;
    // SAFETY: the descriptor is open, and croci never closes 0 to 2 while it uses what this returns.
    open.then(|| unsafe { BorrowedFd::borrow_raw(number) })
}
