//! Comparisons of trees, and of a list of changes with the trees before and after.

use std::path::Path;

use corm::model::change::{Change, ChangeKind};
use test_support::tree::{Facts, Tree};

/// Returns the first difference of two trees.
pub(super) fn difference(wanted: &Tree, got: &Tree) -> Option<String> {
    for (path, facts) in wanted {
        match got.get(path) {
            None => return Some(format!("{path:?} is missing")),
            Some(other) if other != facts => return Some(format!("{path:?}\n  was {facts:?}\n  is  {other:?}")),
            Some(_) => {}
        }
    }
    got.keys().find(|path| !wanted.contains_key(*path)).map(|path| format!("{path:?} came from nowhere"))
}

/// Returns what is wrong with a list of changes. It may name a file that changed and became the same again, but none
/// that is not in both trees.
pub(super) fn wrong_change(before: &Tree, after: &Tree, list: &[Change]) -> Option<String> {
    let has = |path: &Path, kind| list.iter().any(|change| change.path == path && change.kind == kind);
    for change in list {
        let (old, new) = (before.get(&change.path), after.get(&change.path));
        let right = match change.kind {
            ChangeKind::Added => new.is_some_and(|new| !old.is_some_and(|old| same_type(old, new))),
            ChangeKind::Deleted => old.is_some_and(|old| !new.is_some_and(|new| same_type(old, new))),
            ChangeKind::Changed => old.zip(new).is_some_and(|(old, new)| same_type(old, new)),
        };
        if !right {
            return Some(format!("{change:?}, but it was {old:?} and is {new:?}"));
        }
    }
    for (path, new) in after {
        let wanted = match before.get(path) {
            None => ChangeKind::Added,
            Some(old) if !same_type(old, new) => ChangeKind::Added,
            Some(old) if !same_facts(old, new) => ChangeKind::Changed,
            Some(_) => continue,
        };
        if !has(path, wanted) {
            return Some(format!("{path:?} is not in the list as {wanted:?}"));
        }
    }
    for (path, old) in before {
        let is_gone = |path: &Path, old: &Facts| !after.get(path).is_some_and(|new| same_type(old, new));
        let above = path.parent().and_then(|above| Some((above, before.get(above)?)));
        // the deletion of a directory is that of its content
        let is_top = is_gone(path, old) && !above.is_some_and(|(path, old)| is_gone(path, old));
        if is_top && !has(path, ChangeKind::Deleted) {
            return Some(format!("{path:?} is not in the list as deleted"));
        }
    }
    let sorted = list.is_sorted_by(|one, other| one.path <= other.path);
    (!sorted).then(|| "the list is not sorted".to_owned())
}

fn same_type(one: &Facts, other: &Facts) -> bool {
    one.mode & libc::S_IFMT == other.mode & libc::S_IFMT
}

/// Compares all but the other names of a file, because a name does not change when another one is deleted.
fn same_facts(one: &Facts, other: &Facts) -> bool {
    let facts = |facts: &Facts| Facts { same_as: std::path::PathBuf::new(), ..facts.clone() };
    facts(one) == facts(other)
}
