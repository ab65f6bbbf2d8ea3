//! Opening a bundle: the directory, and its configuration read once.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::config;
use crate::config::Config;

/// A configuration larger than this is a mistake (real ones are below 100 KB; nine megabytes of annotations pass).
const MAX_CONFIG_BYTES: u64 = 32 * 1024 * 1024;

/// A bundle, read.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Absolute path of the directory.
    pub dir: PathBuf,
    /// The configuration's text, kept as it is (CF-6).
    pub text: Vec<u8>,
    /// The configuration.
    pub config: Config,
}

/// Opens the bundle at `dir` and reads `config`, default `config.json` in it.
///
/// # Errors
/// Not a bundle; the configuration is missing, no regular file, too large or wrong: each names the path or the field.
pub(crate) fn open(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
    let dir = dir.canonicalize().with_context(|| format!("bundle {dir:?}"))?;
    if !dir.is_dir() {
        bail!("bundle {dir:?}: not a directory");
    }
    let path = config.map_or_else(|| dir.join("config.json"), Path::to_owned);
    let text = read(&path).with_context(|| hint(&path, &dir))?;
    let config = config::parse(&text).with_context(|| format!("{path:?}"))?;
    Ok(Bundle { dir, text, config })
}

fn hint(path: &Path, dir: &Path) -> String {
    if path.exists() { format!("{path:?}") } else { format!("{path:?} (is {dir:?} a bundle?)") }
}

/// Reads a regular file that a person or a caller has named, whatever it may turn out to be.
///
/// # Errors
/// Missing, not a regular file (a fifo must not hold croci up), too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        bail!("not a regular file");
    }
    if meta.len() > MAX_CONFIG_BYTES {
        bail!("{} bytes are more than the {MAX_CONFIG_BYTES} that a configuration may have", meta.len());
    }
    let mut text = Vec::with_capacity(meta.len() as usize + 1);
    // it may grow
    file.by_ref().take(MAX_CONFIG_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        bail!("more than {MAX_CONFIG_BYTES} bytes");
    }
    Ok(text)
}

/// Standard input to its end, with the same limit.
///
/// # Errors
/// It cannot be read, or does not end.
pub(crate) fn read_stdin() -> Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open("/dev/stdin")
        .context("standard input")?
        .take(MAX_CONFIG_BYTES)
        .read_to_end(&mut text)
        .context("standard input")?;
    Ok(text)
}
