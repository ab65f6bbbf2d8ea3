//! Sending the seccomp notification descriptor to the agent at `listenerPath` (SE-7 to SE-9).

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::config;

/// Time limit for connect(2) and send(2), because an agent may neither accept nor read (SEC-17).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends one ContainerProcessState with the descriptor, on a new connection.
///
/// # Errors
/// As connect(2) and send(2); the agent exceeds the time limit.
pub(crate) fn send(
    path: &Path,
    listener: BorrowedFd<'_>,
    pid: i32,
    metadata: Option<&str>,
    state: &serde_json::Value,
) -> Result<()> {
    let context = || format!("linux.seccomp.listenerPath: {path:?}");
    let mut stream = linux::socket::connect(path, TIMEOUT).with_context(context)?;
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
    // with the descriptor only the first part, because a long document may not fit into one message
    let (first, rest) = text.split_at(text.len().min(4096));
    linux::socket::send(stream.as_fd(), first, &[listener]).with_context(context)?;
    stream.write_all(rest).with_context(context)
}
