//! What a manifest or index refers to, also of artifacts: for copies that keep every byte and unpack nothing.
//!
//! The checks are those of [`super::manifest`] for what decides which bytes a reference means; the types of layers are
//! not checked, because attestations, charts and signatures are copied too.

use anyhow::{Context as _, Result, bail};
use base::coded;
use serde_json::{Map, Value};

use super::digest::Digest;
use super::manifest::{self, MAX_BLOB, MAX_DOCUMENT, MediaKind};

/// A descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Media type; empty where there is none.
    pub media_type: String,
    /// Other places of the content.
    pub urls: Vec<String>,
}

/// A manifest or an index with what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Bytes of the document.
    pub bytes: Vec<u8>,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Media type by which a registry takes it.
    pub media_type: String,
    /// Configuration and layers of a manifest.
    pub blobs: Vec<Part>,
    /// Manifests and indexes of an index; `None` for a manifest.
    pub children: Option<Vec<Part>>,
}

/// Reads the descriptors of a manifest or index; `declared` is as in [`manifest::parse`].
///
/// # Errors
/// The document is ambiguous, a descriptor is invalid or too large, or has a digest of another algorithm.
pub fn parts(bytes: Vec<u8>, declared: Option<&str>) -> Result<Parts> {
    let (kind, value) = manifest::front(&bytes, declared)?;
    let own = value.get("mediaType").and_then(Value::as_str).filter(|own| !own.is_empty());
    let media_type = own.unwrap_or(kind.media_type()).to_owned();
    let (mut blobs, mut children) = (Vec::new(), None);
    match kind {
        MediaKind::Manifest => {
            if let Some(config) = value.get("config").filter(|config| !config.is_null()) {
                blobs.push(part(config, MAX_BLOB).context("config")?);
            }
            blobs.extend(all(&value, "layers", MAX_BLOB)?);
        }
        MediaKind::Index => children = Some(all(&value, "manifests", MAX_DOCUMENT)?),
    }
    Ok(Parts { digest: Digest::of(&bytes), bytes, media_type, blobs, children })
}

fn all(value: &Map<String, Value>, key: &str, max: u64) -> Result<Vec<Part>> {
    let items = match value.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => bail!(coded!(ImageInvalid, "{key}: not a list")),
    };
    let one = |(at, item): (usize, &Value)| part(item, max).with_context(|| format!("{key}[{at}]"));
    items.iter().enumerate().map(one).collect()
}

fn part(value: &Value, max: u64) -> Result<Part> {
    manifest::descriptor_keys(Some(value))?;
    let digest = value.get("digest").and_then(Value::as_str).context("digest: is missing")?;
    let size = value.get("size").and_then(Value::as_u64).context("size: not a number")?;
    if size > max {
        bail!(coded!(ImageInvalid, "size: {size} is above the limit of {max} bytes"));
    }
    let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let urls = value.get("urls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let urls = urls.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Part { digest: Digest::parse(digest)?, size, media_type, urls })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn artifacts_are_read_and_ambiguities_are_not() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let one = |media_type: &str| json!({ "mediaType": media_type, "digest": digest, "size": 7 });
        let artifact = json!({
            "schemaVersion": 2, "artifactType": "x/y", "config": one("application/vnd.oci.empty.v1+json"),
            "layers": [one("application/vnd.in-toto+json")],
        });
        let read = |value: &Value| parts(value.to_string().into_bytes(), None);
        let found = read(&artifact).unwrap();
        assert_eq!((found.blobs.len(), found.children), (2, None));
        assert_eq!(found.media_type, "application/vnd.oci.image.manifest.v1+json");
        let index = json!({ "schemaVersion": 2, "manifests": [one("application/vnd.oci.image.manifest.v1+json")] });
        assert_eq!(read(&index).unwrap().children.unwrap().len(), 1);
        let mut both = artifact.clone();
        both["manifests"] = json!([]);
        let mut huge = artifact.clone();
        huge["layers"][0]["size"] = json!(MAX_BLOB + 1);
        let mut other = artifact.clone();
        other["layers"][0]["digest"] = json!("sha512:00");
        let mut case = artifact;
        case["layers"][0]["Digest"] = json!(digest);
        for bad in [both, huge, other, case] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
