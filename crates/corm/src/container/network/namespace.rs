//! A network namespace that a bind mount keeps, at a path in the run-time directory.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use linux::mount;
use linux::process;
use linux::process::CloneResult;

/// Creates a namespace and its path.
///
/// # Errors
/// The kernel permits none.
pub(super) fn create(path: &Path) -> Result<()> {
    let (ready, go) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
    match process::clone3(libc::CLONE_NEWNET as u64, None).context("create a network namespace")? {
        CloneResult::Child => {
            drop(go);
            // until the parent has mounted the namespace, or has ended
            let _ = nix::unistd::read(&ready, &mut [0]);
            process::exit(0)
        }
        CloneResult::Parent { pidfd, pid } => {
            let bound = join(path, pid);
            drop(go);
            process::wait(pidfd.as_fd(), true).context("wait for a child")?;
            bound
        }
    }
}

/// Mounts the namespace of a process at `path`.
///
/// # Errors
/// The process has ended.
pub(super) fn join(path: &Path, pid: i32) -> Result<()> {
    let context = || format!("{path:?}");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(context)?;
    let source = CString::new(format!("/proc/{pid}/ns/net"))?;
    let target = CString::new(path.as_os_str().as_bytes())?;
    mount::mount(&source, &target, c"", libc::MS_BIND, c"").with_context(context)
}

/// Unmounts and removes the path; the namespace ends with its last process. Does nothing when there is none.
///
/// # Errors
/// As umount2(2) and unlink(2).
pub(super) fn remove(path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    match mount::detach(&name) {
        // not mounted: in another mount namespace, or before a reboot
        Err(err) if matches!(err.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {}
        other => other.with_context(|| format!("unmount {path:?}"))?,
    }
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err).with_context(|| format!("remove {path:?}")),
        _ => Ok(()),
    }
}
