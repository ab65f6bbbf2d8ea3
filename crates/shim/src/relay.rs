//! Copies between the terminal of a process and its fifos, a piece at a time, without waiting.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Most bytes that are read before they are written.
const PIECE: usize = 4096;
/// Time for the last output to come out of the terminal, when the process has ended and another keeps it open.
const LAST: Duration = Duration::from_millis(200);

/// One direction: what was read and is not written yet.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    written: usize,
}

/// Result of an attempt to move bytes.
#[derive(Debug, PartialEq, Eq)]
enum Moved {
    /// Some bytes, or none because one side has to wait.
    On,
    /// The source has ended and all is written.
    End,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.written >= self.bytes.len()
    }

    /// Reads if there is nothing to write, and writes what there is.
    fn advance(&mut self, from: &File, to: Option<&File>) -> Moved {
        if self.is_empty() {
            let mut buffer = [0; PIECE];
            match { from }.read(&mut buffer) {
                Ok(0) => return Moved::End,
                Ok(length) => {
                    self.bytes = buffer.get(..length).unwrap_or_default().to_vec();
                    self.written = 0;
                }
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Moved::On,
                // EIO: no process has the terminal open any more
                Err(_) => return Moved::End,
            }
        }
        let Some(mut to) = to else {
            self.bytes.clear();
            return Moved::On;
        };
        match to.write(self.bytes.get(self.written..).unwrap_or_default()) {
            Ok(length) => self.written += length,
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // the reader is gone for good: the program must not wait for it
            Err(_) => self.bytes.clear(),
        }
        Moved::On
    }
}

/// The terminal of one process.
#[derive(Debug)]
pub(crate) struct Relay {
    master: File,
    input: Option<File>,
    output: Option<File>,
    inward: Piece,
    outward: Piece,
    /// When to end although another process has the terminal open.
    until: Option<Instant>,
}

impl Relay {
    /// Relays between the master and the fifos.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn new(master: OwnedFd, input: Option<OwnedFd>, output: Option<OwnedFd>) -> Result<Relay> {
        for fd in [Some(&master), input.as_ref(), output.as_ref()].into_iter().flatten() {
            let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).context("fcntl")?);
            fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).context("fcntl")?;
        }
        let (input, output) = (input.map(File::from), output.map(File::from));
        let master = File::from(master);
        Ok(Relay { master, input, output, inward: Piece::default(), outward: Piece::default(), until: None })
    }

    /// Returns the descriptors to poll, each with whether it is for reading and for writing.
    pub(crate) fn watched(&self) -> Vec<(BorrowedFd<'_>, bool, bool)> {
        let mut list = Vec::new();
        let (reads, writes) = (self.outward.is_empty(), !self.inward.is_empty());
        if reads || writes {
            list.push((self.master.as_fd(), reads, writes));
        }
        if let Some(input) = self.input.as_ref().filter(|_| self.inward.is_empty()) {
            list.push((input.as_fd(), true, false));
        }
        if let Some(output) = self.output.as_ref().filter(|_| !self.outward.is_empty()) {
            list.push((output.as_fd(), false, true));
        }
        list
    }

    /// Moves what can be moved; returns whether the terminal has ended.
    pub(crate) fn advance(&mut self) -> bool {
        if let Some(input) = &self.input
            && self.inward.advance(input, Some(&self.master)) == Moved::End
        {
            self.input = None;
        }
        if self.outward.advance(&self.master, self.output.as_ref()) == Moved::End {
            return true;
        }
        self.until.is_some_and(|until| until <= Instant::now() && self.outward.is_empty())
    }

    /// Ends soon, because the process has ended; returns when to call [`Relay::advance`] at the latest.
    pub(crate) fn end_soon(&mut self) {
        self.until.get_or_insert_with(|| Instant::now() + LAST);
        self.input = None;
    }

    /// Returns when to call [`Relay::advance`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| self.outward.is_empty())
    }

    /// Sets the size of the terminal.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let (ws_col, ws_row) = (width.min(0xffff) as u16, height.min(0xffff) as u16);
        let size = libc::winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        linux::term::set_window_size(self.master.as_fd(), &size).context("size of the terminal")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn output_waits_for_its_reader_and_is_complete() {
        let ((source, mut program), (mut client, sink)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let mut relay = Relay::new(source.into(), None, Some(sink.into())).unwrap();
        let text = vec![b'x'; 200_000];
        let writer = std::thread::spawn({
            let text = text.clone();
            move || program.write_all(&text).unwrap()
        });
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let mut seen = Vec::new();
            client.read_to_end(&mut seen).unwrap();
            seen
        });
        while !relay.advance() {
            std::thread::sleep(Duration::from_micros(100));
        }
        drop(relay);
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), text);
    }
}
