//! Support for unit tests only: code that changes the whole process runs in a child, files are in a directory that is
//! removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

pub mod agent;
pub mod child;
pub mod disk;
pub mod keys;

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Prints, past the capture of the test harness, that a test or a part of one did not run, and where in the source; with
/// `CROCI_TESTS_NO_SKIP=1` that is a failure.
#[track_caller]
pub fn report_skip(reason: &str) {
    let place = std::panic::Location::caller();
    let fails = std::env::var_os("CROCI_TESTS_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!fails, "skipped: {reason} ({place}); CROCI_TESTS_NO_SKIP is set");
    let _ = writeln!(std::io::stderr(), "skipped: {reason} ({place})");
}

/// Runs `test` in a forked child with one thread, and panics with its message when it does.
pub fn forked(test: impl FnOnce()) {
    let mut report = tempfile();
    // SAFETY: glibc's fork makes malloc usable in the child; the tests print nothing and touch no environment, whose
    // locks another thread may have held. Should one hang all the same, the alarm ends it.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes a number only.
            unsafe { libc::alarm(30) };
            // the hook of panics stays: another thread may hold its lock, should its test be failing just now
            let status = match catch_unwind(AssertUnwindSafe(test)) {
                Ok(()) => 0,
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    let _ = report.write_all(text.unwrap_or_default().as_bytes());
                    1
                }
            };
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for our own child; the status stays valid during the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            let mut text = String::new();
            use std::io::{Read as _, Seek as _};
            report.rewind().unwrap();
            report.read_to_string(&mut text).unwrap();
            assert_eq!(status, 0, "in the forked child: {text}");
        }
    }
}

fn tempfile() -> std::fs::File {
    let dir = TempDir::new();
    std::fs::File::options().read(true).write(true).create_new(true).open(dir.path().join("report")).unwrap()
}

/// Returns a pidfd of a process.
pub fn pidfd(pid: u32) -> OwnedFd {
    crate::process::pidfd_open(pid as i32).unwrap()
}

/// Sends a signal to this process, which must block it.
pub fn kill_self(signal: i32) {
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

/// Returns whether the process is root; reports a skip where it is not.
pub fn root_or_skip() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        crate::testing::report_skip("not root");
    }
    root
}

/// A directory that is removed on drop; other users may search it.
pub struct TempDir(PathBuf);

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl TempDir {
    /// Creates a directory below the directory for temporary files.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("croci-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates a file with this content, and its directories; returns its path.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Creates a file with this mode and content; returns its path.
    pub fn program(&self, name: &str, mode: u32, content: &[u8]) -> PathBuf {
        let path = self.write(name, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
