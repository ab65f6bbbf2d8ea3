//! Progress of long operations: bars on a terminal, else one line for each finished part, or no output.
//!
//! It is written to standard error; write errors are ignored.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::cli::args::LogLevel;
use super::store::Store;
use super::view::units;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use base::error::escape::one_line;

/// Output of progress.
pub struct Progress {
    level: LogLevel,
    bars: Option<MultiProgress>,
}

/// Progress of one operation; dropped before [`Bar::done`], it prints no final line.
pub struct Bar {
    done: Option<String>,
    bar: Option<ProgressBar>,
    size: u64,
}

impl Progress {
    /// Creates the output for a log level.
    pub fn new(level: LogLevel) -> Self {
        let terminal = level >= LogLevel::Info && std::io::stderr().is_terminal();
        Self { level, bars: terminal.then(MultiProgress::new) }
    }

    /// Creates one without output.
    pub fn none() -> Self {
        Self { level: LogLevel::Error, bars: None }
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        if self.level >= LogLevel::Warning {
            self.line(&format!("corm: warning: {text}"));
        }
    }

    fn line(&self, text: &str) {
        let text = &*one_line(text);
        match &self.bars {
            // above the bars; an error means that the terminal is closed
            Some(bars) => drop(bars.println(text)),
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Unpacks layers that are in the store, with progress for those that were not unpacked yet.
    ///
    /// # Errors
    /// As [`Store::unpack`].
    pub fn unpack(&self, store: &Store, layers: &[Layer]) -> Result<()> {
        let begun: Vec<_> = layers.iter().map(|_| None).collect();
        let unpacking = Unpacking { progress: self, store, layers, begun: Mutex::new(begun) };
        store.unpack(layers, &|number, bytes| unpacking.took(number, bytes))?;
        unpacking.done();
        Ok(())
    }

    /// Begins the progress of a blob; `done` begins its final line, as in `pulled 0123456789ab 12.3 MB`.
    pub fn blob(&self, done: &str, digest: &Digest, size: u64) -> Bar {
        let short = digest.hex().get(..12).unwrap_or_default();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(size).with_message(short.to_owned()));
            if let Ok(style) =
                ProgressStyle::with_template("{msg} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        let line = self.level >= LogLevel::Info && bar.is_none();
        Bar { done: line.then(|| format!("{done} {short} {}", units::size(size, 4))), bar, size }
    }
}

/// Progress of the layers that one call unpacks; layers that exist already are not shown.
struct Unpacking<'a> {
    progress: &'a Progress,
    store: &'a Store,
    layers: &'a [Layer],
    begun: Mutex<Vec<Option<(Bar, u64)>>>,
}

impl Unpacking<'_> {
    /// Adds bytes read from a layer's blob.
    fn took(&self, number: usize, bytes: u64) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(begun), Some(layer)) = (begun.get_mut(number), self.layers.get(number)) else { return };
        let begin = || self.progress.blob("unpacked", &layer.blob, self.store.has_blob(&layer.blob).unwrap_or(0));
        let (bar, taken) = begun.get_or_insert_with(|| (begin(), 0));
        *taken += bytes;
        bar.set(*taken);
    }

    /// Finishes all bars.
    fn done(self) {
        let begun = self.begun.into_inner().unwrap_or_else(PoisonError::into_inner);
        begun.into_iter().flatten().for_each(|(bar, _)| bar.done());
    }
}

impl Bar {
    /// Sets the number of bytes done.
    pub fn set(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes.min(self.size));
        }
    }

    /// Finishes the bar and prints the final line.
    pub fn done(mut self) {
        if let Some(line) = self.done.take() {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.size);
            bar.abandon();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }
}
