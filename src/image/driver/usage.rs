//! Bytes on disk of a tree.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::tree_diff::Scan;

/// Blocks of all files, those with several names once. What several trees share by reference counts in each.
pub fn of(path: &Path) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut total = 0u64;
    for entry in Scan::of(super::mount_util::open_dir(path)?)? {
        let entry = entry?;
        if entry.links < 2 || entry.is_dir() || seen.insert((entry.device, entry.inode)) {
            total = total.saturating_add(entry.blocks.saturating_mul(512));
        }
    }
    Ok(total)
}
