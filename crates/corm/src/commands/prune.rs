//! `corm container prune`, `image prune`, `volume prune`, `system prune`: removal of what is not used.

use std::collections::HashSet;
use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, Result};

use super::{Context, for_each, print};
use crate::config::network::DEFAULT_NETWORK;
use crate::container::Purpose;
use crate::container::cleanup;
use crate::container::network::networks;
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::sweep;
use crate::store::Store;
use crate::view::units;

/// Asks the caller; `false` for anything but yes.
fn confirm(warning: &str) -> Result<bool> {
    print::write(format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] ").as_bytes())?;
    std::io::stdout().flush().context("standard output")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("standard input")?;
    Ok(answer.trim_start().to_ascii_lowercase().starts_with('y'))
}

/// Removes the containers that do not run, and prints their IDs.
///
/// # Errors
/// As [`for_each`].
pub(super) fn containers(context: &Context, force: bool) -> Result<u8> {
    if !force && !confirm("This will remove all non running containers.")? {
        return Ok(0);
    }
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let all: Vec<String> = store.containers()?.into_iter().map(|record| record.id).collect();
    for_each(context, &all, |id| {
        let Some(record) = store.read_container(id)? else { return Ok(()) };
        // not one that another process starts or creates now
        if record.setup.purpose != Purpose::Run || status::of(&store, &run, &record)?.pid().is_some() {
            return Ok(());
        }
        let Some(_supervisor) = run.lock_supervisor(&record.id)? else { return Ok(()) };
        cleanup::remove(&store, &run, &record)?;
        print::line(&record.id)
    })
}

/// Removes images without a name (`all`: named ones too) and without a container, and prints their IDs.
///
/// # Errors
/// A record is damaged, or the file system refuses.
pub(super) fn images(context: &Context, all: bool, force: bool) -> Result<u8> {
    let which =
        if all { "all images without at least one container associated to them" } else { "all dangling images" };
    if !force && !confirm(&format!("This command removes {which}."))? {
        return Ok(0);
    }
    let store = context.store()?;
    for id in remove_images(&store, all)? {
        print::line(id)?;
    }
    store.collect()?;
    Ok(0)
}

fn remove_images(store: &Store, all: bool) -> Result<Vec<String>> {
    let used: HashSet<_> = store.containers()?.into_iter().map(|container| container.image).collect();
    let mut removed = Vec::new();
    for image in store.images()?.into_iter().filter(|image| !used.contains(&image.id)) {
        if all || image.names.is_empty() {
            store.remove_image(&image.id)?;
            removed.push(image.id.hex().to_owned());
        }
    }
    Ok(removed)
}

/// Removes the volumes that no container uses, and prints their names.
///
/// # Errors
/// As [`for_each`].
pub(super) fn volumes(context: &Context, force: bool) -> Result<u8> {
    let store = context.store()?;
    if !force && !confirm("This will remove all volumes not used by at least one container.")? {
        return Ok(0);
    }
    remove_volumes(context, &store)
}

fn remove_volumes(context: &Context, store: &Store) -> Result<u8> {
    let all: Vec<String> = store.volumes()?.into_iter().map(|volume| volume.name).collect();
    for_each(context, &all, |name| {
        if !store.users_of_volume(name)?.is_empty() || !store.has_volume(name)? {
            return Ok(());
        }
        store.remove_volume(name)?;
        print::line(name)
    })
}

/// Removes the networks that no container uses, but for the one that is always there, and prints their names.
///
/// # Errors
/// As [`for_each`].
pub(super) fn networks(context: &Context, force: bool) -> Result<u8> {
    let store = context.store()?;
    if !force && !confirm("This will remove all networks not used by at least one container.")? {
        return Ok(0);
    }
    let all: Vec<String> = networks::all(&store)?.into_iter().map(|network| network.name).collect();
    for_each(context, &all, |name| {
        if name == DEFAULT_NETWORK || !networks::users(&store, name)?.is_empty() {
            return Ok(());
        }
        networks::remove(&store, name)?;
        print::line(name)
    })
}

/// Removes images without a name and without a container (`all`: named ones too), the cache of builds, and everything that
/// no record names. Waits until no process is adding.
///
/// # Errors
/// A record is damaged, or the file system refuses.
pub(super) fn system(context: &Context, all: bool, volumes: bool) -> Result<u8> {
    let store = context.store()?;
    if volumes {
        remove_volumes(context, &store)?;
    }
    let exclusive = store.exclusive()?;
    let left = sweep::sweep(&store, &RunDir::of(store.root())?, &exclusive)?;
    let images = remove_images(&store, all)?.len();
    store.cache_keys()?.iter().try_for_each(|key| store.remove_cached(key))?;
    let mut freed = store.collect_now(&exclusive)?;
    freed.leftovers += store.drop_partials(&exclusive)? + left;
    print::line(format_args!(
        "Removed {images} images, {} layers, {} blobs, {} leftovers: {}",
        freed.layers,
        freed.blobs,
        freed.leftovers + freed.trees,
        units::size(freed.bytes, 4)
    ))?;
    Ok(0)
}
