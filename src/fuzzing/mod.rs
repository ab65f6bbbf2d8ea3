//! The functions that fuzz targets call (`fuzz/`), and the replay of their corpus as a test. Only with the feature
//! `fuzzing`, or in tests: no normal build has this module.
//!
//! A function takes the bytes of one input and panics where a promise of the code does not hold. An error for an input is no
//! finding, unless its text is empty or longer than a line.

mod files;
mod plan;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

pub use crate::seccomp::fuzzing::{Call, profile, seccomp, seccomp_of, verdict};
pub use files::{cgroup_files, id_maps, users};
pub use plan::{config, mount_options, record};

/// Checks an error: it has a text of one line.
fn check_error(err: &anyhow::Error) {
    let text = base::error::describe(err);
    assert!(!text.is_empty() && !text.contains(['\n', '\r', '\x1b']), "{text:?}");
}

/// Parses a command line: the words are separated by NUL.
pub fn command_line(data: &[u8]) {
    use crate::cli::{Outcome, parse};
    let words = std::iter::once(&b"croci"[..]).chain(data.split(|byte| *byte == 0));
    match parse(words.map(|word| OsStr::from_bytes(word).to_owned())) {
        Outcome::Usage { error, .. } => {
            let message = error.message;
            assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
        }
        Outcome::Print(text) => assert!(!text.is_empty()),
        Outcome::Run(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use test_support::corpus::{Target, replay};

    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus");

    #[test]
    fn the_corpus_has_no_finding() {
        let targets: [(&str, Target); 8] = [
            ("cgroup_files", super::cgroup_files),
            ("command_line", super::command_line),
            ("config", super::config),
            ("id_maps", super::id_maps),
            ("mount_options", super::mount_options),
            ("record", super::record),
            ("seccomp", super::seccomp),
            ("users", super::users),
        ];
        for (name, target) in targets {
            replay(CORPUS, name, target);
        }
    }
}
