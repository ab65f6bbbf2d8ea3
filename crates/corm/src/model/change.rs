//! What a container, or a layer, changes of the tree below it.

use std::path::PathBuf;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// Its content or its attributes are others.
    Changed,
    /// It is gone, with all that was below it.
    Deleted,
}

impl ChangeKind {
    /// As `corm diff` prints it.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }
}

/// One changed path. Lists of them are sorted by path, a directory before what is in it; what replaces another type of
/// file is `Deleted` and then `Added` under the same path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Below the root, without a leading slash; empty for the root itself.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}
