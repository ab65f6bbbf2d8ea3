//! The files of an archive or a layout directory, by name.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};

use crate::layer;
use crate::layer::Entry;
use crate::layer::TarEntryType;
use crate::layer::shown;
use crate::model::digest::Digest;
use crate::model::manifest::MAX_BLOB;
use crate::store::Store;
use linux::resolve::{OpenHow, openat2};

/// Maximum size of a file kept in memory, in bytes: for the documents.
const MAX_SMALL_BYTES: u64 = 1 << 20;

/// Maximum size of all files in memory, in bytes; later files are stored as blobs.
const MAX_TOTAL_BYTES: u64 = 16 << 20;

/// Maximum number of entries: ten for each of the layers of an image.
const MAX_ENTRIES: usize = 1 << 16;

/// Maximum number of symlinks to one file, somewhat more than old versions of Docker need.
const MAX_LINKS: usize = 8;

/// Content of an archive's entry.
enum Content {
    Bytes(Vec<u8>),
    Blob(Digest, u64),
    Link(String),
}

/// Files by normalised name.
pub(crate) struct Contents(Place);

enum Place {
    Directory(OwnedFd),
    Archive(BTreeMap<String, Content>),
}

impl Contents {
    /// Reads from an open directory.
    pub(crate) fn directory(dir: OwnedFd) -> Self {
        Self(Place::Directory(dir))
    }

    /// Reads a whole archive, compressed or not.
    ///
    /// # Errors
    /// The stream is no tar, or has an entry that no image archive has.
    pub(crate) fn archive(store: &Store, input: impl Read + Send) -> Result<Self> {
        let mut reading = ArchiveReader { store, files: BTreeMap::new(), small: 0, entries: 0 };
        let read = layer::entries(input, store.limits(), &mut |entry, data| {
            let name = shown(&entry.path);
            reading.add(entry, data).with_context(|| format!("entry {name}"))
        });
        match read {
            // not the first words of what the parser makes of it
            Err(err) if reading.entries == 0 && err.errno().is_none() => {
                let what = "not an archive of any kind: neither a tar, also compressed, nor the directory of a layout";
                return Err(err.context(coded!(ArchiveInvalid, "{what}")));
            }
            read => read?,
        }
        Ok(Self(Place::Archive(reading.files)))
    }

    /// Returns whether the file exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.0 {
            Place::Directory(dir) => open_in(dir, name).is_ok(),
            Place::Archive(files) => find(files, name).is_ok(),
        }
    }

    /// Reads a small file.
    ///
    /// # Errors
    /// The file is missing, or has more than `max` bytes.
    pub(crate) fn read(&self, store: &Store, name: &str, max: u64) -> Result<Vec<u8>> {
        let whole = |input: &mut dyn Read| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            input.take(max + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > max {
                bail!(coded!(ArchiveInvalid, "larger than {max} bytes"));
            }
            Ok(bytes)
        };
        let read = || match &self.0 {
            Place::Directory(dir) => whole(&mut open_in(dir, name).or_code(Code::ArchiveInvalid)?),
            Place::Archive(files) => match find(files, name)? {
                Content::Bytes(bytes) => whole(&mut bytes.as_slice()),
                Content::Blob(digest, _) => whole(&mut store.open_blob(digest)?),
                Content::Link(_) => bail!(coded!(ArchiveInvalid, "a link")),
            },
        };
        read().with_context(|| format!("{name:?}"))
    }

    /// Stores a file as a blob, unless it is stored already; returns its digest and size.
    ///
    /// # Errors
    /// The file is missing, or has another digest or size than expected.
    pub(crate) fn blob(&self, store: &Store, name: &str, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64)> {
        if let Some((digest, size)) = expected
            && store.has_blob(digest) == Some(size)
        {
            return Ok((digest.clone(), size));
        }
        let copy = |input: &mut dyn Read, expected: Option<(&Digest, u64)>| -> Result<(Digest, u64)> {
            let mut writer = store.blob_writer()?;
            // one byte more than expected shows that the file is too long
            let most = expected.map_or(MAX_BLOB, |(_, size)| size).saturating_add(1);
            io::copy(&mut input.take(most), &mut writer)?;
            writer.commit(expected)
        };
        let make = || match &self.0 {
            Place::Directory(dir) => copy(&mut open_in(dir, name).or_code(Code::ArchiveInvalid)?, expected),
            Place::Archive(files) => match find(files, name)? {
                Content::Bytes(bytes) => copy(&mut bytes.as_slice(), expected),
                Content::Blob(digest, size) => match expected {
                    Some((wanted, _)) if wanted != digest => bail!(coded!(ImageDigest, "has the digest {digest}")),
                    Some((_, wanted)) if wanted != *size => {
                        bail!(coded!(ImageDigest, "has {size} bytes, {wanted} were announced"))
                    }
                    _ => Ok((digest.clone(), *size)),
                },
                Content::Link(_) => bail!(coded!(ArchiveInvalid, "a link")),
            },
        };
        make().with_context(|| format!("{name:?}"))
    }
}

/// Opens a regular file below a directory: without symlinks in the path, and without blocking.
fn open_in(dir: &OwnedFd, name: &str) -> Result<File> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = match openat2(dir, name, how) {
        Err(Errno::ELOOP) => bail!(coded!(ArchiveInvalid, "a symlink")),
        other => File::from(other?),
    };
    if !file.metadata()?.is_file() {
        bail!(coded!(ArchiveInvalid, "not a regular file"));
    }
    Ok(file)
}

fn find<'a>(files: &'a BTreeMap<String, Content>, name: &str) -> Result<&'a Content> {
    let mut name = name.to_owned();
    for _ in 0..=MAX_LINKS {
        match files.get(&name) {
            Some(Content::Link(target)) => name.clone_from(target),
            Some(content) => return Ok(content),
            None => bail!(coded!(ArchiveInvalid, "not in the archive")),
        }
    }
    bail!(coded!(ArchiveInvalid, "more than {MAX_LINKS} links"));
}

/// An archive that is being read.
struct ArchiveReader<'a> {
    store: &'a Store,
    files: BTreeMap<String, Content>,
    small: u64,
    entries: usize,
}

impl ArchiveReader<'_> {
    fn add(&mut self, entry: Entry, data: &mut dyn Read) -> Result<()> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            bail!(coded!(ArchiveInvalid, "more than {MAX_ENTRIES} entries"));
        }
        let path = String::from_utf8(entry.path).ok().context("its name is not UTF-8")?;
        let name = name_in("", &path)?;
        let content = match entry.kind {
            TarEntryType::Directory => return Ok(()),
            TarEntryType::File => self.add_file(entry.size, data)?,
            TarEntryType::Symlink(target) => {
                Content::Link(target_in(name.rsplit_once('/').map_or("", |(dir, _)| dir), target)?)
            }
            TarEntryType::HardLink(target) => Content::Link(target_in("", target)?),
            _ => bail!(coded!(ArchiveInvalid, "neither a file, a directory nor a link")),
        };
        if self.files.insert(name, content).is_some() {
            bail!(coded!(ArchiveInvalid, "a duplicate name"));
        }
        Ok(())
    }

    fn add_file(&mut self, size: u64, data: &mut dyn Read) -> Result<Content> {
        if size > MAX_BLOB {
            bail!(coded!(ArchiveInvalid, "{size} bytes, the limit is {MAX_BLOB}"));
        }
        if size <= MAX_SMALL_BYTES && self.small + size <= MAX_TOTAL_BYTES {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes)?;
            self.small += size;
            return Ok(Content::Bytes(bytes));
        }
        let mut writer = self.store.blob_writer()?;
        io::copy(data, &mut writer)?;
        let (digest, size) = writer.commit(None)?;
        Ok(Content::Blob(digest, size))
    }
}

fn target_in(dir: &str, target: Vec<u8>) -> Result<String> {
    let target = String::from_utf8(target).ok().context("its target is not UTF-8")?;
    name_in(dir, &target).with_context(|| format!("link to {target:?}"))
}

/// Normalises a path relative to `dir`; a path that leaves the archive is an error.
fn name_in(dir: &str, path: &str) -> Result<String> {
    if path.starts_with('/') {
        bail!(coded!(ArchiveInvalid, "an absolute path"));
    }
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => bail!(coded!(ArchiveInvalid, "outside of the archive")),
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_end_at_the_top_of_the_archive() {
        let table = [
            ("", "./manifest.json", Some("manifest.json")),
            ("a", "../b/layer.tar", Some("b/layer.tar")),
            ("a/b", "./c/", Some("a/b/c")),
            ("", "a//b/./c", Some("a/b/c")),
            ("", "../x", None),
            ("a", "../../x", None),
            ("a", "/etc/passwd", None),
        ];
        for (dir, path, want) in table {
            assert_eq!(name_in(dir, path).ok().as_deref(), want, "{dir} {path}");
        }
    }

    #[test]
    fn links_are_followed_inside_and_not_for_ever() {
        let link = |target: &str| Content::Link(target.to_owned());
        let mut files = BTreeMap::from([
            ("a".to_owned(), link("b")),
            ("b".to_owned(), Content::Bytes(vec![7])),
            ("x".to_owned(), link("y")),
            ("y".to_owned(), link("x")),
            ("gone".to_owned(), link("nothing")),
        ]);
        assert!(matches!(find(&files, "a").unwrap(), Content::Bytes(bytes) if bytes == &[7]));
        for name in ["x", "gone", "none"] {
            assert!(find(&files, name).is_err(), "{name}");
        }
        for at in 0..20 {
            files.insert(format!("l{at}"), link(&format!("l{}", at + 1)));
        }
        assert!(find(&files, "l0").is_err());
    }
}
