//! Files that get the output of hooks (HK-10).

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::plan::hook::OutputPaths;
use linux::place::Place;

/// Where the standard streams of hooks go; without a file croci keeps their end for its error message.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Their standard output.
    pub stdout: Option<File>,
    /// Their standard error.
    pub stderr: Option<File>,
}

impl Output {
    /// Opens the files, or makes them. Now and not by the hook: what their paths mean inside the container is the image's
    /// affair.
    ///
    /// # Errors
    /// A file that cannot be opened or made, by its annotation.
    pub(crate) fn open(paths: &OutputPaths) -> Result<Output> {
        Ok(Output {
            stdout: open("stdout", paths.stdout.as_deref())?,
            stderr: open("stderr", paths.stderr.as_deref())?,
        })
    }

    /// Those that are there.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.stdout.iter().chain(&self.stderr)
    }
}

fn open(name: &str, path: Option<&Path>) -> Result<Option<File>> {
    let Some(path) = path else { return Ok(None) };
    let open = || -> std::io::Result<File> {
        let file = Place::find(path)?.append(0o600)?;
        // a hook that writes to a fifo waits for its reader
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(file)
    };
    Ok(Some(open().with_context(|| format!("annotations[\"run.oci.hooks.{name}\"]: {path:?}"))?))
}
