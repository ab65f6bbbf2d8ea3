//! The supervisor of a detached container: a fork of corm in its own session, without the caller's descriptors.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Error, Result};

use super::cleanup;
use super::create::Say;
use super::run_dir::{RunDir, SupervisorLock};
use super::session::{self, NotStarted, Streams};
use crate::store::ContainerRecord;
use crate::store::Store;
use base::error::describe;
use linux::process;
use linux::process::CloneResult;
use linux::term;

/// Starts a container whose tree is mounted under a forked supervisor; returns when its program runs.
///
/// # Errors
/// The container did not start.
pub fn detach(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    attendant: SupervisorLock,
    say: Say<'_>,
) -> Result<(), NotStarted> {
    let (reader, tell) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
    // one thread: those that unpacked layers have been joined
    match process::clone3(0, None).context("fork the container's attendant")? {
        CloneResult::Child => {
            drop(reader);
            let status = match alone(store, run, record, attendant, &tell, say) {
                Ok(()) => 0,
                Err(failed) => {
                    report(&tell, failed.status, &describe(&failed.error));
                    1
                }
            };
            process::exit(status)
        }
        CloneResult::Parent { .. } => {
            drop((tell, attendant));
            listen(reader)
        }
    }
}

/// Runs in the fork.
fn alone(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    mut attendant: SupervisorLock,
    tell: &OwnedFd,
    say: Say<'_>,
) -> Result<(), NotStarted> {
    nix::unistd::setsid().context("setsid")?;
    attendant.is_me()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/null");
    let null = null.context("/dev/null")?;
    // standard error stays open until the start is complete, for error messages
    for number in [0, 1] {
        term::replace_stdio(null.as_fd(), number).context("standard streams")?;
    }
    std::env::set_current_dir("/").context("change to /")?;
    // other descriptors of the caller are closed, because a reader of its pipe would wait for the container's end
    let keep = vec![0, 1, 2, attendant.as_raw_fd(), tell.as_raw_fd(), null.as_raw_fd()];
    process::close_fds_except(keep).context("close descriptors")?;
    let session = session::start(store, run, record, attendant, Streams::default(), say)?;
    term::replace_stdio(null.as_fd(), 2).context("standard streams")?;
    report(tell, 0, "");
    // messages are dropped, because the caller's pipe may be closed
    let _ = session.wait(false, &|_| {});
    Ok(())
}

fn report(tell: &OwnedFd, status: u8, text: &str) {
    // an error means that the caller was killed
    let _ = tell.try_clone().map(File::from).and_then(|mut tell| {
        tell.write_all(&[status])?;
        tell.write_all(text.as_bytes())?;
        tell.write_all(b"\0")
    });
}

/// Reads the fork's message: a status byte and a text, terminated by NUL.
fn listen(pipe: OwnedFd) -> Result<(), NotStarted> {
    let mut all = Vec::new();
    let mut told = File::from(pipe);
    let mut bytes = [0; 4096];
    loop {
        let got = told.read(&mut bytes).context("what the attendant tells")?;
        all.extend_from_slice(bytes.get(..got).unwrap_or_default());
        match all.split_first() {
            Some((0, _)) => return Ok(()),
            Some((&status, [text @ .., 0])) => {
                return Err(NotStarted { status, error: Error::msg(String::from_utf8_lossy(text).into_owned()) });
            }
            _ if got == 0 => return Err(Error::msg("the container's attendant was killed").into()),
            _ => {}
        }
    }
}

/// Removes a container that did not start.
pub fn undo(store: &Store, run: &RunDir, record: &ContainerRecord) {
    // the reason is being reported; `corm rm` removes the rest
    let _ = cleanup::remove(store, run, record);
}
