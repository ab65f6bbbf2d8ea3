//! Changes of a container, without the mount points that the runtime created.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::Result;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};

use crate::model::change::Change;
use crate::model::change::ChangeKind;
use crate::store::ContainerRecord;
use crate::store::Store;

/// Changes of a container.
#[derive(Debug)]
pub struct Changes {
    /// Directory with the new content.
    pub root: OwnedFd,
    /// Changes, sorted.
    pub list: Vec<Change>,
    /// Whether mount points were left out, so that the tree has more than the list.
    pub filtered: bool,
}

/// Returns the changes of a container. Exact only while no process writes to its tree.
///
/// # Errors
/// Those of the driver.
pub fn of(store: &Store, record: &ContainerRecord) -> Result<Changes> {
    let (root, mut list) = store.driver().changes(&record.id)?;
    let before = list.len();
    let created = &record.setup.points;
    // innermost first: a directory is empty when its whole content was left out
    let mut kept = Vec::with_capacity(list.len());
    while let Some(change) = list.pop() {
        let is_point = change.kind == ChangeKind::Added && created.contains(&change.path);
        let holds_more = kept.last().is_some_and(|last: &Change| last.path.starts_with(&change.path));
        if !is_point || holds_more || !is_bare(&root, &change.path) {
            kept.push(change);
        }
    }
    kept.reverse();
    Ok(Changes { filtered: kept.len() != before, root, list: kept })
}

/// Returns whether the entry is an empty file or a directory, as a runtime creates for a mount.
fn is_bare(root: &OwnedFd, path: &Path) -> bool {
    fstatat(root.as_fd(), path, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        kind == SFlag::S_IFDIR || kind == SFlag::S_IFREG && stat.st_size == 0
    })
}
