//! Filters of the verbs on networks.

use anyhow::Result;

use super::filter::{self, Filters};
use crate::container::network::networks::{self, Description};
use crate::store::Store;

/// Names of filters.
pub const FILTERS: [&str; 6] = ["name", "id", "driver", "label", "label!", "until"];

/// Returns the networks that fit the filters.
///
/// # Errors
/// A file of a network is damaged; a filter has a value that its name does not have.
pub fn that_fit(store: &Store, filters: &Filters) -> Result<Vec<Description>> {
    let until = filters.until()?;
    let mut fitting = Vec::new();
    for network in networks::all(store)? {
        let fits = filters.any("name", |value| Ok(network.name.contains(value)))?
            && filters.any("id", |value| Ok(network.id.starts_with(value)))?
            && filters.any("driver", |value| Ok(network.driver == value))?
            && filter::is_older(&network.created, until)
            && filters.labels(|key| network.labels.get(key).map(String::as_str));
        fitting.extend(fits.then_some(network));
    }
    Ok(fitting)
}
