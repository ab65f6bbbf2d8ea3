//! `corm build`: each instruction and flag, over every driver. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../legacy_tools/fixture.rs"]
#[allow(dead_code)]
mod fixture;
#[path = "../store/store_fixture.rs"]
#[allow(dead_code)]
mod store_fixture;
#[path = "../legacy_tools/user.rs"]
#[allow(dead_code)]
mod user;

mod cache;
mod commands;
mod copies;
mod flags;
mod hostile;
mod instructions;
mod remote;
mod runs;
mod verb;

use std::path::Path;

use fixture::CormFixture;
use test_support::{Cmd, Out, Value};

/// Writes the files of a context, which is emptied first; a name that ends with a slash is a directory.
fn context(fixture: &CormFixture, files: &[(&str, &str)]) {
    let dir = fixture.sandbox.path("context");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    for (name, text) in files {
        let path = dir.join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Returns the command `corm build FLAGS CONTEXT`.
fn build(fixture: &CormFixture, flags: &[&str]) -> Cmd {
    fixture.corm(["build"]).args(flags).arg(fixture.sandbox.path("context"))
}

/// Builds a Containerfile in a context with these files, as the image `x`.
#[track_caller]
fn built(fixture: &CormFixture, text: &str, files: &[(&str, &str)], flags: &[&str]) -> Out {
    context(fixture, files);
    std::fs::write(fixture.sandbox.path("context/Containerfile"), text).unwrap();
    build(fixture, &[&["-t", "x"], flags].concat()).out()
}

/// Runs a script of the shell in the image `x`; returns what it prints.
#[track_caller]
fn prints(fixture: &CormFixture, script: &str) -> String {
    fixture.run(&["--rm", "--entrypoint", ""], "x", &["sh", "-c", script]).out().ok().text().to_owned()
}

/// Returns the configuration of the image `x`.
#[track_caller]
fn config(fixture: &CormFixture) -> Value {
    fixture.inspected("x")["Config"].clone()
}

/// Unpacks the tree of the image `x` to a directory.
#[track_caller]
fn exported(fixture: &CormFixture, to: &Path) {
    let tar = fixture.sandbox.path("x.tar");
    fixture.corm(["export", "x", "-o"]).arg(&tar).out().ok();
    fixture::untar(&tar, to);
}
