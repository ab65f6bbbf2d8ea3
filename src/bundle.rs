//! The bundle: its directory, and its configuration, which is read once.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::config;
use crate::config::Config;

/// Largest configuration in bytes (real ones are below 100 KB; nine megabytes of annotations pass).
const MAX_CONFIG_BYTES: u64 = 32 * 1024 * 1024;

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

/// Opens the bundle at `dir` and reads `config`, default `config.json` in it.
///
/// # Errors
/// No directory, or a configuration that is missing, not a regular file, too large or wrong. Each error names the path
/// or the field.
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

/// Reads a regular file of at most 32 MiB. The path is the caller's and may name anything.
///
/// # Errors
/// A missing or too large file, or one that is not regular, because a fifo must not block croci.
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
    // the file may have grown since fstat(2)
    file.by_ref().take(MAX_CONFIG_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        bail!("more than {MAX_CONFIG_BYTES} bytes");
    }
    Ok(text)
}

/// Reads standard input to its end, at most 32 MiB of it.
///
/// # Errors
/// Standard input cannot be read.
pub(crate) fn read_stdin() -> Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open("/dev/stdin")
        .context("standard input")?
        .take(MAX_CONFIG_BYTES)
        .read_to_end(&mut text)
        .context("standard input")?;
    Ok(text)
}
