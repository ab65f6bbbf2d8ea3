//! Input that must be refused: croci prints one line on standard error that names the field or path, and exits with
//! status 1 before any side effect. `values` and `linux` are the tables of wrong values of the configuration, `files`
//! has the faults of the file itself, `names` the IDs and other arguments of the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::needless_pass_by_value, clippy::semicolon_if_nothing_returned)] // the tables read better so

mod codes;
mod codes_of_verbs;
mod edit;
mod files;
mod linux;
mod names;
mod values;

use test_support::*;

/// The files and resources that a refused command must not change.
struct HostState {
    sandbox: std::sync::Arc<Sandbox>,
    files: std::collections::BTreeMap<std::path::PathBuf, String>,
    bundle: std::path::PathBuf,
}

impl HostState {
    fn of(c: &Container) -> HostState {
        let files = host::snapshot(&c.rootfs);
        HostState { sandbox: c.sandbox.clone(), files, bundle: c.rootfs.clone() }
    }

    #[track_caller]
    fn unchanged(&self) {
        self.sandbox.nothing_left();
        assert_eq!(self.files, host::snapshot(&self.bundle), "the root file system was changed");
    }
}

/// Checks that `create` fails with an error that contains `error`, and changes nothing.
#[track_caller]
fn refused(c: &Container, error: &str) {
    let before = HostState::of(c);
    c.create().fails().one_line().stderr_contains(error);
    before.unchanged();
}
