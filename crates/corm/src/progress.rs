//! Progress of long operations: bars on a terminal, else one line for each finished part, or no output.
//!
//! It is written to standard error; write errors are ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

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
    /// The bar of each blob: one for its transfer and its unpacking.
    blobs: Mutex<BTreeMap<String, ProgressBar>>,
}

/// Progress of one operation; dropped before [`Bar::done`], it prints no final line.
pub struct Bar {
    done: Option<String>,
    bar: Option<ProgressBar>,
    size: u64,
    /// Bytes that were there at the beginning, plus 1; 0 before it is known. For the rate of a download that continues.
    begun: Arc<AtomicU64>,
}

/// The output of this process: its level, and the bars above which lines have to be printed.
static OUTPUT: Mutex<(LogLevel, Option<MultiProgress>)> = Mutex::new((LogLevel::Warning, None));

/// Prints a warning of code that has no [`Progress`].
pub fn notice(text: &str) {
    let (level, bars) = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if level >= LogLevel::Warning {
        print(bars.as_ref(), text);
    }
}

/// Prints a line, above the bars if there are any.
fn print(bars: Option<&MultiProgress>, text: &str) {
    let text = &*one_line(text);
    match bars {
        // an error means that the terminal is closed
        Some(bars) => drop(bars.println(text)),
        None => drop(writeln!(std::io::stderr(), "{text}")),
    }
}

impl Progress {
    /// Creates the output for a log level.
    pub fn new(level: LogLevel) -> Self {
        let terminal = level >= LogLevel::Info && std::io::stderr().is_terminal();
        // hidden where the terminal cannot move its cursor (TERM=dumb): then lines, as off a terminal
        let bars = terminal.then(MultiProgress::new).filter(|bars| !bars.is_hidden());
        *OUTPUT.lock().unwrap_or_else(PoisonError::into_inner) = (level, bars.clone());
        Self { level, bars, blobs: Mutex::default() }
    }

    /// Creates one without output.
    pub fn none() -> Self {
        Self { level: LogLevel::Error, bars: None, blobs: Mutex::default() }
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        if self.level >= LogLevel::Warning {
            print(self.bars.as_ref(), &format!("corm: warning: {text}"));
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

    /// Begins the progress of a blob; `done` is what is true at the end, as in `pulled 0123456789ab 12.3 MB`.
    pub fn blob(&self, done: &str, digest: &Digest, size: u64) -> Bar {
        let short = digest.hex().get(..12).unwrap_or_default();
        let begun = Arc::new(AtomicU64::new(0));
        let bar = self.bars.as_ref().map(|bars| {
            let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || {
                // complete before it is shown
                let bar = ProgressBar::new(size).with_style(style(begun.clone()));
                bars.add(bar.with_prefix(short.to_owned()).with_message(doing(done).to_owned()))
            };
            let bar = blobs.entry(short.to_owned()).or_insert_with(new);
            bar.set_length(size);
            bar.set_style(style(begun.clone()));
            bar.set_message(doing(done).to_owned());
            bar.reset();
            bar.clone()
        });
        let shown = self.level >= LogLevel::Info;
        Bar { done: shown.then(|| format!("{done} {short} {}", units::size(size, 4))), bar, size, begun }
    }
}

/// Returns the verb of a bar that is not finished.
fn doing(done: &str) -> &str {
    match done {
        "pulled" => "pulling",
        "pushed" => "pushing",
        "unpacked" => "unpacking",
        other => other,
    }
}

/// Time before which no rate is shown, because the first bytes come out of buffers.
const SETTLED: Duration = Duration::from_secs(1);

/// Returns the style of a bar that fits the terminal: blob, verb, bar, bytes, rate and remaining time. All sizes are in
/// the units of the tables, 1000 of each other.
fn style(begun: Arc<AtomicU64>) -> ProgressStyle {
    let columns = linux::term::window_size(std::io::stderr().as_fd()).map_or(80, |size| size.ws_col);
    let template = match columns {
        0 | 80.. => "{prefix} {msg:10} [{wide_bar}] {bytes_of:>19} {rate:>10} {left:>7}",
        56..80 => "{prefix} {msg:10} {bytes_of:>19} {left:>7}",
        26..56 => "{prefix} {msg:10} {percent:>3}%",
        _ => "{percent:>3}%",
    };
    let rate = move |state: &ProgressState| {
        let base = begun.load(Ordering::Relaxed).saturating_sub(1);
        let elapsed = state.elapsed();
        let done = state.pos().saturating_sub(base) as f64;
        (elapsed >= SETTLED && done > 0.0).then(|| done / elapsed.as_secs_f64())
    };
    let left = rate.clone();
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("bytes_of", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{}/{}", units::size(state.pos(), 4), units::size(state.len().unwrap_or(0), 4));
        })
        .with_key("rate", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            if let Some(rate) = rate(state) {
                let _ = write!(out, "{}/s", units::size(rate as u64, 3));
            }
        })
        .with_key("left", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            if let Some(rate) = left(state) {
                let rest = state.len().unwrap_or(0).saturating_sub(state.pos()) as f64 / rate;
                let seconds = rest.min(359_999.0) as u64;
                let _ = write!(out, "{}:{:02}", seconds / 60, seconds % 60);
            }
        })
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
        // the first number is what an earlier download has left
        let _ = self.begun.compare_exchange(0, bytes.saturating_add(1), Ordering::Relaxed, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(bytes.min(self.size));
        }
    }

    /// Finishes the bar with its final line, or prints that line.
    pub fn done(mut self) {
        match (self.done.take(), &self.bar) {
            (Some(line), None) => drop(writeln!(std::io::stderr(), "{line}")),
            (Some(line), Some(bar)) => {
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                bar.abandon_with_message(line);
            }
            (None, _) => {}
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
