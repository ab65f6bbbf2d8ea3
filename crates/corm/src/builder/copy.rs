//! `COPY`, `ADD` and `WORKDIR`: layers that are packed from files of the context, of other stages and of images.
//!
//! A layer is composed twice where the cache lacks it: without times for the digest that is its key, then to be stored.

use base::coded;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Cursor, Read, Seek as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::chmod::Chmod;
use super::source::{Found, Tree, clean};
use crate::container::within;
use crate::containerfile::ignore::Ignore;
use crate::layer;
use crate::layer::pack::{Attributes, Composer, Keep, Rewrite};
use crate::layer::{Entry, TarEntryType, shown};
use crate::model::digest::{Digest, Hasher};
use crate::model::limits::Limits;
use linux::path;

/// Permissions of directories that no source has.
const DIRECTORY_MODE: u32 = 0o755;

/// A file that is not of a tree: a here-document, or a download.
#[derive(Debug)]
pub struct Extra {
    /// Name in the destination directory.
    pub name: String,
    /// Content.
    pub content: Content,
    /// Permissions without `--chmod`.
    pub mode: u32,
    /// Modification time in seconds; absent: the time of the build.
    pub mtime: Option<i64>,
}

/// Content of an [`Extra`].
#[derive(Debug)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// An open file.
    File(File),
}

/// All that a layer of files depends on.
pub struct Job<'a> {
    /// The tree that the layer is put on; `None` for one that depends on no tree (`--link`).
    pub lower: Option<BorrowedFd<'a>>,
    /// Destination, absolute, as written: the end of the text says whether a directory is meant.
    pub destination: String,
    /// Where the sources are.
    pub tree: Option<Tree<'a>>,
    /// The found sources.
    pub found: Vec<Found>,
    /// Other files.
    pub extras: Vec<Extra>,
    /// Owner of everything; `None` for that of the sources.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`
    pub exclude: Ignore,
    /// Whether archives of the tree are unpacked.
    pub unpack: bool,
    /// Whether those of `extras` are.
    pub unpack_extras: bool,
    /// Time of new entries, in seconds since 1970.
    pub now: i64,
    /// Limits of archives.
    pub limits: &'a Limits,
}

/// Where the sources come to.
struct Target {
    /// Path below the root, without symlinks.
    path: Vec<u8>,
    /// Whether it is a directory, into which files are copied by their names.
    is_dir: bool,
}

impl Job<'_> {
    /// Writes the layer.
    ///
    /// # Errors
    /// A source cannot be read, the destination does not fit.
    pub fn compose(&self, out: &mut dyn Write, timeless: bool) -> Result<()> {
        let target = self.target()?;
        let mut layer = Composer::new(out, timeless)?;
        let new = self.new_directory();
        layer.directories(self.lower, &target.path, target.is_dir, new)?;
        for extra in &self.extras {
            self.extra(&mut layer, &target, extra).with_context(|| format!("{:?}", extra.name))?;
        }
        for found in &self.found {
            self.source(&mut layer, &target, found).with_context(|| format!("{:?}", found.given))?;
        }
        layer.end()
    }

    /// Returns the digest of the content: of the layer without its times.
    ///
    /// # Errors
    /// As [`Job::compose`].
    pub fn content(&self) -> Result<Digest> {
        struct Sink(Hasher);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut sink = Sink(Hasher::new());
        self.compose(&mut sink, true)?;
        Ok(sink.0.finish())
    }

    /// Returns the attributes of directories that no source has.
    fn new_directory(&self) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or_default();
        Attributes { uid, gid, mode: DIRECTORY_MODE, mtime: self.now }
    }

    /// Finds out what the destination is.
    fn target(&self) -> Result<Target> {
        let text = &self.destination;
        let end = text.rsplit('/').next().unwrap_or_default();
        let says_dir = matches!(end, "" | "." | "..");
        let wanted = Path::new("/").join(clean(text));
        let path = match self.lower {
            Some(lower) => within::resolve(lower, &wanted)?,
            None => wanted,
        };
        let path = path.strip_prefix("/").unwrap_or(&path).as_os_str().as_bytes().to_vec();
        let there = self.lower.and_then(|lower| stat(lower, &path));
        let many = self.found.len() + self.extras.len() > 1;
        let unpacks = || self.found.iter().any(|found| self.archive(found).is_some());
        let is_dir = says_dir
            || many
            || self.parents
            || there == Some(true)
            || self.found.iter().any(|found| found.is_dir)
            || unpacks();
        ensure!(there != Some(false) || !is_dir, coded!(BuildInvalid, "{text:?}: is no directory in the image"));
        Ok(Target { path, is_dir })
    }

    /// Writes a file that is of no tree.
    fn extra(&self, layer: &mut Composer<'_>, target: &Target, extra: &Extra) -> Result<()> {
        ensure!(
            !extra.name.is_empty() && !matches!(extra.name.as_str(), "." | ".."),
            coded!(BuildInvalid, "is no name of a file")
        );
        let path = if target.is_dir { join(&target.path, extra.name.as_bytes()) } else { target.path.clone() };
        layer.directories(self.lower, &path, false, self.new_directory())?;
        let (uid, gid) = self.owner.unwrap_or_default();
        let mode = self.chmod.as_ref().map_or(extra.mode, |chmod| chmod.apply(extra.mode, false));
        let given = Attributes { uid, gid, mode, mtime: extra.mtime.unwrap_or(self.now) };
        match &extra.content {
            Content::Bytes(bytes) => layer.file(&path, given, &mut Cursor::new(bytes), bytes.len() as u64),
            Content::File(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                let size = file.metadata()?.len();
                if self.unpack_extras && is_tar(file.try_clone()?, self.limits) {
                    return self.unpack(layer, target, file);
                }
                file.rewind()?;
                layer.file(&path, given, &mut file, size)
            }
        }
    }

    /// Copies a source.
    fn source(&self, layer: &mut Composer<'_>, target: &Target, found: &Found) -> Result<()> {
        let mode = |mode: u32, is_dir: bool| self.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, is_dir));
        let keep = |below: &[u8], is_dir: bool| self.keep(found, below, is_dir);
        let rules = Rewrite { owner: self.owner, mode: &mode, keep: &keep };
        let from = (found.dir.as_fd(), &*found.name);
        if self.parents {
            let rest = found.given.strip_prefix(&found.pivot).unwrap_or(&found.given);
            let path = join(&target.path, rest.as_os_str().as_bytes());
            layer.directories(self.lower, &path, found.is_dir, self.new_directory())?;
            return layer.tree(from, &path, found.is_dir, &rules);
        }
        if found.is_dir {
            return layer.tree(from, &target.path, true, &rules);
        }
        if let Some(file) = self.archive(found) {
            return self.unpack(layer, target, file);
        }
        let path = if target.is_dir { join(&target.path, found.base().as_bytes()) } else { target.path.clone() };
        let is_dir = self.lower.and_then(|lower| stat(lower, &path)) == Some(true);
        ensure!(!is_dir, coded!(BuildInvalid, "{}: is a directory in the image", shown(&path)));
        layer.tree(from, &path, false, &rules)
    }

    /// Decides about an entry below a source, by the ignore file of the context and by `--exclude`.
    fn keep(&self, found: &Found, below: &[u8], is_dir: bool) -> Keep {
        let below = String::from_utf8_lossy(below);
        let in_source = if below.is_empty() { found.base().to_string_lossy() } else { below.clone() };
        let in_tree = [&*found.path.to_string_lossy(), &*below]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        let ignore = self.tree.as_ref().and_then(|tree| tree.ignore).filter(|_| found.of_context);
        let rules = [(ignore, &*in_tree), (Some(&self.exclude), &*in_source)];
        let mut keep = Keep::Yes;
        for (rules, path) in rules {
            let Some(rules) = rules.filter(|rules| rules.excludes(path)) else { continue };
            if !is_dir || !rules.may_keep_below(path) {
                return Keep::No;
            }
            keep = Keep::Below;
        }
        keep
    }

    /// Opens a source that is an archive to unpack.
    fn archive(&self, found: &Found) -> Option<File> {
        if !self.unpack || found.is_dir {
            return None;
        }
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::from(path::openat(found.dir.as_fd(), &found.name, flags, 0).ok()?);
        let regular = file.metadata().is_ok_and(|meta| meta.is_file());
        if !regular || !is_tar(file.try_clone().ok()?, self.limits) {
            return None;
        }
        let mut file = file;
        file.rewind().ok()?;
        Some(file)
    }

    /// Writes the entries of an archive below the destination, with their owners and modes, as Docker and Buildah do.
    fn unpack(&self, layer: &mut Composer<'_>, target: &Target, mut file: File) -> Result<()> {
        file.rewind()?;
        layer::entries(file, self.limits, &mut |mut entry: Entry, data: &mut dyn Read| {
            let place = |raw: &[u8]| -> Result<Vec<u8>> {
                let below = below(raw).with_context(|| shown(raw))?;
                Ok(join(&target.path, below.as_os_str().as_bytes()))
            };
            let path = place(&entry.path)?;
            // the directory itself stays as it is
            if path == target.path {
                return Ok(());
            }
            layer.directories(self.lower, &path, false, self.new_directory())?;
            if let TarEntryType::HardLink(to) = &mut entry.kind {
                *to = place(to)?;
            }
            entry.path = path;
            layer.of_archive(entry, data)
        })
    }
}

/// Returns whether a path below a root is a directory; `None` where there is nothing.
fn stat(root: BorrowedFd<'_>, below: &[u8]) -> Option<bool> {
    let name = CString::new(if below.is_empty() { b"." } else { below }).ok()?;
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
    let open = path::openat2(root, &name, libc::O_PATH | libc::O_NOFOLLOW, resolve).ok()?;
    Some(path::fstat(open.as_fd()).ok()?.is_dir())
}

/// Appends a path to that of a directory, which is empty for the root.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() || name.is_empty() { [dir, name].concat() } else { [dir, b"/", name].concat() }
}

/// Returns the path of an archive's entry without a leading slash.
fn below(raw: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(raw));
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        bail!(coded!(BuildInvalid, "a name with `..` leads out of the destination"));
    }
    Ok(path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect())
}

/// Returns whether a file is a tar, compressed or not: its first entry can be read.
pub fn is_tar(mut file: File, limits: &Limits) -> bool {
    if file.rewind().is_err() {
        return false;
    }
    let mut seen = false;
    let _ = layer::entries(file, limits, &mut |_, _| {
        seen = true;
        bail!(coded!(BuildInvalid, "one entry is enough"))
    });
    seen
}
