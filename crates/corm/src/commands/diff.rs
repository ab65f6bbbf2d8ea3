//! `corm diff`: lists the changes of a container, or of the last layer of an image.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;

use super::{Context, ImageOrContainer, find_image_or_container, print};
use crate::build;
use crate::cli::args::views::Diff;
use crate::container::changes;
use crate::model::change::{Change, ChangeKind};
use base::error::escape;

/// Prints a line `A|C|D /PATH` for each change, sorted by path, or lists of the three kinds as JSON.
///
/// # Errors
/// Neither has this name; a layer or a tree cannot be read.
pub(super) fn run(context: &Context, args: &Diff) -> Result<u8> {
    let store = context.store()?;
    let list = match find_image_or_container(&store, &args.what)? {
        ImageOrContainer::Image(image) => build::last_changes(&store, &image.layers)?,
        ImageOrContainer::Container(container) => changes::of(&store, &container)?.list,
    };
    if args.json {
        print::json(&document(&list))?;
        return Ok(0);
    }
    print::write(list.iter().map(line).collect::<String>().as_bytes())?;
    Ok(0)
}

/// Returns the lists of changes as Podman has them; a kind without changes is absent. A name that is not UTF-8 is escaped.
fn document(list: &[Change]) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::<_, Vec<String>>::new();
    for change in list {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
        };
        let path = match change.path.to_str() {
            Some(path) => path.to_owned(),
            None => escape::name(change.path.as_os_str().as_bytes()),
        };
        all.entry(kind).or_default().push(format!("/{path}"));
    }
    all
}

/// Formats a change as one line, escaped also without a terminal, as `git diff --name-only` and `tar -t` do, so that no
/// name looks like two.
fn line(change: &Change) -> String {
    format!("{} /{}\n", change.kind.letter(), escape::name(change.path.as_os_str().as_bytes()))
}
