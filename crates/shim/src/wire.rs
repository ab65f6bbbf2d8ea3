//! ttrpc: messages in frames of ten bytes and a body, on a unix socket that does not block.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, bail};
use prost::Message as _;

use super::proto::{Request, Response, Status};

/// Longest body in bytes, as in containerd.
const MAX_BODY: usize = 4 << 20;
/// Length of the head: body's length, number of the call, type, flags.
const HEAD: usize = 10;
/// Type of a frame with a [`Request`].
const REQUEST: u8 = 1;
/// Type of a frame with a [`Response`].
const RESPONSE: u8 = 2;

/// Codes of gRPC.
pub(crate) mod code {
    /// An error without a code of its own.
    pub(crate) const UNKNOWN: i32 = 2;
    /// The request is wrong.
    pub(crate) const INVALID_ARGUMENT: i32 = 3;
    /// There is no such container or process.
    pub(crate) const NOT_FOUND: i32 = 5;
    /// There is one already.
    pub(crate) const ALREADY_EXISTS: i32 = 6;
    /// The status does not allow it.
    pub(crate) const FAILED_PRECONDITION: i32 = 9;
    /// There is no such method.
    pub(crate) const UNIMPLEMENTED: i32 = 12;
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Number of the connection.
    pub connection: u64,
    /// Number of the call on it.
    pub number: u32,
}

/// A frame that has come.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A call, with its number.
    Request(u32, Request),
    /// The answer to a call of ours.
    Response(#[cfg_attr(not(test), allow(dead_code))] Response),
}

/// A connection, with what has come and what is still to be sent.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: VecDeque<u8>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn new(stream: UnixStream) -> Result<Connection> {
        stream.set_nonblocking(true).context("connection")?;
        Ok(Connection { stream, input: Vec::new(), output: VecDeque::new() })
    }

    /// Returns whether there is something to send.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Reads what has come; returns the complete frames, and whether the other side has closed.
    ///
    /// # Errors
    /// The other side breaks the protocol.
    pub(crate) fn read(&mut self) -> Result<(Vec<Frame>, bool)> {
        let mut closed = false;
        let mut chunk = [0; 8192];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => closed = true,
                Ok(length) => {
                    self.input.extend_from_slice(chunk.get(..length).unwrap_or_default());
                    // the rest at the next call, so that one side cannot keep the shim busy
                    if self.input.len() <= MAX_BODY {
                        continue;
                    }
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(_) => closed = true,
            }
            break;
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.next()? {
            frames.push(frame);
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        Ok((frames, closed))
    }

    /// Takes the next complete frame out of the input.
    fn next(&mut self) -> Result<Option<Frame>> {
        let Some(head) = self.input.first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, kind, _] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_BODY {
            bail!("a message of {length} bytes");
        }
        if self.input.len() < HEAD + length {
            return Ok(None);
        }
        let frame: Vec<u8> = self.input.drain(..HEAD + length).collect();
        let body = frame.get(HEAD..).unwrap_or_default();
        match kind {
            REQUEST => Ok(Some(Frame::Request(u32::from_be_bytes([e, f, g, h]), Request::decode(body)?))),
            RESPONSE => Ok(Some(Frame::Response(Response::decode(body)?))),
            other => bail!("a frame of type {other}"),
        }
    }

    /// Sends the answer to a call.
    pub(crate) fn answer(&mut self, number: u32, result: Result<Vec<u8>, Status>) {
        let response = match result {
            Ok(payload) => Response { status: None, payload },
            Err(status) => Response { status: Some(status), payload: Vec::new() },
        };
        self.send(number, RESPONSE, &response.encode_to_vec());
    }

    /// Sends a call.
    pub(crate) fn call(&mut self, number: u32, request: &[u8]) {
        self.send(number, REQUEST, request);
    }

    fn send(&mut self, number: u32, kind: u8, body: &[u8]) {
        self.output.extend((body.len() as u32).to_be_bytes());
        self.output.extend(number.to_be_bytes());
        self.output.extend([kind, 0]);
        self.output.extend(body);
        self.flush();
    }

    /// Sends what the socket takes now; returns whether the other side is still there.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(self.output.as_slices().0) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return err.kind() == ErrorKind::WouldBlock,
            }
        }
        self.output = VecDeque::new();
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_call_and_its_answer_in_pieces() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut client, mut server) = (Connection::new(one).unwrap(), Connection::new(other).unwrap());
        let request = Request { service: "s".to_owned(), payload: vec![7; 100_000], ..Request::default() };
        client.call(3, &request.encode_to_vec());
        let mut seen = Vec::new();
        while seen.is_empty() {
            client.flush();
            seen = server.read().unwrap().0;
        }
        let Some(Frame::Request(3, got)) = seen.first() else { panic!("{seen:?}") };
        assert_eq!(*got, request);
        server.answer(3, Err(Status { code: code::NOT_FOUND, message: "gone".to_owned() }));
        let (frames, closed) = client.read().unwrap();
        let Some(Frame::Response(answer)) = frames.first() else { panic!("{frames:?}") };
        assert!(answer.status.as_ref().unwrap().code == 5 && !closed);
        drop(server);
        assert!(client.read().unwrap().1);
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut server = Connection::new(other).unwrap();
        (&one).write_all(&[0xff; 10]).unwrap();
        assert!(server.read().is_err());
    }
}
