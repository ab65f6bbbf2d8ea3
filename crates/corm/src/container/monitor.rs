//! The supervisor of a detached container: a fork of corm in its own session, without the caller's descriptors.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Error, Result};

use super::cleanup;
use super::create::Reporter;
use super::run_dir::{RunDir, SupervisorLock};
use super::session::{self, NotStarted, Streams};
use super::status;
use crate::store::ContainerRecord;
use crate::store::Store;
use base::error::{from_wire, to_wire};
use linux::process;
use linux::process::CloneResult;
use linux::term;

/// Starts a container whose tree is mounted under a forked supervisor; returns when its program runs. `caller` is the
/// supervisor's end of the connection of a caller that is attached from the start.
///
/// # Errors
/// The container did not start.
pub fn detach(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    supervisor: SupervisorLock,
    caller: Option<UnixStream>,
    report: Reporter<'_>,
) -> Result<(), NotStarted> {
    let (reader, result_pipe) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
    // one thread: those that unpacked layers have been joined
    match process::clone3(0, None).context("fork the container's supervisor")? {
        CloneResult::Child => {
            drop(reader);
            let mut result_pipe = Some(File::from(result_pipe));
            let status = match run_supervisor(store, run, record, (supervisor, caller), &mut result_pipe, report) {
                Ok(()) => 0,
                Err(failed) => {
                    // where this fails, the end of the file tells the caller of a failure
                    let _ = result_pipe.map(|pipe| write_result(&pipe, failed.status, &to_wire(&failed.error)));
                    1
                }
            };
            process::exit(status)
        }
        CloneResult::Parent { .. } => {
            drop((result_pipe, supervisor, caller));
            read_result(reader)
        }
    }
}

/// Runs in the fork. Closes the pipe when the program runs.
fn run_supervisor(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    (mut supervisor, caller): (SupervisorLock, Option<UnixStream>),
    result_pipe: &mut Option<File>,
    report: Reporter<'_>,
) -> Result<(), NotStarted> {
    nix::unistd::setsid().context("setsid")?;
    supervisor.write_pid()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/null");
    let null = null.context("/dev/null")?;
    // standard error stays open until the start is complete, for error messages
    for number in [0, 1] {
        term::replace_stdio(null.as_fd(), number).context("standard streams")?;
    }
    std::env::set_current_dir("/").context("change to /")?;
    // other descriptors of the caller are closed, because a reader of its pipe would wait for the container's end
    let mut keep = vec![0, 1, 2, supervisor.as_raw_fd(), null.as_raw_fd()];
    keep.extend(result_pipe.as_ref().map(File::as_raw_fd));
    keep.extend(caller.as_ref().map(UnixStream::as_raw_fd));
    process::close_fds_except(keep).context("close descriptors")?;
    let streams = Streams { foreground: false, interactive: record.setup.interactive, caller };
    let session = session::start(store, run, record, supervisor, streams, report)?;
    term::replace_stdio(null.as_fd(), 2).context("standard streams")?;
    let reported = result_pipe.as_ref().map_or(Ok(()), |pipe| write_result(pipe, 0, ""));
    if reported.is_err_and(|err| err.kind() != std::io::ErrorKind::BrokenPipe) {
        // the caller reports a failed start; where it was killed, the container runs all the same
        let _ = status::runtime(run, record).kill(&record.id, "KILL");
    }
    // closed, because a caller without a report would wait for the container's end
    *result_pipe = None;
    // messages are dropped, because the caller's pipe may be closed
    let _ = session.wait(&|_| {});
    Ok(())
}

/// Tells the caller how the start went.
///
/// # Errors
/// As write(2): EPIPE where the caller was killed.
fn write_result(mut result_pipe: &File, status: u8, text: &str) -> std::io::Result<()> {
    result_pipe.write_all(&[&[status], text.as_bytes(), b"\0"].concat())
}

/// Reads the fork's message: a status byte and a text, terminated by NUL.
fn read_result(pipe: OwnedFd) -> Result<(), NotStarted> {
    let mut all = Vec::new();
    let mut pipe = File::from(pipe);
    let mut bytes = [0; 4096];
    loop {
        let got = pipe.read(&mut bytes).context("read from the supervisor")?;
        all.extend_from_slice(bytes.get(..got).unwrap_or_default());
        match all.split_first() {
            Some((0, _)) => return Ok(()),
            Some((&status, [text @ .., 0])) => {
                return Err(NotStarted { status, error: from_wire(&String::from_utf8_lossy(text)) });
            }
            _ if got == 0 => {
                return Err(Error::msg("the container's supervisor was killed, or could not report the start").into());
            }
            _ => {}
        }
    }
}

/// Removes a container that did not start.
pub fn remove_not_started(store: &Store, run: &RunDir, record: &ContainerRecord) {
    // the reason is being reported; `corm rm` removes the rest
    let _ = cleanup::remove(store, run, record);
}
