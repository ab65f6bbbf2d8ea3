//! The cache of a build as an image, for `--cache-to` and `--cache-from`: its layers, and in a label what they are the results of.

use anyhow::{Context as _, Result, ensure};
use base::coded;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::build;
use crate::config::edit::Edit;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::platform::Platform;
use crate::store::{CacheEntry, ImageRecord, Store};

/// Label of the image with the entries.
const LABEL: &str = "corm.build.cache";

/// An entry of the label.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    /// Key of the cache.
    key: Digest,
    /// Numbers of the layers of the image, lowest first.
    layers: Vec<usize>,
    /// As in [`CacheEntry`].
    changed: bool,
    /// As in [`CacheEntry`].
    created: String,
}

/// Records an image without a name that has the entries of these keys; `None` where there are none.
///
/// # Errors
/// No space.
pub fn pack(store: &Store, keys: &[Digest]) -> Result<Option<ImageRecord>> {
    let (mut layers, mut entries): (Vec<Layer>, Vec<Packed>) = (Vec::new(), Vec::new());
    for key in keys {
        let Some(entry) = store.cached(key) else { continue };
        let mut numbers = Vec::with_capacity(entry.layers.len());
        for layer in entry.layers {
            let known = layers.iter().position(|other| other.diff_id == layer.diff_id);
            numbers.push(known.unwrap_or(layers.len()));
            layers.extend(Some(layer).filter(|_| known.is_none()));
        }
        entries.push(Packed { key: key.clone(), layers: numbers, changed: entry.changed, created: entry.created });
    }
    if entries.is_empty() || layers.is_empty() {
        return Ok(None);
    }
    let host = Platform::host();
    let (os, architecture, _) = host.parts();
    let ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({
        "architecture": architecture, "os": os, "rootfs": {"type": "layers", "diff_ids": ids},
        "config": {"Labels": {LABEL: serde_json::to_string(&entries)?}},
    });
    let manifest = build::new_manifest(store, &layers, config.to_string().as_bytes())?;
    store.put_image(&manifest, &[], Some("the cache of a build".to_owned())).map(Some)
}

/// Takes the entries of such an image into the cache; returns their number. Those that are there stay.
///
/// # Errors
/// The image is none of a cache.
pub fn unpack(store: &Store, image: &ImageRecord) -> Result<usize> {
    let config = Edit::new(&store.read_blob(&image.id)?)?;
    let label = config.get("Labels").and_then(|labels| labels.get(LABEL)).and_then(|label| label.as_str());
    let entries: Vec<Packed> = serde_json::from_str(label.context("is no cache of a build")?).context("its label")?;
    let count = entries.len();
    for packed in entries {
        let layers: Vec<Layer> = packed.layers.iter().filter_map(|&number| image.layers.get(number)).cloned().collect();
        ensure!(
            layers.len() == packed.layers.len() && !(packed.changed && layers.is_empty()),
            coded!(ImageInvalid, "a layer is missing in it")
        );
        if store.cached(&packed.key).is_none() {
            let entry = CacheEntry { layers, changed: packed.changed, manifest: None, created: packed.created };
            store.put_cached(&packed.key, &entry)?;
        }
    }
    Ok(count)
}
