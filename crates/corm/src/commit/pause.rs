//! Pausing of a container while its tree is read; it is resumed even if corm is killed.
//!
//! A forked process pauses the container, and resumes it when corm's end of a pipe is closed, which the kernel does for
//! a killed corm.

use base::coded;
use base::error::describe;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};

use crate::container::runtime::Runtime;
use linux::process;
use linux::process::CloneResult;
use linux::process::ExitStatus;

/// A paused container; `end` or `Drop` resumes it.
#[derive(Debug)]
pub(super) struct Paused {
    resume_pipe: Option<OwnedFd>,
    watcher: OwnedFd,
}

impl Paused {
    /// Pauses the container. The process must have one thread. `lock` is kept until the container is resumed, even if corm
    /// is killed.
    ///
    /// # Errors
    /// The runtime refuses; the container is not paused then.
    pub(super) fn begin(runtime: &Runtime, id: &str, lock: BorrowedFd<'_>) -> Result<Self> {
        let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe");
        let ((pipe_end, resume_pipe), (result_reader, result_pipe)) = (pipe()?, pipe()?);
        match process::clone3(0, None).context("fork")? {
            CloneResult::Child => {
                drop((resume_pipe, result_reader));
                process::exit(i32::from(!watch(runtime, id, lock, (pipe_end, result_pipe))))
            }
            CloneResult::Parent { pidfd, .. } => {
                drop((pipe_end, result_pipe));
                let paused = Self { resume_pipe: Some(resume_pipe), watcher: pidfd };
                let mut text = String::new();
                File::from(result_reader).read_to_string(&mut text).context("pause")?;
                match text.strip_prefix('+') {
                    Some(_) => Ok(paused),
                    None if text.is_empty() => bail!(coded!(RuntimeFailed, "pause: the helper was killed")),
                    None => bail!(coded!(RuntimeFailed, "pause: {text}")),
                }
            }
        }
    }

    /// Resumes the container.
    ///
    /// # Errors
    /// The runtime refuses.
    pub(super) fn end(mut self) -> Result<()> {
        self.resume_pipe = None;
        let ended = process::wait(self.watcher.as_fd(), true).context("resume")?;
        ensure!(
            ended == Some(ExitStatus::Exited(0)),
            coded!(RuntimeFailed, "resume: the runtime failed; try its verb `resume`")
        );
        Ok(())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if self.resume_pipe.take().is_some() {
            // an earlier error is being reported; here only the end of the fork matters
            let _ = process::wait(self.watcher.as_fd(), true);
        }
    }
}

/// Runs in the fork, in a session of its own, so that signals to corm's process group do not reach it.
fn watch(runtime: &Runtime, id: &str, lock: BorrowedFd<'_>, (pipe_end, result_pipe): (OwnedFd, OwnedFd)) -> bool {
    let _ = nix::unistd::setsid();
    let keep = vec![0, 1, 2, lock.as_raw_fd(), pipe_end.as_raw_fd(), result_pipe.as_raw_fd()];
    let closed = process::close_fds_except(keep).context("close descriptors");
    let mut result_pipe = File::from(result_pipe);
    if let Err(err) = closed.and_then(|()| runtime.pause(id)) {
        let _ = result_pipe.write_all(describe(&err).as_bytes());
        return false;
    }
    let _ = result_pipe.write_all(b"+");
    drop(result_pipe);
    // no data is ever written: this returns when corm's end is closed
    let _ = File::from(pipe_end).read(&mut [0]);
    match runtime.resume(id) {
        Ok(()) => true,
        // the container was killed or resumed meanwhile
        Err(_) => runtime.state(id).is_ok_and(|state| state != Some(crate::container::runtime::RuntimeStatus::Paused)),
    }
}
