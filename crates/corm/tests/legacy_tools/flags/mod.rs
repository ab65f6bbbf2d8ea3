//! Flags of `run`, each by its effect inside a container.

mod accounts;
mod cgroups;
mod limits;
mod mounts;
mod names;
mod namespaces;
mod security;
mod userns;

use crate::fixture::CormFixture;
use test_support::Out;

/// Runs a shell script in a container with these flags; returns its output.
#[track_caller]
fn prints(fixture: &CormFixture, flags: &[&str], script: &str) -> String {
    fixture.run(&[&["--rm"], flags].concat(), "base", &["sh", "-c", script]).out().ok().text().to_owned()
}

/// Asserts that the flags are refused with a message that has the word.
#[track_caller]
fn refused(fixture: &CormFixture, flags: &[&str], word: &str) -> Out {
    let out = fixture.run(flags, "base", &["true"]).out().exits(125).no_panic();
    assert!(out.stderr.lines().next().is_some_and(|line| line.contains(word)), "{flags:?}: {out:?}");
    out
}
