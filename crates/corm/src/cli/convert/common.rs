//! Conversion of flags that several verbs have.

use anyhow::Result;

use crate::cli::args::Format;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

/// Words of `--format`.
pub(super) const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];

/// Converts `--tls-verify`, which is on by default.
pub(super) fn tls_verify(given: &mut ParsedArgs) -> Result<bool> {
    Ok(given.parsed("tls-verify", values::parse_bool)?.unwrap_or(true))
}
