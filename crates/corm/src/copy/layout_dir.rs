//! An OCI layout directory that images are added to, as skopeo and umoci do: its other images stay.
//!
//! All paths are below its descriptor and without symlinks, because what is in the directory may be another user's.

use base::coded;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, mkdirat};
use serde_json::{Value, json};

use crate::archive::{REF_NAME, VERSION, layout_path};
use crate::model::digest::{Digest, Hashing};
use crate::model::manifest::{self, MAX_DOCUMENT};
use crate::model::parts::Parts;
use base::fs::lock::{How, Locked, lock};
use base::fs::staging::{StagedEntry, sweep_beside};
use base::json;
use linux::place;
use linux::resolve::{OpenHow, openat2};

/// A layout directory; other processes of corm wait for it.
pub(super) struct LayoutDir {
    dir: Locked,
}

impl LayoutDir {
    /// Opens a directory, or creates it as an empty layout.
    ///
    /// # Errors
    /// It is another directory than a layout and not empty, or cannot be created.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let context = || format!("{path:?}");
        match DirBuilder::new().mode(0o755).create(path) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(context)?,
        }
        let dir = place::open_to_read(path).with_context(context)?;
        ensure!(dir.metadata().with_context(context)?.is_dir(), coded!(ArchiveInvalid, "{path:?}: not a directory"));
        let layout = Self { dir: lock(dir, How::Exclusive).with_context(context)? };
        // a copy that was killed has left one
        sweep_beside(layout.dir.as_fd());
        if layout.read("oci-layout").with_context(context)?.is_none() {
            ensure!(
                is_empty(path).with_context(context)?,
                coded!(ArchiveInvalid, "{path:?}: not empty, and no OCI layout")
            );
            let version = json!({ "imageLayoutVersion": VERSION }).to_string();
            layout.write("oci-layout", &mut version.as_bytes(), None).with_context(context)?;
        }
        // missing in a layout whose creator was killed, or that has no blob of this algorithm
        layout.make_dir("blobs").and_then(|()| layout.make_dir("blobs/sha256")).with_context(context)?;
        sweep_beside(layout.open_at("blobs/sha256", OFlag::O_DIRECTORY).with_context(context)?.as_fd());
        if layout.read("index.json").with_context(context)?.is_none() {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            layout.write("index.json", &mut index.to_string().as_bytes(), None).with_context(context)?;
        }
        Ok(layout)
    }

    fn make_dir(&self, name: &str) -> Result<()> {
        let (above, last) = name.rsplit_once('/').unwrap_or((".", name));
        match mkdirat(&self.open_at(above, OFlag::O_DIRECTORY)?, last, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(err) => Err(err).with_context(|| format!("create {name}")),
        }
    }

    /// Opens a file or directory for reading, below the layout and without symlinks.
    fn open_at(&self, name: &str, flags: OFlag) -> nix::Result<File> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&*self.dir, name, how).map(File::from)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let file = match self.open_at(name, OFlag::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.with_context(|| name.to_owned())?,
        };
        ensure!(file.metadata()?.is_file(), coded!(ArchiveInvalid, "{name}: not a regular file"));
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= MAX_DOCUMENT, coded!(ArchiveInvalid, "{name}: larger than {MAX_DOCUMENT} bytes"));
        Ok(Some(bytes))
    }

    /// Replaces a file; `expected` is its digest and size.
    fn write(&self, name: &str, from: &mut dyn Read, expected: Option<(&Digest, u64)>) -> Result<()> {
        let (above, last) = name.rsplit_once('/').unwrap_or((".", name));
        let dir = self.open_at(above, OFlag::O_DIRECTORY).with_context(|| name.to_owned())?;
        let staged = StagedEntry::file_in(dir.as_fd(), 0o644).with_context(|| name.to_owned())?;
        let mut out = Hashing::new(staged.file_ref());
        io::copy(from, &mut out).with_context(|| name.to_owned())?;
        let (_, digest, size) = out.finish();
        if expected.is_some_and(|expected| expected != (&digest, size)) {
            bail!(coded!(ImageDigest, "{name}: {size} bytes with the digest {digest} came"));
        }
        staged.replace_in(last).with_context(|| name.to_owned())
    }

    /// Returns whether the layout has a blob, with the right content.
    ///
    /// # Errors
    /// As read(2).
    pub(super) fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        let Ok(file) = self.open_at(&layout_path(digest), OFlag::empty()) else { return Ok(false) };
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() != size {
            return Ok(false);
        }
        let mut reader = Hashing::new(file);
        io::copy(&mut reader, &mut io::sink())?;
        Ok(reader.finish().1 == *digest)
    }

    /// Adds a blob.
    ///
    /// # Errors
    /// It does not match, or cannot be written.
    pub(super) fn put(&self, digest: &Digest, size: u64, from: &mut dyn Read) -> Result<()> {
        self.write(&layout_path(digest), from, Some((digest, size)))
    }

    /// Adds a document.
    ///
    /// # Errors
    /// As [`LayoutDir::put`].
    pub(super) fn put_document(&self, document: &Parts) -> Result<()> {
        self.put(&document.digest, document.bytes.len() as u64, &mut document.bytes.as_slice())
    }

    /// Adds the named document and its entry in the index, which replaces one of the same tag.
    ///
    /// # Errors
    /// As [`LayoutDir::put`]; the index is no index.
    pub(super) fn finish(self, top: &Parts, tag: Option<&str>) -> Result<()> {
        self.put_document(top)?;
        let bytes = self.read("index.json")?.context("index.json: is missing")?;
        manifest::parse_index(&bytes).context("index.json")?;
        let mut index = json::parse_object(&bytes).context("index.json")?;
        let mut entry = json!({ "mediaType": top.media_type, "digest": top.digest, "size": top.bytes.len() });
        if let Some(tag) = tag {
            entry["annotations"] = json!({ REF_NAME: tag });
        }
        let name = |entry: &Value| {
            entry.pointer("/annotations").and_then(|all| all.get(REF_NAME)?.as_str().map(str::to_owned))
        };
        let same = |old: &Value| match tag {
            Some(tag) => name(old).as_deref() == Some(tag),
            None => name(old).is_none() && old.get("digest") == entry.get("digest"),
        };
        let mut entries = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
        entries.retain(|old| !same(old));
        entries.push(entry);
        index["manifests"] = Value::Array(entries);
        self.write("index.json", &mut serde_json::to_vec(&index)?.as_slice(), None)
    }
}

/// Media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(linux::open::read_dir(path)?.next().is_none())
}
