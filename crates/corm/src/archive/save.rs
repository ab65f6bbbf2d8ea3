//! Saving of images as an OCI layout, a tar of one, a docker archive, or a directory of skopeo's form.

use base::coded;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::files::{Files, blob_of, entry};
use super::sink::Sink;
use crate::build::recompressed;
use crate::cli::args::Archive;
use crate::layer;
use crate::layer::Compression;
use crate::model::parts::parts;
use crate::model::reference;
use crate::model::reference::Reference;
use crate::store::ImageRecord;
use crate::store::Store;

/// An image and the caller's name for it.
pub struct Named {
    /// The image.
    pub image: ImageRecord,
    /// If it is one of the image's names, only that one is written, else all.
    pub given: String,
}

/// Writes images to `output`, or to standard output. `compression` is that of the layers and its level.
///
/// # Errors
/// A blob is missing or damaged, or `output` cannot be written; an existing file is unchanged.
pub fn save(
    store: &Store,
    images: &[Named],
    format: Archive,
    compression: Option<(Compression, Option<i32>)>,
    output: Option<&Path>,
) -> Result<()> {
    let _using = store.shared()?;
    let tar = |output: Option<&Path>| output.map_or_else(|| Sink::stdout(store), |path| Sink::tar(store, path));
    if format == Archive::Docker {
        let mut sink = tar(output)?;
        let images: Vec<_> = images.iter().map(|named| (&named.image, names(&named.image, &named.given))).collect();
        docker(store, &mut sink, &images)?;
        return sink.finish();
    }
    let mut documents = Vec::new();
    for named in images {
        let document = parts(store.read_blob(&named.image.manifest)?, None)?;
        documents.push(match compression {
            Some((format, level)) => recompressed(store, &document, format, level)?,
            None => document,
        });
    }
    let files = Files { store, documents: &documents.iter().collect::<Vec<_>>() };
    if format == Archive::DockerDir {
        let (Some(output), [_]) = (output, images) else {
            bail!(coded!(ArchiveInvalid, "docker-dir is a directory of one image: -o PATH"))
        };
        return files.docker_directory(output);
    }
    let mut sink = match (format, output) {
        (Archive::OciDir, None) => bail!(coded!(ArchiveInvalid, "-o PATH is missing: where to write the directory")),
        (Archive::OciDir, Some(path)) => Sink::directory(store, path)?,
        _ => tar(output)?,
    };
    let mut entries = Vec::new();
    for (named, document) in images.iter().zip(&documents) {
        let names = names(&named.image, &named.given);
        if names.is_empty() {
            entries.push(entry(document, None));
        }
        for (name, parsed) in &names {
            // umoci distinguishes the images of a directory by tag, podman loads an archive by the full name
            let tag = parsed.tag().unwrap_or_default();
            let short = if format == Archive::OciDir { tag } else { name.as_str() };
            entries.push(entry(document, Some((short, Some(name.as_str())))));
        }
    }
    files.layout(&mut sink, &entries)?;
    sink.finish()
}

/// Writes one image as a docker archive of one name or none.
///
/// # Errors
/// As [`save`].
pub fn save_docker(store: &Store, image: &ImageRecord, name: Option<&str>, output: &Path) -> Result<()> {
    let mut sink = Sink::tar(store, output)?;
    let names = match name {
        Some(name) => vec![(name.to_owned(), Reference::parse(name)?)],
        None => Vec::new(),
    };
    docker(store, &mut sink, &[(image, names)])?;
    sink.finish()
}

/// Names of an image, each with its parsed form.
type Names = Vec<(String, Reference)>;

/// Returns the names with a tag, because digests follow from the content.
fn names(image: &ImageRecord, name_given: &str) -> Names {
    let meant = reference::candidates(name_given).into_iter().find(|name| image.names.contains(name));
    let names = meant.map_or_else(|| image.names.clone(), |meant| vec![meant]);
    let parsed = names.into_iter().filter_map(|name| Reference::parse(&name).ok().map(|parsed| (name, parsed)));
    parsed.filter(|(_, parsed)| parsed.tag().is_some()).collect()
}

/// Writes the layers once each, then the configurations and `manifest.json`.
fn docker(store: &Store, sink: &mut Sink, images: &[(&ImageRecord, Names)]) -> Result<()> {
    let (mut written, mut entries) = (BTreeSet::new(), Vec::new());
    for (image, names) in images {
        let mut files: Vec<String> = Vec::new();
        for layer in &image.layers {
            let name = format!("{}.tar", layer.diff_id.hex());
            if written.insert(name.clone()) {
                let blob = store.open_blob(&layer.blob)?;
                let mut found = None;
                sink.stream(&name, &mut |out| {
                    let (digest, size) = layer::unpack_to(&blob, &layer.media_type, store.limits(), out)?;
                    found = Some(digest);
                    Ok(size)
                })?;
                ensure!(
                    found.as_ref() == Some(&layer.diff_id),
                    coded!(StoreDamaged, "layer {} is damaged (see corm fsck)", layer.blob)
                );
            }
            files.push(name);
        }
        let config = format!("{}.json", image.id.hex());
        if written.insert(config.clone()) {
            blob_of(store, sink, &config, &image.id)?;
        }
        let tags: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        entries.push(json!({ "Config": config, "RepoTags": tags, "Layers": files }));
    }
    let manifest = serde_json::to_vec(&entries)?;
    sink.file("manifest.json", manifest.len() as u64, &mut manifest.as_slice())
}
