//! `explain`: tells what an error's code means and what to do.

use anyhow::Result;

use super::print;
use base::error::code;

/// Prints the explanation of a code or of a message, or the list of all codes.
pub(super) fn explain(words: &[String]) -> Result<i32> {
    print(&code::explain("croci", words)?)?;
    Ok(0)
}
