//! Changes of the last of several layers, read from their tars, independently of the driver.

use base::error::{Code, Coding as _};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::layer::entries;
use crate::layer::entry_name::LayerPath;
use crate::layer::entry_name::Name;
use crate::layer::entry_name::classify;
use crate::layer::shown;
use crate::model::change::Change;
use crate::model::change::ChangeKind;
use crate::model::layer::Layer;
use crate::store::Store;

/// Set of existing paths.
type Paths = BTreeSet<Vec<u8>>;

/// Returns the changes of the last layer, sorted.
///
/// # Errors
/// A blob is missing, or is no layer.
pub fn last_changes(store: &Store, layers: &[Layer]) -> Result<Vec<Change>> {
    let Some((last, below)) = layers.split_last() else { return Ok(Vec::new()) };
    let mut before = Paths::new();
    for layer in below {
        read(store, layer, &mut before)?;
    }
    let mut after = before.clone();
    let named = read(store, last, &mut after)?;
    let mut changes = Vec::new();
    for path in before.difference(&after) {
        // a deleted directory implies the deletion of its content
        if parent(path).is_none_or(|above| after.contains(above)) {
            changes.push(change(path, ChangeKind::Deleted));
        }
    }
    for path in after.intersection(&named) {
        changes.push(change(path, if before.contains(path) { ChangeKind::Changed } else { ChangeKind::Added }));
    }
    changes.sort();
    Ok(changes)
}

fn change(path: &[u8], kind: ChangeKind) -> Change {
    Change { path: PathBuf::from(OsString::from_vec(path.to_vec())), kind }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|&byte| byte == b'/').and_then(|at| path.get(..at))
}

/// Updates `paths` by a layer, and returns the paths that it names.
fn read(store: &Store, layer: &Layer, paths: &mut Paths) -> Result<Paths> {
    let (limits, mut named, mut hidden) = (store.limits(), Paths::new(), Vec::new());
    let mut each = |entry: crate::layer::Entry| -> Result<()> {
        let path = LayerPath::new(&entry.path, limits)?;
        let in_dir = |name: &[u8]| match path.split() {
            Some((dir, _)) if !dir.is_empty() => [dir, b"/", name].concat(),
            _ => name.to_vec(),
        };
        match classify(&path)? {
            Name::Plain(_) => {
                let mut above = Some(path.bytes());
                // parent directories without an entry are created too
                while let Some(path) = above.filter(|path| !path.is_empty() && named.insert(path.to_vec())) {
                    above = parent(path);
                }
            }
            Name::Whiteout(name) => hidden.push((in_dir(name), true)),
            Name::Opaque => hidden.push((path.split().map(|(dir, _)| dir.to_vec()).unwrap_or_default(), false)),
            Name::Aufs => {}
        }
        Ok(())
    };
    let mut visit = |entry: crate::layer::Entry, _: &mut dyn std::io::Read| {
        let name = shown(&entry.path);
        each(entry).with_context(|| format!("entry {name}"))
    };
    entries(store.open_blob(&layer.blob)?, limits, &mut visit)
        .with_code(Code::ImageInvalid, || format!("layer {}", layer.blob))?;
    // whiteouts apply to lower layers, wherever they are in the tar
    for (path, with_itself) in hidden {
        remove(paths, &path, with_itself);
    }
    paths.extend(named.iter().cloned());
    Ok(named)
}

fn remove(paths: &mut Paths, top: &[u8], with_itself: bool) {
    let start = if top.is_empty() { Vec::new() } else { [top, b"/"].concat() };
    let gone: Vec<_> = paths.range(start.clone()..).take_while(|path| path.starts_with(&start)).cloned().collect();
    for path in gone {
        paths.remove(&path);
    }
    if with_itself {
        paths.remove(top);
    }
}
