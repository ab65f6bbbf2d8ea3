//! The image of a build: its configuration, its record, and what is written elsewhere.

use base::coded;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Build;
use super::made::Made;
use super::options::Output;
use crate::archive::{self, Named};
use crate::build;
use crate::cli::args::{Archive, ImageFlags};
use crate::commit;
use crate::config::edit::Edit;
use crate::container::create;
use crate::layer::{self, Target, epoch, pack};
use crate::model::digest::Digest;
use crate::model::docker_form::docker_form;
use crate::model::layer::WhiteoutFormat;
use crate::store::{CacheEntry, ImageRecord, ROOTFS, Store, chain_ids};
use base::fs::copy;
use base::host;
use linux::place::Place;

/// Completes the image of a stage and records it with these names.
///
/// # Errors
/// No space; a name keeps its previous image then.
pub fn finish(build: &Build<'_>, made: &Made, names: &[String]) -> Result<ImageRecord> {
    let mut made = made.clone();
    for (key, value) in &build.options.labels {
        made.config.label(key, value)?;
    }
    if build.options.squash {
        squash(build, &mut made)?;
    }
    apply(&build.options.image, &mut made.config)?;
    put(build, &made, names)
}

/// Sets in a configuration what the flags ask for.
fn apply(flags: &ImageFlags, config: &mut Edit) -> Result<()> {
    for text in &flags.env {
        let variable = match text.contains('=') {
            true => Some(text.clone()),
            // as Podman: the caller's value, if there is one
            false => std::env::var(text).ok().map(|value| format!("{text}={value}")),
        };
        let is_named = !text.is_empty() && !text.starts_with('=');
        ensure!(is_named, coded!(UsageValue, "--env {text:?}: must be NAME=VALUE or NAME"));
        variable.map_or(Ok(()), |variable| config.env(&variable))?;
    }
    if !flags.unset_env.is_empty() {
        let is_kept = |variable: &String| {
            let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
            !flags.unset_env.iter().any(|unset| unset == name)
        };
        let kept: Vec<String> = config.strings("Env").into_iter().filter(is_kept).collect();
        config.set("Env", json!(kept))?;
    }
    if let Some(version) = &flags.os_version {
        config.set_top("os.version", json!(version));
    }
    if !flags.os_features.is_empty() {
        config.set_top("os.features", json!(flags.os_features));
    }
    if flags.omit_history {
        config.set_top("history", json!([]));
    }
    Ok(())
}

/// Records the image of what was made. An image that only the times of its history distinguish from one that the cache has is
/// that one.
///
/// # Errors
/// As [`finish`].
pub fn put(build: &Build<'_>, made: &Made, names: &[String]) -> Result<ImageRecord> {
    let store = build.store;
    let mut config = made.config.clone();
    config.set_top("created", json!(build.created));
    let bytes = config.finish()?;
    let key = key(&bytes, build)?;
    let known = if build.options.no_cache { None } else { store.cached(&key).and_then(|entry| entry.manifest) };
    let source = Some("a build".to_owned());
    if let Some(manifest) = known
        && let Ok(image) = store.put_image(&manifest, names, source.clone())
    {
        return Ok(image);
    }
    let mut manifest = build::new_annotated(store, &made.layers, &bytes, &build.options.annotations)?;
    if build.options.image.docker {
        let form = docker_form(&store.read_blob(&manifest)?)?;
        manifest = store.put_blob(&form.context("--format docker: Docker has no type for a layer")?)?.0;
    }
    let image = store.put_image(&manifest, names, source)?;
    let entry = CacheEntry {
        layers: made.layers.clone(),
        changed: false,
        manifest: Some(manifest),
        created: build.created.clone(),
    };
    store.put_cached(&key, &entry)?;
    Ok(image)
}

/// Returns the key of an image: its configuration without times.
fn key(config: &[u8], build: &Build<'_>) -> Result<Digest> {
    let mut value: Value = serde_json::from_slice(config)?;
    if epoch::latest()?.is_none() {
        value["created"] = Value::Null;
        let history = value.get_mut("history").and_then(Value::as_array_mut);
        history.into_iter().flatten().for_each(|line| line["created"] = Value::Null);
    }
    let mut key = json!({"image": value, "annotations": build.options.annotations});
    if build.options.image.docker {
        key["format"] = json!("docker");
    }
    Ok(Digest::of(key.to_string().as_bytes()))
}

/// Replaces the layers above the base image by one.
fn squash(build: &Build<'_>, made: &mut Made) -> Result<()> {
    let store = build.store;
    let keep = if build.options.squash_all { 0 } else { made.of_base };
    let below = made.layers.get(..keep).unwrap_or_default().to_vec();
    let above = made.layers.get(keep..).unwrap_or_default().to_vec();
    if above.len() < 2 {
        return Ok(());
    }
    let ids = chain_ids(below.iter().map(|layer| &layer.diff_id));
    let scratch = Scratch { store, id: store.new_id()? };
    std::fs::create_dir(store.container_dir(&scratch.id)).context("a directory to squash in")?;
    store.driver().create(&scratch.id, &ids, false)?;
    let root = create::mount(store, &scratch.id)?;
    for layer in &above {
        let target = Target {
            root: crate::driver::mount_util::open_dir(&root)?,
            whiteouts: WhiteoutFormat::Delete,
            unprivileged: host::rootless(),
        };
        let blob = store.open_blob(&layer.blob)?;
        layer::unpack(blob, &layer.media_type, &layer.diff_id, &target, store.limits(), &|_| {})?;
    }
    create::unmount(store, &scratch.id)?;
    let (root, changes) = store.driver().changes(&scratch.id)?;
    let (layer, _) = build::write_blob(store, |out| pack::changes(root.as_fd(), &changes, out))?;
    made.layers = [below, vec![layer]].concat();
    store.unpack(&made.layers, &|_, _| {})?;
    made.config = squashed(&made.config, &made.layers, keep)?;
    Ok(())
}

/// Returns the configuration with these layers: all entries of the history above the base are empty but the last.
fn squashed(config: &Edit, layers: &[crate::model::layer::Layer], keep: usize) -> Result<Edit> {
    let mut edit = config.clone();
    let ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    edit.set_top("rootfs", json!({"type": "layers", "diff_ids": ids}));
    let mut history = config.top("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut seen = 0;
    for line in &mut history {
        let is_layer = line.get("empty_layer") != Some(&json!(true));
        seen += usize::from(is_layer);
        if is_layer && seen > keep {
            line["empty_layer"] = json!(true);
        }
    }
    if let Some(last) = history.last_mut().and_then(Value::as_object_mut) {
        last.remove("empty_layer");
    }
    edit.set_top("history", json!(history));
    Ok(edit)
}

/// A tree of the driver; dropped, it is removed.
struct Scratch<'a> {
    store: &'a Store,
    id: String,
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // what is left is removed by the next removal
        let dir = self.store.container_dir(&self.id);
        let _ = self.store.driver().unmount(&self.id, &dir.join(ROOTFS));
        let _ = self.store.driver().destroy(&self.id);
        let _ = base::fs::remove::remove_tree(&dir);
    }
}

/// Writes the image to where `--output` asks for.
///
/// # Errors
/// No space; the destination exists where it must not.
pub fn output(build: &Build<'_>, made: &Made, image: &ImageRecord, to: &Output) -> Result<()> {
    match to {
        Output::Local(dir) => local(build, made, dir),
        Output::Tar(path) => commit::write_tar(build.store, image, path),
        Output::Oci(path) | Output::Docker(path) => {
            let given = image.names.first().cloned().unwrap_or_default();
            let format = if matches!(to, Output::Oci(_)) { Archive::Oci } else { Archive::Docker };
            let named = [Named { image: image.clone(), given }];
            archive::save(
                build.store,
                &named,
                format,
                None,
                Some(path).filter(|path| *path != Path::new("-")).map(|path| &**path),
            )
        }
    }
}

/// Copies the tree into a directory, which is created.
fn local(build: &Build<'_>, made: &Made, dir: &Path) -> Result<()> {
    let context = || format!("--output {dir:?}");
    let place = Place::find(dir).with_context(context)?;
    if place.stat().with_context(context)?.is_none() {
        std::fs::create_dir(dir).with_context(context)?;
    }
    let to = linux::place::open_to_read(dir).with_context(context)?;
    ensure!(to.metadata().with_context(context)?.is_dir(), coded!(BuildInvalid, "{}: is no directory", context()));
    let view = build.view(&made.layers)?;
    let root = view.root()?;
    if std::fs::read_dir(dir).with_context(context)?.next().is_some() {
        bail!(coded!(BuildInvalid, "{}: is not empty", context()));
    }
    let options = copy::Options { keep_attribute: layer::is_layer_xattr, ..copy::Options::default() };
    copy::fill_tree_of(root.as_fd(), Path::new("the image"), to.into(), &options).with_context(context)
}
