//! What a build prints while it runs: a line for each step, with its time, and the output of commands.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base::error::escape::{one_line, output};
use linux::place::Place;

/// Lines of a command's output that are kept for a failure of a quiet build.
const TAIL: usize = 20;

/// Output of a build on standard error; write errors are ignored, because it may be closed.
#[derive(Debug, Default)]
pub struct Report {
    quiet: bool,
    /// The file that gets the lines in the place of standard error. The lock keeps lines of stages that run side by side apart.
    out: Mutex<Option<File>>,
}

/// The name and number of a step, for the start of its lines.
#[derive(Debug, Clone)]
pub struct Tag(String);

impl Tag {
    /// Creates the tag of a step of a stage; one of several stages has its name in it.
    pub fn new(stage: Option<&str>, number: usize, total: usize) -> Self {
        Self(match stage {
            Some(stage) => format!("[{stage} {number}/{total}]"),
            None => format!("[{number}/{total}]"),
        })
    }
}

/// The last lines of a command.
#[derive(Debug, Default)]
pub struct Tail(Vec<String>);

impl Tail {
    /// Returns whether one of the lines has one of these words, which are in lower case.
    pub fn mentions(&self, words: &[&str]) -> bool {
        self.0.iter().any(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(word))
        })
    }

    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        if self.0.len() == TAIL {
            self.0.remove(0);
        }
        self.0.push(line.to_owned());
    }
}

impl Report {
    /// Creates the output, on standard error or in a file, which is emptied; a quiet one has nothing but failures.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(quiet: bool, file: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| -> std::io::Result<File> {
            // a symlink that another user may have planted is not followed
            let place = Place::resolve(path)?;
            place.renew(b"", 0o600)?;
            place.append(0o600)
        };
        let file = file.map(|path| open(path).with_context(|| format!("--logfile {path:?}"))).transpose()?;
        Ok(Self { quiet, out: Mutex::new(file) })
    }

    fn line(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = match &mut *out {
            Some(file) => writeln!(file, "{text}"),
            None => writeln!(std::io::stderr(), "{text}"),
        };
    }

    /// Prints the beginning of a step.
    pub fn begin(&self, tag: &Tag, text: &str) {
        if !self.quiet {
            self.line(&format!("{} {}", tag.0, one_line(text)));
        }
    }

    /// Prints the end of a step: how long it took, or that the cache had it.
    pub fn end(&self, tag: &Tag, cached: bool, took: Duration) {
        if !self.quiet {
            let what = if cached { "cached".to_owned() } else { format!("done in {:.1} s", took.as_secs_f64()) };
            self.line(&format!("{} {what}", tag.0));
        }
    }

    /// Prints a line of a command's output.
    pub fn output(&self, tag: &Tag, line: &str) {
        if !self.quiet {
            self.line(&format!("{} | {}", tag.0, output(line)));
        }
    }

    /// Prints the last lines of a command that failed, if they were not printed before.
    pub fn tail(&self, tag: &Tag, tail: &Tail) {
        if self.quiet {
            tail.0.iter().for_each(|line| self.line(&format!("{} | {}", tag.0, output(line))));
        }
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.line(&format!("corm: warning: {}", one_line(text)));
    }

    /// Prints a message.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.line(&one_line(text));
        }
    }
}
