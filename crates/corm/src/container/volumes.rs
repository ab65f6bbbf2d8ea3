//! The volumes of a new container that the store keeps: named ones, and those of the container alone.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use super::files;
use crate::config::Volume;
use crate::store::Store;
use crate::store::VolumeLock;

/// Volumes with their sources, and the locks to hold until the container has a record.
pub(super) struct Created {
    pub volumes: Vec<Volume>,
    pub locks: Vec<VolumeLock>,
}

/// Creates the volumes that are missing, and fills new ones with what the image, whose tree is `root`, has at their
/// destinations. Volumes without a name, and those that the image declares, are directories of the container in `dir`.
///
/// # Errors
/// The content cannot be copied.
pub(super) fn create(
    store: &Store,
    dir: &Path,
    root: BorrowedFd<'_>,
    given: &[Volume],
    mut declared: Vec<PathBuf>,
) -> Result<Created> {
    let without_name = |volume: &&Volume| volume.name.is_none() && volume.source.as_os_str().is_empty();
    declared.extend(given.iter().filter(without_name).map(|volume| volume.destination.clone()));
    let mut volumes: Vec<Volume> = given.iter().filter(|volume| !without_name(volume)).cloned().collect();
    let mut names: Vec<String> = volumes.iter().filter_map(|volume| volume.name.clone()).collect();
    // in one order, because two creators that wait for each other's lock would wait for ever
    names.sort();
    names.dedup();
    let mut locks = Vec::with_capacity(names.len());
    for name in &names {
        store.create_volume(name, Default::default())?;
        let lock = store.lock_volume(name)?;
        for volume in volumes.iter_mut().filter(|volume| volume.is_named(name)) {
            volume.source = store.volume_data(name);
            if volume.copies_up() {
                copy_up(store, name, root, volume, &lock).with_context(|| format!("volume {name}"))?;
            }
        }
        locks.push(lock);
    }
    for made in files::make_volumes(dir, root, &declared)? {
        let asked = given.iter().find(|volume| without_name(volume) && volume.destination == made.destination);
        let source = made.source.clone();
        volumes.push(asked.map_or(made, |volume| Volume { source, ..volume.clone() }));
    }
    for volume in volumes.iter().filter(|volume| volume.overlay) {
        volume.check_overlay()?;
    }
    Ok(Created { volumes, locks })
}

fn copy_up(store: &Store, name: &str, root: BorrowedFd<'_>, volume: &Volume, lock: &VolumeLock) -> Result<()> {
    match files::open_in(root, volume.destination.strip_prefix("/").unwrap_or(&volume.destination)) {
        Ok(there) => store.fill_volume(name, there.as_fd(), lock),
        // the runtime reports a file in the place of the mount point
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        Err(err) => Err(err).context("open its directory in the image"),
    }
}
