//! Terminals: ioctls of a pty, and standard streams.

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};
use std::io::{self, Stderr, Stdin, Stdout};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::LazyLock;

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// Allows the slave of `master` to be opened.
///
/// # Errors
/// `ENOTTY` where `master` is no pty.
pub fn unlock(master: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::pty::unlockpt(master)?)
}

/// Opens the slave of `master` without any path.
/// [ioctl_tty(2)](https://man7.org/linux/man-pages/man2/ioctl_tty.2.html)
///
/// # Errors
/// `EIO` while it is locked, `ENOTTY` where `master` is no pty.
pub fn open_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(rustix::pty::ioctl_tiocgptpeer(master, flags)?)
}

/// Makes `terminal` the controlling terminal of this session; the caller is its leader.
///
/// # Errors
/// `EPERM` where the caller is no session leader or has a terminal already, or the terminal is another session's.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(terminal)?)
}

/// Returns rows and columns of a terminal.
///
/// # Errors
/// `ENOTTY` where it is no terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let Winsize { ws_row, ws_col, ws_xpixel, ws_ypixel } = rustix::termios::tcgetwinsize(terminal)?;
    Ok(libc::winsize { ws_row, ws_col, ws_xpixel, ws_ypixel })
}

/// Sets rows and columns; the foreground process group receives SIGWINCH when they change.
///
/// # Errors
/// `ENOTTY` where it is no terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &libc::winsize) -> io::Result<()> {
    let libc::winsize { ws_row, ws_col, ws_xpixel, ws_ypixel } = *size;
    Ok(rustix::termios::tcsetwinsize(terminal, Winsize { ws_row, ws_col, ws_xpixel, ws_ypixel })?)
}

/// Replaces descriptor 0, 1 or 2 by a duplicate of `source`, without close-on-exec.
///
/// # Errors
/// `EINVAL` for another number.
pub fn replace_stdio(source: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    match number {
        0 => nix::unistd::dup2_stdin(source)?,
        1 => nix::unistd::dup2_stdout(source)?,
        2 => nix::unistd::dup2_stderr(source)?,
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
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

/// Turns off that the terminal of `master` prints a newline as carriage return and newline (`ONLCR`), as runc does.
///
/// # Errors
/// `EIO`: the terminal is gone.
pub fn clear_onlcr(master: BorrowedFd<'_>) -> io::Result<()> {
    let mut mode = tcgetattr(master)?;
    mode.output_flags.remove(OutputFlags::ONLCR);
    Ok(tcsetattr(master, SetArg::TCSANOW, &mode)?)
}

/// The character that means "end of input" in the terminal of `master`, unless a program has turned that off.
pub fn veof_char(master: BorrowedFd<'_>) -> Option<u8> {
    let mode = tcgetattr(master).ok()?;
    let end = mode.control_chars.get(SpecialCharacterIndices::VEOF as usize).copied()?;
    (mode.local_flags.contains(LocalFlags::ICANON) && end != 0).then_some(end)
}
