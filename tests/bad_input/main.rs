//! Input that must be refused: each case gives one line on standard error that names the field or path, exit status 1,
//! before any side effect. `values` and `linux` are the tables of wrong values of the configuration, `files` what can
//! be wrong with the file itself, `names` IDs and other words of the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::needless_pass_by_value, clippy::semicolon_if_nothing_returned)] // the tables read better so

mod edit;
mod files;
mod linux;
mod names;
mod values;

use test_support::*;

/// Everything that a refused command must not change.
struct Surroundings {
    sandbox: std::sync::Arc<Sandbox>,
    files: std::collections::BTreeMap<std::path::PathBuf, String>,
    bundle: std::path::PathBuf,
}

impl Surroundings {
    fn of(c: &Container) -> Surroundings {
        let files = host::snapshot(&c.rootfs);
        Surroundings { sandbox: c.sandbox.clone(), files, bundle: c.rootfs.clone() }
    }

    #[track_caller]
    fn unchanged(&self) {
        self.sandbox.nothing_left();
        assert_eq!(self.files, host::snapshot(&self.bundle), "the root file system was changed");
    }
}

/// `create` of a container with this configuration fails with an error that contains `error`.
#[track_caller]
fn refused(c: &Container, error: &str) {
    let before = Surroundings::of(c);
    c.create().fails().one_line().stderr_contains(error);
    before.unchanged();
}
