//! Parts that `checkpoint` and `restore` share: CRIU's directories, common options, the exchange of messages.

use base::coded;
use base::error::{Code, Coding as _};
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

/// File in the images with the standard streams of the container's process: a JSON array of three strings, as runc's.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// Annotation with CRIU's configuration file for a container; an empty value means none.
const CONFIG_ANNOTATION: &str = "org.criu.config";
/// Configuration files of CRIU for all containers; the second is for hosts that have runc.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/croci.conf", "/etc/criu/runc.conf"];

/// Log level that CRIU's documentation requests for bug reports.
const LOG_LEVEL: i32 = 4;

/// A failure that CRIU reports.
#[derive(Debug)]
struct CriuError {
    /// Message of CRIU; its log may have a better one.
    message: String,
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

/// Open directories of one run of CRIU.
#[derive(Debug)]
pub(super) struct Dirs {
    /// Directory of `--image-path`.
    pub images: OwnedFd,
    /// Absolute path of that directory.
    pub images_path: PathBuf,
    work_path: Option<PathBuf>,
    log_name: &'static str,
    /// Directory of CRIU's log: the work path if there is one, else the images.
    log_dir: OwnedFd,
    log: PathBuf,
}

impl Dirs {
    /// Opens the directories, and with `make` creates them. They are not removed after a failure, as with other
    /// runtimes, because CRIU's log is in them.
    ///
    /// # Errors
    /// Names the flag and the path. A directory to which CRIU writes is refused if other users may write to it, because
    /// CRIU follows symlinks there.
    pub(super) fn open(args: &options::Criu, log_name: &'static str, make: bool) -> Result<Dirs> {
        let images_path = std::path::absolute(&args.image_path).code(Code::UsageValue, "--image-path")?;
        let written = make || args.work_path.is_none();
        let images = open_dir(&images_path, make, written)
            .with_code(Code::UsageValue, || format!("--image-path {images_path:?}"))?;
        let work_path =
            args.work_path.as_deref().map(std::path::absolute).transpose().code(Code::UsageValue, "--work-path")?;
        let (log_dir, log) = match &work_path {
            // created also for a restore, because CRIU writes its log there
            Some(path) => (
                open_dir(path, true, true).with_code(Code::UsageValue, || format!("--work-path {path:?}"))?,
                path.join(log_name),
            ),
            None => (images.try_clone().code(Code::UsageValue, "--image-path")?, images_path.join(log_name)),
        };
        // because the log of an earlier run would be read as that of this one
        let _ = unlinkat(&log_dir, log_name, UnlinkatFlags::NoRemoveDir);
        Ok(Dirs { images, images_path, work_path, log_name, log_dir, log })
    }

    /// Opens the directories again in the process that becomes CRIU: first that of the images, then that of the log.
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

    /// Adds the errors in CRIU's log to the error `err`.
    pub(super) fn explain(&self, err: anyhow::Error) -> anyhow::Error {
        let text = self.open_log().and_then(criu::log::excerpt);
        match (err.downcast_ref::<CriuError>(), text) {
            (Some(refused), Some(text)) => {
                let short = CriuError { message: String::new(), errno: refused.errno };
                anyhow::anyhow!(coded!(CriuFailed, "{short}: {text} (all of it in {:?})", self.log))
            }
            (None, Some(text)) if err.downcast_ref::<Interrupted>().is_none() => {
                anyhow::anyhow!(coded!(
                    CriuFailed,
                    "{}: {text} (all of it in {:?})",
                    base::error::describe(&err),
                    self.log
                ))
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
        bail!(coded!(StateUnsafe, "other users may write to it: criu would follow their symlinks"));
    }
    Ok(dir)
}

/// Converts a path to the text that CRIU needs.
///
/// # Errors
/// The path is not UTF-8.
pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_code(Code::CriuFailed, || format!("{path:?}: is not UTF-8, which criu needs"))
}

/// Builds the options that have the same meaning for both requests.
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
        // CRIU must not change a cgroup that is not the container's
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

/// Checks that CRIU and the kernel have the features that the flags need.
///
/// # Errors
/// Names the flag whose feature is missing.
pub(super) fn require(program: &Path, mem_track: bool, lazy_pages: bool) -> Result<()> {
    if !mem_track && !lazy_pages {
        return Ok(());
    }
    let has = criu::swrk::features(program)?;
    if mem_track && !has.0 {
        bail!(coded!(CriuFailed, "--pre-dump, --parent-path: criu cannot track changed memory on this kernel"));
    }
    if lazy_pages && !has.1 {
        bail!(coded!(CriuFailed, "--lazy-pages: criu cannot do that on this kernel (userfaultfd)"));
    }
    Ok(())
}

/// Sends a request to CRIU and answers its notifications by `notice` until it is done; `wait` waits for each message.
///
/// # Errors
/// `notice` failed, or else CRIU did. The former comes first because CRIU's failure follows from it.
pub(super) fn converse(
    criu: &mut Swrk,
    kind: CriuRequestType,
    options: &mut Options,
    wait: &dyn Fn(BorrowedFd<'_>) -> Result<()>,
    notice: &mut dyn FnMut(&Notify, Option<OwnedFd>) -> Result<()>,
) -> Result<()> {
    options.images_dir_fd = *criu.opened.first().code(Code::CriuFailed, "criu has no directory of images")?;
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
            answered if answered == kind && response.success => return Ok(()),
            _ => {
                return Err(
                    Code::CriuFailed.attach(CriuError { message: response.message, errno: response.errno }.into())
                );
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_names_crius_settings() {
        let annotations = |value: &str| BTreeMap::from([(CONFIG_ANNOTATION.to_owned(), value.to_owned())]);
        assert_eq!(config_file(&annotations("/x.conf")).as_deref(), Some("/x.conf"));
        assert_eq!(config_file(&annotations("")), None, "none at all, not the host's");
    }
}
