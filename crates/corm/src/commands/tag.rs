//! `corm tag`, `corm untag`: names of an image.

use anyhow::Result;
use base::error::{Code, Coding as _};

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
    context.note(format_args!("{image} is also {name}"));
    Ok(0)
}

/// Removes names of an image, all without any; the image stays.
///
/// # Errors
/// The image does not exist, or does not have a name.
pub(super) fn remove(context: &Context, image: &str, names: &[String]) -> Result<u8> {
    let store = context.store()?;
    let _lock = store.shared()?;
    let found = store.find_image(image)?;
    let mut chosen = Vec::with_capacity(names.len());
    for name in names {
        let has = reference::candidates(name).into_iter().find(|name| found.names.contains(name));
        chosen.push(
            has.with_code(Code::ImageName, || format!("{name:?}: tag not known (`corm images` lists the names)"))?,
        );
    }
    if names.is_empty() {
        chosen = found.names;
    }
    chosen.iter().try_for_each(|name| store.untag(name))?;
    Ok(0)
}
