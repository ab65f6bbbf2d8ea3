//! Loading of image files: detection of the format, and recording of the images.

use base::coded;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::Imported;
use super::contents::Contents;
use super::{docker, layout};
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::reference;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::store::Store;
use linux::place;

/// A loaded image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Image ID.
    pub id: Digest,
    /// Recorded names, perhaps none.
    pub names: Vec<String>,
}

/// Loads all images of an OCI layout or an archive; `name` replaces the names of a single image.
///
/// # Errors
/// The format is unknown, or a file is invalid: then no image is recorded.
pub fn load(store: &Store, path: &Path, name: Option<&str>, progress: &Progress) -> Result<Vec<Loaded>> {
    let name = name.map(reference::local_name).transpose()?;
    // held from before the first blob until a record names it
    let _adding = store.shared()?;
    let contents = open(store, path)?;
    let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut images = match (contents.has("index.json"), contents.has("manifest.json")) {
        (true, false) => layout::import(store, &contents, stem)?,
        (false, true) => docker::import(store, &contents, &[])?,
        (true, true) => {
            let images = layout::import(store, &contents, stem)?;
            let more = docker::import(store, &contents, &images)?;
            merge(images, more)?
        }
        (false, false) => {
            bail!(coded!(
                ArchiveInvalid,
                "{path:?}: neither index.json nor manifest.json in it: no OCI layout and no docker archive"
            ))
        }
    };
    if let Some(name) = name {
        let [image] = images.as_mut_slice() else {
            bail!(coded!(UsageValue, "{path:?}: --name requires a single image, not {}", images.len()));
        };
        image.names = vec![name];
    }
    for image in &images {
        let parsed = manifest::parse_manifest(&store.read_blob(&image.manifest)?)?;
        let config = manifest::parse_config(&store.read_blob(&manifest::digest_of(parsed.config())?)?)?;
        progress.unpack(store, &manifest::layers(&parsed, &config)?)?;
    }
    let source = path.to_str().map(str::to_owned);
    images
        .into_iter()
        .map(|image| {
            let record = store.put_image(&image.manifest, &image.names, source.clone())?;
            Ok(Loaded { id: record.id, names: image.names })
        })
        .collect()
}

/// Joins the images of `index.json` and of `manifest.json`, as new versions of Docker write both: each image and each name
/// once.
///
/// # Errors
/// One name is of different images, so that other tools would load another one.
fn merge(mut images: Vec<Imported>, more: Vec<Imported>) -> Result<Vec<Imported>> {
    for new in more {
        for name in &new.names {
            let taken = images.iter().find(|image| image.id != new.id && has_name(image, name));
            ensure!(
                taken.is_none(),
                coded!(ArchiveInvalid, "index.json and manifest.json disagree: {name:?} is of two images")
            );
        }
        match images.iter_mut().find(|image| image.id == new.id) {
            Some(image) => {
                let names: Vec<String> = new.names.into_iter().filter(|name| !has_name(image, name)).collect();
                image.names.extend(names);
            }
            None => images.push(new),
        }
    }
    Ok(images)
}

/// Returns whether an image has a name, in whatever form.
fn has_name(image: &Imported, name: &str) -> bool {
    let full = |name: &str| Reference::parse(name).map(|reference| reference.name()).ok();
    image.names.iter().any(|own| own == name || full(own).is_some() && full(own) == full(name))
}

/// Opens a layout directory or reads an archive; `-` is standard input.
///
/// # Errors
/// As [`Contents::archive`].
pub(crate) fn open(store: &Store, path: &Path) -> Result<Contents> {
    if path == Path::new("-") {
        return Contents::archive(store, std::io::stdin()).context("standard input");
    }
    let file = place::open_to_read(path).with_context(|| format!("open {path:?}"))?;
    if file.metadata().with_context(|| format!("{path:?}"))?.is_dir() {
        return Ok(Contents::directory(file.into()));
    }
    Contents::archive(store, file).with_context(|| format!("{path:?}"))
}
