//! `corm rm`: removes containers; also images by ID.

use anyhow::{Result, ensure};
use base::coded;

use super::{Context, print, select};
use crate::cli::args;
use crate::container::cleanup;
use crate::container::lifecycle;
use crate::container::run_dir::RunDir;
use crate::container::sweep;
use crate::store::Store;

/// Removes each container; with `--force` running ones too.
///
/// # Errors
/// As [`super::for_each`].
pub(super) fn run(context: &Context, args: &args::Rm) -> Result<u8> {
    let store = context.store()?;
    // of a removal that was killed; a failure here is none of this one
    let _ = sweep::sweep_files(&store, &RunDir::of(store.root())?);
    select::each(
        context,
        &args.which,
        |_| true,
        |store, run, name| {
            let record = match store.find_container(name) {
                Ok(record) => record,
                // the error for a container is reported when no image has the ID either
                Err(err) => return remove_image(store, name).unwrap_or(Err(err)),
            };
            if cleanup::settled(store, run, &record)?.pid().is_some() {
                ensure!(
                    args.force,
                    coded!(ContainerNotStopped, "container '{}' is running (stop it first, or use -f)", record.name)
                );
                match args.timeout {
                    Some(_) => lifecycle::stop(store, run, &record, args.timeout, None)?,
                    None => cleanup::kill(store, run, &record)?,
                }
            }
            cleanup::wait_for_supervisor(run, &record)?;
            let _supervisor = run.lock_supervisor(&record.id)?;
            cleanup::remove(store, run, &record)?;
            print::line(format_args!("Removed: {}", record.id))
        },
    )
}

/// Minimum digits of an image ID for `rm`, as tables print it, because the name of a removed container must not match
/// an image.
const MIN_ID_DIGITS: usize = 12;

/// Removes an image by its ID; `None` when there is none.
fn remove_image(store: &Store, text: &str) -> Option<Result<()>> {
    let image = store.find_image(text).ok()?;
    if text.len() < MIN_ID_DIGITS || !image.id.hex().starts_with(text) {
        return None;
    }
    let removed = store.shared().and_then(|_lock| store.remove_image(&image.id));
    Some(removed.and_then(|()| {
        store.collect()?;
        print::line(format_args!("Removed: {}", image.id.hex()))
    }))
}
