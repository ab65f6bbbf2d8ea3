//! Docker's form of an OCI manifest, for registries that refuse OCI's.

use anyhow::Result;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::manifest::{DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, layer_type, parse_manifest};

/// Converts an OCI manifest to Docker's (version 2, schema 2), for registries that refuse OCI's; `None` where Docker has no
/// type for a layer (zstd), or the manifest is Docker's already.
///
/// # Errors
/// The bytes are no manifest.
pub fn docker_form(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let parsed = parse_manifest(bytes)?;
    if parsed.media_type().as_ref().is_some_and(|own| *own != MediaType::ImageManifest) {
        return Ok(None);
    }
    let descriptor = |media_type: &str, of: &Descriptor| -> Value {
        json!({ "mediaType": media_type, "size": of.size(), "digest": of.digest().to_string() })
    };
    let mut layers = Vec::new();
    for layer in parsed.layers() {
        let docker = match layer_type(layer.media_type())? {
            MediaType::ImageLayer => DOCKER_LAYER.to_owned(),
            MediaType::ImageLayerGzip => format!("{DOCKER_LAYER}.gzip"),
            _ => return Ok(None),
        };
        layers.push(descriptor(&docker, layer));
    }
    let config = descriptor(DOCKER_CONFIG, parsed.config());
    let document = json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers,
    });
    Ok(Some(serde_json::to_vec(&document)?))
}
