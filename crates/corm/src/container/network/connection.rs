//! `network connect` and `disconnect`: a container's place in one more network, or one less, also while it runs.

use std::fs::File;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Made, addresses, made, netavark, write, write_names};
use crate::config::network::{Attachment, Mode};
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::store::{ContainerRecord, Store};

/// Adds a network to a container.
///
/// # Errors
/// The container has it already, or has a network that is not one with a bridge; netavark's.
pub fn connect(store: &Store, run: &RunDir, record: &ContainerRecord, place: &Attachment) -> Result<()> {
    let network = &record.setup.network;
    ensure!(
        matches!(network.mode, Mode::Bridge(_)),
        "container '{}' has the network {}: only one with a bridge can have more",
        record.name,
        network.mode
    );
    let all = network.places();
    ensure!(
        !all.iter().any(|other| other.name == place.name),
        "container '{}' is in the network '{}' already",
        record.name,
        place.name
    );
    netavark::check(store, std::slice::from_ref(place))?;
    if let Some((_lock, mut now)) = running(store, run, record)? {
        let given = (now.ports.as_slice(), netavark::interfaces(&now.request));
        let request = netavark::request(store, run, record, std::slice::from_ref(place), given)?;
        let before = now.clone();
        netavark::add(&mut now.request, &request);
        write(run, &record.id, &now)?;
        if let Err(err) = netavark::setup(run, &run.netns(&record.id), &request, &mut now) {
            // the reason is reported
            let _ = addresses::release_of(run, &place.name, &record.id);
            write(run, &record.id, &before)?;
            return Err(err);
        }
        write(run, &record.id, &now)?;
    }
    change(store, run, record, |all| all.push(place.clone()))
}

/// Takes a network from a container.
///
/// # Errors
/// It does not have it, or no other; netavark's.
pub fn disconnect(store: &Store, run: &RunDir, record: &ContainerRecord, name: &str) -> Result<()> {
    let all = record.setup.network.places();
    if !all.iter().any(|other| other.name == name) {
        bail!("container '{}' is not in the network '{name}'", record.name);
    }
    ensure!(all.len() > 1, "container '{}' has no other network than '{name}'", record.name);
    if let Some((_lock, mut now)) = running(store, run, record)? {
        let part = netavark::part(&now.request, name).context("the container's network has no such part")?;
        netavark::teardown(run, &run.netns(&record.id), &part)?;
        netavark::remove(&mut now.request, name);
        if let Some(answers) = now.answer.as_object_mut() {
            answers.remove(name);
        }
        netavark::read_answer(&mut now);
        write(run, &record.id, &now)?;
        addresses::release_of(run, name, &record.id)?;
    }
    change(store, run, record, |all| all.retain(|other| other.name != name))
}

/// Returns what was made for a container that runs, and the lock under which it may change.
fn running(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<Option<(File, Made)>> {
    if status::of(store, run, record)?.pid().is_none() {
        return Ok(None);
    }
    let lock = addresses::lock_of(run, &record.id)?;
    // removed meanwhile, when it has ended
    Ok(made(run, &record.id).map(|now| (lock, now)))
}

/// Changes the record, and the names of a container that runs.
fn change(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    change: impl FnOnce(&mut Vec<Attachment>),
) -> Result<()> {
    let changed = store.change_container(&record.id, |record| {
        let network = &mut record.setup.network;
        let mut places = network.places();
        change(&mut places);
        if let Some(first) = places.first() {
            network.mode = Mode::Bridge(first.name.clone());
        }
        network.attachments = places;
        Ok(())
    })?;
    made(run, &record.id).map_or(Ok(()), |now| write_names(store, &changed, &now))
}
