//! What `logs` prints of a log: lines from and up to a time, the last lines, times and names before them; each stream to
//! its own, in the order in which the lines were written.

use std::collections::VecDeque;
use std::io::Write;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::container::log::{Entry, Stream};

/// Lines that are printed, and what precedes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Lines written at this time or later.
    pub since: Option<Timestamp>,
    /// Lines written before this time.
    pub until: Option<Timestamp>,
    /// Whether the time precedes each line.
    pub timestamps: bool,
    /// Text before each line.
    pub prefix: String,
}

/// A line, perhaps without its end.
#[derive(Debug)]
struct Line {
    stream: Stream,
    text: Vec<u8>,
}

/// The lines of one log on their way to the two streams.
#[derive(Debug)]
pub struct Lines {
    selection: Selection,
    /// Maximum number of lines that are kept; `None` after they were printed, and when all are.
    tail: Option<usize>,
    kept: VecDeque<Line>,
    /// Whether an entry of standard output and of standard error continues a line, and whether that one is printed.
    open: [Option<bool>; 2],
}

impl Lines {
    /// Prepares the output of the last `tail` lines, or of all, and of those that follow.
    pub fn new(selection: Selection, tail: Option<u64>) -> Self {
        let tail = tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
        Self { selection, tail, kept: VecDeque::new(), open: [None; 2] }
    }

    /// Takes an entry: prints it, or keeps it until it is known to be among the last.
    ///
    /// # Errors
    /// As write(2).
    pub fn take(&mut self, entry: Entry<'_>, streams: &mut Streams<'_>) -> Result<()> {
        let [out, err] = &mut self.open;
        let open = if entry.stream == Stream::Out { out } else { err };
        let starts = open.is_none();
        let shown = open.unwrap_or_else(|| self.selection.has(entry.time));
        *open = (!entry.ends).then_some(shown);
        if !shown {
            return Ok(());
        }
        let mut text = if starts { self.selection.head(entry.time) } else { Vec::new() };
        text.extend_from_slice(entry.text);
        text.extend(entry.ends.then_some(b'\n'));
        let Some(most) = self.tail else { return streams.write(entry.stream, &text) };
        match self.kept.iter_mut().rfind(|line| line.stream == entry.stream) {
            Some(line) if !starts => line.text.append(&mut text),
            _ => self.kept.push_back(Line { stream: entry.stream, text }),
        }
        if self.kept.len() > most {
            self.kept.pop_front();
        }
        Ok(())
    }

    /// Prints the lines that are kept; later ones are printed at once.
    ///
    /// # Errors
    /// As write(2).
    pub fn print_kept(&mut self, streams: &mut Streams<'_>) -> Result<()> {
        self.tail = None;
        for line in self.kept.drain(..) {
            streams.write(line.stream, &line.text)?;
        }
        streams.flush()
    }
}

impl Selection {
    fn has(&self, time: &str) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Ok(time) = time.parse::<Timestamp>() else { return false };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    fn head(&self, time: &str) -> Vec<u8> {
        let mut head = self.prefix.clone();
        if self.timestamps {
            let formatted = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ ").to_string();
            head.push_str(&time.parse().map(formatted).unwrap_or_default());
        }
        head.into_bytes()
    }
}

/// corm's standard output and standard error. What is buffered for one is written before anything for the other, so that a
/// reader of both sees the order of the log.
pub struct Streams<'a> {
    out: &'a mut (dyn Write + Send),
    err: &'a mut (dyn Write + Send),
    last: Stream,
}

impl<'a> Streams<'a> {
    /// Combines two streams.
    pub fn new(out: &'a mut (dyn Write + Send), err: &'a mut (dyn Write + Send)) -> Self {
        Self { out, err, last: Stream::Out }
    }

    fn write(&mut self, stream: Stream, text: &[u8]) -> Result<()> {
        if stream != self.last {
            self.flush()?;
            self.last = stream;
        }
        let to = if stream == Stream::Out { &mut *self.out } else { &mut *self.err };
        to.write_all(text).context("standard output")
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// As write(2).
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().and_then(|()| self.err.flush()).context("standard output")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A writer to one list of both streams.
    struct Shared(Arc<Mutex<String>>, &'static str);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push_str(&format!("{}[{}]", self.1, String::from_utf8_lossy(bytes)));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const ENTRIES: [Entry<'static>; 6] = [
        Entry { time: "2026-01-01T00:00:01Z", stream: Stream::Out, text: b"one", ends: true },
        Entry { time: "2026-01-01T00:00:02Z", stream: Stream::Out, text: b"two ", ends: false },
        Entry { time: "2026-01-01T00:00:03Z", stream: Stream::Err, text: b"bad", ends: true },
        Entry { time: "2026-01-01T00:00:04.5Z", stream: Stream::Out, text: b"and a half", ends: true },
        Entry { time: "2026-01-01T00:00:05Z", stream: Stream::Out, text: b"three", ends: true },
        Entry { time: "2026-01-01T00:00:06Z", stream: Stream::Out, text: b"end", ends: false },
    ];

    fn printed(selection: Selection, tail: Option<u64>) -> String {
        let all = Arc::new(Mutex::new(String::new()));
        // as the verb does: each stream is buffered
        let mut out = std::io::BufWriter::new(Shared(all.clone(), "o"));
        let mut err = std::io::BufWriter::new(Shared(all.clone(), "e"));
        let mut streams = Streams::new(&mut out, &mut err);
        let mut lines = Lines::new(selection, tail);
        for entry in ENTRIES {
            lines.take(entry, &mut streams).unwrap();
        }
        lines.print_kept(&mut streams).unwrap();
        drop((out, err));
        all.lock().unwrap().clone()
    }

    #[test]
    fn lines_are_printed_in_their_order() {
        let time = |text: &str| Some(text.parse().unwrap());
        let all = Selection::default();
        assert_eq!(printed(all.clone(), None), "o[one\ntwo ]e[bad\n]o[and a half\nthree\nend]");
        for (tail, want) in [
            (0, ""),
            (1, "o[end]"),
            (2, "o[three\nend]"),
            (3, "e[bad\n]o[three\nend]"),
            (4, "o[two and a half\n]e[bad\n]o[three\nend]"),
            (99, "o[one\ntwo and a half\n]e[bad\n]o[three\nend]"),
        ] {
            assert_eq!(printed(all.clone(), Some(tail)), want, "{tail}");
        }
        let since = Selection { since: time("2026-01-01T00:00:03Z"), ..all.clone() };
        assert_eq!(printed(since.clone(), None), "e[bad\n]o[three\nend]");
        let until = Selection { until: time("2026-01-01T00:00:05Z"), ..since };
        assert_eq!(printed(until, Some(5)), "e[bad\n]");
        let timed = Selection { timestamps: true, prefix: "c ".to_owned(), since: time("2026-01-01T00:00:05Z"), ..all };
        let want = "o[c 2026-01-01T00:00:05.000000000Z three\nc 2026-01-01T00:00:06.000000000Z end]";
        assert_eq!(printed(timed, None), want);
    }
}
