//! The store of corm over each of its drivers, on real file systems. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod drivers;
mod place;

use std::io::Write as _;

/// Tells, past the test harness' capture, that a part did not run.
fn report_skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason} (tests/image_store)");
}
