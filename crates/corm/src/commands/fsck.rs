//! `corm fsck`: verifies the store.

use anyhow::Result;

use super::{Context, print};
use crate::container::run_dir::RunDir;
use crate::container::sweep;

/// Prints a line for each problem. A repair also removes what killed processes left of containers. Exit status 1 when one is not repaired.
///
/// # Errors
/// The store cannot be read.
pub(super) fn run(context: &Context, repair: bool) -> Result<u8> {
    let store = context.store()?;
    let exclusive = store.exclusive()?;
    let run = RunDir::of(store.root())?;
    let mut left = 0;
    let problems = store.check(repair, &exclusive)?;
    if problems.is_empty() {
        context.note("no image, layer or record is damaged");
    }
    for problem in problems {
        match problem.repaired {
            Some(how) => print::line(format_args!("{}: {how}", problem.what))?,
            None => {
                left = 1;
                print::line(problem.what)?;
            }
        }
    }
    // with an unreadable record it is unknown what was left
    if repair && left == 0 {
        sweep::sweep(&store, &run, &exclusive)?;
    }
    Ok(left)
}
