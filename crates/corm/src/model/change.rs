//! Changes of a container or a layer to the tree below it.

use std::path::PathBuf;

/// Type of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The path is new.
    Added,
    /// Content or attributes differ.
    Changed,
    /// The path was deleted, with everything below it.
    Deleted,
}

impl ChangeKind {
    /// Returns the letter that `corm diff` prints.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }
}

/// A changed path. Lists are sorted by path, a directory before its content; a file that is replaced by another type is
/// `Deleted` and then `Added` under the same path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Path below the root, without a leading slash; empty for the root itself.
    pub path: PathBuf,
    /// Type of the change.
    pub kind: ChangeKind,
}
