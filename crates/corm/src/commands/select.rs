//! The containers that a verb is applied to: by name, or all.

use anyhow::Result;

use super::{Context, for_each};
use crate::cli::args::Selection;
use crate::container::Purpose;
use crate::container::run_dir::RunDir;
use crate::container::status::{self, Status};
use crate::store::Store;
use crate::view::containers;
use base::cli_parser::LATEST_WORD;

/// Returns the names; with `--all` and with filters the IDs of the containers that they choose and whose status `fits`.
///
/// # Errors
/// A record is damaged.
pub(super) fn names(store: &Store, run: &RunDir, which: &Selection, fits: fn(&Status) -> bool) -> Result<Vec<String>> {
    let mut chosen = Vec::new();
    if !which.is_among_all() {
        chosen = which.names.clone();
        for name in chosen.iter_mut().filter(|name| *name == LATEST_WORD) {
            *name = store.find_container(name)?.id;
        }
        if which.ignore {
            chosen.retain(|name| !matches!(store.find_container(name), Err(err) if err.to_string().starts_with("No ")));
        }
        return Ok(chosen);
    }
    let fitting = containers::that_fit(store, run, &which.filters)?;
    for record in store.containers()? {
        let asked = which.names.is_empty() || which.names.contains(&record.id);
        let asked = asked && fitting.as_ref().is_none_or(|fitting| fitting.contains(&record.id));
        if asked && record.setup.purpose == Purpose::Run && fits(&status::of(store, run, &record)?) {
            chosen.push(record.id);
        }
    }
    Ok(chosen)
}

/// Returns whether a container has a process.
pub(super) fn runs(status: &Status) -> bool {
    status.pid().is_some()
}

/// Runs `one` for each selected container, with the store and its run-time directory.
///
/// # Errors
/// As [`for_each`].
pub(super) fn each(
    context: &Context,
    which: &Selection,
    fits: fn(&Status) -> bool,
    one: impl Fn(&Store, &RunDir, &str) -> Result<()>,
) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    for_each(context, &names(&store, &run, which, fits)?, |name| one(&store, &run, name))
}
