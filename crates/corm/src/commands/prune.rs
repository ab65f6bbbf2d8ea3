//! `corm container prune`, `image prune`, `volume prune`, `system prune`: removal of what is not used.

use std::collections::HashSet;
use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, Result};

use super::{Context, for_each, print};
use crate::cli::args::SystemPrune;
use crate::config::network::DEFAULT_NETWORK;
use crate::container::Purpose;
use crate::container::cleanup;
use crate::container::network::networks;
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::sweep;
use crate::store::Store;
use crate::view;
use crate::view::filter::Filters;
use crate::view::units;

/// Asks the caller; `false` for anything but yes.
fn confirm(warning: &str) -> Result<bool> {
    print::write(format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] ").as_bytes())?;
    std::io::stdout().flush().context("standard output")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("standard input")?;
    Ok(answer.trim_start().to_ascii_lowercase().starts_with('y'))
}

/// Removes the containers that do not run and that fit, and prints their IDs.
///
/// # Errors
/// As [`for_each`].
pub(super) fn containers(context: &Context, force: bool, filters: &Filters) -> Result<u8> {
    if !force && !confirm("This will remove all non running containers.")? {
        return Ok(0);
    }
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let fitting = view::containers::that_fit(&store, &run, filters)?;
    let mut all: Vec<String> = store.containers()?.into_iter().map(|record| record.id).collect();
    all.retain(|id| fitting.as_ref().is_none_or(|fitting| fitting.contains(id)));
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

/// Removes images that fit, without a name (`all`: named ones too) and without a container, and prints their IDs.
///
/// # Errors
/// A record is damaged, or the file system refuses.
pub(super) fn images(context: &Context, all: bool, force: bool, filters: &Filters) -> Result<u8> {
    let which =
        if all { "all images without at least one container associated to them" } else { "all dangling images" };
    if !force && !confirm(&format!("This command removes {which}."))? {
        return Ok(0);
    }
    let store = context.store()?;
    for id in remove_images(&store, all, filters)? {
        print::line(id)?;
    }
    store.collect()?;
    Ok(0)
}

fn remove_images(store: &Store, all: bool, filters: &Filters) -> Result<Vec<String>> {
    let used: HashSet<_> = store.containers()?.into_iter().map(|container| container.image).collect();
    let mut removed: Vec<String> = Vec::new();
    // a row for each name
    for row in view::images::rows(store, filters)?.into_iter().filter(|row| !used.contains(&row.image.id)) {
        let id = row.image.id.hex();
        // as in Docker the filter can say which, in the place of --all
        let chosen = all || row.image.names.is_empty() || filters.has("dangling");
        if chosen && !removed.iter().any(|known| known == id) {
            store.remove_image(&row.image.id)?;
            removed.push(id.to_owned());
        }
    }
    Ok(removed)
}

/// Removes the volumes that fit and that no container uses, and prints their names.
///
/// # Errors
/// As [`for_each`].
pub(super) fn volumes(context: &Context, force: bool, filters: &Filters) -> Result<u8> {
    let store = context.store()?;
    if !force && !confirm("This will remove all volumes not used by at least one container.")? {
        return Ok(0);
    }
    remove_volumes(context, &store, filters)
}

fn remove_volumes(context: &Context, store: &Store, filters: &Filters) -> Result<u8> {
    let all: Vec<String> = view::volumes::that_fit(store, filters)?.into_iter().map(|volume| volume.name).collect();
    for_each(context, &all, |name| {
        if !store.users_of_volume(name)?.is_empty() || !store.has_volume(name)? {
            return Ok(());
        }
        store.remove_volume(name)?;
        print::line(name)
    })
}

/// Removes the networks that fit and that no container uses, but for the one that is always there, and prints their names.
///
/// # Errors
/// As [`for_each`].
pub(super) fn networks(context: &Context, force: bool, filters: &Filters) -> Result<u8> {
    let store = context.store()?;
    if !force && !confirm("This will remove all networks not used by at least one container.")? {
        return Ok(0);
    }
    let fitting = view::networks::that_fit(&store, filters)?;
    let all: Vec<String> = fitting.into_iter().map(|network| network.name).collect();
    for_each(context, &all, |name| {
        if name == DEFAULT_NETWORK || !networks::users(&store, name)?.is_empty() {
            return Ok(());
        }
        networks::remove(&store, name)?;
        print::line(name)
    })
}

/// Removes images without a name and without a container (`all`: named ones too), the cache of builds, and everything that
/// no record names. With filters the cache is kept, and only images and volumes that fit are removed. Waits until no
/// process is adding.
///
/// # Errors
/// A record is damaged, or the file system refuses.
pub(super) fn system(context: &Context, args: &SystemPrune) -> Result<u8> {
    let store = context.store()?;
    if args.volumes {
        remove_volumes(context, &store, &args.filters)?;
    }
    let exclusive = store.exclusive()?;
    let left = sweep::sweep(&store, &RunDir::of(store.root())?, &exclusive)?;
    let images = remove_images(&store, args.all, &args.filters)?.len();
    if args.filters.is_empty() {
        store.cache_keys()?.iter().try_for_each(|key| store.remove_cached(key))?;
    }
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
