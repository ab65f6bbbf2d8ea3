//! `corm tag`: one more name for an image.

use anyhow::Result;

use super::Context;
use crate::model::reference;

/// Gives the name; the image that has it loses it.
///
/// # Errors
/// No such image; no name for an image.
pub(super) fn run(context: &Context, image: &str, name: &str) -> Result<u8> {
    let name = reference::local_name(name)?;
    let store = context.store()?;
    let _lock = store.shared()?;
    store.tag(&store.find_image(image)?.id, &name)?;
    Ok(0)
}
