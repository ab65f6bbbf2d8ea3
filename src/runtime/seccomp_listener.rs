//! Sending of the seccomp listener to the agent that `listenerPath` names (SE-7 to SE-9).

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use base::error::{Code, Coding as _};

use crate::config;

/// Time for the agent to accept or read, because it must not block croci for ever (SEC-17).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends one ContainerProcessState with the listener, over a connection of its own.
///
/// # Errors
/// No process listens, or does not read.
pub(crate) fn send(
    path: &Path,
    listener: BorrowedFd<'_>,
    pid: i32,
    metadata: Option<&str>,
    state: &serde_json::Value,
) -> Result<()> {
    let context = || format!("linux.seccomp.listenerPath: failed to connect with seccomp agent {path:?}");
    let mut stream = linux::socket::connect(path, TIMEOUT).with_code(Code::SeccompAgent, context)?;
    let mut document = serde_json::json!({
        "ociVersion": config::SPEC_VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": state,
    });
    if let (Some(metadata), Some(object)) = (metadata, document.as_object_mut()) {
        object.insert("metadata".to_owned(), metadata.into());
    }
    let text = document.to_string().into_bytes();
    // the descriptor is sent with the first part; a long document may need more
    let (first, rest) = text.split_at(text.len().min(4096));
    linux::socket::send(stream.as_fd(), first, &[listener]).with_code(Code::SeccompAgent, context)?;
    stream.write_all(rest).with_code(Code::SeccompAgent, context)
}
