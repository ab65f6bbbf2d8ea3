//! The log of a container's output: lines `TIME STREAM TAG TEXT` in the format of the Kubernetes container runtime
//! interface, which other tools read too. TAG is `F` for a complete line and `P` for a part of one.
//!
//! Rotation: a log that has reached its maximum size is renamed `log.1`, the previous one `log.2`, and so on; the
//! oldest is removed. So a container that prints without end cannot fill the disk of the store.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// File name in a container's directory.
pub const NAME: &str = "log";

/// Limits of log rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Size in bytes at which a file is rotated.
    pub max_size: u64,
    /// Number of files, the current one included; at least 1.
    pub max_file: u32,
}

impl Default for Limits {
    /// Returns 3 files of 10 MiB: enough to find an error, and small compared to an image.
    fn default() -> Self {
        Self { max_size: 10 << 20, max_file: 3 }
    }
}

/// Maximum bytes of a line read in one piece; longer ones are split.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// An output stream.
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

/// A log open for writing.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    file: File,
    /// Size of the current file in bytes.
    size: u64,
    limits: Limits,
    lines: Vec<u8>,
}

impl Log {
    /// Opens the log in a container's directory for appending.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(dir: &Path, limits: Limits) -> Result<Self> {
        let (file, size) = open_to_append(dir)?;
        Ok(Self { dir: dir.to_owned(), file, size, limits, lines: Vec::new() })
    }

    /// Appends output, by one write for each file.
    ///
    /// # Errors
    /// No space; the container must not be stopped then.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        let time = jiff::Timestamp::now().to_string();
        let mut lines = std::mem::take(&mut self.lines);
        format(&mut lines, &time, stream, bytes);
        let result = self.append(&lines);
        lines.clear();
        self.lines = lines;
        result
    }

    fn append(&mut self, mut lines: &[u8]) -> Result<()> {
        while !lines.is_empty() {
            let room = self.limits.max_size.saturating_sub(self.size);
            let (part, rest) = lines.split_at(fitting(lines, room, self.size == 0));
            self.file.write_all(part).context("log")?;
            self.size += part.len() as u64;
            if !rest.is_empty() {
                self.rotate()?;
            }
            lines = rest;
        }
        Ok(())
    }

    /// Renames the files, the oldest first, which the next one overwrites. A kill leaves a gap in the numbers only.
    fn rotate(&mut self) -> Result<()> {
        for number in (1..self.limits.max_file).rev() {
            let from = self.dir.join(name_of(number - 1));
            match std::fs::rename(&from, self.dir.join(name_of(number))) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.with_context(|| format!("rotate {from:?}"))?,
            }
        }
        if self.limits.max_file <= 1 {
            std::fs::remove_file(self.dir.join(NAME)).context("rotate the log")?;
        }
        (self.file, self.size) = open_to_append(&self.dir)?;
        Ok(())
    }
}

fn open_to_append(dir: &Path) -> Result<(File, u64)> {
    let path = dir.join(NAME);
    let open = || {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&path)?;
        let size = file.metadata()?.len();
        Ok::<_, io::Error>((file, size))
    };
    open().with_context(|| format!("open {path:?}"))
}

/// Returns `log`, `log.1`, `log.2`, ...; higher numbers are older.
fn name_of(number: u32) -> String {
    if number == 0 { NAME.to_owned() } else { format!("{NAME}.{number}") }
}

/// Returns the number of bytes of whole lines that fit into `room`; at least one line in an empty file.
fn fitting(lines: &[u8], room: u64, empty: bool) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    let head = lines.get(..room).unwrap_or_default();
    match head.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if empty => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
        None => 0,
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

/// An entry of a log: a line, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Time when it was written, RFC 3339.
    pub time: &'a str,
    /// Stream.
    pub stream: Stream,
    /// Text, without the line end.
    pub text: &'a [u8],
    /// Whether the line ends here.
    pub ends: bool,
}

/// Parses an entry; `None` for another format.
fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |&byte| byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Out,
        b"stderr" => Stream::Err,
        _ => return None,
    };
    let ends = match fields.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Entry { time, stream, text: fields.next()?, ends })
}

/// A reader from the start of the oldest file, which can continue after the log has grown.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    max_file: u32,
    input: BufReader<File>,
    /// The start of an incomplete line.
    started: Vec<u8>,
}

impl Reader {
    /// Opens the log in a container's directory; `None` when no output was ever written.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(dir: &Path, limits: Limits) -> Result<Option<Self>> {
        let Some(file) = files(dir, limits.max_file)?.into_iter().next() else { return Ok(None) };
        let input = BufReader::with_capacity(1 << 16, file);
        Ok(Some(Self { dir: dir.to_owned(), max_file: limits.max_file, input, started: Vec::new() }))
    }

    /// Reads the unread entries.
    ///
    /// # Errors
    /// As read(2); those of `each`.
    pub fn read(&mut self, each: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        loop {
            // found before the file is read to its end, so that lines written before a rotation are read too
            let next = self.next_file()?;
            self.read_file(each)?;
            let Some(next) = next else { return Ok(()) };
            self.input = BufReader::with_capacity(1 << 16, next);
            self.started.clear();
        }
    }

    /// Returns the next newer file; `None` at the newest one, and the oldest one when the current file was removed
    /// meanwhile.
    fn next_file(&self) -> Result<Option<File>> {
        let present = identity(self.input.get_ref())?;
        let mut files = files(&self.dir, self.max_file)?;
        let mut found = None;
        for (at, file) in files.iter().enumerate() {
            if identity(file)? == present {
                found = Some(at);
            }
        }
        let next = found.map_or(0, |at| at + 1);
        Ok((next < files.len()).then(|| files.swap_remove(next)))
    }

    fn read_file(&mut self, each: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        loop {
            let room = MAX_LINE_BYTES.saturating_sub(self.started.len() as u64);
            let got = self.input.by_ref().take(room).read_until(b'\n', &mut self.started).context("read the log")?;
            let ended = self.started.last() == Some(&b'\n');
            if !ended && got > 0 && (self.started.len() as u64) < MAX_LINE_BYTES {
                continue;
            }
            if !ended && (self.started.len() as u64) < MAX_LINE_BYTES {
                // the end of the file; the writer may be about to write the rest
                return Ok(());
            }
            let line = self.started.strip_suffix(b"\n").unwrap_or(&self.started);
            if let Some(entry) = parse(line) {
                each(Entry { ends: entry.ends && ended, ..entry })?;
            }
            self.started.clear();
        }
    }
}

/// Maximum number of tries to open a log during rotations.
const MAX_ROUNDS: u32 = 1000;

/// Opens the files of a log, the oldest first.
fn files(dir: &Path, max_file: u32) -> Result<Vec<File>> {
    for _ in 0..MAX_ROUNDS {
        let files = open_files(dir, max_file)?;
        // a concurrent rotation may have moved a file to a name that was read already
        let unchanged = files.iter().all(|(number, file)| {
            let there = std::fs::symlink_metadata(dir.join(name_of(*number)));
            match (file, there) {
                (Some(file), Ok(meta)) => identity(file).is_ok_and(|id| id == (meta.dev(), meta.ino())),
                (None, Err(err)) => err.kind() == io::ErrorKind::NotFound,
                _ => false,
            }
        });
        if unchanged {
            return Ok(files.into_iter().filter_map(|(_, file)| file).collect());
        }
    }
    anyhow::bail!("the log in {dir:?} is rotated faster than it can be read")
}

/// Opens every name of the log, the oldest first; `None` for a missing file.
fn open_files(dir: &Path, max_file: u32) -> Result<Vec<(u32, Option<File>)>> {
    let mut files = Vec::new();
    // by name, because readdir(3) may miss a file that is renamed meanwhile
    for number in (0..max_file).rev() {
        let path = dir.join(name_of(number));
        match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => files.push((number, None)),
            file => files.push((number, Some(file.with_context(|| format!("open {path:?}"))?))),
        }
    }
    Ok(files)
}

fn identity(file: &File) -> Result<(u64, u64)> {
    let meta = file.metadata().context("log")?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use linux::testing::TempDir;

    /// Returns what the unread entries print on standard output and on standard error.
    fn printed(reader: &mut Reader) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut print = |entry: Entry<'_>| {
            let to = if entry.stream == Stream::Out { &mut out } else { &mut err };
            to.extend_from_slice(entry.text);
            to.extend(entry.ends.then_some(b'\n'));
            Ok(())
        };
        reader.read(&mut print).unwrap();
        (out, err)
    }

    const LIMITS: Limits = Limits { max_size: 10 << 20, max_file: 100 };

    #[test]
    fn what_was_printed_comes_back_byte_for_byte() {
        let dir = TempDir::new();
        let mut log = Log::open(dir.path(), Limits::default()).unwrap();
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
        assert!(printed(&mut Reader::open(dir.path(), LIMITS).unwrap().unwrap()) == want);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_skips_what_it_does_not_know() {
        let dir = TempDir::new();
        assert!(Reader::open(dir.path(), LIMITS).unwrap().is_none());
        let mut log = Log::open(dir.path(), Limits::default()).unwrap();
        let mut reader = Reader::open(dir.path(), LIMITS).unwrap().unwrap();
        let mut read = || String::from_utf8(printed(&mut reader).0).unwrap();
        assert_eq!(read(), "");
        log.write(Stream::Out, b"one\ntw").unwrap();
        assert_eq!(read(), "one\ntw");
        log.file.write_all(b"rubbish\nt stdout X y\nt stdout P half a li").unwrap();
        assert_eq!(read(), "");
        log.file.write_all(b"ne\n").unwrap();
        assert_eq!(read(), "half a line");
    }

    #[test]
    fn a_log_is_rotated_and_read_in_order() {
        for (max_size, max_file) in [(1000, 3), (1, 4), (500, 1), (80, 2)] {
            let dir = TempDir::new();
            let mut log = Log::open(dir.path(), Limits { max_size, max_file }).unwrap();
            let mut reader = Reader::open(dir.path(), LIMITS).unwrap().unwrap();
            let mut seen = String::new();
            let read = |reader: &mut Reader| String::from_utf8(printed(reader).0).unwrap();
            for number in 0..200 {
                log.write(Stream::Out, format!("line {number}\n").as_bytes()).unwrap();
                // one that follows sees every line
                seen += &read(&mut reader);
            }
            let all: String = (0..200).map(|number| format!("line {number}\n")).collect();
            assert_eq!(seen, all, "{max_size} {max_file}");
            let kept = read(&mut Reader::open(dir.path(), LIMITS).unwrap().unwrap());
            assert!(all.ends_with(&kept) && !kept.is_empty(), "{max_size} {max_file}: {kept:?}");
            let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
            assert_eq!(names.len(), max_file as usize, "{max_size} {max_file}");
            // a line of a file that is empty is written whole
            assert!(names.iter().all(|file| file.metadata().unwrap().len() <= max_size.max(60)), "{max_size}");
        }
    }

    /// A reader that follows while another thread rotates finds each line once, however the two meet.
    #[test]
    fn a_reader_misses_nothing_of_a_log_that_is_rotated_meanwhile() {
        use std::sync::atomic::{AtomicU32, Ordering};
        const LINES: u32 = 20_000;
        let dir = TempDir::new();
        let limits = Limits { max_size: 120, max_file: 12 };
        let mut log = Log::open(dir.path(), limits).unwrap();
        let mut reader = Reader::open(dir.path(), limits).unwrap().unwrap();
        let read_up_to = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..LINES {
                    // two lines fill a file; none that is not read yet is removed
                    while number > read_up_to.load(Ordering::Acquire) + 14 {
                        std::hint::spin_loop();
                    }
                    log.write(Stream::Out, format!("line {number}\n").as_bytes()).unwrap();
                }
            });
            let mut next = 0;
            while next < LINES {
                let out = printed(&mut reader).0;
                for line in String::from_utf8(out).unwrap().lines() {
                    if line != format!("line {next}") {
                        // lets the writer end, so that the scope does
                        read_up_to.store(LINES, Ordering::Release);
                        panic!("{line} instead of line {next}");
                    }
                    next += 1;
                }
                read_up_to.store(next, Ordering::Release);
            }
        });
    }

    #[test]
    fn one_write_may_fill_several_files_and_lines_stay_whole() {
        let dir = TempDir::new();
        let mut log = Log::open(dir.path(), Limits { max_size: 300, max_file: 100 }).unwrap();
        let all: String = (0..100).map(|number| format!("line {number}\n")).collect();
        log.write(Stream::Out, all.as_bytes()).unwrap();
        let out = printed(&mut Reader::open(dir.path(), LIMITS).unwrap().unwrap()).0;
        assert_eq!(String::from_utf8(out).unwrap(), all);
        let files = std::fs::read_dir(dir.path()).unwrap().flatten();
        assert!(files.into_iter().all(|file| file.metadata().unwrap().len() <= 300));
    }
}
