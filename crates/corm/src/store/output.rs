//! Unfinished outputs outside of the store: what a killed `save`, `export` or `bundle` left beside its output path is removed by
//! the next removal, because a note in the store names it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};

use super::Store;
use base::fs::staging::StagedEntry;
use linux::place::Place;

/// A note about an unfinished output; `Drop` removes it.
#[derive(Debug)]
pub struct OutputNote {
    _note: StagedEntry,
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
            *note.borrow_mut() = Some(StagedEntry::note(&self.tmp(), &dir.join(name))?);
            Ok(())
        })?;
        let note = note.into_inner().context("an output without a name")?;
        Ok((staged, OutputNote { _note: note }))
    }
}
