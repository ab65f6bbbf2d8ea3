//! Places of images, as Podman and skopeo write them: `docker://NAME`, `oci:DIR:TAG`, `docker-archive:FILE`.

use base::coded;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::model::digest::Digest;
use crate::model::reference;
use crate::model::reference::Reference;

/// The place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A registry: `docker://NAME`.
    Registry(Reference),
    /// An OCI layout directory: `oci:DIR[:TAG]`.
    Layout(PathBuf, Option<String>),
    /// A tar of an OCI layout: `oci-archive:FILE[:TAG]`.
    OciArchive(PathBuf, Option<String>),
    /// A docker archive: `docker-archive:FILE[:NAME]`.
    DockerArchive(PathBuf, Option<String>),
    /// A directory with a manifest and blobs: `dir:DIR`.
    Directory(PathBuf),
    /// corm's store: `store:NAME`, or a name.
    Store(String),
    /// A manifest of corm's store, for lists.
    Manifest(Digest),
}

impl Location {
    /// Parses a place.
    ///
    /// # Errors
    /// An unknown transport, or no valid name.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_inner(text).with_context(|| format!("image {text:?}"))
    }

    fn parse_inner(text: &str) -> Result<Self> {
        let Some((transport, rest)) = text.split_once(':') else { return Self::store(text) };
        match transport {
            "docker" => {
                let name = rest.strip_prefix("//").context("not of the form docker://NAME")?;
                Reference::parse(name).map(Self::Registry)
            }
            "oci" => with_tag(rest).map(|(path, tag)| Self::Layout(path, tag)),
            "oci-archive" => with_tag(rest).map(|(path, tag)| Self::OciArchive(path, tag)),
            "docker-archive" => with_tag(rest).map(|(path, name)| Self::DockerArchive(path, name)),
            "dir" => path(rest).map(Self::Directory),
            "store" => Self::store(rest),
            "containers-storage" | "docker-daemon" | "ostree" | "sif" | "tarball" => {
                bail!(coded!(
                    ImageName,
                    "the transport {transport}: is of another tool's own storage: save the image with that tool"
                ))
            }
            _ => Self::store(text),
        }
    }

    fn store(name: &str) -> Result<Self> {
        ensure!(!name.is_empty(), coded!(ImageName, "no name"));
        Ok(Self::Store(name.to_owned()))
    }
}

/// Splits `PATH[:TAG]` at the first colon, as skopeo does.
fn with_tag(text: &str) -> Result<(PathBuf, Option<String>)> {
    let Some((file, tag)) = text.split_once(':') else { return Ok((path(text)?, None)) };
    ensure!(!tag.is_empty(), coded!(ImageName, "an empty tag"));
    // a tag, or a full name as Podman writes it
    reference::local_name(tag)
        .map_err(|_| anyhow::anyhow!(coded!(ImageName, "{tag:?} is neither a tag nor a name")))?;
    Ok((path(file)?, Some(tag.to_owned())))
}

fn path(text: &str) -> Result<PathBuf> {
    ensure!(!text.is_empty(), coded!(ImageName, "no path"));
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn places_are_read_as_skopeo_reads_them() {
        let tag = |text: &str| Some(text.to_owned());
        let table = [
            ("docker://busybox", Location::Registry(Reference::parse("busybox").unwrap())),
            ("docker://r.io:5000/a:1", Location::Registry(Reference::parse("r.io:5000/a:1").unwrap())),
            ("oci:/x/y", Location::Layout("/x/y".into(), None)),
            ("oci:y:v1", Location::Layout("y".into(), tag("v1"))),
            ("oci-archive:y.tar:localhost/a:v1", Location::OciArchive("y.tar".into(), tag("localhost/a:v1"))),
            ("docker-archive:y.tar:r.io:5000/a:1", Location::DockerArchive("y.tar".into(), tag("r.io:5000/a:1"))),
            ("dir:y", Location::Directory("y".into())),
            ("store:web:1", Location::Store("web:1".into())),
            ("web:1", Location::Store("web:1".into())),
            ("localhost:5000/web", Location::Store("localhost:5000/web".into())),
        ];
        for (text, want) in table {
            assert_eq!(Location::parse(text).unwrap(), want, "{text}");
        }
        for bad in [
            "docker:busybox",
            "docker://",
            "docker://A",
            "oci:",
            "oci:x:",
            "oci:x:a b",
            "dir:",
            "store:",
            "",
            "containers-storage:x",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }
}
