//! `delete`: removes what a shim that was killed has left of a container.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use prost::Message as _;

use super::args::{Args, check_name};
use super::options::Kept;
use super::pod::Pod;
use super::proto::Timestamp;
use super::proto::task::DeleteResponse;
use super::{idmapped, options, rootfs, start};
use croci::api::{Container, Runtime};

/// Removes the container and prints how it ended: by SIGKILL, as far as is known.
///
/// # Errors
/// Something of it cannot be removed.
pub(crate) fn delete(args: &Args) -> Result<()> {
    check_name("-id", &args.id)?;
    let current = std::env::current_dir().context("current directory")?;
    // containerd's current directory is the bundle of the shim that is gone, which may be another container's of the pod
    let beside = current.parent().map(|dir| dir.join(&args.id)).filter(|dir| dir.is_dir());
    let bundle: PathBuf = args.bundle.clone().or(beside).unwrap_or(current);
    let kept = Kept::read(&bundle);
    let root = if kept.root.is_empty() { options::root(&Default::default(), &args.namespace) } else { kept.root };
    Container::named(&Runtime::new().root(root), &args.id).delete(true)?;
    rootfs::unmount(&bundle.join("rootfs"))?;
    idmapped::clean(&bundle)?;
    Pod::unmount(&bundle)?;
    remove_socket(&bundle);
    let answer = DeleteResponse {
        pid: kept.pid.max(0) as u32,
        exit_status: 128 + libc::SIGKILL as u32,
        exited_at: Some(Timestamp::now()),
    };
    std::io::stdout().write_all(&answer.encode_to_vec()).context("standard output")
}

/// Removes the socket of the shim, if no process listens there any more.
fn remove_socket(bundle: &Path) {
    let address = std::fs::read_to_string(bundle.join(start::ADDRESS)).unwrap_or_default();
    if let Some(path) = address.trim().strip_prefix("unix://")
        && matches!(UnixStream::connect(path), Err(err) if err.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        let _ = std::fs::remove_file(path);
    }
}
