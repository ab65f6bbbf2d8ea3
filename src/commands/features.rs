//! `features`: the features of this build, independent of the host (FE-1).

use anyhow::Result;

use super::print;
use crate::config;

/// Prints the document and no warnings, because callers read standard output and standard error together.
pub(super) fn features() -> Result<i32> {
    print(&format!("{}\n", serde_json::to_string_pretty(&config::features())?))?;
    Ok(0)
}
