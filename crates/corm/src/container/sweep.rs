//! Removal of what killed processes left of containers: run-time files without a container, containers that no program
//! was started in, and mounts and state of those that ended without a supervisor.

use anyhow::{Context as _, Result};

use super::Purpose;
use super::cleanup;
use super::create::{self, UNPUBLISHED};
use super::network;
use super::run_dir::RunDir;
use super::runtime::RuntimeStatus;
use super::status::{self, Last};
use crate::bundle;
use crate::store::{ContainerRecord, Lock, Store};

/// Removes all of it; returns the number of containers. The caller holds the exclusive lock, because a container that is
/// being created looks like one whose creator was killed.
///
/// # Errors
/// A record is damaged, the runtime fails, or the file system refuses.
pub fn sweep(store: &Store, run: &RunDir, exclusive: &Lock) -> Result<usize> {
    let mut swept = sweep_builds(store, run, exclusive)?;
    for record in store.containers()? {
        if record.setup.purpose == Purpose::Bundle {
            swept += usize::from(sweep_bundle(store, run, &record)?);
            continue;
        }
        // a supervisor that ends removes its file, which is older than the record, and no file survives a reboot
        if !run.had_supervisor(&record.id)? {
            continue;
        }
        let Some(_supervisor) = run.lock_supervisor(&record.id)? else { continue };
        let now = status::runtime(run, &record).state(&record.id)?;
        if now.is_some_and(|now| now != RuntimeStatus::Stopped) {
            continue;
        }
        match Last::read(&store.container_dir(&record.id))? {
            Some(_) => cleanup::cleanup(store, run, &record, &|_| {})?,
            // its first start was killed
            None if record.setup.created => cleanup::forget(store, run, &record)?,
            None => cleanup::remove(store, run, &record)?,
        }
        swept += 1;
    }
    Ok(swept + sweep_files(store, run)?)
}

/// Removes the steps of builds that were killed, also running ones; returns their number.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_builds(store: &Store, run: &RunDir, _exclusive: &Lock) -> Result<usize> {
    let mut swept = 0;
    for record in store.containers()?.into_iter().filter(|record| record.setup.purpose == Purpose::Build) {
        let Some(_supervisor) = run.lock_supervisor(&record.id)? else { continue };
        cleanup::remove(store, run, &record)?;
        swept += 1;
    }
    Ok(swept)
}

/// Removes the container of a bundle that was never complete, or is gone because `unbundle` was killed; returns whether it
/// did. The user may have moved another bundle away, so that a missing one alone is no reason.
fn sweep_bundle(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<bool> {
    let dir = store.container_dir(&record.id);
    let mark = dir.join(UNPUBLISHED);
    if !mark.try_exists().with_context(|| format!("{mark:?}"))? {
        return Ok(false);
    }
    match bundle::tree_of(&record.bundle)? {
        // killed, or without power, between the last two steps
        Some(tree) if tree == bundle::tree(&dir)? => {
            create::mark_published(&dir)?;
            return Ok(false);
        }
        // the rest of one that was being removed: the user removes it by the same verb
        None if record.bundle.try_exists().with_context(|| format!("{:?}", record.bundle))? => return Ok(false),
        _ => {}
    }
    cleanup::remove(store, run, record)?;
    Ok(true)
}

/// Removes the run-time files of containers that have no record; returns the number of containers.
///
/// # Errors
/// The file system refuses.
pub fn sweep_files(store: &Store, run: &RunDir) -> Result<usize> {
    let mut swept = 0;
    for id in run.containers()? {
        // a creator has the lock before its container has a record
        let Some(_supervisor) = run.lock_existing(&id)? else { continue };
        if !store.has_container(&id)? {
            network::teardown(run, &id)?;
            run.remove_files(&id)?;
            swept += 1;
        }
    }
    Ok(swept)
}
