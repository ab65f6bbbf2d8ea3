//! Unfinished outputs outside of the store: what a killed `save`, `export` or `bundle` left beside its output path is removed by
//! the next removal, because a note in the store names it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Store;
use base::fs::staging::StagedEntry;
use linux::place::Place;

/// A note about an unfinished output; `Drop` removes it, unless the output is still there because its removal failed.
#[derive(Debug)]
pub struct OutputNote {
    /// The note, and the unfinished output that it names.
    note: Option<(StagedEntry, PathBuf)>,
}

impl Drop for OutputNote {
    fn drop(&mut self) {
        let Some((note, output)) = self.note.take() else { return };
        match output.symlink_metadata() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => drop(note),
            _ => note.leave(),
        }
    }
}

impl Store {
    /// Creates an unfinished output beside `place` by `make`, which gets the function to call with the output's name before
    /// it exists. The note is dropped after the output.
    ///
    /// # Errors
    /// As `make`; no space in the store.
    pub fn output(
        &self,
        place: &Place,
        make: impl FnOnce(&dyn Fn(&OsStr) -> Result<()>) -> Result<StagedEntry>,
    ) -> Result<(StagedEntry, OutputNote)> {
        let link = format!("/proc/self/fd/{}", place.dir().as_raw_fd());
        let dir = std::fs::read_link(&link).with_context(|| link)?;
        let note = RefCell::new(None);
        let staged = make(&|name| {
            let output = dir.join(name);
            let entry = StagedEntry::note(&self.tmp(), &output)?;
            *note.borrow_mut() = Some(OutputNote { note: Some((entry, output)) });
            Ok(())
        })?;
        let note = note.into_inner().context("an output without a name")?;
        Ok((staged, note))
    }
}
