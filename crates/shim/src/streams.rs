//! Standard streams of a process: fifos of containerd's client, a log, or a terminal.
//!
//! Without a terminal the container gets the fifos themselves, so that nothing is copied. The shim keeps the other end of each
//! open: a client that goes away is no end of file for the program, and a client that comes late finds what was written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::logger::{self, Uri};
use super::relay::Relay;
use croci::api::Streams;

/// Where the client wants the streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    /// Fifo, or empty.
    pub stdin: String,
    /// Fifo, URI of a log, or empty.
    pub stdout: String,
    /// As `stdout`; not used with a terminal.
    pub stderr: String,
    /// The process has a terminal.
    pub terminal: bool,
}

/// The shim's side of the streams of a process.
#[derive(Debug, Default)]
pub(crate) struct Io {
    /// End of standard input: its closing is the end of file for the program, when the client has closed its own.
    stdin: Option<OwnedFd>,
    /// The other ends of standard output and error, never read.
    others: Vec<OwnedFd>,
    /// The terminal, when the process exists.
    pub relay: Option<Relay>,
    /// Ends of the terminal's streams, until then.
    pending: Option<(Option<OwnedFd>, Option<OwnedFd>)>,
}

impl Io {
    /// Opens the streams. Returns the container's ends, too.
    ///
    /// # Errors
    /// A path cannot be opened; the program of a log cannot be started.
    pub(crate) fn open(paths: &Paths, namespace: &str, id: &str) -> Result<(Io, Streams)> {
        let mut io = Io::default();
        let input = if paths.stdin.is_empty() { None } else { Some(io.open_input(&paths.stdin)?) };
        if paths.terminal {
            let output = io.open_outputs(&paths.stdout, "", namespace, id)?.0;
            io.pending = Some((input, output));
            return Ok((io, Streams::default()));
        }
        let (output, error) = io.open_outputs(&paths.stdout, &paths.stderr, namespace, id)?;
        Ok((io, Streams::new(input, output, error)))
    }

    /// Connects the terminal of the process.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn connect(&mut self, master: Option<OwnedFd>) -> Result<()> {
        if let (Some(master), Some((input, output))) = (master, self.pending.take()) {
            self.relay = Some(Relay::new(master, input, output)?);
        }
        Ok(())
    }

    /// Closes standard input: the program has an end of file when the client has closed it, too.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Opens the fifo for standard input.
    fn open_input(&mut self, path: &str) -> Result<OwnedFd> {
        if !is_fifo(path) {
            return Ok(File::open(path).with_context(|| format!("stdin {path:?}"))?.into());
        }
        let open = |options: &mut OpenOptions| options.open(path).with_context(|| format!("stdin {path:?}"));
        // an open for both never waits, and with it neither do the others
        let _both = open(OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK))?;
        self.stdin = Some(open(OpenOptions::new().write(true))?.into());
        Ok(open(OpenOptions::new().read(true))?.into())
    }

    /// Opens standard output and error.
    fn open_outputs(
        &mut self,
        stdout: &str,
        stderr: &str,
        namespace: &str,
        id: &str,
    ) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        match Uri::parse(stdout)? {
            Some(uri) if uri.scheme == "binary" => {
                let (output, error) = logger::start(&uri, namespace, id)?;
                Ok((Some(output), Some(error)))
            }
            Some(uri) if uri.scheme == "file" => {
                let output = open_log(&uri.path)?;
                let error = output.try_clone().context("copy the descriptor of the log")?;
                Ok((Some(output), Some(error)))
            }
            Some(uri) if uri.scheme != "fifo" => bail!("stdout {stdout:?}: {:?} is no scheme of a log", uri.scheme),
            _ => Ok((self.open_output(stdout)?, self.open_output(stderr)?)),
        }
    }

    fn open_output(&mut self, path: &str) -> Result<Option<OwnedFd>> {
        let path = path.strip_prefix("fifo://").unwrap_or(path);
        if path.is_empty() {
            return Ok(None);
        }
        let open = |options: &mut OpenOptions| options.open(path).with_context(|| format!("output {path:?}"));
        if !is_fifo(path) {
            return Ok(Some(open(OpenOptions::new().append(true))?.into()));
        }
        let _both = open(OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK))?;
        self.others.push(open(OpenOptions::new().read(true))?.into());
        Ok(Some(open(OpenOptions::new().write(true))?.into()))
    }
}

fn is_fifo(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Opens the file of a `file://` log, with its directories.
fn open_log(path: &str) -> Result<OwnedFd> {
    if let Some(dir) = Path::new(path).parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir).with_context(|| format!("create {dir:?}"))?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o644).open(path);
    Ok(file.with_context(|| format!("open the log {path:?}"))?.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_client_that_comes_late_finds_what_was_written() {
        let path = std::env::temp_dir().join(format!("croci-shim-fifo-{}", std::process::id()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let name = path.to_str().unwrap();
        let mut io = Io::default();
        let output = io.open_output(name).unwrap().unwrap();
        File::from(output).write_all(b"line\n").unwrap();
        // the program has ended; a client that waits for a writer would wait for ever
        let mut client = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "line\n");
    }
}
