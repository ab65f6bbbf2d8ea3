//! `corm container exists`, `image exists`, `volume exists`: the answer is the exit status.

use anyhow::Result;

/// Returns 0 for what was found, 1 for what is missing.
///
/// # Errors
/// Another error than a missing one: an ambiguous prefix, a damaged record.
pub(super) fn run<T>(found: Result<T>) -> Result<u8> {
    match found {
        Ok(_) => Ok(0),
        Err(err) if err.to_string().starts_with(['N', 'n']) && err.to_string().get(1..3) == Some("o ") => Ok(1),
        Err(err) => Err(err),
    }
}
