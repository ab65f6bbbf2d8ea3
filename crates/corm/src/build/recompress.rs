//! Other compression of an image's layers: new blobs and a new manifest of the same configuration.

use base::coded;
use base::error::{Code, Coding as _};
use std::io::{self, Write};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::layer;
use crate::layer::Compression;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::parts::{Parts, parts};
use crate::store::Store;
use base::json;

/// Default level of zstd and gzip, as in Podman and in corm's own layers.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: i32 = 6;

/// Compresses the layers of an image in the store; returns its new manifest, in OCI's form. A layer that has the format
/// already is kept unless a level is given.
///
/// # Errors
/// A layer does not match its DiffID, or the document is no image.
pub fn recompressed(store: &Store, image: &Parts, format: Compression, level: Option<i32>) -> Result<Parts> {
    let parsed = manifest::parse_manifest(&image.bytes)?;
    let config = manifest::digest_of(parsed.config())?;
    let layers = manifest::layers(&parsed, &manifest::parse_config(&store.read_blob(&config)?)?)?;
    let mut document = json::parse_object(&image.bytes)?;
    for (at, layer) in layers.iter().enumerate() {
        let before = store.compression_of(&layer.blob)?;
        let (digest, size) = if before == format && level.is_none() {
            (layer.blob.clone(), store.has_blob(&layer.blob).code(Code::ImageInvalid, "a layer is not in the store")?)
        } else {
            one(store, &layer.blob, &layer.media_type, &layer.diff_id, (format, level))
                .with_code(Code::ImageInvalid, || format!("layers[{at}]"))?
        };
        let entry = document.pointer_mut(&format!("/layers/{at}")).code(Code::ImageInvalid, "layers: too short")?;
        *entry = json!({ "mediaType": format.media_type(), "digest": digest, "size": size });
    }
    document["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
    document["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    parts(serde_json::to_vec(&document)?, None)
}

/// Compresses one layer.
fn one(
    store: &Store,
    blob: &Digest,
    media_type: &str,
    diff_id: &Digest,
    (format, level): (Compression, Option<i32>),
) -> Result<(Digest, u64)> {
    let mut encoder = Encoder::new(store.blob_writer()?, format, level)?;
    let (found, _) = layer::unpack_to(store.open_blob(blob)?, media_type, store.limits(), &mut encoder)?;
    ensure!(
        found == *diff_id,
        coded!(ImageDigest, "the layer has the digest {found}, the configuration has {diff_id}")
    );
    encoder.finish()?.commit(None)
}

/// A compressing writer.
enum Encoder<W: Write> {
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    fn new(out: W, format: Compression, level: Option<i32>) -> Result<Self> {
        match format {
            Compression::Zstd => Ok(Self::Zstd(zstd::stream::write::Encoder::new(out, level.unwrap_or(ZSTD_LEVEL))?)),
            Compression::Gzip => {
                let level = u32::try_from(level.unwrap_or(GZIP_LEVEL))?;
                Ok(Self::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::new(level))))
            }
            Compression::None => bail!("no compression"),
        }
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
