//! Terminals: ioctls of a pty, and standard streams.

use super::cvt;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use std::io::{self, Stderr, Stdin, Stdout};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::LazyLock;

/// Unlocks the slave of `master`, so that it can be opened.
///
/// # Errors
/// `ENOTTY` where `master` is no pty.
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
/// `EIO` while it is locked, `ENOTTY` where `master` is no pty.
pub fn open_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the flags are passed by value.
    let fd = cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())?;
    // SAFETY: the kernel has just created this descriptor for us; no other process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Makes `terminal` the controlling terminal of this session; the caller is its leader.
///
/// # Errors
/// `EPERM` where the caller is no session leader or has a terminal already, or the terminal is another session's.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument 0 (do not steal it from another session) is passed by value.
    cvt(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())?;
    Ok(())
}

/// Returns rows and columns of a terminal.
///
/// # Errors
/// `ENOTTY` where it is no terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel stores one winsize, which lives for the call.
    cvt(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// Sets rows and columns; the foreground process group receives SIGWINCH when they change.
///
/// # Errors
/// `ENOTTY` where it is no terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &libc::winsize) -> io::Result<()> {
    // SAFETY: the kernel reads one winsize, which lives for the call.
    cvt(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size)) }.into())?;
    Ok(())
}

/// Replaces descriptor 0, 1 or 2 by a duplicate of `source`, without close-on-exec.
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

/// Returns standard input, output or error as a borrowed descriptor, if it is open.
pub fn stdio(number: i32) -> Option<BorrowedFd<'static>> {
    static STREAMS: LazyLock<(Stdin, Stdout, Stderr)> = LazyLock::new(|| (io::stdin(), io::stdout(), io::stderr()));
    let (input, output, error) = &*STREAMS;
    let stream = match number {
        0 => input.as_fd(),
        1 => output.as_fd(),
        2 => error.as_fd(),
        _ => return None,
    };
    fcntl(stream, FcntlArg::F_GETFD).is_ok().then_some(stream)
}

/// Returns a standard stream, if it is a terminal.
pub fn stdio_terminal(number: i32) -> Option<BorrowedFd<'static>> {
    stdio(number).filter(|fd| nix::unistd::isatty(*fd).unwrap_or(false))
}

/// Copies the window size of `from` to `to`. 0×0 means unknown.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    if let Ok(size) = window_size(from)
        && (size.ws_row, size.ws_col) != (0, 0)
    {
        let _ = set_window_size(to, &size);
    }
}

/// Returns the VEOF character of the terminal of `master`, unless canonical mode is off.
pub fn veof_char(master: BorrowedFd<'_>) -> Option<u8> {
    let mode = tcgetattr(master).ok()?;
    let end = mode.control_chars.get(SpecialCharacterIndices::VEOF as usize).copied()?;
    (mode.local_flags.contains(LocalFlags::ICANON) && end != 0).then_some(end)
}
