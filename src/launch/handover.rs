//! What callers get with a new process: its pid in a file, a descriptor of it, the listener of its filter.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::spawn::Init;
use crate::plan;
use crate::seccomp::Filter;
use crate::sys;

/// Hands the listener to its agent; `of` is the filtered process, `pid` the container's.
pub(super) fn send_listener(
    listener: BorrowedFd<'_>,
    filter: &Filter,
    told: &plan::hook::Told,
    status: &str,
    pid: i32,
    of: i32,
) -> Result<()> {
    let path = filter.listener_path.as_deref().context("linux.seccomp.listenerPath is not set")?;
    let state: serde_json::Value = serde_json::from_slice(&told.state(status, Some(pid)))?;
    super::seccomp_listener::send(path, listener, of, filter.listener_metadata.as_deref(), &state)
}

/// Digits and nothing else, there at once or not at all (CL-6).
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let told = || format!("--pid-file {path:?}");
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().with_context(told)?);
    name.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(name);
    let written = std::fs::File::create(&aside)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written.with_context(told)
}

/// How long the receiver of a pidfd may take to accept the connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Hands over a descriptor of the process (CL-12).
pub(super) fn send_pidfd(path: &Path, init: &Init) -> Result<()> {
    let told = || format!("hand the pidfd to {path:?}");
    let stream = sys::socket::connect(path, TIMEOUT).with_context(told)?;
    sys::socket::send(stream.as_fd(), b"pidfd", &[init.pidfd.as_fd()]).with_context(told)
}
