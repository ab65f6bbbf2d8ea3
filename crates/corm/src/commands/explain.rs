//! `corm explain`: what an error's code means and what to do.

use anyhow::Result;

use super::print;
use base::error::code;

/// Prints the explanation of a code or of a message, or the list of all codes.
///
/// # Errors
/// There is no such code.
pub(super) fn run(words: &[String]) -> Result<u8> {
    print::write(code::explain("corm", words)?.as_bytes())?;
    Ok(0)
}
