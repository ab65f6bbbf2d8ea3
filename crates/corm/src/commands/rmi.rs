//! `corm rmi`: removes names, and with the last one the image.

use anyhow::{Result, bail};

use super::Context;
use super::images::short;
use crate::cli::args::LogLevel;
use crate::model::reference;
use crate::store::Store;

/// Removes each image; stops at the first error.
///
/// # Errors
/// The image does not exist; a container was created from it; an ID with several names.
pub(super) fn run(context: &Context, images: &[String], force: bool) -> Result<u8> {
    let store = context.store()?;
    let result = images.iter().try_for_each(|image| remove(context, &store, image, force));
    // unused data is removed also after a failure; while another process adds, the next removal does it
    store.collect()?;
    result.map(|()| 0)
}

fn remove(context: &Context, store: &Store, text: &str, force: bool) -> Result<()> {
    let _lock = store.shared()?;
    let image = store.find_image(text)?;
    let given = reference::candidates(text).into_iter().find(|name| image.names.contains(name));
    if let Some(name) = given.filter(|_| image.names.len() > 1 && !force) {
        store.untag(&name)?;
        context.report(LogLevel::Info, format_args!("Untagged: {name}"));
        return Ok(());
    }
    if image.names.len() > 1 && !force {
        bail!("image {} has several names ({}): use one of them, or -f", short(&image.id), image.names.join(", "));
    }
    store.remove_image(&image.id)?;
    for name in &image.names {
        context.report(LogLevel::Info, format_args!("Untagged: {name}"));
    }
    context.report(LogLevel::Info, format_args!("Deleted: {}", image.id));
    Ok(())
}
