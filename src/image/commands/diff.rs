//! `corm diff IMAGE|CONTAINER`: what a container changed, or the last layer of an image.

use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;

use super::{Context, Named, named, print};
use crate::image::change::Change;
use crate::image::container::changes;
use crate::image::layer;

/// Prints a line `A|C|D /PATH` for each, sorted by path.
///
/// # Errors
/// Neither is called so; a layer or a tree cannot be read.
pub fn run(context: &Context, what: &str) -> Result<u8> {
    let store = context.store()?;
    let list = match named(&store, what)? {
        Named::Image(image) => layer::last_changes(&store, &image.layers)?,
        Named::Container(container) => changes::of(&store, &container)?.list,
    };
    let lines: Vec<u8> = list.iter().flat_map(line).collect();
    print::write(&lines)?;
    Ok(0)
}

fn line(change: &Change) -> Vec<u8> {
    let mut line = format!("{} /", change.kind.letter()).into_bytes();
    for &byte in change.path.as_os_str().as_bytes() {
        // one line for each, whatever the name
        line.extend_from_slice(if byte == b'\n' { b"\\n" } else { std::slice::from_ref(&byte) });
    }
    line.push(b'\n');
    line
}
