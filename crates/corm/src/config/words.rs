//! The words of a command line in a text.

use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Parses a JSON list of strings, or splits at blanks; there is no quoting, because no shell is involved.
pub(super) fn words(text: &str) -> Result<Vec<String>> {
    if text.trim_start().starts_with('[') {
        let list = Value::from_str(text).context("not a JSON list")?;
        return serde_json::from_value(list).context("not a JSON list of strings");
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
