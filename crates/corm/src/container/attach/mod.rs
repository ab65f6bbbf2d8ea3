//! Attached callers: `corm attach` connects to a socket of the container's supervisor, which sends it the output and
//! receives input, signals and the size of a terminal.
//!
//! A frame is a type (one byte), the length of its data (four bytes, little endian) and the data.

pub mod client;
pub mod keys;
pub(super) mod server;

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;

/// Name of the socket among a container's run-time files.
pub const SOCKET: &str = "attach";

/// Maximum bytes of data in a frame.
const MAX_DATA: usize = 64 << 10;

/// Bytes of type and length.
const HEADER: usize = 5;

/// A message between caller and supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// Output of the container, or its terminal.
    Out(Vec<u8>),
    /// Standard error of the container.
    Err(Vec<u8>),
    /// Exit status; the last frame.
    Exit(i32),
    /// Input for the container.
    In(Vec<u8>),
    /// The end of the input.
    End,
    /// A signal for the container's first process.
    Signal(i32),
    /// Rows and columns of the caller's terminal.
    Size(u16, u16),
}

impl Frame {
    /// Appends the frame's bytes.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let mut put = |kind: u8, data: &[u8]| {
            to.push(kind);
            to.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
            to.extend_from_slice(data);
        };
        match self {
            Frame::Out(data) => put(b'o', data),
            Frame::Err(data) => put(b'e', data),
            Frame::Exit(status) => put(b'x', &status.to_le_bytes()),
            Frame::In(data) => put(b'i', data),
            Frame::End => put(b'z', &[]),
            Frame::Signal(number) => put(b's', &number.to_le_bytes()),
            Frame::Size(rows, columns) => put(b'w', &[rows.to_le_bytes(), columns.to_le_bytes()].concat()),
        }
    }

    /// Takes the first whole frame from received bytes; `None` when there is none yet.
    ///
    /// # Errors
    /// The bytes are no frame.
    pub(super) fn take(from: &mut Vec<u8>) -> Result<Option<Frame>> {
        let Some((&[kind, ref length @ ..], _)) = from.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        ensure!(length <= MAX_DATA, coded!(ContainerKilled, "a frame of {length} bytes"));
        let Some(data) = from.get(HEADER..HEADER + length).map(<[u8]>::to_vec) else { return Ok(None) };
        from.drain(..HEADER + length);
        let number = || -> Result<i32> {
            Ok(i32::from_le_bytes(data.as_slice().try_into().ok().context("a frame of another length")?))
        };
        Ok(Some(match kind {
            b'o' => Frame::Out(data),
            b'e' => Frame::Err(data),
            b'x' => Frame::Exit(number()?),
            b'i' => Frame::In(data),
            b'z' => Frame::End,
            b's' => Frame::Signal(number()?),
            b'w' => match data.as_slice() {
                &[a, b, c, d] => Frame::Size(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
                _ => bail!(coded!(ContainerKilled, "a frame of another length")),
            },
            other => bail!(coded!(ContainerKilled, "a frame of the unknown type {other}")),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn frames_come_back_in_pieces_of_any_size() {
        let frames = [
            Frame::Out(b"text".to_vec()),
            Frame::Err(vec![0; 1000]),
            Frame::In(Vec::new()),
            Frame::End,
            Frame::Signal(15),
            Frame::Size(24, 80),
            Frame::Exit(-1),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        for size in [1, 2, 7, 4096] {
            let (mut received, mut found) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                received.extend_from_slice(piece);
                while let Some(frame) = Frame::take(&mut received).unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!((found.as_slice(), received.len()), (&frames[..], 0), "{size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bad in [&b"?\0\0\0\0"[..], b"o\xff\xff\xff\xff", b"x\x01\0\0\0a", b"w\0\0\0\0"] {
            assert!(Frame::take(&mut bad.to_vec()).is_err(), "{bad:?}");
        }
    }
}
