//! `corm tag`: adds a name to an image.

use anyhow::Result;

use super::Context;
use crate::model::reference;

/// Adds the name; another image that has it loses it.
///
/// # Errors
/// The image does not exist; the name is invalid.
pub(super) fn run(context: &Context, image: &str, name: &str) -> Result<u8> {
    let name = reference::local_name(name)?;
    let store = context.store()?;
    let _lock = store.shared()?;
    store.tag(&store.find_image(image)?.id, &name)?;
    Ok(0)
}
