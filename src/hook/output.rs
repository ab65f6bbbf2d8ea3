//! Files for the output of hooks (HK-10).

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::plan::hook::OutputPaths;
use linux::place::Place;

/// Files for the standard streams of hooks. Of a stream without a file croci keeps the end for its error message.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// File for standard output.
    pub stdout: Option<File>,
    /// File for standard error.
    pub stderr: Option<File>,
}

impl Output {
    /// Opens the files and creates those that are missing. Not left to the hook, because inside the container the image
    /// decides what the paths lead to.
    ///
    /// # Errors
    /// A file cannot be opened or created: the error names its annotation.
    pub(crate) fn open(paths: &OutputPaths) -> Result<Output> {
        Ok(Output {
            stdout: open("stdout", paths.stdout.as_deref())?,
            stderr: open("stderr", paths.stderr.as_deref())?,
        })
    }

    /// Returns the files that are configured.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.stdout.iter().chain(&self.stderr)
    }
}

fn open(name: &str, path: Option<&Path>) -> Result<Option<File>> {
    let Some(path) = path else { return Ok(None) };
    let open = || -> std::io::Result<File> {
        let file = Place::find(path)?.append(0o600)?;
        // without O_NONBLOCK, because a hook that writes to a fifo has to wait for the reader
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(file)
    };
    Ok(Some(open().with_context(|| format!("annotations[\"run.oci.hooks.{name}\"]: {path:?}"))?))
}
