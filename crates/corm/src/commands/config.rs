//! `corm config`: creates an image with another configuration and the same layers.

use anyhow::Result;

use super::{Context, print};
use crate::cli::args;
use crate::commit;
use crate::config::edit::Edit;
use crate::config::edit::History;

/// Creates the image and prints its ID.
///
/// # Errors
/// The image does not exist, or a value is invalid for a container.
pub(super) fn run(context: &Context, args: &args::Config) -> Result<u8> {
    let store = context.store()?;
    let name = crate::model::reference::local_name(&args.name)?;
    let _adding = store.shared()?;
    let image = store.find_image(&args.image)?;
    let mut edit = Edit::new(&store.read_blob(&image.id)?)?;
    edit.apply(args)?;
    let created_by = "corm config".to_owned();
    edit.push_history(&History { created: commit::now()?, created_by, empty_layer: true, ..History::default() })?;
    let record = commit::put(&store, &image.layers, edit, &name, image.source.clone())?;
    print::line(record.id.hex())?;
    Ok(0)
}
