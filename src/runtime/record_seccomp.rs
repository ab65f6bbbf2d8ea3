//! `run --record-seccomp`: a thread of croci sees every call under the filter, lets it go on, and writes a profile that
//! allows what it has seen.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use linux::place::Place;
use linux::seccomp::{Call, continue_next};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::plan::ContainerPlan;
use crate::seccomp;

/// A thread that answers the notifications of the container's filter.
#[derive(Debug)]
pub(crate) struct Recorder {
    thread: JoinHandle<Result<BTreeSet<Call>>>,
    /// Closed to stop the thread.
    stop: OwnedFd,
}

/// Puts the filter that notifies of every call into a plan.
pub(super) fn plan(plan: &mut ContainerPlan) {
    plan.seccomp = Some(seccomp::recording());
}

impl Recorder {
    /// Starts to answer: init waits for it in its next call.
    ///
    /// # Errors
    /// No descriptor or thread is left.
    pub(super) fn start(listener: OwnedFd) -> Result<Recorder> {
        let (stopped, stop) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
        let thread = std::thread::Builder::new()
            .spawn(move || answer(&listener, &stopped))
            .code(Code::HostLimit, "start the thread that records system calls")?;
        Ok(Recorder { thread, stop })
    }

    /// Stops, and writes the profile to `file`. Called when the program has ended.
    ///
    /// # Errors
    /// The notifications could not be read; the file cannot be written.
    pub(crate) fn finish(self, file: &Path) -> Result<()> {
        drop(self.stop);
        let calls = self.thread.join().ok().code(Code::Failed, "the thread that records system calls failed")??;
        let mut text = serde_json::to_string_pretty(&seccomp::profile_for(&calls))?;
        text.push('\n');
        let context = || format!("--record-seccomp {file:?}");
        let written = Place::find(file).and_then(|place| place.renew(text.as_bytes(), 0o644));
        written.with_code(Code::UsageValue, context)
    }
}

/// Checks that the profile can be written to `file`, before the program runs.
///
/// # Errors
/// Its directory is not there, or it is a directory itself.
pub(crate) fn check_file(file: &Path) -> Result<()> {
    if file.is_dir() {
        bail!(coded!(FileInvalid, "--record-seccomp {file:?}: is a directory (name a file)"));
    }
    Place::find(file).with_code(Code::Failed, || format!("--record-seccomp {file:?}"))?;
    Ok(())
}

/// Answers until no process has the filter, or `stopped` has no writer and no call waits.
fn answer(listener: &OwnedFd, stopped: &OwnedFd) -> Result<BTreeSet<Call>> {
    let mut calls = BTreeSet::new();
    loop {
        let mut set =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        match poll(&mut set, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            ready => ready.context("wait for system calls")?,
        };
        let [of_listener, of_stop] = set.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if of_listener.contains(PollFlags::POLLIN) {
            match continue_next(listener.as_fd()) {
                Ok(call) => _ = calls.insert(call),
                // the process that called was killed
                Err(err) if err.is_errno(&[libc::ENOENT, libc::EINTR]) => {}
                Err(err) => return Err(err).code(Code::SeccompAgent, "answer a system call"),
            }
        } else if !of_listener.is_empty() || !of_stop.is_empty() {
            return Ok(calls);
        }
    }
}

/// Refuses to record on a kernel without the answer that lets a call go on.
///
/// # Errors
/// Linux is older than 5.5.
pub(super) fn check() -> Result<()> {
    let available = linux::seccomp::flags_available(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    anyhow::ensure!(available, coded!(HostUnsupported, "--record-seccomp: needs Linux 5.5 or later"));
    Ok(())
}
