//! Saving of an image as an OCI layout, a tar of one, or a docker archive.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oci_spec::image::ImageManifest;
use serde_json::json;

use super::layout::{self, FULL_NAME, REF_NAME, VERSION};
use super::sink::Sink;
use crate::cli::args::Archive;
use crate::layer;
use crate::model::digest::Digest;
use crate::model::digest::Hashing;
use crate::model::manifest;
use crate::model::reference;
use crate::model::reference::Reference;
use crate::store::ImageRecord;
use crate::store::Store;

/// Writes an image to `output`. `name_given` is the caller's name for it: if it is one of its names, only that one is
/// written, else all.
///
/// # Errors
/// A blob is missing or damaged, or `output` cannot be written; an existing file is unchanged.
pub fn save(store: &Store, image: &ImageRecord, name_given: &str, format: Archive, output: &Path) -> Result<()> {
    let _using = store.shared()?;
    let parsed = manifest::parse_manifest(&store.read_blob(&image.manifest)?)?;
    let names = names(image, name_given);
    let saving = Saver { store, image, parsed: &parsed, names: &names };
    let mut sink = match format {
        Archive::OciDir => Sink::directory(store, output)?,
        Archive::Oci | Archive::Docker => Sink::tar(store, output)?,
    };
    match format {
        // umoci distinguishes the images of a directory by tag, podman loads an archive by the full name
        Archive::OciDir => saving.oci(&mut sink, |_, parsed| parsed.tag().unwrap_or_default().to_owned())?,
        Archive::Oci => saving.oci(&mut sink, |name, _| name.to_owned())?,
        Archive::Docker => saving.docker(&mut sink)?,
    }
    sink.finish()
}

/// Returns the names with a tag, because digests follow from the content.
fn names(image: &ImageRecord, name_given: &str) -> Vec<(String, Reference)> {
    let meant = reference::candidates(name_given).into_iter().find(|name| image.names.contains(name));
    let names = meant.map_or_else(|| image.names.clone(), |meant| vec![meant]);
    let parsed = names.into_iter().filter_map(|name| Reference::parse(&name).ok().map(|parsed| (name, parsed)));
    parsed.filter(|(_, parsed)| parsed.tag().is_some()).collect()
}

struct Saver<'a> {
    store: &'a Store,
    image: &'a ImageRecord,
    parsed: &'a ImageManifest,
    names: &'a [(String, Reference)],
}

impl Saver<'_> {
    fn oci(&self, sink: &mut Sink, ref_name: impl Fn(&str, &Reference) -> String) -> Result<()> {
        let version = serde_json::to_vec(&json!({ "imageLayoutVersion": VERSION }))?;
        sink.file("oci-layout", version.len() as u64, &mut version.as_slice())?;
        let size = self.store.has_blob(&self.image.manifest).context("the manifest is not in the store")?;
        let media_type = self.parsed.media_type().as_ref();
        let entry = json!({
            "mediaType": media_type.map_or("application/vnd.oci.image.manifest.v1+json", AsRef::as_ref),
            "digest": self.image.manifest, "size": size,
        });
        let mut entries: Vec<_> = self
            .names
            .iter()
            .map(|(name, parsed)| {
                let mut entry = entry.clone();
                entry["annotations"] = json!({ REF_NAME: ref_name(name, parsed), FULL_NAME: name });
                entry
            })
            .collect();
        if entries.is_empty() {
            entries.push(entry);
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
        });
        let index = serde_json::to_vec(&index)?;
        sink.file("index.json", index.len() as u64, &mut index.as_slice())?;
        let parts = self.parsed.layers().iter().chain([self.parsed.config()]);
        let mut blobs = parts.map(manifest::digest_of).collect::<Result<Vec<_>>>()?;
        blobs.push(self.image.manifest.clone());
        blobs.sort();
        blobs.dedup();
        blobs.iter().try_for_each(|digest| self.blob(sink, &layout::path(digest), digest))
    }

    /// Copies a blob and verifies it, because the copy may become the only one.
    fn blob(&self, sink: &mut Sink, name: &str, digest: &Digest) -> Result<()> {
        let size = self.store.has_blob(digest).with_context(|| format!("blob {digest} is not in the store"))?;
        let mut data = Hashing::new(self.store.open_blob(digest)?);
        sink.file(name, size, &mut data as &mut dyn Read)?;
        let (_, found, _) = data.finish();
        if found != *digest {
            bail!("blob {digest} is damaged (see corm fsck)");
        }
        Ok(())
    }

    fn docker(&self, sink: &mut Sink) -> Result<()> {
        let mut files: Vec<String> = Vec::new();
        for layer in &self.image.layers {
            let name = format!("{}.tar", layer.diff_id.hex());
            if !files.contains(&name) {
                let blob = self.store.open_blob(&layer.blob)?;
                let mut found = None;
                sink.stream(&name, &mut |out| {
                    let (digest, size) = layer::unpack_to(&blob, &layer.media_type, self.store.limits(), out)?;
                    found = Some(digest);
                    Ok(size)
                })?;
                if found.as_ref() != Some(&layer.diff_id) {
                    bail!("layer {} is damaged (see corm fsck)", layer.blob);
                }
            }
            files.push(name);
        }
        let config = format!("{}.json", self.image.id.hex());
        self.blob(sink, &config, &self.image.id)?;
        let tags: Vec<&str> = self.names.iter().map(|(name, _)| name.as_str()).collect();
        let manifest = serde_json::to_vec(&json!([{ "Config": config, "RepoTags": tags, "Layers": files }]))?;
        sink.file("manifest.json", manifest.len() as u64, &mut manifest.as_slice())
    }
}
