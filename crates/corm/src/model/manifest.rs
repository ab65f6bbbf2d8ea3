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
    match json::parse_object(bytes)? {
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn descriptor(media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": A, "size": 7 })
    }

    fn image() -> Value {
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        json!({ "schemaVersion": 2, "config": config, "layers": [descriptor(OCI_LAYER), descriptor(OCI_LAYER)] })
    }

    fn images() -> Value {
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST)] })
    }

    /// Returns `document` with the value at `pointer` replaced, or added.
    fn with(mut document: Value, pointer: &str, value: Value) -> Vec<u8> {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent).unwrap() {
            Value::Object(object) => drop(object.insert(key.to_owned(), value)),
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            other => panic!("{other}"),
        }
        document.to_string().into_bytes()
    }

    #[track_caller]
    fn refused(bytes: &[u8], want: &str) {
        let error = format!("{:#}", parse(bytes, None).unwrap_err());
        assert!(error.contains(want), "{error:?} should hold {want:?}");
    }

    #[test]
    fn documents_of_oci_and_docker_are_taken() {
        let docker = json!({
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
            "config": descriptor(DOCKER_CONFIG), "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip")],
        });
        for manifest in [image(), docker] {
            let bytes = manifest.to_string().into_bytes();
            assert_eq!(parse_manifest(&bytes).unwrap().config().size(), 7);
            assert!(parse_index(&bytes).is_err());
        }
        let list = with(images(), "/mediaType", json!(DOCKER_LIST));
        for index in [images().to_string().into_bytes(), list] {
            assert_eq!(parse_index(&index).unwrap().manifests().len(), 1);
            assert!(parse_manifest(&index).is_err());
        }
    }

    #[test]
    fn digests_and_sizes_of_descriptors_are_checked() {
        let digests = [
            "sha256:../../../../etc/passwd",
            "../x",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "",
            "sha256:",
            &A[..70],
            &A.replace('a', "A"),
            &format!("sha512:{}", "a".repeat(128)),
            &format!("{A}\0"),
            &format!("{A}a"),
        ];
        for pointer in ["/config/digest", "/layers/1/digest"] {
            for digest in digests {
                assert!(parse(&with(image(), pointer, json!(digest)), None).is_err(), "{pointer} {digest:?}");
            }
        }
        for digest in digests {
            let document = with(images(), "/manifests/0/digest", json!(digest));
            let foreign = digest.starts_with("md5:") || digest.starts_with("sha512:");
            assert_eq!(parse(&document, None).is_ok(), foreign, "{digest:?}");
        }
        for size in [json!(-1), json!(1.5), json!("7"), json!(null), json!(u64::MAX), json!(MAX_BLOB + 1)] {
            assert!(parse(&with(image(), "/layers/0/size", size.clone()), None).is_err(), "layer of {size}");
            assert!(parse(&with(image(), "/config/size", size.clone()), None).is_err(), "config of {size}");
            assert!(parse(&with(images(), "/manifests/0/size", size.clone()), None).is_err(), "manifest of {size}");
        }
        refused(&with(image(), "/config/size", json!(MAX_DOCUMENT + 1)), "config: size");
        parse(&with(image(), "/layers/0/size", json!(MAX_BLOB)), None).unwrap();
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        refused(&with(image(), "/manifests", json!([])), "both a manifest and an index");
        refused(&with(images(), "/layers", json!([])), "both a manifest and an index");
        refused(&with(images(), "/config", descriptor(OCI_LAYER)), "both a manifest and an index");
        refused(&with(image(), "/fsLayers", json!([])), "schema 1");
        refused(&with(image(), "/mediaType", json!(OCI_INDEX)), "says index, the content is manifest");
        refused(&with(images(), "/mediaType", json!(OCI_MANIFEST)), "says manifest, the content is index");
        refused(&with(image(), "/mediaType", json!(7)), "mediaType: not a string");
        refused(&with(image(), "/mediaType", json!("application/json")), "not a manifest of an image");
        refused(&with(image(), "/Layers", json!([])), "spelled unlike \"layers\"");
        refused(&with(image(), "/config/Digest", json!(A)), "config: \"Digest\": spelled unlike");
        refused(&with(image(), "/layers/1/SIZE", json!(1)), "layers[1]: \"SIZE\": spelled unlike");
        refused(&with(images(), "/manifests/0/mediatype", json!("x")), "manifests[0]");
        refused(br#"{"schemaVersion":2,"layers":[],"layers":[]}"#, "duplicate key");
        refused(format!(r#"{{"schemaVersion":2,"config":{{"digest":"{A}","digest":"{A}"}}}}"#).as_bytes(), "duplicate");
        let bytes = image().to_string().into_bytes();
        for declared in [OCI_INDEX, DOCKER_LIST, "application/vnd.oci.image.config.v1+json", "text/html"] {
            assert!(parse(&bytes, Some(declared)).is_err(), "{declared}");
        }
        for declared in [OCI_MANIFEST, DOCKER_MANIFEST, "application/json; charset=utf-8", "text/plain"] {
            assert!(parse(&bytes, Some(declared)).is_ok(), "{declared}");
        }
    }

    #[test]
    fn documents_without_end_and_of_other_kinds_are_refused() {
        let huge = format!("{{\"schemaVersion\":2{}}}", " ".repeat(MAX_DOCUMENT as usize));
        refused(huge.as_bytes(), "larger than");
        refused("{\"layers\":".repeat(100_000).as_bytes(), "recursion limit");
        refused(b"", "empty document");
        refused(b"[]", "expected an object");
        refused(b"{}", "schemaVersion: not 2");
        refused(b"{\"schemaVersion\":2}", "neither layers nor manifests");
        refused(&with(image(), "/schemaVersion", json!(1)), "schema 1");
        refused(&with(image(), "/schemaVersion", json!("2")), "schemaVersion: not 2");
        refused(&with(image(), "/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")), "an artifact");
        refused(&with(image(), "/layers/0/mediaType", json!("application/octet-stream")), "layers[0]: mediaType");
        refused(&with(image(), "/layers/0/mediaType", json!(format!("{OCI_LAYER}+encrypted"))), "encrypted");
        refused(&with(image(), "/layers", json!(vec![descriptor(OCI_LAYER); MAX_LAYERS + 1])), "at most 500");
        refused(&with(image(), "/layers", json!({})), "manifest");
        refused(br#"{"schemaVersion":2,"layers":null}"#, "neither layers nor manifests");
    }

    #[test]
    fn null_and_absent_values_are_gos_zero_values() {
        let no_layers = parse_manifest(&with(image(), "/layers", json!(null))).unwrap();
        assert!(no_layers.layers().is_empty());
        for index in [
            &br#"{"schemaVersion":2,"manifests":null,"mediaType":null}"#[..],
            b"{\"schemaVersion\":2,\"manifests\":[]}",
        ] {
            assert!(parse_index(index).unwrap().manifests().is_empty());
        }
        let pointers = ["/config/urls", "/config/annotations", "/manifests", "/annotations", "/subject", "/mediaType"];
        for pointer in pointers.into_iter().chain(["/layers/0/urls", "/layers/0/platform", "/artifactType"]) {
            parse_manifest(&with(image(), pointer, json!(null))).unwrap_or_else(|err| panic!("{pointer}: {err:#}"));
        }
        let platform = with(images(), "/manifests/0/platform", json!({ "os": null, "architecture": "amd64" }));
        parse_index(&platform).unwrap();
        for config in ["{}", r#"{"rootfs":null,"config":null,"history":null}"#, r#"{"rootfs":{"diff_ids":null}}"#] {
            let config = parse_config(config.as_bytes()).unwrap();
            assert!(diff_ids(&config).unwrap().is_empty());
            assert_eq!(layers(&no_layers, &config).unwrap(), []);
        }
        let odd = r#"{"config":{"Entrypoint":[null],"Labels":{"a":null},"Volumes":{"/d":null},"ExposedPorts":{"80/tcp":null}}}"#;
        let config = parse_config(odd.as_bytes()).unwrap().config().clone().unwrap();
        assert_eq!(config.entrypoint().as_deref().unwrap(), [""]);
        assert_eq!(config.volumes().as_deref().unwrap(), ["/d"]);
        assert_eq!(config.labels().as_ref().unwrap()["a"], "");
    }

    #[test]
    fn a_configuration_may_have_a_type_that_names_nothing() {
        for media_type in ["", "application/octet-stream", "application/json", "text/html"] {
            parse_manifest(&with(image(), "/config/mediaType", json!(media_type))).unwrap();
        }
        parse_manifest(&with(image(), "/config/mediaType", json!(null))).unwrap();
        refused(&with(image(), "/config/mediaType", json!("application/x-other")), "an artifact");
    }

    #[test]
    fn layers_of_docker_are_layers_of_oci() {
        let table = [
            ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_LAYER),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_LAYER),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_LAYER),
        ];
        for (docker, oci) in table {
            assert_eq!(layer_type(&MediaType::from(docker)).unwrap().as_ref(), oci);
        }
        assert!(layer_type(&MediaType::from("application/vnd.docker.image.rootfs.diff.tar.bz2")).is_err());
    }

    #[test]
    fn configurations_are_checked() {
        let good = json!({
            "architecture": "amd64", "os": "linux", "config": { "Env": null, "Cmd": ["sh"], "Volumes": { "/data": {} } },
            "rootfs": { "type": "layers", "diff_ids": [A] }, "container": "docker writes more than the standard",
        });
        let config = parse_config(good.to_string().as_bytes()).unwrap();
        assert_eq!(diff_ids(&config).unwrap(), [Digest::parse(A).unwrap()]);
        let table = [
            ("/rootfs/type", json!("tree"), "\"layers\""),
            ("/rootfs/diff_ids", json!(["sha256:../x"]), "rootfs.diff_ids[0]"),
            ("/rootfs/diff_ids", json!([A, "sha512:00"]), "rootfs.diff_ids[1]"),
            ("/rootfs/diff_ids", json!(vec![A; MAX_LAYERS + 1]), "at most 500"),
            ("/rootfs/Diff_IDs", json!([]), "rootfs: \"Diff_IDs\": spelled unlike"),
            ("/config/env", json!(["A=B"]), "config: \"env\": spelled unlike"),
            ("/Rootfs", json!({}), "spelled unlike"),
            ("/rootfs", json!([]), "image configuration"),
            ("/config/Cmd", json!("sh"), "image configuration"),
        ];
        for (pointer, value, want) in table {
            let error = format!("{:#}", parse_config(&with(good.clone(), pointer, value)).unwrap_err());
            assert!(error.contains(want), "{pointer}: {error:?} should hold {want:?}");
        }
        assert!(parse_config(b"[]").is_err());
        assert!(parse_config(&vec![b' '; MAX_DOCUMENT as usize + 1]).is_err());
    }
}
