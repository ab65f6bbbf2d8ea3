//! Manifests of new images.

use base::error::{Code, Coding as _};
use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifestBuilder, MediaType, SCHEMA_VERSION};

use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::manifest::parse_config;
use crate::model::manifest::parse_manifest;
use crate::store::Store;

/// Stores an image of layers in the store: its configuration, with their DiffIDs, and a manifest. Equal images give
/// equal bytes.
///
/// # Errors
/// A layer is missing, or the store cannot be written.
pub fn new_image(store: &Store, layers: &[Layer], mut config: ImageConfiguration) -> Result<Digest> {
    config.rootfs_mut().set_typ("layers".to_owned());
    config.rootfs_mut().set_diff_ids(layers.iter().map(|layer| layer.diff_id.to_string()).collect());
    // via a `Value`, whose keys are sorted, because labels and volumes are unordered maps
    let config = serde_json::to_vec(&serde_json::to_value(&config)?)?;
    parse_config(&config)?;
    new_manifest(store, layers, &config)
}

/// Stores a manifest for this exact configuration and layers in the store.
///
/// # Errors
/// As [`new_image`].
pub fn new_manifest(store: &Store, layers: &[Layer], config: &[u8]) -> Result<Digest> {
    new_annotated(store, layers, config, &BTreeMap::new())
}

/// Stores a manifest as [`new_manifest`] does, with annotations.
///
/// # Errors
/// As [`new_image`].
pub fn new_annotated(
    store: &Store,
    layers: &[Layer],
    config: &[u8],
    annotations: &BTreeMap<String, String>,
) -> Result<Digest> {
    let (digest, size) = store.put_blob(config)?;
    let describe = |media_type: MediaType, size: u64, digest: &Digest| -> Result<Descriptor> {
        Ok(Descriptor::new(media_type, size, digest.to_string().parse::<oci_spec::image::Digest>()?))
    };
    let layer = |layer: &Layer| -> Result<Descriptor> {
        let size = store
            .has_blob(&layer.blob)
            .with_code(Code::ImageInvalid, || format!("layer {} is not in the store", layer.blob))?;
        // by its bytes, because a layer of another tool's image may have a wrong media type
        let compression = store.compression_of(&layer.blob)?;
        describe(MediaType::from(compression.media_type()), size, &layer.blob)
    };
    let mut builder = ImageManifestBuilder::default();
    if !annotations.is_empty() {
        builder = builder.annotations(annotations.clone().into_iter().collect::<HashMap<_, _>>());
    }
    let manifest = builder
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(describe(MediaType::ImageConfig, size, &digest)?)
        .layers(layers.iter().map(layer).collect::<Result<Vec<_>>>()?)
        .build()?;
    // via a `Value`, whose keys are sorted, because annotations are an unordered map
    let bytes = if annotations.is_empty() {
        serde_json::to_vec(&manifest)?
    } else {
        serde_json::to_vec(&serde_json::to_value(&manifest)?)?
    };
    parse_manifest(&bytes)?;
    Ok(store.put_blob(&bytes)?.0)
}
