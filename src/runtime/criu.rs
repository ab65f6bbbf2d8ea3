//! The common part of `checkpoint` and `restore`: CRIU's directories, options and requests.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::options;
use crate::criu;
use crate::criu::CgroupMode;
use crate::criu::CriuRequestType;
use crate::criu::NetworkLock;
use crate::criu::Notify;
use crate::criu::Options;
use crate::criu::Request;
use crate::criu::Swrk;
use base::signal_guard::Interrupted;
use linux::place;

/// File of the images with the standard streams of the container's process: a JSON array of three strings, as in runc.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// Annotation with the path of CRIU's configuration file for a container; empty for none.
const CONFIG_ANNOTATION: &str = "org.criu.config";
/// CRIU's configuration files for all containers, of which the first that exists is used; the second is runc's.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/croci.conf", "/etc/criu/runc.conf"];

/// CRIU's log level: the one that its documentation requires for bug reports.
const LOG_LEVEL: i32 = 4;

/// A failed response of CRIU.
#[derive(Debug)]
struct CriuError {
    /// CRIU's message; empty when its log has a better one.
    message: String,
    /// Error number, or 0.
    errno: i32,
}

impl std::fmt::Display for CriuError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("criu failed")?;
        if self.errno > 0 {
            write!(f, ": {}", base::error::errno_text(self.errno))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for CriuError {}

/// The open directories of one CRIU run.
#[derive(Debug)]
pub(super) struct Dirs {
    /// Directory of `--image-path`.
    pub images: OwnedFd,
    /// Absolute path of that directory.
    pub images_path: PathBuf,
    work_path: Option<PathBuf>,
    log_name: &'static str,
    /// Directory of CRIU's log: that of `--work-path`, else that of the images.
    log_dir: OwnedFd,
    /// Path of CRIU's log.
    log: PathBuf,
}

impl Dirs {
    /// Opens the directories; creates missing ones when `make` is true. They are not removed after an error, because
    /// CRIU's log is in them, as with other runtimes.
    ///
    /// # Errors
    /// As open(2) and mkdir(2), with the flag and the path. Another user may write to a directory in which CRIU writes,
    /// where CRIU would follow symlinks.
    pub(super) fn open(args: &options::Criu, log_name: &'static str, make: bool) -> Result<Dirs> {
        let images_path = std::path::absolute(&args.image_path).context("--image-path")?;
        let written = make || args.work_path.is_none();
        let images = open_dir(&images_path, make, written).with_context(|| format!("--image-path {images_path:?}"))?;
        let work_path = args.work_path.as_deref().map(std::path::absolute).transpose().context("--work-path")?;
        let (log_dir, log) = match &work_path {
            // also created by a restore
            Some(path) => {
                (open_dir(path, true, true).with_context(|| format!("--work-path {path:?}"))?, path.join(log_name))
            }
            None => (images.try_clone().context("--image-path")?, images_path.join(log_name)),
        };
        // because after a failure the log of an earlier run would be reported
        let _ = unlinkat(&log_dir, log_name, UnlinkatFlags::NoRemoveDir);
        Ok(Dirs { images, images_path, work_path, log_name, log_dir, log })
    }

    /// Opens both directories in CRIU's process: that of the images, then that of the log.
    ///
    /// # Errors
    /// As [`Dirs::open`].
    pub(super) fn for_criu(&self) -> Result<Vec<OwnedFd>> {
        let work = self.work_path.as_ref().unwrap_or(&self.images_path);
        let open = |path: &Path| open_dir(path, false, false).with_context(|| format!("{path:?}"));
        Ok(vec![open(&self.images_path)?, open(work)?])
    }

    fn open_log(&self) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.log_dir, self.log_name, flags, Mode::empty()).ok()?);
        file.metadata().ok()?.is_file().then_some(file)
    }

    /// Adds an excerpt of CRIU's log to an error.
    pub(super) fn explain(&self, err: anyhow::Error) -> anyhow::Error {
        let text = self.open_log().and_then(criu::log::excerpt);
        match (err.downcast_ref::<CriuError>(), text) {
            (Some(failure), Some(text)) => {
                let short = CriuError { message: String::new(), errno: failure.errno };
                anyhow::anyhow!("{short}: {text} (all of it in {:?})", self.log)
            }
            (None, Some(text)) if err.downcast_ref::<Interrupted>().is_none() => {
                anyhow::anyhow!("{}: {text} (all of it in {:?})", base::error::describe(&err), self.log)
            }
            _ => err,
        }
    }
}

fn open_dir(path: &Path, make: bool, written: bool) -> Result<OwnedFd> {
    if make {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    }
    let dir = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    if written && place::is_open_to_others(&nix::sys::stat::fstat(&dir)?) {
        bail!("other users may write to it: criu would follow their symlinks");
    }
    Ok(dir)
}

/// Converts a path to a string for CRIU's messages.
///
/// # Errors
/// The path is not UTF-8.
pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{path:?}: is not UTF-8, which criu needs"))
}

/// Returns the options that are the same for both verbs.
///
/// # Errors
/// A path is not UTF-8.
pub(super) fn options(
    args: &options::Criu,
    dirs: &Dirs,
    annotations: &BTreeMap<String, String>,
    own_cgroup: bool,
) -> Result<Options> {
    let cgroup_mode = match args.cgroups {
        options::CgroupsMode::Default => None,
        options::CgroupsMode::Soft => Some(CgroupMode::Soft),
        options::CgroupsMode::Full => Some(CgroupMode::Full),
        options::CgroupsMode::Strict => Some(CgroupMode::Strict),
        options::CgroupsMode::Ignore => Some(CgroupMode::Ignore),
    };
    let network_lock = match args.network_lock {
        options::NetworkLock::Default => None,
        options::NetworkLock::Iptables => Some(NetworkLock::Iptables),
        options::NetworkLock::Nftables => Some(NetworkLock::Nftables),
        options::NetworkLock::Skip => Some(NetworkLock::Skip),
    };
    Ok(Options {
        log_level: LOG_LEVEL,
        log_file: dirs.log_name,
        config_file: config_file(annotations),
        ext_unix_sk: args.ext_unix_sk,
        tcp_established: args.tcp_established,
        tcp_close: args.tcp_close,
        shell_job: args.shell_job,
        file_locks: args.file_locks,
        auto_dedup: args.auto_dedup,
        lazy_pages: args.lazy_pages,
        notify_scripts: true,
        orphan_pts_master: true,
        // only for a cgroup that croci has created, because CRIU must not change another one
        manage_cgroups: own_cgroup,
        cgroup_mode: if own_cgroup { cgroup_mode } else { Some(CgroupMode::Ignore) },
        network_lock,
        empty_ns: if args.empty_network { libc::CLONE_NEWNET as u32 } else { 0 },
        ..Options::default()
    })
}

fn config_file(annotations: &BTreeMap<String, String>) -> Option<String> {
    match annotations.get(CONFIG_ANNOTATION) {
        Some(path) => Some(path.clone()).filter(|path| !path.is_empty()),
        None => CONFIG_FILES.into_iter().find(|path| Path::new(path).exists()).map(str::to_owned),
    }
}

/// Checks that CRIU and the kernel support the features that the flags need.
///
/// # Errors
/// A feature is missing: the error names the flag.
pub(super) fn require(program: &Path, mem_track: bool, lazy_pages: bool) -> Result<()> {
    if !mem_track && !lazy_pages {
        return Ok(());
    }
    let has = criu::swrk::features(program)?;
    if mem_track && !has.0 {
        bail!("--pre-dump, --parent-path: criu cannot track changed memory on this kernel");
    }
    if lazy_pages && !has.1 {
        bail!("--lazy-pages: criu does not support it on this kernel (userfaultfd)");
    }
    Ok(())
}

/// Sends a request and waits for its response. Calls `notice` for each notification, and `wait` before each message.
///
/// # Errors
/// The error of `notice`, because CRIU then fails too; else CRIU's own.
pub(super) fn converse(
    criu: &mut Swrk,
    kind: CriuRequestType,
    options: &mut Options,
    wait: &dyn Fn(BorrowedFd<'_>) -> Result<()>,
    notice: &mut dyn FnMut(&Notify, Option<OwnedFd>) -> Result<()>,
) -> Result<()> {
    options.images_dir_fd = *criu.opened.first().context("criu has no directory of images")?;
    options.work_dir_fd = criu.opened.get(1).copied();
    criu.send(&Request::Do(kind, options))?;
    let mut failed = None;
    loop {
        wait(criu.fd())?;
        let criu::CriuResponse { response, fd } = criu.receive()?;
        match response.kind {
            CriuRequestType::Notify => {
                let noticed = if failed.is_none() { notice(&response.notify, fd) } else { Ok(()) };
                criu.send(&Request::NotifyReply(noticed.is_ok()))?;
                if let Err(err) = noticed {
                    failed = Some(err);
                }
            }
            _ if failed.is_some() => break,
            answer if answer == kind && response.success => return Ok(()),
            _ => return Err(CriuError { message: response.message, errno: response.errno }.into()),
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_names_crius_configuration_file() {
        let annotations = |value: &str| BTreeMap::from([(CONFIG_ANNOTATION.to_owned(), value.to_owned())]);
        assert_eq!(config_file(&annotations("/x.conf")).as_deref(), Some("/x.conf"));
        assert_eq!(config_file(&annotations("")), None, "none at all, not the host's");
    }
}
