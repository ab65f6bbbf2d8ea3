//! `corm diff IMAGE|CONTAINER`: lists the changes of a container, or of the last layer of an image.

use crate::build;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;

use super::{Context, ImageOrContainer, find_image_or_container, print};
use crate::container::changes;
use crate::model::change::Change;
use base::error::escape;

/// Prints a line `A|C|D /PATH` for each change, sorted by path.
///
/// # Errors
/// Neither has this name; a layer or a tree cannot be read.
pub(super) fn run(context: &Context, what: &str) -> Result<u8> {
    let store = context.store()?;
    let list = match find_image_or_container(&store, what)? {
        ImageOrContainer::Image(image) => build::last_changes(&store, &image.layers)?,
        ImageOrContainer::Container(container) => changes::of(&store, &container)?.list,
    };
    print::write(list.iter().map(line).collect::<String>().as_bytes())?;
    Ok(0)
}

/// Formats a change as one line, escaped also without a terminal, as `git diff --name-only` and `tar -t` do, so that no
/// name looks like two.
fn line(change: &Change) -> String {
    format!("{} /{}\n", change.kind.letter(), escape::name(change.path.as_os_str().as_bytes()))
}
