//! Filters of the verbs on volumes.

use anyhow::Result;

use super::filter::{self, Filters};
use crate::store::{Store, VolumeRecord};

/// Names of filters.
pub const FILTERS: [&str; 6] = ["name", "label", "label!", "driver", "dangling", "until"];

/// Returns the volumes that fit the filters.
///
/// # Errors
/// A record is damaged; a filter has a value that its name does not have.
pub fn that_fit(store: &Store, filters: &Filters) -> Result<Vec<VolumeRecord>> {
    let until = filters.until()?;
    let mut fitting = Vec::new();
    for volume in store.volumes()? {
        let used = !store.users_of_volume(&volume.name)?.is_empty();
        let fits = filters.any("name", |value| Ok(volume.name.contains(value)))?
            && filters.any("driver", |value| Ok(value == "local"))?
            && filters.any("dangling", |value| Ok(filter::truth(value)? != used))?
            && filter::is_older(&volume.created, until)
            && filters.labels(|key| volume.labels.get(key).map(String::as_str));
        fitting.extend(fits.then_some(volume));
    }
    Ok(fitting)
}
