//! Support code of all integration tests: bundles, containers, the host's state, pseudo terminals, tracing.
//!
//! The runtime under test is `$RUNTIME`, by default the croci just built. A test owns a `Sandbox` (temporary directory,
//! state root, a token that occurs in every ID, cgroup and environment it creates); dropping it removes all of that,
//! also when the test fails. Assertions about a feature are in the tests, not here.

#![allow(dead_code, unused_imports, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bundle;
pub mod cgroup;
pub mod cmd;
pub mod container;
pub mod corpus;
#[cfg(target_arch = "x86_64")]
pub mod faults;
pub mod host;
pub mod old_kernel;
pub mod pty;
pub mod reaper;
pub mod registry;
pub mod sandbox;
pub mod trace;
pub mod tree;
pub mod user;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use cmd::{Cmd, Out, Proc};
pub use container::Container;
pub use linux::testing::report_skip;
pub use sandbox::Sandbox;
pub use serde_json::{Value, json};

/// The time after which a test counts an operation as hung.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Returns how long tests wait for an event that they need: the deadline, by `$TEST_PATIENCE` times more on a slow machine,
/// such as a guest beside other work.
pub fn patience() -> Duration {
    DEADLINE * std::env::var("TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Returns the path of the runtime under test.
pub fn runtime() -> PathBuf {
    static RUNTIME: OnceLock<PathBuf> = OnceLock::new();
    RUNTIME
        .get_or_init(|| match std::env::var_os("RUNTIME") {
            Some(path) if !path.is_empty() => path.into(),
            _ => built("croci"),
        })
        .clone()
}

/// Returns the path of the corm under test, by default the one just built.
pub fn corm() -> PathBuf {
    match std::env::var_os("CORM") {
        Some(path) if !path.is_empty() => path.into(),
        _ => built("corm"),
    }
}

/// Returns the path of a program of this workspace, which `cargo build` has put beside the directory of the test's own
/// binary.
///
/// # Panics
/// Panics if the program is missing, because cargo builds only the programs of the package whose tests it runs.
fn built(name: &str) -> PathBuf {
    let path = target_dir().join(name);
    assert!(path.exists(), "no {}: run `cargo build --workspace` first", path.display());
    path
}

/// Returns the directory in which cargo puts the programs of this profile: `target/TARGET/debug`.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // a program that croci's library protects from its containers runs from a mount of its own, by the path `/`
    let called = || PathBuf::from(std::env::args_os().next().unwrap()).canonicalize().unwrap();
    let test = if test.file_name().is_some() { test } else { called() };
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Returns whether the runtime under test is the one of this repository, so that its own verbs and texts can be
/// checked.
pub fn is_croci() -> bool {
    runtime().file_name().is_some_and(|name| name.to_string_lossy().starts_with("croci"))
}

/// Skips the test with a reason that is printed whatever the verbosity.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::report_skip(&format!($($reason)*));
        return;
    }};
}

/// Skips the test where containers cannot run: they need root, a static busybox and a cgroup file system.
#[macro_export]
macro_rules! need_root {
    () => {
        if let Some(reason) = $crate::lacks_container_machine() {
            $crate::skip!("{reason}");
        }
    };
}

/// Skips the test where systemd creates the cgroups, because its paths are those of cgroups that croci creates itself.
#[macro_export]
macro_rules! need_own_cgroups {
    () => {
        if $crate::cgroup::by_systemd() {
            $crate::skip!("a path that systemd's cgroups cannot have");
        }
    };
}

pub fn lacks_container_machine() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    if bundle::busybox().is_none() {
        return Some("needs a static busybox (apt-get install busybox-static)".into());
    }
    if !cgroup::mounted() {
        return Some("needs a cgroup file system at /sys/fs/cgroup".into());
    }
    None
}

/// Calls `ready` repeatedly until it returns a value, and returns that; fails when the deadline passes.
#[track_caller]
pub fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let patience = patience();
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(2)); // the interval of polling, not a guess how long the event takes
    }
}

/// Waits until a condition holds, like `wait_until`.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    wait_until(what, || holds().then_some(()));
}
