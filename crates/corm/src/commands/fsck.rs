//! `corm fsck`: verifies the store.

use anyhow::Result;

use super::{Context, print};

/// Prints a line for each problem. Exit status 1 when one is not repaired.
///
/// # Errors
/// The store cannot be read.
pub(super) fn run(context: &Context, repair: bool) -> Result<u8> {
    let store = context.store()?;
    let exclusive = store.exclusive()?;
    let mut left = 0;
    for problem in store.check(repair, &exclusive)? {
        match problem.repaired {
            Some(how) => print::line(format_args!("{}: {how}", problem.what))?,
            None => {
                left = 1;
                print::line(problem.what)?;
            }
        }
    }
    Ok(left)
}
