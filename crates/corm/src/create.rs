//! Images of a single layer, from a directory or a tar.

use base::coded;
use std::io::{self, BufReader, Cursor, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oci_spec::image::{Arch, History, HistoryBuilder, ImageConfigurationBuilder, Os, RootFsBuilder};

use super::build;
use super::commit::now;
use super::config::edit::Edit;
use super::layer::{self, Compression, Packed, is_layer_xattr, pack};
use super::model::digest;
use super::model::layer::Layer;
use super::model::platform::Platform;
use super::store::{BlobWriter, ImageRecord, Store};
use base::fs::copy::{Options, fill_tree_of};
use linux::place;

/// What a caller of `import` says of the new image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// Instructions of a Dockerfile that change the configuration.
    pub changes: Vec<String>,
    /// Comment in the history.
    pub message: Option<String>,
    /// Platform in the configuration; absent: this machine's.
    pub platform: Option<Platform>,
}

/// Creates an image from a directory. Its content is copied into the driver's tree first, by reflink where possible,
/// and packed from there: so tree and layer are equal even if the directory changes meanwhile.
///
/// # Errors
/// The directory is missing, or has a file that no layer can contain; errors of the store.
pub fn from_dir(store: &Store, dir: &Path, names: &[String]) -> Result<ImageRecord> {
    let context = || format!("{dir:?}");
    if !dir.is_dir() {
        bail!(coded!(FileMissing, "No directory named '{}' exists", dir.display()));
    }
    let open = place::open_to_read(dir).with_context(context)?;
    let source = dir.canonicalize().with_context(context)?;
    if store.root().canonicalize().with_context(context)?.starts_with(&source) {
        bail!("{dir:?}: contains the store, so the image would contain itself");
    }
    let _adding = store.shared()?;
    let building = store.driver().begin(None)?;
    fill_tree_of(
        open.as_fd(),
        dir,
        building.root()?,
        &Options { keep_attribute: is_layer_xattr, ..Options::default() },
    )?;
    let root = building.root()?;
    let (layer, _) = build::write_blob(store, |out| pack::tree(root.as_fd(), out))?;
    drop(root);
    store.publish_layer(building, &digest::chain(None, &layer.diff_id))?;
    put(store, layer, names, ("init", &Described::default()), Some(source.to_string_lossy().into_owned()))
}

/// Creates an image from a tar, compressed or not. A compressed one is stored unchanged.
///
/// # Errors
/// The tar cannot be read, or cannot be applied as a layer.
pub fn from_tar(
    store: &Store,
    mut tar: impl Read + Send,
    names: &[String],
    (source, described): (Option<String>, &Described),
) -> Result<ImageRecord> {
    let from = source.clone().unwrap_or_else(|| "standard input".to_owned());
    let _adding = store.shared()?;
    let mut first = Vec::new();
    tar.by_ref().take(6).read_to_end(&mut first).with_context(|| format!("read {from}"))?;
    if first.is_empty() {
        bail!(coded!(ArchiveInvalid, "{from}: is empty, no tar is"));
    }
    let how = layer::detect_archive(&first);
    let tar = Cursor::new(first).chain(tar);
    let layer = match how {
        // a layer may not be packed with bzip2 or xz
        Packed::AsLayer(Compression::None) | Packed::Bzip2 | Packed::Xz => {
            let mut tar = layer::decoder(how, BufReader::new(tar))?.take(store.limits().tar.saturating_add(1));
            build::write_blob(store, |out| io::copy(&mut tar, out).map(drop).map_err(Into::into))
                .with_context(|| format!("import {from}"))?
                .0
        }
        Packed::AsLayer(how) => {
            let mut kept = TeeReader { from: tar, blob: store.blob_writer()? };
            let (diff_id, _) = layer::diff_id(&mut kept, store.limits()).with_context(|| format!("import {from}"))?;
            Layer { blob: kept.blob.commit(None)?.0, media_type: how.media_type().to_owned(), diff_id }
        }
    };
    store.unpack(std::slice::from_ref(&layer), &|_, _| {}).with_context(|| format!("import {from}"))?;
    put(store, layer, names, ("import", described), source)
}

/// A reader that also writes what it reads into a blob.
struct TeeReader<R> {
    from: R,
    blob: BlobWriter,
}

impl<R: Read> Read for TeeReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.blob.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// Records an image of one layer.
fn put(
    store: &Store,
    layer: Layer,
    names: &[String],
    (verb, described): (&str, &Described),
    source: Option<String>,
) -> Result<ImageRecord> {
    let created = now()?;
    let from = source.as_deref().unwrap_or("standard input");
    let mut line: History =
        HistoryBuilder::default().created(&*created).created_by(format!("corm {verb} {from}")).build()?;
    line.set_comment(described.message.clone());
    let platform = described.platform.clone().unwrap_or_else(Platform::host);
    let (os, architecture, variant) = platform.parts();
    let mut config = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(Arch::from(architecture))
        .os(Os::from(os))
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids(Vec::new()).build()?)
        .history(vec![line])
        .build()?;
    config.set_variant(variant.map(str::to_owned));
    let mut edit = Edit::new(&serde_json::to_vec(&config)?)?;
    described.changes.iter().try_for_each(|change| edit.change(change))?;
    let config = serde_json::from_slice(&edit.finish()?)?;
    let manifest = build::new_image(store, &[layer], config)?;
    store.put_image(&manifest, names, source)
}

/// Opens the argument of `import`: a file, or standard input for `-`; also returns the recorded source.
///
/// # Errors
/// The file does not exist.
pub fn open_tar(path: &Path) -> Result<(Box<dyn Read + Send>, Option<String>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = place::open_to_read(path).with_context(|| format!("{path:?}"))?;
    let source = path.canonicalize().with_context(|| format!("{path:?}"))?;
    Ok((Box::new(file), Some(source.to_string_lossy().into_owned())))
}
