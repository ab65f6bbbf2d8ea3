//! A small image, which this file writes byte by byte, and a registry that serves it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use corm::model::digest::Digest;
use serde_json::{Value, json};

use crate::server::{Request, Response};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The blobs by digest, and the digest and media type of each tag.
#[derive(Clone, Default)]
pub(crate) struct Fixture {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub tags: BTreeMap<String, (String, &'static str)>,
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
}

/// Returns a tar of regular files.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *data).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Returns bytes that do not compress, the same in each run.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

impl Fixture {
    /// Creates an image of three layers, of which the second is so large that a download can break off in it.
    pub(crate) fn new() -> Fixture {
        let large = noise(3 << 20);
        let layers = [
            tar_of(&[("etc/hello", b"hello\n"), ("etc/gone", b"x")]),
            tar_of(&[("data/noise", &large)]),
            tar_of(&[("etc/.wh.gone", b""), ("etc/more", b"more\n")]),
        ];
        Fixture::of_layers(&layers, &json!({ "Cmd": ["sh"], "Labels": { "made": "here" } }))
    }

    pub(crate) fn of_layers(tars: &[Vec<u8>], run: &Value) -> Fixture {
        let mut fixture = Fixture::default();
        let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "config": run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let described: Vec<Value> = layers.iter().map(|layer| describe(LAYER, layer)).collect();
        fixture.config = fixture.add(config.clone());
        fixture.layers = layers.into_iter().map(|layer| fixture.add(layer)).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, &config), "layers": described });
        fixture.manifest = fixture.tag("v1", MANIFEST, manifest.to_string().into_bytes());
        fixture
    }

    pub(crate) fn add(&mut self, bytes: Vec<u8>) -> String {
        let digest = Digest::of(&bytes).to_string();
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(crate) fn tag(&mut self, tag: &str, media_type: &'static str, bytes: Vec<u8>) -> String {
        let digest = self.add(bytes);
        self.tags.insert(tag.to_owned(), (digest.clone(), media_type));
        digest
    }

    pub(crate) fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.blobs[digest]).unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        &self.config["sha256:".len()..]
    }

    /// Returns the response of a correct registry.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let path = request.path.split('?').next().unwrap();
        let version = path.rsplit('/').next().unwrap();
        if request.path == "/v2/" {
            return Response::new(200, &[], "{}");
        }
        let (digest, media_type) = match self.tags.get(version) {
            Some((digest, media_type)) => (digest.as_str(), *media_type),
            None => (version, "application/octet-stream"),
        };
        let Some(bytes) = self.blobs.get(digest) else {
            return Response::new(404, &[], r#"{"errors":[{"code":"NAME_UNKNOWN","message":"nothing here"}]}"#);
        };
        let start =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match start {
            Some(start) => {
                let start: usize = start;
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Response::new(206, &[("content-range", &range)], &bytes[start..])
            }
            None => {
                Response::new(200, &[("content-type", media_type), ("docker-content-digest", digest)], bytes.clone())
            }
        }
    }

    /// Writes the image as an OCI layout.
    pub(crate) fn write_layout(&self, dir: &Path, tag: &str) {
        std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(dir.join("blobs/sha256").join(&digest["sha256:".len()..]), bytes).unwrap();
        }
        let mut entry = describe(MANIFEST, &self.blobs[&self.manifest]);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    }
}
