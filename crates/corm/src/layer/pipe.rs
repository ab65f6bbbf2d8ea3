//! Pipes between threads: few large buffers, passed on without copying, and reused.
//!
//! The end is sent as a message: a channel closed without it means a failed thread, never a complete stream.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use crate::model::digest::Digest;
use crate::model::digest::Hasher;

/// Bytes of a buffer: enough to make wake-ups cheap, and few enough for the second-level cache.
pub(super) const BUFFER: usize = 256 << 10;

/// Maximum number of buffers between two threads.
const DEPTH: usize = 4;

/// A full buffer, the end (an empty buffer), or an error.
type Message = io::Result<Vec<u8>>;

/// Buffers to reuse.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if let Ok(mut spare) = self.0.lock() {
            spare.push(buffer);
        }
    }
}

/// The writing end.
pub(super) struct Sender {
    to: SyncSender<Message>,
    buffer: Vec<u8>,
    pool: Pool,
}

/// The reading end.
pub(super) struct Source {
    from: Receiver<Message>,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    pool: Pool,
}

/// Creates a pipe whose buffers are taken from `pool` and returned to it.
pub(super) fn pipe(pool: &Pool) -> (Sender, Source) {
    let (to, from) = sync_channel(DEPTH);
    let sender = Sender { to, buffer: pool.take(), pool: pool.clone() };
    (sender, Source { from, buffer: Vec::new(), at: 0, ended: false, pool: pool.clone() })
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the thread at the other end failed")
}

impl Sender {
    fn send(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, self.pool.take());
        self.to.send(Ok(full)).map_err(|_| broken())
    }

    /// Sends all bytes of `from`, without a copy; `each` receives the number of bytes so far.
    pub(super) fn send_all(
        &mut self,
        from: &mut dyn Read,
        each: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut total = 0;
        loop {
            self.buffer.clear();
            let read = from.take(BUFFER as u64).read_to_end(&mut self.buffer)?;
            if read == 0 {
                return Ok(());
            }
            total += read as u64;
            each(total)?;
            self.send()?;
        }
    }

    /// Sends the end of the stream, or an error.
    pub(super) fn finish(mut self, result: io::Result<()>) {
        let sent = match result {
            Ok(()) if self.buffer.is_empty() => Ok(()),
            Ok(()) => self.send(),
            Err(err) => return drop(self.to.send(Err(err))), // the receiver has ended, with its own error
        };
        if sent.is_ok() {
            drop(self.to.send(Ok(Vec::new())));
        }
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BUFFER - self.buffer.len().min(BUFFER);
        let (now, _) = bytes.split_at(bytes.len().min(room));
        self.buffer.extend_from_slice(now);
        if self.buffer.len() >= BUFFER {
            self.send()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() && !self.ended {
            self.pool.give(std::mem::take(&mut self.buffer));
            self.at = 0;
            self.buffer = self.from.recv().map_err(|_| broken())??;
            self.ended = self.buffer.is_empty();
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

/// Passes every buffer on and hashes it, as a thread. `None` when the stream was not complete.
pub(super) fn hash(from: &Source, to: &Sender) -> Option<(Digest, u64)> {
    let (mut hasher, mut count) = (Hasher::new(), 0);
    loop {
        let message = from.from.recv().unwrap_or_else(|_| Err(broken()));
        let end = match &message {
            Ok(buffer) => {
                hasher.update(buffer);
                count += buffer.len() as u64;
                buffer.is_empty()
            }
            Err(_) => {
                drop(to.to.send(message));
                return None;
            }
        };
        if to.to.send(message).is_err() && !end {
            return None;
        }
        if end {
            return Some((hasher.finish(), count));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn all_bytes_arrive_hashed_and_the_end_is_told() {
        let bytes: Vec<u8> = (0..3 * BUFFER + 17).map(|i| (i % 251) as u8).collect();
        let pool = Pool::default();
        let ((mut first, second), (third, mut last)) = (pipe(&pool), pipe(&pool));
        std::thread::scope(|scope| {
            let hashed = scope.spawn(move || hash(&second, &third));
            let sent = bytes.clone();
            scope.spawn(move || {
                let done = first.write_all(&sent);
                first.finish(done);
            });
            let mut got = Vec::new();
            last.read_to_end(&mut got).unwrap();
            assert!(got == bytes);
            assert_eq!(hashed.join().unwrap(), Some((Digest::of(&bytes), bytes.len() as u64)));
        });
    }

    #[test]
    fn a_sender_that_goes_away_is_no_end() {
        let (sender, mut source) = pipe(&Pool::default());
        drop(sender);
        assert_eq!(source.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (sender, mut source) = pipe(&Pool::default());
        sender.finish(Err(io::Error::other("torn")));
        assert_eq!(source.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "torn");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_writer() {
        let (mut sender, source) = pipe(&Pool::default());
        drop(source);
        let sent = sender.write_all(&vec![1; 2 * BUFFER]);
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
