//! Docker archives: `manifest.json` names configurations, layers and tags. The layers are usually uncompressed tars.

use crate::build;
use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use serde_json::Value;

use super::Imported;
use super::contents::Contents;
use crate::layer::Compression;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::manifest;
use crate::model::manifest::MAX_DOCUMENT;
use crate::model::reference;
use crate::store::Store;
use base::json;

/// Copies the images of an archive into the store, each with a new manifest, because these archives have none. The
/// configuration, and so the image ID, is unchanged. Of the images in `known` only the names are read.
pub(super) fn import(store: &Store, contents: &Contents, known: &[Imported]) -> Result<Vec<Imported>> {
    let bytes = contents.read(store, "manifest.json", MAX_DOCUMENT)?;
    let document = json::parse(&bytes).map_err(|err| coded!(ArchiveInvalid, "manifest.json: {err}"))?;
    let Value::Array(images) = document else { bail!(coded!(ArchiveInvalid, "manifest.json: not a list of images")) };
    if images.is_empty() {
        bail!(coded!(ArchiveInvalid, "manifest.json: no image in it"));
    }
    let image = |(at, image): (usize, &Value)| {
        one_image(store, contents, image, known).with_code(Code::ArchiveInvalid, || format!("manifest.json: [{at}]"))
    };
    images.iter().enumerate().map(image).collect()
}

fn one_image(store: &Store, contents: &Contents, image: &Value, known: &[Imported]) -> Result<Imported> {
    let config = image.get("Config").and_then(Value::as_str).context("Config: not the name of a file")?;
    let config_bytes = contents.read(store, config, MAX_DOCUMENT)?;
    let names = strings(image, "RepoTags")?.into_iter().map(reference::local_name).collect::<Result<Vec<_>>>();
    let (names, id) = (names.context("RepoTags")?, Digest::of(&config_bytes));
    if let Some(known) = known.iter().find(|known| known.id == id) {
        return Ok(Imported { manifest: known.manifest.clone(), id, names });
    }
    let diff_ids = manifest::diff_ids(&manifest::parse_config(&config_bytes)?)?;
    let files = strings(image, "Layers")?;
    if files.len() != diff_ids.len() {
        bail!(coded!(ImageInvalid, "{} layers, {} in the configuration", files.len(), diff_ids.len()));
    }
    let mut layers = Vec::new();
    for (file, diff_id) in files.into_iter().zip(diff_ids) {
        let (blob, _) = contents.blob(store, file, None)?;
        let compression = store.compression_of(&blob).with_context(|| format!("{file:?}"))?;
        // a compressed layer is verified when it is unpacked
        if compression == Compression::None && blob != diff_id {
            bail!(coded!(ImageInvalid, "{file:?}: the layer is {blob}, the configuration has {diff_id}"));
        }
        layers.push(Layer { blob, media_type: compression.media_type().to_owned(), diff_id });
    }
    let manifest = build::new_manifest(store, &layers, &config_bytes)?;
    Ok(Imported { id, manifest, names })
}

/// Returns a list of strings; a missing or `null` value is an empty list.
fn strings<'a>(image: &'a Value, key: &str) -> Result<Vec<&'a str>> {
    match image.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let item = |item: &'a Value| item.as_str().with_context(|| format!("{key}: {item} is no string"));
            items.iter().map(item).collect()
        }
        Some(_) => bail!(coded!(ArchiveInvalid, "{key}: not a list")),
    }
}
