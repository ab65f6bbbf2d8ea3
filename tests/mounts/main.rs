//! Mounts and devices of a container: flags and sources of binds, options of file systems, nodes, and mounts of a running
//! container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bind_flags;
mod devices;
mod file_systems;
mod live;
mod many_host_mounts;
mod no_namespace;
mod places;
mod sources;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use test_support::*;

/// Prepares a shell in a mount namespace of its own: it runs `script`, then the words of its command line.
fn with_mounts(c: &Container, script: &str) -> Cmd {
    let script = format!("set -e\n{script}\nexec \"$0\" \"$@\"");
    c.sandbox.program("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script])
}

/// Lets every user pass the directories of a container, or root alone.
fn open_to_all(c: &Container, open: bool) {
    for dir in [&c.sandbox.dir, &c.bundle, &c.rootfs] {
        std::fs::set_permissions(dir, Permissions::from_mode(if open { 0o755 } else { 0o700 })).unwrap();
    }
}
