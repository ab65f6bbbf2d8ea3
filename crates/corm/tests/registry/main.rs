//! Images that come and go: registries (hostile ones, and Debian's docker-registry on loopback) and archives (hostile
//! ones, and those of podman, skopeo and umoci). Numbers in names are items of the list of malicious images.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod archives;
mod fixture;
mod hostile;
mod interop;
mod logins;
mod real;
mod server;
mod slow_server;

use std::path::Path;
use std::sync::Arc;

use test_support::{Cmd, Sandbox};

/// corm with a store of this sandbox.
pub fn corm(sandbox: &Arc<Sandbox>, args: &[&str]) -> Cmd {
    corm_at(sandbox, &sandbox.path("store"), args)
}

/// corm with a store at a place. Layers are copied: the driver does not matter here.
pub fn corm_at(sandbox: &Arc<Sandbox>, store: &Path, args: &[&str]) -> Cmd {
    let corm = sandbox.program(test_support::corm()).arg("--root").arg(store).args(["--driver", "copy"]);
    // no credentials
    corm.args(args).env("HOME", &sandbox.dir).env("XDG_RUNTIME_DIR", &sandbox.dir)
}

/// The images of a sandbox's store.
pub fn images(sandbox: &Arc<Sandbox>) -> Vec<serde_json::Value> {
    let out = corm(sandbox, &["images", "--format", "json"]).out().ok();
    serde_json::from_str(&out.stdout).unwrap()
}

/// Names below a directory of the store.
pub fn stored(sandbox: &Arc<Sandbox>, dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path("store").join(dir)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
