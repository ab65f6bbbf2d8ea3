//! `plan`, and `create --dry-run`: shows the steps of `create`, of which none is taken.

use anyhow::Result;

use super::{Context, print};
use crate::cli::args;
use crate::cli::args::Format;
use crate::runtime::preview;

/// Prints the steps.
pub(super) fn plan(context: &Context<'_>, args: &args::Plan) -> Result<i32> {
    let preview = preview::preview(&args.create, context.global.cgroups())?;
    print(&match args.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&preview.json())?),
        Format::Table => preview.text(),
    })?;
    Ok(0)
}
