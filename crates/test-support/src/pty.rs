//! Pseudo terminals as callers use them: one for the runtime's own streams, and the socket to which the runtime sends
//! the container's.

use super::{DEADLINE, wait_until};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A pseudo terminal whose master a test reads and writes.
pub struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
    seen: Vec<u8>,
}

impl Terminal {
    pub fn open(rows: u16, columns: u16) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        for fd in [&master, &slave] {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
        }
        Terminal { master, slave, seen: Vec::new() }
    }

    pub fn write(&self, text: &str) {
        write_all(self.master.as_fd(), text);
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(self.master.as_fd(), rows, columns);
    }

    /// Returns whether the terminal echoes and edits lines (it does not in raw mode).
    pub fn is_cooked(&self) -> bool {
        tcgetattr(self.slave.as_fd()).unwrap().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Returns everything that was read so far.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads until the terminal has shown `text`, and returns everything that was read so far.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        read_until(self.master.as_fd(), &mut self.seen, text, 1)
    }

    /// As [`Terminal::expect`], for a text that is shown `count` times.
    #[track_caller]
    pub fn expect_times(&mut self, text: &str, count: usize) -> String {
        read_until(self.master.as_fd(), &mut self.seen, text, count)
    }
}

/// Makes the command a session leader with `slave` as its controlling terminal, as a shell does with its child.
pub fn on_terminal(cmd: super::Cmd, terminal: &Terminal) -> super::Cmd {
    let slave = terminal.slave.try_clone().unwrap();
    cmd.stdio(terminal.slave.as_fd()).before_exec(move || {
        nix::unistd::setsid()?;
        linux::term::make_controlling(slave.as_fd())
    })
}

/// The socket at which a caller listens for `--console-socket`.
pub struct ConsoleSocket {
    pub path: PathBuf,
    listener: UnixListener,
}

/// A received message: the terminal's master and the payload.
pub struct Console {
    pub master: OwnedFd,
    pub payload: Vec<u8>,
    seen: Vec<u8>,
}

impl ConsoleSocket {
    pub fn listen(dir: &Path) -> ConsoleSocket {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let path = dir.join(format!("tty{}.sock", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        ConsoleSocket { path, listener }
    }

    pub fn flag(&self) -> String {
        self.path.to_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn accept(&self) -> UnixStream {
        let stream = wait_until("a connection to the socket", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Accepts one connection, which must send exactly one descriptor in one message.
    #[track_caller]
    pub fn receive(&self) -> Console {
        let stream = self.accept();
        let (payload, mut fds) = receive_fds(&stream);
        assert_eq!(fds.len(), 1, "one descriptor in the message");
        assert!(!payload.is_empty() && payload.len() < 4096, "payload of {} bytes", payload.len());
        Console { master: fds.remove(0), payload, seen: Vec::new() }
    }
}

/// Receives one message with its descriptors.
#[track_caller]
pub fn receive_fds(stream: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut buffer = vec![0; 65_536];
    let (length, fds) = linux::testing::agent::receive_with_fds(stream.as_fd(), &mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, fds)
}

impl Console {
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        read_until(self.master.as_fd(), &mut self.seen, text, 1)
    }

    pub fn write(&self, text: &str) {
        write_all(self.master.as_fd(), text);
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(self.master.as_fd(), rows, columns);
    }

    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

fn set_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    linux::term::set_window_size(fd, &size).unwrap();
}

fn write_all(fd: BorrowedFd<'_>, text: &str) {
    let mut file = std::fs::File::from(fd.try_clone_to_owned().unwrap());
    file.write_all(text.as_bytes()).unwrap();
}

#[track_caller]
fn read_until(fd: BorrowedFd<'_>, seen: &mut Vec<u8>, text: &str, count: usize) -> String {
    let mut file = std::fs::File::from(fd.try_clone_to_owned().unwrap());
    let end = Instant::now() + DEADLINE;
    loop {
        let shown = String::from_utf8_lossy(seen).into_owned();
        if shown.matches(text).count() >= count {
            return shown;
        }
        assert!(Instant::now() < end, "terminal never showed {text:?}, only {shown:?}");
        let mut polled = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut polled, 500u16).unwrap() > 0 {
            let mut buffer = [0; 4096];
            match file.read(&mut buffer) {
                Ok(0) => panic!("terminal closed; it showed {shown:?}, not {text:?}"),
                Ok(count) => seen.extend_from_slice(&buffer[..count]),
                // EIO: the last process has closed the other end
                Err(err) => panic!("terminal: {err}; it showed {shown:?}, not {text:?}"),
            }
        }
    }
}
