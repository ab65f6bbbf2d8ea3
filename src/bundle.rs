//! The bundle: its directory, and its configuration, which is read once.

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use linux::socket::wait_readable;

use crate::config;
use crate::config::Config;

/// Largest configuration in bytes (real ones are below 100 KB; nine megabytes of annotations pass).
const MAX_CONFIG_BYTES: u64 = 32 * 1024 * 1024;

/// Longest time to read a pipe, fifo or terminal to its end.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A bundle with its parsed configuration.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Absolute path of the directory.
    pub dir: PathBuf,
    /// The bytes of the configuration file, unchanged (CF-6).
    pub text: Vec<u8>,
    /// The parsed configuration.
    pub config: Config,
}

/// A document that the caller gives: a file, or its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A file; `-` is standard input.
    File(PathBuf),
    /// The text.
    Text(Vec<u8>),
}

impl<T: Into<PathBuf>> From<T> for Document {
    fn from(path: T) -> Document {
        Document::File(path.into())
    }
}

impl Document {
    /// Reads the document.
    ///
    /// # Errors
    /// As [`read`], with the `flag` that names the file.
    pub(crate) fn read(&self, flag: &str) -> Result<Vec<u8>> {
        match self {
            Document::File(path) => read(path).with_context(|| self.name(flag)),
            Document::Text(text) => Ok(text.clone()),
        }
    }

    /// Returns the name for errors: the flag with the path, or the flag alone.
    pub(crate) fn name(&self, flag: &str) -> String {
        match self {
            Document::File(path) => format!("{flag} {path:?}"),
            Document::Text(_) => flag.to_owned(),
        }
    }
}

/// Opens the bundle at `dir` and reads `config`, default `config.json` in it.
///
/// # Errors
/// No directory, or a configuration that is missing, not a regular file, too large or wrong. Each error names the path
/// or the field.
pub(crate) fn open(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
    let dir = dir.canonicalize().with_code(Code::BundleMissing, || format!("bundle {dir:?}"))?;
    if !dir.is_dir() {
        bail!(coded!(BundleMissing, "bundle {dir:?}: not a directory"));
    }
    let path = config.map_or_else(|| dir.join("config.json"), Path::to_owned);
    let text = if config.is_some() { read(&path) } else { read_regular(&path) }
        .with_code(Code::ConfigMissing, || hint(&path, &dir))?;
    let config = config::parse(&text).with_code(Code::ConfigInvalid, || format!("{path:?}"))?;
    Ok(Bundle { dir, text, config })
}

/// Reads the configuration of the bundle at `dir`, without parsing it.
///
/// # Errors
/// As [`open`], but for what is wrong in the configuration.
pub(crate) fn read_config(dir: &Path) -> Result<Vec<u8>> {
    let path = dir.join("config.json");
    read_regular(&path).with_code(Code::ConfigMissing, || hint(&path, dir))
}

fn hint(path: &Path, dir: &Path) -> String {
    if path.exists() { format!("{path:?}") } else { format!("{path:?} (is {dir:?} a bundle?)") }
}

/// Reads the configuration in a bundle; never waits for a fifo, which the bundle's owner may have put there.
///
/// # Errors
/// Missing, not a regular file, too large.
fn read_regular(path: &Path) -> Result<Vec<u8>> {
    let file = open_file(path)?;
    if !file.metadata()?.is_file() {
        bail!(coded!(FileInvalid, "not a regular file"));
    }
    read_to_end(file, TIMEOUT)
}

/// Reads a file that the caller has named: `-` is standard input, and a pipe (`<(command)`), fifo or terminal is read to
/// its end.
///
/// # Errors
/// Missing, a directory, too large, no end within `TIMEOUT`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_to_end(File::from(std::io::stdin().as_fd().try_clone_to_owned()?), TIMEOUT);
    }
    read_to_end(open_file(path)?, TIMEOUT)
}

/// Opens without waiting for the writer of a fifo.
fn open_file(path: &Path) -> Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    Ok(OpenOptions::new().read(true).custom_flags(flags).open(path)?)
}

/// Reads to the end of the file, for at most `timeout` when it is no regular file.
fn read_to_end(mut file: File, timeout: Duration) -> Result<Vec<u8>> {
    let meta = file.metadata()?;
    let mut text = Vec::with_capacity(usize::try_from(meta.len().min(MAX_CONFIG_BYTES))? + 1);
    if meta.is_file() {
        // one byte more than the limit shows that there is more
        file.by_ref().take(MAX_CONFIG_BYTES + 1).read_to_end(&mut text)?;
    } else {
        read_stream(&mut file, &mut text, Instant::now() + timeout)?;
    }
    if text.len() as u64 > MAX_CONFIG_BYTES {
        bail!(coded!(FileInvalid, "more than {MAX_CONFIG_BYTES} bytes"));
    }
    Ok(text)
}

/// Reads until the last writer has closed the file, or there is too much.
fn read_stream(file: &mut File, text: &mut Vec<u8>, deadline: Instant) -> Result<()> {
    let mut chunk = [0; 4096];
    while text.len() as u64 <= MAX_CONFIG_BYTES {
        if !wait_readable(file.as_fd(), deadline.saturating_duration_since(Instant::now()))? {
            bail!(coded!(FileInvalid, "no end of file within {TIMEOUT:?}"));
        }
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::io::Write as _;

    use super::*;
    use linux::testing::TempDir;

    #[test]
    fn a_stream_is_read_to_its_end_and_not_for_ever() {
        let dir = TempDir::new();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let started = Instant::now();
        let err = read_to_end(open_file(&path).unwrap(), Duration::from_millis(50)).unwrap_err();
        assert!(err.to_string().contains("no end of file"), "{err}");
        assert!(started.elapsed() < Duration::from_secs(5));
        let text = vec![b'x'; 100_000];
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut fifo = OpenOptions::new().write(true).open(&path).unwrap();
                for part in text.chunks(30_000) {
                    fifo.write_all(part).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            assert_eq!(read(&path).unwrap(), text);
            writer.join().unwrap();
        });
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("more than"));
        assert!(read(dir.path()).is_err() && read_regular(&path).is_err());
    }
}
