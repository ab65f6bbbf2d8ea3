//! Pausing of a container while its tree is read; it is resumed even if corm is killed.
//!
//! A forked process pauses the container, and resumes it when corm's end of a pipe is closed, which the kernel does for
//! a killed corm.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};

use crate::container::runtime::Runtime;
use base::error::describe;
use linux::process;
use linux::process::CloneResult;
use linux::process::ExitStatus;

/// A paused container; `end` or `Drop` resumes it.
#[derive(Debug)]
pub(super) struct Paused {
    hold: Option<OwnedFd>,
    watcher: OwnedFd,
}

impl Paused {
    /// Pauses the container. The process must have one thread.
    ///
    /// # Errors
    /// The runtime refuses; the container is not paused then.
    pub(super) fn begin(runtime: &Runtime, id: &str) -> Result<Self> {
        let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe");
        let ((held, hold), (report, tell)) = (pipe()?, pipe()?);
        match process::clone3(0, None).context("fork")? {
            CloneResult::Child => {
                drop((hold, report));
                process::exit(i32::from(!watch(runtime, id, held, tell)))
            }
            CloneResult::Parent { pidfd, .. } => {
                drop((held, tell));
                let paused = Self { hold: Some(hold), watcher: pidfd };
                let mut text = String::new();
                File::from(report).read_to_string(&mut text).context("pause")?;
                match text.strip_prefix('+') {
                    Some(_) => Ok(paused),
                    None if text.is_empty() => bail!("pause: the helper was killed"),
                    None => bail!("pause: {text}"),
                }
            }
        }
    }

    /// Resumes the container.
    ///
    /// # Errors
    /// The runtime refuses.
    pub(super) fn end(mut self) -> Result<()> {
        self.hold = None;
        let ended = process::wait(self.watcher.as_fd(), true).context("resume")?;
        ensure!(ended == Some(ExitStatus::Exited(0)), "resume: the runtime failed; try its verb `resume`");
        Ok(())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if self.hold.take().is_some() {
            // an earlier error is being reported; here only the end of the fork matters
            let _ = process::wait(self.watcher.as_fd(), true);
        }
    }
}

/// Runs in the fork, in a session of its own, so that signals to corm's process group do not reach it.
fn watch(runtime: &Runtime, id: &str, held: OwnedFd, tell: OwnedFd) -> bool {
    let _ = nix::unistd::setsid();
    let keep = vec![0, 1, 2, held.as_raw_fd(), tell.as_raw_fd()];
    let closed = process::close_fds_except(keep).context("close descriptors");
    let mut tell = File::from(tell);
    if let Err(err) = closed.and_then(|()| runtime.pause(id)) {
        let _ = tell.write_all(describe(&err).as_bytes());
        return false;
    }
    let _ = tell.write_all(b"+");
    drop(tell);
    // no data is ever written: this returns when corm's end is closed
    let _ = File::from(held).read(&mut [0]);
    match runtime.resume(id) {
        Ok(()) => true,
        // the container was killed or resumed meanwhile
        Err(_) => runtime.state(id).is_ok_and(|told| told != Some(crate::container::runtime::RuntimeStatus::Paused)),
    }
}
