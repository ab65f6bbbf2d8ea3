//! `corm system prune`: removes unused data.

use std::collections::HashSet;

use anyhow::Result;

use super::{Context, print};
use crate::container::run_dir::RunDir;
use crate::container::sweep;

/// Removes images without a name and without a container (`all`: named ones too), and everything that no record names.
/// Waits until no process is adding.
///
/// # Errors
/// A record is damaged, or the file system refuses.
pub(super) fn run(context: &Context, all: bool) -> Result<u8> {
    let store = context.store()?;
    let exclusive = store.exclusive()?;
    let left = sweep::sweep(&store, &RunDir::of(store.root())?, &exclusive)?;
    let used: HashSet<_> = store.containers()?.into_iter().map(|container| container.image).collect();
    let mut images = 0;
    for image in store.images()?.into_iter().filter(|image| !used.contains(&image.id)) {
        if all || image.names.is_empty() {
            store.remove_image(&image.id)?;
            images += 1;
        }
    }
    let mut freed = store.collect_now(&exclusive)?;
    freed.leftovers += store.drop_partials(&exclusive)? + left;
    print::line(format_args!(
        "Removed {images} images, {} layers, {} blobs, {} leftovers: {}",
        freed.layers,
        freed.blobs,
        freed.leftovers + freed.trees,
        print::size(freed.bytes)
    ))?;
    Ok(0)
}
