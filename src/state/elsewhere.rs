//! Where a container may be that does not exist in this state root: a similar ID, or another state root.
//!
//! For the error alone: only looks, and only after a container was not found.

use std::path::{Path, PathBuf};

use super::record::RECORD;
use crate::config::ContainerId;
use base::suggest::nearest;

/// Parents of the state roots that other callers of croci use: containerd (a directory for each of its namespaces),
/// Docker and CRI-O.
const PARENTS: &[&str] = &["/run/containerd/runc", "/run/docker/runtime-runc", "/run/docker/runtime-croci"];

/// Returns what to do, in parentheses: the state root that has a container of this ID, the nearest ID of `ids`, or where
/// to look.
pub(super) fn hint(root: &Path, id: &ContainerId, ids: &[ContainerId]) -> String {
    let others = roots().into_iter().filter(|other| other != root);
    if let Some(other) = others.into_iter().find(|other| other.join(id.as_str()).join(RECORD).exists()) {
        return format!(" (there is one with --root {})", other.display());
    }
    match nearest(id.as_str(), ids.iter().map(ContainerId::as_str)) {
        Some(near) => format!(" (did you mean {near:?}?)"),
        None => format!(" (`list` shows those in {}; is it another --root?)", root.display()),
    }
}

/// Returns the state roots that croci and its callers use by default.
fn roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = vec!["/run/croci".into(), "/run/runc".into(), "/run/crun".into()];
    roots.extend(std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("croci")));
    let below = |parent: &Path| std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    roots.extend(PARENTS.iter().flat_map(|parent| below(Path::new(parent))));
    roots.extend(below(Path::new("/run/user")).map(|user| user.join("croci")));
    roots
}
