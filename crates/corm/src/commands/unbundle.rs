//! `corm unbundle`: removes a bundle and its tree.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Context;
use crate::bundle;
use crate::bundle::Rootfs;
use crate::container::Purpose;
use crate::container::cleanup;
use crate::container::create;
use crate::container::run_dir::RunDir;

/// Removes a bundle that corm created, from an image or a directory.
///
/// # Errors
/// The directory is no bundle; a file of it is in use.
pub(super) fn run(context: &Context, dir: &Path) -> Result<u8> {
    let dir = std::path::absolute(dir).with_context(|| format!("{dir:?}"))?;
    let store = context.store()?;
    let of_it = |container: &crate::store::ContainerRecord| {
        container.setup.purpose == Purpose::Bundle && container.bundle == dir
    };
    let mut found: Vec<_> = store.containers()?.into_iter().filter(of_it).collect();
    if !found.is_empty() {
        // several: a killed `bundle` has left one, or a bundle was moved away
        let tree = bundle::tree_of(&dir)?;
        let is_own = |id: &str| bundle::tree(&store.container_dir(id)).is_ok_and(|own| tree.as_ref() == Some(&own));
        let own = found.iter().position(|one| is_own(&one.id));
        let record = found.swap_remove(own.unwrap_or(0));
        // the bundle is removed first: while the record exists, the verb can be repeated; the mark is for the next removal, if
        // this one is killed and the verb is not repeated
        let _using = store.shared()?;
        create::mark_unpublished(&store.container_dir(&record.id))?;
        bundle::remove(&dir, Rootfs::Link)?;
        cleanup::remove(&store, &RunDir::of(store.root())?, &record)?;
        return Ok(0);
    }
    bundle::remove(&dir, Rootfs::Copy).map(|()| 0)
}
