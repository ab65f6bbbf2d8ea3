//! OCI image layouts: `index.json` names manifests, every other file is a blob named by its digest.

use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use oci_spec::image::{Descriptor, ImageIndex};
use serde_json::Value;

use super::Imported;
use super::contents::Contents;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::manifest::Document;
use crate::model::manifest::MAX_DOCUMENT;
use crate::model::platform::Platform;
use crate::model::reference;
use crate::store::Store;
use base::json;

/// Annotation with a tag or a full name, depending on the tool.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Annotation with the full name, which containerd and new versions of Docker add.
pub(super) const FULL_NAME: &str = "io.containerd.image.name";

/// Version of layouts written.
pub(crate) const VERSION: &str = "1.0.0";

/// Maximum nesting of indexes.
const MAX_DEPTH: usize = 4;

/// Copies the images of a layout into the store. `stem` is the repository of a tag without one.
pub(super) fn import(store: &Store, contents: &Contents, stem: &str) -> Result<Vec<Imported>> {
    check_version(&contents.read(store, "oci-layout", MAX_DOCUMENT)?).context("oci-layout")?;
    let bytes = contents.read(store, "index.json", MAX_DOCUMENT)?;
    let index = manifest::parse_index(&bytes).context("index.json")?;
    let host = Platform::host();
    let mut images: Vec<Imported> = Vec::new();
    for entry in entries(&index, &host)? {
        let (manifest, id) = one_image(store, contents, entry, &host)?;
        let name = name_of(entry, stem)?;
        match images.iter_mut().find(|image| image.manifest == manifest) {
            Some(image) => image.names.extend(name),
            None => images.push(Imported { id, manifest, names: name.into_iter().collect() }),
        }
    }
    Ok(images)
}

fn check_version(bytes: &[u8]) -> Result<()> {
    match json::parse_object(bytes)?.get("imageLayoutVersion") {
        Some(Value::String(version)) if version.starts_with("1.") => Ok(()),
        other => bail!(coded!(
            ArchiveInvalid,
            "imageLayoutVersion: {VERSION:?} is supported, not {}",
            other.unwrap_or(&Value::Null)
        )),
    }
}

/// Returns all named entries; without any, the one for this machine.
fn entries<'a>(index: &'a ImageIndex, host: &Platform) -> Result<Vec<&'a Descriptor>> {
    let (foreign, all): (Vec<_>, Vec<_>) = index.manifests().iter().partition(|entry| manifest::is_foreign(entry));
    if let ([first, ..], []) = (foreign.as_slice(), all.as_slice()) {
        manifest::digest_of(first).context("index.json")?;
    }
    let has_name = |entry: &Descriptor| annotation(entry, REF_NAME).or(annotation(entry, FULL_NAME)).is_some();
    let (named, unnamed): (Vec<&Descriptor>, Vec<_>) = all.iter().copied().partition(|entry| has_name(entry));
    // nothing is left out silently
    for entry in foreign.into_iter().chain(unnamed.into_iter().filter(|_| !named.is_empty())) {
        super::warn(&format!("index.json: {} is left out: it has no name, or another digest", entry.digest()));
    }
    match (named.is_empty(), all.as_slice()) {
        (false, _) => Ok(named),
        (true, []) => bail!(coded!(ArchiveInvalid, "index.json: no image in it")),
        (true, [only]) => Ok(vec![only]),
        (true, _) => {
            let chosen = host.choose(index);
            Ok(vec![chosen.with_context(|| format!("index.json: no image in it has a name, and none is for {host}"))?])
        }
    }
}

/// Copies the blobs of an entry's image; returns its manifest and its ID.
fn one_image(store: &Store, contents: &Contents, entry: &Descriptor, host: &Platform) -> Result<(Digest, Digest)> {
    let mut entry = entry.clone();
    for _ in 0..=MAX_DEPTH {
        let (digest, size) = (manifest::digest_of(&entry)?, entry.size());
        let bytes = contents.read(store, &path(&digest), MAX_DOCUMENT)?;
        if bytes.len() as u64 != size || Digest::of(&bytes) != digest {
            bail!(coded!(
                ImageDigest,
                "blob {digest}: {} bytes with the digest {} instead of {size}",
                bytes.len(),
                Digest::of(&bytes)
            ));
        }
        match manifest::parse(&bytes, Some(entry.media_type().as_ref())).with_context(|| format!("blob {digest}"))? {
            Document::Index(index) => {
                entry = host
                    .choose(&index)
                    .with_code(Code::ImageInvalid, || format!("index {digest}: no image for {host}"))?
                    .clone();
            }
            Document::Manifest(parsed) => {
                for part in parsed.layers().iter().chain([parsed.config()]) {
                    let digest = manifest::digest_of(part)?;
                    contents.blob(store, &path(&digest), Some((&digest, part.size())))?;
                }
                store.put_blob(&bytes)?;
                return Ok((digest, manifest::digest_of(parsed.config())?));
            }
        }
    }
    bail!(coded!(ArchiveInvalid, "more than {MAX_DEPTH} indexes inside of each other"))
}

/// Returns the path of a blob in a layout.
pub(crate) fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn annotation<'a>(entry: &'a Descriptor, key: &str) -> Option<&'a str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

/// Returns the name to record: the full one, else a tag with the name of the file or directory.
fn name_of(entry: &Descriptor, stem: &str) -> Result<Option<String>> {
    let name = annotation(entry, REF_NAME);
    // umoci changes the tag of an image and keeps its previous full name
    let fits = |full: &str| name.is_none_or(|name| full == name || full.ends_with(&format!(":{name}")));
    if let Some(full) = annotation(entry, FULL_NAME).filter(|full| fits(full)) {
        return reference::local_name(full).map(Some).with_context(|| format!("index.json: {FULL_NAME}"));
    }
    let Some(name) = name else { return Ok(None) };
    if name.contains(['/', ':']) {
        return reference::local_name(name).map(Some).with_context(|| format!("index.json: {REF_NAME}"));
    }
    let stem = stem.split('.').next().unwrap_or_default().to_ascii_lowercase();
    // a file name may be invalid as an image name; then only the tag is used
    let named = reference::local_name(&format!("{stem}:{name}")).or_else(|_| reference::local_name(name));
    named.map(Some).with_context(|| format!("index.json: {REF_NAME} {name:?}: give a name with --name"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn names_come_from_annotations_as_tools_write_them() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
        let table: &[Case<'_>] = &[
            (
                &[(REF_NAME, "latest"), (FULL_NAME, "docker.io/library/busybox:latest")],
                "x.tar",
                Some("docker.io/library/busybox:latest"),
            ),
            (&[(REF_NAME, "v2"), (FULL_NAME, "localhost/web:v1")], "x.tar", Some("x:v2")),
            (&[(FULL_NAME, "localhost/web:v1")], "x.tar", Some("localhost/web:v1")),
            (&[(REF_NAME, "localhost/web:1")], "x.tar", Some("localhost/web:1")),
            (&[(REF_NAME, "v1")], "Web.tar.gz", Some("web:v1")),
            (&[(REF_NAME, "v1")], "layout", Some("layout:v1")),
            (&[(REF_NAME, "v1")], "-", Some("v1:latest")),
            (&[], "x", None),
            (&[(REF_NAME, "")], "x", None),
        ];
        for (annotations, stem, want) in table {
            let annotations: serde_json::Map<_, _> =
                annotations.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            let entry: Descriptor = serde_json::from_value(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                "digest": format!("sha256:{}", "a".repeat(64)), "annotations": annotations,
            }))
            .unwrap();
            assert_eq!(name_of(&entry, stem).unwrap().as_deref(), *want, "{annotations:?} {stem}");
        }
    }

    #[test]
    fn only_known_layouts_are_read() {
        assert!(check_version(br#"{"imageLayoutVersion":"1.0.0"}"#).is_ok());
        for bad in [&b"{}"[..], b"", b"[]", br#"{"imageLayoutVersion":"2.0.0"}"#, br#"{"imageLayoutVersion":1}"#] {
            assert!(check_version(bad).is_err());
        }
    }
}
