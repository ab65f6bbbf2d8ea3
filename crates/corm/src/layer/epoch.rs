//! The time that nothing in an image is later than: `SOURCE_DATE_EPOCH`, or what the caller of this process gives.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// Variable of the environment.
pub const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The time that [`give`] was called with.
static GIVEN: OnceLock<i64> = OnceLock::new();

/// Sets the time for the rest of this process, in seconds since 1970; the first one counts.
pub fn give(seconds: i64) {
    let _ = GIVEN.set(seconds);
}

/// Parses a value of `SOURCE_DATE_EPOCH`.
///
/// # Errors
/// It is no number of seconds.
pub fn parse(text: &str) -> Result<i64> {
    text.parse().with_context(|| format!("{VARIABLE}={text:?}: is no number of seconds"))
}

/// Returns the time in seconds since 1970; `None` without one.
///
/// # Errors
/// As [`parse`].
pub fn latest() -> Result<Option<i64>> {
    if let Some(seconds) = GIVEN.get() {
        return Ok(Some(*seconds));
    }
    match std::env::var_os(VARIABLE) {
        Some(text) if !text.is_empty() => parse(&text.to_string_lossy()).map(Some),
        _ => Ok(None),
    }
}
