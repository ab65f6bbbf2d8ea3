//! The flags of `run` that change an image's configuration, parsed and checked.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use serde::{Deserialize, Serialize};

use crate::cli::args;
use crate::container::log::Limits;

/// A volume: a file or directory of the host that is bind mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Path on the host, absolute.
    pub source: PathBuf,
    /// Path in the container, absolute, without `.` and `..`.
    pub destination: PathBuf,
    /// Whether the mount is read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Settings that override the image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Command that replaces the image's Cmd.
    pub command: Vec<String>,
    /// Command when neither caller nor image names a program.
    pub fallback: Vec<String>,
    /// Environment variables `K=V`, which replace the image's.
    pub env: Vec<String>,
    /// Working directory that replaces the image's.
    pub workdir: Option<String>,
    /// User that replaces the image's.
    pub user: Option<String>,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// CPU time in microseconds for each [`args::CPU_PERIOD`].
    pub cpu_quota: Option<u64>,
    /// Maximum number of processes; -1 for no limit.
    pub pids_limit: Option<i64>,
    /// Log rotation.
    pub log: Limits,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Host name; absent: the first digits of the container's ID.
    pub hostname: Option<String>,
    /// Whether the container uses the host's network.
    pub host_network: bool,
}

impl RunOptions {
    /// Parses the flags of `run`.
    ///
    /// # Errors
    /// A malformed volume or variable, a source that does not exist.
    pub fn new(run: &args::Run) -> Result<Self> {
        Ok(Self {
            command: run.command.clone(),
            fallback: Vec::new(),
            env: environment(&run.env)?,
            workdir: run.workdir.clone(),
            user: run.user.clone(),
            tty: run.tty,
            volumes: run.volumes.iter().map(|text| volume(text)).collect::<Result<_>>()?,
            memory: run.memory,
            cpu_quota: run.cpu_quota,
            pids_limit: run.pids_limit,
            log: run.log,
            read_only: run.read_only,
            hostname: run.hostname.as_deref().map(hostname).transpose()?,
            host_network: run.host_network,
        })
    }
}

/// Returns `K=V` unchanged, and `K` with its value in corm's own environment; an unset `K` is omitted.
///
/// # Errors
/// An empty name, a NUL.
pub fn environment(given: &[String]) -> Result<Vec<String>> {
    let mut env = Vec::with_capacity(given.len());
    for text in given {
        let name = text.split_once('=').map_or(text.as_str(), |(name, _)| name);
        ensure!(!name.is_empty() && !text.contains('\0'), "--env {text:?}: not of the form NAME=VALUE");
        if name.len() < text.len() {
            env.push(text.clone());
        } else if let Some(value) = std::env::var_os(name) {
            let value = value.into_string().ok().with_context(|| format!("--env {name}: its value is not UTF-8"))?;
            env.push(format!("{name}={value}"));
        }
    }
    Ok(env)
}

/// Parses `SRC:DST[:ro]`.
fn volume(text: &str) -> Result<Volume> {
    let context = || format!("--volume {text:?}");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, read_only) = match parts.as_slice() {
        [source, destination] | [source, destination, "rw"] => (source, destination, false),
        [source, destination, "ro"] => (source, destination, true),
        _ => bail!("{}: not of the form SRC:DST[:ro]", context()),
    };
    ensure!(!source.is_empty() && !destination.is_empty(), "{}: not of the form SRC:DST[:ro]", context());
    // checked before anything is created, because the runtime's error would come late and look like one of the program
    let source = std::fs::canonicalize(source).with_context(|| format!("{}: source {source:?}", context()))?;
    let destination = destination_path(destination).with_context(context)?;
    Ok(Volume { source, destination, read_only })
}

impl Volume {
    /// Opens the source without blocking. Its path had no symlink when the container was created, so a symlink now was
    /// created since, perhaps by another user. Paths in the store `own`, which has the image's volumes, were checked
    /// when it was opened.
    ///
    /// # Errors
    /// A symlink in the path; as open(2).
    pub fn open_source(&self, own: &Path) -> Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        self.find_source(flags, own).map(File::from)
    }

    /// Checks the path of the source without opening it.
    ///
    /// # Errors
    /// As [`Volume::open_source`].
    pub fn check_source(&self, own: &Path) -> Result<()> {
        self.find_source(OFlag::O_PATH | OFlag::O_CLOEXEC, own).map(drop)
    }

    fn find_source(&self, flags: OFlag, own: &Path) -> Result<OwnedFd> {
        let links = if self.source.starts_with(own) { ResolveFlag::empty() } else { ResolveFlag::RESOLVE_NO_SYMLINKS };
        let how = OpenHow::new().flags(flags).resolve(links);
        match openat2(AT_FDCWD, &self.source, how) {
            Err(Errno::ELOOP) => bail!("{:?}: the path has a symlink", self.source),
            found => found.with_context(|| format!("{:?}", self.source)),
        }
    }
}

/// Parses a destination in the container: absolute and normalised.
fn destination_path(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    ensure!(path.is_absolute(), "{text:?}: not an absolute path");
    ensure!(!text.contains(|c: char| c.is_control()), "{text:?}: has control characters");
    ensure!(!path.components().any(|part| part == Component::ParentDir), "{text:?}: must not have `..`");
    let clean: PathBuf = path.components().collect();
    ensure!(clean != Path::new("/"), "{text:?}: is the root");
    // the kernel's file systems must not be covered by an image or by accident
    let taken = ["/proc", "/sys"].iter().any(|taken| clean.starts_with(taken));
    ensure!(!taken, "{text:?}: is in /proc or /sys");
    Ok(clean)
}

/// Parses a volume of the image's configuration. A path below `/dev` is refused, because an image must not choose
/// devices.
///
/// # Errors
/// As for `--volume`, and a path below `/dev`.
pub(super) fn image_volume(text: &str) -> Result<PathBuf> {
    let path = destination_path(text).context("config.Volumes of the image")?;
    ensure!(!path.starts_with("/dev"), "config.Volumes of the image: {text:?}: is in /dev");
    Ok(path)
}

/// Checks a host name: the characters and length that sethostname(2) and other programs accept.
fn hostname(text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    ensure!(
        !text.is_empty() && text.len() <= 64 && text.chars().all(good),
        "--hostname {text:?}: must be 1 to 64 letters, digits, `-`, `.`"
    );
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn volumes_name_two_places() {
        let made = |text| volume(text).map(|v| (v.destination, v.read_only));
        assert_eq!(made("/tmp:/data").unwrap(), ("/data".into(), false));
        assert_eq!(made("/tmp:/data/./x//y/:ro").unwrap(), ("/data/x/y".into(), true));
        assert_eq!(made("/tmp:/a b:rw").unwrap(), ("/a b".into(), false));
        let bad = [
            "",
            "/tmp",
            ":/x",
            "/tmp:",
            "/tmp:x",
            "/tmp:/x:rx",
            "/tmp:/x:ro:rw",
            "/tmp:/",
            "/tmp:/../etc",
            "/tmp:/a/../b",
            "/tmp:/proc",
            "/tmp:/proc/1",
            "/tmp:/sys",
            "/nowhere-at-all:/x",
            "/tmp:/a\nb",
        ];
        for text in bad {
            assert!(volume(text).is_err(), "{text:?}");
        }
    }

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
