//! Pull, push, load and save: registries (hostile ones, and Debian's docker-registry on loopback) and archives (hostile
//! ones, and those of podman, skopeo and umoci). Numbers in names are items of the list of malicious images.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../store/store_fixture.rs"]
#[allow(dead_code)]
mod store_fixture;

mod archives;
mod copies;
mod documents;
mod drivers;
mod failures;
mod fixture;
mod flags;
mod hostile;
mod interop;
mod login_verbs;
mod logins;
mod lxc_page;
mod manifests;
mod odd_servers;
mod progress;
mod real;
mod registries_conf;
mod runs;
mod save_many;
mod searches;
mod server;
mod slow_server;

use std::path::Path;
use std::sync::Arc;

use test_support::trace::{Fault, Point, fault_at};
use test_support::{Cmd, Sandbox};

/// Returns a command of corm with the store of this sandbox.
pub fn corm(sandbox: &Arc<Sandbox>, args: &[&str]) -> Cmd {
    corm_at(sandbox, &sandbox.path("store"), args)
}

/// Returns a command of corm with the store at this path. It has the driver `copy`, because the driver makes no
/// difference here.
pub fn corm_at(sandbox: &Arc<Sandbox>, store: &Path, args: &[&str]) -> Cmd {
    let corm = sandbox.program(test_support::corm()).arg("--root").arg(store).args(["--driver", "copy"]);
    // without the credentials of the machine's user
    corm.args(args).env("HOME", &sandbox.dir).env("XDG_RUNTIME_DIR", &sandbox.dir)
}

/// Returns the images of a sandbox's store, each once: `images` has an entry for each name.
pub fn images(sandbox: &Arc<Sandbox>) -> Vec<serde_json::Value> {
    let out = corm(sandbox, &["images", "--format", "json"]).out().ok();
    let mut all: Vec<serde_json::Value> = serde_json::from_str(&out.stdout).unwrap();
    let mut seen = std::collections::HashSet::new();
    all.retain(|image| seen.insert(image["Id"].to_string()));
    all
}

/// Returns the names in a directory of the store.
pub fn stored(sandbox: &Arc<Sandbox>, dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path("store").join(dir)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the sorted names of the unfinished files in a directory.
pub fn hidden(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(".corm-")).collect();
    names.sort();
    names
}

/// Runs a command again and again, each time killed at another of the calls that end the writing of a file, and calls
/// `after` with what was done.
#[track_caller]
pub fn killed_at_each_file(command: impl Fn() -> Cmd, mut after: impl FnMut(&str)) {
    for number in [libc::SYS_fsync, libc::SYS_renameat] {
        let mut killed = 0;
        for n in 1.. {
            let run = fault_at(command(), Point::Named(number, n), Fault::Kill);
            after(&format!("a kill at call {n} of number {number}"));
            if run.hit.is_none() {
                break;
            }
            killed += 1;
        }
        assert!(killed > 0, "there was no call {number}");
    }
}
