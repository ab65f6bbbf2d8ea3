//! Conversion of flags that several verbs have.

use crate::cli::args::Format;

/// Words of `--format`.
pub(super) const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];
