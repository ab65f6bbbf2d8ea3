//! `corm rmi`: removes names, and with the last one the image.

use anyhow::{Result, bail, ensure};
use base::coded;

use super::{Context, for_each, print};
use crate::container::Purpose;
use crate::container::cleanup;
use crate::container::run_dir::RunDir;
use crate::model::reference;
use crate::store::Store;
use crate::store::{ContainerRecord, ImageRecord};
use crate::view::images::short;

/// How images are removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct How {
    /// All images.
    pub all: bool,
    /// All names of an image, and its containers too.
    pub force: bool,
    /// Missing images are no error.
    pub ignore: bool,
    /// Print nothing, for another verb.
    pub quiet: bool,
}

/// Removes the image of a container that is gone, by the name that the caller gave, unless another container uses it.
///
/// # Errors
/// As [`run`].
pub(super) fn unused(context: &Context, record: &ContainerRecord, name: &str) -> Result<u8> {
    let used = context.store()?.containers()?.iter().any(|other| other.image == record.image);
    if used { Ok(0) } else { run(context, &[name.to_owned()], How { ignore: true, quiet: true, ..How::default() }) }
}

/// Removes each image, or all; with `force` all their names, and their containers too.
///
/// # Errors
/// As [`for_each`]: the image does not exist; a container was created from it; an ID with several names.
pub(super) fn run(context: &Context, images: &[String], how: How) -> Result<u8> {
    let store = context.store()?;
    let every: Vec<String> =
        store.images()?.into_iter().filter(|_| how.all).map(|image| image.id.hex().to_owned()).collect();
    let result = for_each(context, if how.all { &every } else { images }, |image| match remove(&store, image, how) {
        Err(err) if how.ignore && err.to_string().starts_with("No image named") => Ok(()),
        done => done,
    });
    // unused data is removed also after a failure; while another process adds, the next removal does it
    store.collect()?;
    result
}

fn remove(store: &Store, text: &str, How { all, force, quiet, .. }: How) -> Result<()> {
    let say = |line: String| if quiet { Ok(()) } else { print::line(line) };
    let image = store.find_image(text)?;
    let given = reference::candidates(text).into_iter().find(|name| image.names.contains(name));
    if let Some(name) = given.filter(|_| image.names.len() > 1 && !force && !all) {
        store.untag(&name)?;
        return say(format!("Untagged: {name}"));
    }
    if image.names.len() > 1 && !force && !all {
        bail!(coded!(
            ImageInUse,
            "image {} has several names ({}): use one of them, or -f",
            short(&image.id),
            image.names.join(", ")
        ));
    }
    if force {
        remove_containers(store, &image)?;
    }
    let _lock = store.shared()?;
    store.remove_image(&image.id)?;
    for name in &image.names {
        say(format!("Untagged: {name}"))?;
    }
    say(format!("Deleted: {}", image.id))
}

/// Kills and removes the containers of an image. A bundle is a file of the user, and stays.
fn remove_containers(store: &Store, image: &ImageRecord) -> Result<()> {
    let run = RunDir::of(store.root())?;
    for record in store.containers()?.into_iter().filter(|record| record.image == image.id) {
        let bundle = record.setup.purpose == Purpose::Bundle;
        ensure!(
            !bundle,
            coded!(ImageInUse, "image {} is in use by bundle {:?}: unbundle it first", short(&image.id), record.bundle)
        );
        cleanup::remove_running(store, &run, &record)?;
    }
    Ok(())
}
