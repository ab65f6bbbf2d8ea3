//! The flags of `run` that change an image's configuration, parsed and checked.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::network::{Mode, Network};
use super::overrides::Overrides;
use super::settings::Settings;
use super::settings::mount_flag::{self, Mount};
use super::volume::{self, Volume};
use super::words::words;
use crate::cli::args;
use crate::container::log::Limits;
use linux::place;

/// Maximum size of a file of variables or labels, in bytes.
const MAX_LINES: u64 = 1 << 20;

/// Settings that override the image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Command that replaces the image's Cmd.
    pub command: Vec<String>,
    /// Command when neither caller nor image names a program.
    pub fallback: Vec<String>,
    /// Entrypoint that replaces the image's, and its Cmd.
    pub entrypoint: Option<Vec<String>>,
    /// Labels, beside the image's.
    pub labels: BTreeMap<String, String>,
    /// Environment variables `K=V`, which replace the image's.
    pub env: Vec<String>,
    /// Working directory that replaces the image's.
    pub workdir: Option<String>,
    /// User that replaces the image's.
    pub user: Option<String>,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Rows and columns of that terminal from the program's start: those of the caller's.
    pub console_size: Option<(u16, u16)>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Log rotation.
    pub log: Limits,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Host name; absent: the first digits of the container's ID.
    pub hostname: Option<String>,
    /// Whether the container uses the host's network.
    pub host_network: bool,
    /// Network.
    pub network: Network,
    /// Settings by flags that change more than the process.
    pub settings: Settings,
}

impl RunOptions {
    /// Parses the flags of `run`.
    ///
    /// # Errors
    /// A malformed volume or variable, a source that does not exist.
    pub fn new(run: &args::Run) -> Result<Self> {
        let network = Network::new(&run.network)?;
        run.settings.check(run.hostname.is_some())?;
        let (volumes, settings) = mounts(run)?;
        Ok(Self {
            command: run.command.clone(),
            fallback: Vec::new(),
            entrypoint: run.entrypoint.as_deref().map(entrypoint).transpose()?,
            labels: labels(&[lines_of(&run.label_files, "--label-file")?, run.labels.clone()].concat())?,
            env: environment(&[lines_of(&run.env_files, "--env-file")?, run.env.clone()].concat())?,
            workdir: run.workdir.clone(),
            user: run.user.clone(),
            tty: run.tty,
            console_size: if run.tty { console_size() } else { None },
            volumes,
            log: run.log,
            read_only: run.read_only,
            hostname: run.hostname.as_deref().map(hostname).transpose()?,
            host_network: network.mode == Mode::Host,
            network,
            settings,
        })
    }

    /// Returns what a commit keeps.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            entrypoint: self.entrypoint.clone(),
            command: self.command.clone(),
            env: self.env.clone(),
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            labels: self.labels.clone(),
        }
    }
}

/// Parses `-v` and `--mount`: returns the volumes, and the settings with the file systems in memory.
fn mounts(run: &args::Run) -> Result<(Vec<Volume>, Settings)> {
    let of_volume = |text: &String| volume::parse(text).with_code(Code::UsageValue, || format!("--volume {text:?}"));
    let mut volumes = run.volumes.iter().map(of_volume).collect::<Result<Vec<_>>>()?;
    let mut settings = run.settings.clone();
    for text in &settings.mounts {
        match mount_flag::parse(text).with_code(Code::UsageValue, || format!("--mount {text:?}"))? {
            Mount::Volume(volume) => volumes.push(volume),
            Mount::Tmpfs(tmpfs) => settings.tmpfs.push(tmpfs),
        }
    }
    let of_volumes = volumes.iter().map(|volume| volume.destination.as_path());
    volume::check_all(of_volumes.chain(settings.tmpfs.iter().map(|tmpfs| tmpfs.destination.as_path())).collect())?;
    Ok((volumes, settings))
}

/// Reads the lines of files of variables or labels; empty ones and those with `#` are comments.
///
/// # Errors
/// A file cannot be read, or is too large.
pub fn lines_of(files: &[PathBuf], flag: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for path in files {
        let context = || format!("{flag} {path:?}");
        let mut text = String::new();
        let file = place::open_to_read(path).with_context(context)?;
        file.take(MAX_LINES + 1).read_to_string(&mut text).with_context(context)?;
        ensure!(text.len() as u64 <= MAX_LINES, coded!(UsageValue, "{}: more than {MAX_LINES} bytes", context()));
        let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        all.extend(lines.map(str::to_owned));
    }
    Ok(all)
}

/// Parses `--entrypoint`: a JSON list, or one program, as in Docker and Podman.
fn entrypoint(text: &str) -> Result<Vec<String>> {
    match text {
        "" => Ok(Vec::new()),
        _ if text.starts_with('[') => words(text).code(Code::UsageValue, "--entrypoint"),
        program => Ok(vec![program.to_owned()]),
    }
}

/// Parses labels `K=V`; one without a value is empty.
fn labels(given: &[String]) -> Result<BTreeMap<String, String>> {
    let label = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        ensure!(!key.is_empty(), coded!(UsageValue, "--label {text:?}: not of the form NAME=VALUE"));
        Ok((key.to_owned(), value.to_owned()))
    };
    given.iter().map(label).collect()
}

/// Returns `K=V` unchanged, and `K` with its value in corm's own environment; an unset `K` is omitted.
///
/// # Errors
/// An empty name, a NUL.
pub fn environment(given: &[String]) -> Result<Vec<String>> {
    let mut env = Vec::with_capacity(given.len());
    for text in given {
        let name = text.split_once('=').map_or(text.as_str(), |(name, _)| name);
        ensure!(
            !name.is_empty() && !text.contains('\0'),
            coded!(UsageValue, "--env {text:?}: not of the form NAME=VALUE")
        );
        if name.len() < text.len() {
            env.push(text.clone());
        } else if let Some(value) = std::env::var_os(name) {
            let value = value
                .into_string()
                .ok()
                .with_code(Code::UsageValue, || format!("--env {name}: its value is not UTF-8"))?;
            env.push(format!("{name}={value}"));
        }
    }
    Ok(env)
}

/// Checks a host name: the characters and length that sethostname(2) and other programs accept.
fn hostname(text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    ensure!(
        !text.is_empty() && text.len() <= 64 && text.chars().all(good),
        coded!(UsageValue, "--hostname {text:?}: must be 1 to 64 letters, digits, `-`, `.`")
    );
    Ok(text.to_owned())
}

/// Returns rows and columns of the terminal on standard input.
fn console_size() -> Option<(u16, u16)> {
    let size = linux::term::window_size(std::io::stdin().as_fd()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_variable_without_a_value_is_the_callers() {
        let env = environment(&["A=1".into(), "B=".into(), "PATH".into(), "SURELY_NOT_SET_HERE".into()]).unwrap();
        assert_eq!(env.len(), 3);
        assert!(env[0] == "A=1" && env[1] == "B=" && env[2].starts_with("PATH="));
        for bad in ["", "=x", "a\0b=c"] {
            assert!(environment(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn host_names_are_plain() {
        assert!(hostname("web-1.example").is_ok());
        for bad in ["", "a b", "a/b", "a\n", &"x".repeat(65)] {
            assert!(hostname(bad).is_err(), "{bad:?}");
        }
    }
}
