//! `corm volume create`, `ls`, `inspect`, `rm`: named volumes.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::{Context, for_each, print};
use crate::cli::args::{Format, VolumeCreate};
use crate::container::cleanup;
use crate::container::run_dir::RunDir;
use crate::store::Store;
use crate::store::VolumeRecord;

/// Creates a volume and prints its name.
///
/// # Errors
/// There is one of this name.
pub(super) fn create(context: &Context, args: &VolumeCreate) -> Result<u8> {
    let store = context.store()?;
    let mut labels = BTreeMap::new();
    for label in &args.labels {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        ensure!(!key.is_empty(), "--label {label:?}: not of the form NAME=VALUE");
        labels.insert(key.to_owned(), value.to_owned());
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => store.new_id()?,
    };
    if !store.create_volume(&name, labels)? && !args.ignore {
        bail!("volume with name {name} already exists: volume already exists");
    }
    print::line(name)?;
    Ok(0)
}

/// Lists the volumes.
///
/// # Errors
/// A record is damaged.
pub(super) fn list(context: &Context, quiet: bool, format: Format) -> Result<u8> {
    let store = context.store()?;
    let volumes = store.volumes()?;
    match format {
        _ if quiet => volumes.iter().try_for_each(|volume| print::line(&volume.name))?,
        Format::Json => print::json(&described(&store, &volumes)?)?,
        Format::Table if volumes.is_empty() => {}
        Format::Table => {
            let rows = volumes.into_iter().map(|volume| vec!["local".to_owned(), volume.name]);
            print::table(&["DRIVER", "VOLUME NAME"], rows)?;
        }
    }
    Ok(0)
}

/// Prints the details of volumes.
///
/// # Errors
/// There is no such volume; those found are printed.
pub(super) fn inspect(context: &Context, names: &[String], all: bool) -> Result<u8> {
    let store = context.store()?;
    if all {
        print::json(&described(&store, &store.volumes()?)?)?;
        return Ok(0);
    }
    let found: Vec<Result<VolumeRecord>> = names.iter().map(|name| store.find_volume(name)).collect();
    let records: Vec<VolumeRecord> = found.iter().flatten().cloned().collect();
    print::json(&described(&store, &records)?)?;
    found.into_iter().try_for_each(|found| found.map(drop))?;
    Ok(0)
}

/// Returns what `inspect` prints of volumes, with Podman's keys.
fn described(store: &Store, volumes: &[VolumeRecord]) -> Result<Vec<Value>> {
    let describe = |volume: &VolumeRecord| {
        let users = store.users_of_volume(&volume.name)?.len();
        Ok(json!({
            "Name": volume.name, "Driver": "local", "Mountpoint": store.volume_data(&volume.name),
            "CreatedAt": volume.created, "Labels": volume.labels, "Scope": "local", "Options": {}, "MountCount": users,
        }))
    };
    volumes.iter().map(describe).collect()
}

/// Removes volumes and prints their names; with `force` their containers too, and a missing one is no error.
///
/// # Errors
/// As [`for_each`]: there is no such volume, or a container uses it.
pub(super) fn remove(context: &Context, names: &[String], all: bool, force: bool) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let every: Vec<String> = store.volumes()?.into_iter().filter(|_| all).map(|volume| volume.name).collect();
    for_each(context, if all { &every } else { names }, |name| {
        if force && store.find_volume(name).is_err_and(|err| err.to_string().starts_with("no ")) {
            return Ok(());
        }
        for record in store.users_of_volume(name)?.into_iter().filter(|_| force) {
            cleanup::remove_running(&store, &run, &record)?;
        }
        store.remove_volume(name)?;
        print::line(name)
    })
}
