//! What a container printed: a file of lines `TIME STREAM TAG TEXT`, the form of the Kubernetes container runtime
//! interface, which other tools read too. TAG is `F` where the text ended its line and `P` where it did not (yet).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The file in a container's directory.
pub const NAME: &str = "log";

/// The longest line that is read back in one piece; longer ones come in several.
const LINE_MAX: u64 = 1 << 20;

/// Where a text was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    file: File,
    lines: Vec<u8>,
}

impl Log {
    /// Opens the log in a container's directory, to write after what is there.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        Ok(Self { file: file.with_context(|| format!("open {path:?}"))?, lines: Vec::new() })
    }

    /// Writes down what was printed just now, in one write.
    ///
    /// # Errors
    /// No space: the container must not be stopped by that.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        let time = jiff::Timestamp::now().to_string();
        format(&mut self.lines, &time, stream, bytes);
        let result = self.file.write_all(&self.lines).context("log");
        self.lines.clear();
        result
    }
}

fn format(lines: &mut Vec<u8>, time: &str, stream: Stream, bytes: &[u8]) {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let (text, tag) = match line.strip_suffix(b"\n") {
            Some(text) => (text, "F"),
            None => (line, "P"),
        };
        for part in [time, " ", stream.name(), " ", tag, " "] {
            lines.extend_from_slice(part.as_bytes());
        }
        lines.extend_from_slice(text);
        lines.push(b'\n');
    }
}

/// The text of one line, with its end where it had one; `None` for what is no such line.
fn parse(line: &[u8]) -> Option<(Stream, &[u8], bool)> {
    let mut fields = line.splitn(4, |&byte| byte == b' ');
    fields.next()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Out,
        b"stderr" => Stream::Err,
        _ => return None,
    };
    let whole = match fields.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some((stream, fields.next()?, whole))
}

/// Reads a log from its beginning, and again what was added to it.
#[derive(Debug)]
pub struct Reader {
    input: BufReader<File>,
    /// The beginning of a line whose end is not written yet.
    started: Vec<u8>,
}

impl Reader {
    /// Opens the log in a container's directory; `None` when nothing was ever printed.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        match File::open(&path) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => {
                let input = BufReader::with_capacity(1 << 16, other.with_context(|| format!("open {path:?}"))?);
                Ok(Some(Self { input, started: Vec::new() }))
            }
        }
    }

    /// Prints what is there and was not printed yet.
    ///
    /// # Errors
    /// Reading or printing fails.
    pub fn print(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> Result<()> {
        loop {
            let room = LINE_MAX.saturating_sub(self.started.len() as u64);
            let got = self.input.by_ref().take(room).read_until(b'\n', &mut self.started).context("read the log")?;
            let ended = self.started.last() == Some(&b'\n');
            if !ended && got > 0 && (self.started.len() as u64) < LINE_MAX {
                continue;
            }
            if !ended && (self.started.len() as u64) < LINE_MAX {
                // the end of the file; the writer may be about to write the rest
                break;
            }
            let line = self.started.strip_suffix(b"\n").unwrap_or(&self.started);
            if let Some((stream, text, whole)) = parse(line) {
                let to: &mut dyn Write = if stream == Stream::Out { out } else { err };
                to.write_all(text).context("standard output")?;
                if whole && ended {
                    to.write_all(b"\n").context("standard output")?;
                }
            }
            self.started.clear();
        }
        out.flush().and_then(|()| err.flush()).context("standard output")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sys::testing::TempDir;

    #[test]
    fn what_was_printed_comes_back_byte_for_byte() {
        let dir = TempDir::new();
        let mut log = Log::open(dir.path()).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut want = (Vec::new(), Vec::new());
        let parts: [(Stream, &[u8]); 7] = [
            (Stream::Out, b"a line\nand a beginning"),
            (Stream::Err, b"an error\n"),
            (Stream::Out, b" and its end\n\n\n"),
            (Stream::Out, b"\xff\x00 bytes \x1b[1m\r\n"),
            (Stream::Err, b"F P stdout \n"),
            (Stream::Out, &[b'x'; 100_000]),
            (Stream::Out, b"no end"),
        ];
        for (stream, text) in parts {
            log.write(stream, text).unwrap();
            let to = if stream == Stream::Out { &mut want.0 } else { &mut want.1 };
            to.extend_from_slice(text);
        }
        Reader::open(dir.path()).unwrap().unwrap().print(&mut out, &mut err).unwrap();
        assert!((&out, &err) == (&want.0, &want.1));
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_skips_what_it_does_not_know() {
        let dir = TempDir::new();
        assert!(Reader::open(dir.path()).unwrap().is_none());
        let mut log = Log::open(dir.path()).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap().unwrap();
        let mut read = || {
            let mut out = Vec::new();
            reader.print(&mut out, &mut std::io::sink()).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(read(), "");
        log.write(Stream::Out, b"one\ntw").unwrap();
        assert_eq!(read(), "one\ntw");
        log.file.write_all(b"rubbish\nt stdout X y\nt stdout P half a li").unwrap();
        assert_eq!(read(), "");
        log.file.write_all(b"ne\n").unwrap();
        assert_eq!(read(), "half a line");
    }
}
