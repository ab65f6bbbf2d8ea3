//! `features`: what this build can do, whatever the host can (FE-1).

use anyhow::Result;

use super::print;
use crate::config;

/// Prints the document and nothing else: callers read standard output and error as one.
pub(super) fn features() -> Result<i32> {
    print(&format!("{}\n", serde_json::to_string_pretty(&config::features())?))?;
    Ok(0)
}
