//! Images from containers: a new layer on top of the container's chain, the image's configuration with one more history
//! entry, and a name that is moved only when the image is complete.

mod pause;
mod volumes;

use crate::build;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::cli::args;
use super::config;
use super::config::edit::{Edit, History};
use super::container::create::{self, Reporter};
use super::container::run_dir::RunDir;
use super::container::status::{self, Status};
use super::container::{Purpose, changes, userns};
use super::layer::{epoch, pack};
use super::store::{ContainerRecord, ImageRecord, Store};
use crate::build::new_manifest;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::reference;
use base::error::describe;
use base::fs::lock::create_locked;
use base::fs::staging::StagedEntry;
use linux::place::Place;
use pause::Paused;

/// Annotation with the name of the base image.
const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// Creates the image.
///
/// # Errors
/// The name keeps its previous image then. A paused container is resumed.
pub fn commit(store: &Store, args: &args::Commit, report: Reporter<'_>) -> Result<ImageRecord> {
    let name = reference::local_name(&args.image)?;
    let container = find(store, &args.container)?;
    let _adding = store.shared()?;
    let base = store
        .find_image(container.image.hex())
        .with_context(|| format!("the image of container '{}'", container.name))?;
    // refused, because the new image would inherit a volume at a forbidden path
    config::image_volumes(&create::read_configuration(store, &base)?, &config::RunOptions::default())?;
    let mut layers = base.layers.clone();
    let mut edit = Edit::new(&store.read_blob(&base.id)?)?;
    let line = History {
        created: now()?,
        created_by: container.command.join(" "),
        author: args.author.clone(),
        comment: args.message.clone(),
        empty_layer: false,
    };

    edit.apply_overrides(&container.setup.overrides)?;
    args.changes.iter().try_for_each(|change| edit.change(change))?;

    // one commit at a time, because two would resume the container under each other
    let lock = store.container_dir(&container.id).join("commit.lock");
    let lock = create_locked(&lock).with_context(|| format!("lock {lock:?}"))?;
    let (paused, unchanged_since_read) = pause(store, &container, lock.as_fd(), report)?;
    let changed = own_layer(store, &container, &mut layers, unchanged_since_read, report);
    if let Some(paused) = paused {
        report("resume");
        paused.end()?;
    }
    drop(lock);
    let changed = changed?;
    if let Some(layer) = layers.last().filter(|_| changed) {
        edit.push_layer(&layer.diff_id)?;
    }
    edit.push_history(&History { empty_layer: !changed, ..line.clone() })?;
    store.unpack(&layers, &|_, _| {})?;
    if args.include_volumes && !container.setup.volumes.is_empty() {
        report("volumes");
        let layer = volumes::layer(store, &container, &layers)?;
        edit.push_layer(&layer.diff_id)?;
        edit.push_history(&History { created_by: "volumes".into(), ..line })?;
        layers.push(layer);
        store.unpack(&layers, &|_, _| {})?;
    }
    edit.label(BASE_NAME, &container.image_name)?;
    put(store, &layers, edit, &name, Some(format!("container {}", container.name)))
}

/// Pauses a running container. Also returns whether the tree stays unchanged while it is read: not without privileges,
/// when there may be no cgroup to freeze.
fn pause(
    store: &Store,
    container: &ContainerRecord,
    lock: BorrowedFd<'_>,
    report: Reporter<'_>,
) -> Result<(Option<Paused>, bool)> {
    let run = RunDir::of(store.root())?;
    let Status::Running(_) = status::of(store, &run, container)? else { return Ok((None, true)) };
    report("pause");
    match Paused::begin(&status::runtime(&run, container), &container.id, lock) {
        Err(err) if userns::unprivileged() => {
            let _ = writeln!(std::io::stderr(), "corm: warning: the container is not paused: {}", describe(&err));
            Ok((None, false))
        }
        paused => Ok((Some(paused?), true)),
    }
}

/// Finds a container, or a bundle by its directory.
fn find(store: &Store, text: &str) -> Result<ContainerRecord> {
    let missing = match store.find_container(text) {
        Err(err) => err,
        found => return found,
    };
    let Ok(path) = std::path::absolute(text) else { return Err(missing) };
    let of_it = |container: &ContainerRecord| container.setup.purpose == Purpose::Bundle && container.bundle == path;
    store.containers()?.into_iter().find(of_it).ok_or(missing)
}

/// Appends the layer of the container's own changes; `false` when there are none.
fn own_layer(
    store: &Store,
    container: &ContainerRecord,
    layers: &mut Vec<Layer>,
    unchanged_since_read: bool,
    report: Reporter<'_>,
) -> Result<bool> {
    let changes = changes::of(store, container)?;
    if changes.list.is_empty() {
        return Ok(false);
    }
    report(&format!("layer of {} changes", changes.list.len()));
    let (layer, _) = build::write_blob(store, |out| pack::changes(changes.root.as_fd(), &changes.list, out))?;
    layers.push(layer);
    // the current tree can be the layer's, unless it has mount points that the layer lacks, or may still change
    if unchanged_since_read
        && !changes.filtered
        && let Some(top) = chain(layers)
    {
        store.commit_layer(&container.id, &top)?;
    }
    Ok(true)
}

/// Returns the chain ID of the topmost layer.
fn chain(layers: &[Layer]) -> Option<Digest> {
    layers.iter().fold(None, |parent, layer| Some(crate::model::digest::chain(parent.as_ref(), &layer.diff_id)))
}

/// Returns the chain IDs of all layers, lowest first.
fn chains(layers: &[Layer]) -> Vec<Digest> {
    (1..=layers.len()).filter_map(|count| chain(layers.get(..count)?)).collect()
}

/// Stores an image: its configuration, a manifest, a record with this name.
///
/// # Errors
/// The name keeps its previous image.
pub fn put(store: &Store, layers: &[Layer], edit: Edit, name: &str, source: Option<String>) -> Result<ImageRecord> {
    let manifest = new_manifest(store, layers, &edit.finish()?)?;
    store.put_image(&manifest, &[name.to_owned()], source)
}

/// Returns the time for new images: `SOURCE_DATE_EPOCH`, or now.
///
/// # Errors
/// `SOURCE_DATE_EPOCH` is no number of seconds.
pub fn now() -> Result<String> {
    match epoch::latest()? {
        Some(seconds) => {
            let time = jiff::Timestamp::from_second(seconds);
            Ok(time.with_context(|| format!("{}={seconds}", epoch::VARIABLE))?.to_string())
        }
        None => Ok(jiff::Timestamp::now().to_string()),
    }
}

/// Writes the whole tree of an image as a tar, which replaces the file at `path` only when complete.
///
/// # Errors
/// No space, or the tree cannot be read.
pub fn write_tar(store: &Store, image: &ImageRecord, path: &Path) -> Result<()> {
    write_atomically(store, path, |out| {
        let view = store.driver().view(&image.chain_ids())?;
        pack::tree(view.root()?.as_fd(), out)
    })
}

/// Writes a file, which replaces the one at `path` only when complete.
///
/// # Errors
/// No space, and those of `produce`; a symlink or another user's fifo in a directory that others may write to.
pub fn write_atomically(store: &Store, path: &Path, produce: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let context = || format!("write {path:?}");
    let place = Place::resolve(path).with_context(context)?;
    // a pipe or a device is opened for writing, not replaced
    if let Some(special) = place.open_special().with_context(context)? {
        let mut out = BufWriter::new(special);
        produce(&mut out)?;
        return out.flush().with_context(context);
    }
    let staged = store.output(&place, |before| StagedEntry::file_beside(&place, 0o666, before));
    let (staged, _note) = staged.with_context(context)?;
    let mut out = BufWriter::new(staged.file_ref());
    produce(&mut out)?;
    out.flush().with_context(context)?;
    drop(out);
    staged.replace_at(&place).with_context(context)
}

/// Returns a view of the tree of these layers.
fn view(store: &Store, layers: &[Layer]) -> Result<Box<dyn super::driver::View>> {
    store.driver().view(&chains(layers))
}
