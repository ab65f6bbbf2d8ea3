//! A container that stands still while it is looked at, and goes on whatever happens to corm.
//!
//! A fork of its own does both: it pauses the container, and resumes it when corm closes a pipe, which the kernel does
//! for a corm that was killed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};

use crate::container::runtime::Runtime;
use base::error::describe;
use linux::process;
use linux::process::CloneResult;
use linux::process::ExitStatus;

/// A container that is paused until this is ended or dropped.
#[derive(Debug)]
pub(super) struct Paused {
    hold: Option<OwnedFd>,
    watcher: OwnedFd,
}

impl Paused {
    /// Pauses it. To be called while the process has one thread.
    ///
    /// # Errors
    /// The runtime refuses; it runs on then.
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

    /// Lets it go on.
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
            // an error is being told already; what matters is that it is over when corm ends
            let _ = process::wait(self.watcher.as_fd(), true);
        }
    }
}

/// What the fork does, in a session of its own: signals for corm's process group do not reach it.
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
    // nothing is ever written: this returns when corm has let go
    let _ = File::from(held).read(&mut [0]);
    match runtime.resume(id) {
        Ok(()) => true,
        // it was killed meanwhile, or a process resumed it
        Err(_) => runtime.state(id).is_ok_and(|told| told != Some(crate::container::runtime::RuntimeStatus::Paused)),
    }
}
