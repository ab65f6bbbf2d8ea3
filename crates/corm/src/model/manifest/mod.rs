//! Manifests, indexes and image configurations: strict checks before oci-spec's types parse them.
//!
//! The documents come from registries and archives, and other tools parse the same bytes. A document that two parsers
//! could read differently (duplicate keys or keys in another case, a manifest that is also an index) is refused,
//! because other tools must run what was checked here. Sizes are bounded before any fetch.

use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::digest::Digest;
use super::layer::Layer;
use super::zero_values;
use super::zero_values::Shape;
use base::json;

/// Maximum size of a document in bytes, as in registries and other tools.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// Maximum size of a blob in bytes, because the size in a manifest must not fill the disk.
pub const MAX_BLOB: u64 = 128 << 30;

/// Maximum number of layers of an image, that of overlayfs (`OVL_MAX_STACK`).
pub const MAX_LAYERS: usize = 500;

/// Media type of Docker's manifests.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(super) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// The accepted media types, manifests before indexes as other tools send them.
pub const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    DOCKER_MANIFEST,
    "application/vnd.oci.image.index.v1+json",
    DOCKER_LIST,
];

/// Media types that registries send for any document.
const GENERIC: [&str; 4] = ["", "application/json", "application/octet-stream", "text/plain"];

/// Media types that registries and old clients give a configuration, which Docker accepts: an artifact has one of its own.
const GENERIC_CONFIG: [&str; 4] = ["", "application/octet-stream", "application/json", "text/html"];

/// Keys of a descriptor.
const DESCRIPTOR_KEYS: [&str; 7] = ["mediaType", "digest", "size", "urls", "annotations", "platform", "data"];

/// A document that a tag or a digest can name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are one or two of them, never a list")]
pub enum Document {
    /// A manifest of one image.
    Manifest(ImageManifest),
    /// An index of images for several platforms.
    Index(ImageIndex),
}

/// Kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaKind {
    /// A manifest of one image or artifact.
    Manifest,
    /// An index.
    Index,
}

impl MediaKind {
    fn of(media_type: &MediaType) -> Option<Self> {
        match media_type {
            MediaType::ImageManifest => Some(MediaKind::Manifest),
            MediaType::ImageIndex => Some(MediaKind::Index),
            MediaType::Other(other) if other == DOCKER_MANIFEST => Some(MediaKind::Manifest),
            MediaType::Other(other) if other == DOCKER_LIST => Some(MediaKind::Index),
            _ => None,
        }
    }

    /// Returns OCI's media type, for a document that states none.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            MediaKind::Manifest => "application/vnd.oci.image.manifest.v1+json",
            MediaKind::Index => "application/vnd.oci.image.index.v1+json",
        }
    }

    fn name(self) -> &'static str {
        match self {
            MediaKind::Manifest => "manifest",
            MediaKind::Index => "index",
        }
    }
}

/// Parses a manifest or an index. `declared` is the media type in a descriptor or a registry's header.
///
/// # Errors
/// Names the field that is wrong, or the ambiguity.
pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Document> {
    let (kind, value) = front(bytes, declared)?;
    let parse = || -> Result<Document> {
        Ok(match kind {
            MediaKind::Manifest => Document::Manifest(manifest(value)?),
            MediaKind::Index => Document::Index(index(value)?),
        })
    };
    parse().with_context(|| kind.name())
}

/// Parses a manifest of one image.
///
/// # Errors
/// As [`parse`]; an index is an error too.
pub fn parse_manifest(bytes: &[u8]) -> Result<ImageManifest> {
    match parse(bytes, None)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => bail!(coded!(ImageInvalid, "an index where a manifest was expected")),
    }
}

/// Parses an index, or Docker's manifest list.
///
/// # Errors
/// As [`parse`]; a manifest is an error too.
pub fn parse_index(bytes: &[u8]) -> Result<ImageIndex> {
    match parse(bytes, None)? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => bail!(coded!(ImageInvalid, "a manifest where an index was expected")),
    }
}

/// Parses an image configuration.
///
/// # Errors
/// Names the field that is wrong.
pub fn parse_config(bytes: &[u8]) -> Result<ImageConfiguration> {
    let parse = || -> Result<ImageConfiguration> {
        let value = object(bytes)?;
        check_keys(&value, &["architecture", "os", "variant", "config", "rootfs", "history", "created", "author"])?;
        if let Some(Value::Object(config)) = value.get("config") {
            let known =
                ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"];
            check_keys(config, &known).context("config")?;
        }
        if let Some(Value::Object(rootfs)) = value.get("rootfs") {
            check_keys(rootfs, &["type", "diff_ids"]).context("rootfs")?;
        }
        let config: ImageConfiguration = typed(value, &zero_values::CONFIGURATION)?;
        if !["layers", ""].contains(&config.rootfs().typ().as_str()) {
            bail!(coded!(ImageInvalid, "rootfs.type: {:?} is not \"layers\"", config.rootfs().typ()));
        }
        diff_ids(&config)?;
        Ok(config)
    };
    parse().context("image configuration")
}

/// Returns the DiffIDs of the configuration, lowest first.
///
/// # Errors
/// A DiffID is no digest, or there are too many.
pub fn diff_ids(config: &ImageConfiguration) -> Result<Vec<Digest>> {
    let ids = config.rootfs().diff_ids();
    if ids.len() > MAX_LAYERS {
        bail!(coded!(ImageInvalid, "rootfs.diff_ids: {} layers, at most {MAX_LAYERS} can be joined", ids.len()));
    }
    let parse = |(at, id): (usize, &String)| {
        Digest::parse(id).with_code(Code::ImageInvalid, || format!("rootfs.diff_ids[{at}]"))
    };
    ids.iter().enumerate().map(parse).collect()
}

/// Returns the layers of an image, lowest first, from manifest and configuration.
///
/// # Errors
/// The numbers of layers differ.
pub fn layers(manifest: &ImageManifest, config: &ImageConfiguration) -> Result<Vec<Layer>> {
    let diff_ids = diff_ids(config)?;
    if diff_ids.len() != manifest.layers().len() {
        bail!(coded!(
            ImageInvalid,
            "{} layers in the manifest, {} in the image configuration",
            manifest.layers().len(),
            diff_ids.len()
        ));
    }
    let layer = |(descriptor, diff_id): (&Descriptor, Digest)| -> Result<Layer> {
        Ok(Layer { blob: digest_of(descriptor)?, media_type: descriptor.media_type().to_string(), diff_id })
    };
    manifest.layers().iter().zip(diff_ids).map(layer).collect()
}

/// Returns the digest of a descriptor; those of parsed documents are valid.
///
/// # Errors
/// Not a SHA-256.
pub fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    Digest::parse(descriptor.digest().as_ref())
}

/// Returns the OCI media type of a layer; maps Docker's media types.
///
/// # Errors
/// The media type is not that of a layer.
pub fn layer_type(media_type: &MediaType) -> Result<MediaType> {
    let text = media_type.as_ref();
    let docker = [DOCKER_LAYER, DOCKER_FOREIGN_LAYER].into_iter().find_map(|prefix| text.strip_prefix(prefix));
    match (media_type, docker) {
        (MediaType::ImageLayer | MediaType::ImageLayerNonDistributable, _) | (_, Some("")) => Ok(MediaType::ImageLayer),
        (MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip, _) | (_, Some(".gzip")) => {
            Ok(MediaType::ImageLayerGzip)
        }
        (MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd, _) | (_, Some(".zstd")) => {
            Ok(MediaType::ImageLayerZstd)
        }
        _ if text.ends_with("+encrypted") => {
            bail!(coded!(ImageInvalid, "mediaType {text:?}: encrypted layers are not supported"))
        }
        _ => bail!(coded!(ImageInvalid, "mediaType {text:?}: not a layer of a file system")),
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        bail!(coded!(ImageInvalid, "larger than {MAX_DOCUMENT} bytes"));
    }
    // the parser's own code is of config.json
    match json::parse_object(bytes).map_err(|err| err.context(Code::ImageInvalid.error("")))? {
        Value::Object(object) => Ok(object),
        _ => bail!(coded!(ImageInvalid, "not an object")),
    }
}

/// Parses an object after its `null`s are replaced.
fn typed<T: DeserializeOwned>(mut value: Map<String, Value>, shape: &Shape) -> Result<T> {
    shape.fill_object(&mut value);
    Ok(serde_json::from_value(Value::Object(value))?)
}

/// Determines the kind of document from its keys; `mediaType` and the declared type must agree.
pub(super) fn front(bytes: &[u8], declared: Option<&str>) -> Result<(MediaKind, Map<String, Value>)> {
    let value = object(bytes).code(Code::ImageInvalid, "manifest")?;
    check_keys(&value, &["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "subject"])
        .code(Code::ImageInvalid, "manifest")?;
    let own = match value.get("mediaType") {
        None | Some(Value::Null) => None,
        Some(Value::String(own)) => Some(own.as_str()),
        Some(_) => bail!(coded!(ImageInvalid, "manifest: mediaType: not a string")),
    };
    let schema1 = |text: &str| text.starts_with(DOCKER_SCHEMA1);
    if own.is_some_and(schema1) || value.get("schemaVersion") == Some(&Value::from(1)) {
        bail!(coded!(
            ImageInvalid,
            "manifest: schema 1 of Docker: is obsolete, push the image again with a newer tool"
        ));
    }
    if value.get("schemaVersion") != Some(&Value::from(2)) {
        bail!(coded!(ImageInvalid, "manifest: schemaVersion: not 2"));
    }
    let has = |key| value.get(key).is_some_and(|value| !value.is_null());
    let kind = match (has("config") || has("layers"), has("manifests")) {
        (true, false) => MediaKind::Manifest,
        (false, true) => MediaKind::Index,
        // a list that Go writes as null, because it is empty
        (false, false) if value.contains_key("manifests") && !value.contains_key("layers") => MediaKind::Index,
        (true, true) => bail!(coded!(ImageInvalid, "manifest: both a manifest and an index")),
        (false, false) => bail!(coded!(ImageInvalid, "manifest: neither layers nor manifests in it")),
    };
    if has("fsLayers") {
        bail!(coded!(ImageInvalid, "manifest: both a manifest and one of schema 1"));
    }
    for (text, source) in [(own, "mediaType"), (declared, "declared media type")] {
        // a header may have parameters
        let Some(text) = text.and_then(|text| text.split(';').next()).map(str::trim_ascii) else { continue };
        match MediaKind::of(&MediaType::from(text)) {
            Some(stated) if stated == kind => {}
            Some(stated) => bail!(coded!(
                ImageInvalid,
                "manifest: {source} {text:?} says {}, the content is {}",
                stated.name(),
                kind.name()
            )),
            // some registries and mirrors serve everything as plain JSON
            None if source != "mediaType" && GENERIC.contains(&text) => {}
            None => bail!(coded!(ImageInvalid, "manifest: {source} {text:?}: not a manifest of an image")),
        }
    }
    Ok((kind, value))
}

fn manifest(value: Map<String, Value>) -> Result<ImageManifest> {
    descriptor_keys(value.get("config")).context("config")?;
    if let Some(Value::Array(layers)) = value.get("layers") {
        for (at, layer) in layers.iter().enumerate() {
            descriptor_keys(Some(layer)).with_code(Code::ImageInvalid, || format!("layers[{at}]"))?;
        }
    }
    let manifest: ImageManifest = typed(value, &zero_values::MANIFEST)?;
    let config = manifest.config();
    match config.media_type() {
        MediaType::ImageConfig => {}
        MediaType::Other(other) if other == DOCKER_CONFIG || GENERIC_CONFIG.contains(&other.as_str()) => {}
        other => bail!(coded!(ImageInvalid, "config: mediaType {:?}: an artifact, not an image", other.as_ref())),
    }
    check_descriptor(config, MAX_DOCUMENT).context("config")?;
    if manifest.layers().len() > MAX_LAYERS {
        bail!(coded!(ImageInvalid, "layers: {} of them, at most {MAX_LAYERS} can be joined", manifest.layers().len()));
    }
    for (at, layer) in manifest.layers().iter().enumerate() {
        let check = || layer_type(layer.media_type()).and_then(|_| check_descriptor(layer, MAX_BLOB));
        check().with_code(Code::ImageInvalid, || format!("layers[{at}]"))?;
    }
    Ok(manifest)
}

fn index(value: Map<String, Value>) -> Result<ImageIndex> {
    if let Some(Value::Array(manifests)) = value.get("manifests") {
        for (at, entry) in manifests.iter().enumerate() {
            entry_keys(entry).with_code(Code::ImageInvalid, || format!("manifests[{at}]"))?;
        }
    }
    let index: ImageIndex = typed(value, &zero_values::INDEX)?;
    for (at, entry) in index.manifests().iter().enumerate() {
        let check = || {
            // nothing is fetched by a digest of an algorithm that corm lacks; only its choice is an error
            if is_foreign(entry) { check_size(entry, MAX_DOCUMENT) } else { check_descriptor(entry, MAX_DOCUMENT) }
        };
        check().with_code(Code::ImageInvalid, || format!("manifests[{at}]"))?;
    }
    Ok(index)
}

/// Returns whether a descriptor has a digest of the specification's form with another algorithm than corm's.
pub fn is_foreign(descriptor: &Descriptor) -> bool {
    is_foreign_digest(descriptor.digest().as_ref())
}

/// Matches `ALGORITHM:ENCODED` of the image specification with an algorithm other than SHA-256.
fn is_foreign_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    let component =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-');
    algorithm != "sha256"
        && algorithm.split(['+', '.', '_', '-']).all(component)
        && !encoded.is_empty()
        && encoded.bytes().all(digit)
}

fn check_descriptor(descriptor: &Descriptor, max: u64) -> Result<()> {
    digest_of(descriptor)?;
    check_size(descriptor, max)
}

fn check_size(descriptor: &Descriptor, max: u64) -> Result<()> {
    if descriptor.size() > max {
        bail!(coded!(ImageInvalid, "size: {} is above the limit of {max} bytes", descriptor.size()));
    }
    Ok(())
}

/// Checks the keys of a descriptor, because oci-spec's types ignore them or refuse without a path.
pub(super) fn descriptor_keys(value: Option<&Value>) -> Result<()> {
    match value {
        Some(Value::Object(descriptor)) => {
            check_keys(descriptor, &DESCRIPTOR_KEYS)?;
            match descriptor.get("digest") {
                Some(Value::String(digest)) => Digest::parse(digest).map(drop),
                _ => Ok(()),
            }
        }
        // oci-spec's types report a missing or mistyped value
        _ => Ok(()),
    }
}

/// Checks the keys of an index's entry as [`descriptor_keys`] does, but not a digest of another algorithm.
fn entry_keys(value: &Value) -> Result<()> {
    let foreign = value.get("digest").and_then(Value::as_str).is_some_and(is_foreign_digest);
    match value {
        Value::Object(entry) if foreign => check_keys(entry, &DESCRIPTOR_KEYS),
        _ => descriptor_keys(Some(value)),
    }
}

/// Refuses known keys in another case: Go's parser ignores case, so other tools would read a second `Digest`.
fn check_keys(object: &Map<String, Value>, known: &[&str]) -> Result<()> {
    for key in object.keys() {
        if let Some(known) = known.iter().find(|known| known.eq_ignore_ascii_case(key) && *known != key) {
            bail!(coded!(ImageInvalid, "{key:?}: spelled unlike {known:?}, which other tools would take it for"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
