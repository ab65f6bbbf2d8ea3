//! Directory layout of all drivers: directories named by layers and containers, published and removed by a rename.
//!
//! ```text
//! layers/HEX/tree     the layer           layers/HEX/durable  the mark of one that is on the device
//! trees/ID/base.json  the chain below     trees/ID/…          the container, in the driver's format
//! ```

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::Mode;

use super::{DriverPaths, Tree, c_path, set_root_defaults};
use crate::model::digest::Digest;
use base::fs::staging::StagedEntry;
use linux::path::openat;

/// Name of the directory with the content.
pub(super) const TREE: &str = "tree";

/// Name of the mark beside a layer's tree, which is created last: when all of the tree is on the device.
const DURABLE: &str = "durable";

/// Name of the file with the chain that a container was created on.
const BASE: &str = "base.json";

/// The directories of a driver.
#[derive(Debug, Clone)]
pub struct DriverDirs(DriverPaths);

impl DriverDirs {
    /// Creates the value from the paths.
    pub fn new(paths: &DriverPaths) -> Self {
        Self(paths.clone())
    }

    /// Creates an empty directory below `tmp`, to be published when complete.
    pub fn stage(&self) -> Result<StagedEntry> {
        StagedEntry::dir(&self.0.tmp)
    }

    /// Returns the directory of all layers.
    pub fn all_layers(&self) -> PathBuf {
        self.0.layers.clone()
    }

    /// Returns the path of a layer's content.
    pub fn layer(&self, layer: &Digest) -> PathBuf {
        self.0.layers.join(layer.hex()).join(TREE)
    }

    /// Returns a directory that is always empty: the tree without layers.
    pub fn empty(&self) -> Result<PathBuf> {
        let path = self.0.layers.join("empty");
        match DirBuilder::new().mode(0o755).create(&path) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return Ok(path),
            other => other.with_context(|| format!("create {path:?}"))?,
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let dir = openat(AT_FDCWD, &c_path(&path)?, flags, 0).with_context(|| format!("open {path:?}"))?;
        set_root_defaults(dir.as_fd())?;
        Ok(path)
    }

    /// Returns the directory of a container.
    pub fn container(&self, container: &str) -> PathBuf {
        self.0.trees.join(container)
    }

    /// Returns the path of a container's content, for drivers that keep it as a whole tree.
    pub fn container_tree(&self, container: &str) -> PathBuf {
        self.container(container).join(TREE)
    }

    /// Returns the directory of a [`Tree`].
    pub fn path(&self, of: Tree<'_>) -> PathBuf {
        match of {
            Tree::Layer(layer) => self.0.layers.join(layer.hex()),
            Tree::Container(container) => self.container(container),
        }
    }

    /// Returns whether the layer exists.
    pub fn has(&self, layer: &Digest) -> bool {
        self.layer(layer).is_dir()
    }

    /// Returns whether the layer has the mark: a power cut has not damaged it.
    pub fn is_durable(&self, layer: &Digest) -> bool {
        self.path(Tree::Layer(layer)).join(DURABLE).is_file()
    }

    /// Returns the open directory of a layer, for [`mark_durable`].
    pub fn open_layer(&self, layer: &Digest) -> Result<OwnedFd> {
        let path = self.path(Tree::Layer(layer));
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        openat(AT_FDCWD, &c_path(&path)?, flags, 0).with_context(|| format!("open {path:?}"))
    }

    /// Returns the path of an existing layer's content, or an error.
    pub fn require_layer(&self, layer: &Digest) -> Result<PathBuf> {
        let path = self.layer(layer);
        if !path.is_dir() {
            bail!(coded!(StoreDamaged, "layer {layer} is not in the store (see corm fsck)"));
        }
        Ok(path)
    }

    /// Returns the topmost layer of a chain; the empty directory for an empty chain.
    pub fn top(&self, chain: &[Digest]) -> Result<PathBuf> {
        chain.last().map_or_else(|| self.empty(), |top| self.require_layer(top))
    }

    /// Returns all layers.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        let mut found: Vec<Digest> = read_names(&self.0.layers)?
            .iter()
            .filter_map(|name| Digest::parse(&format!("sha256:{name}")).ok())
            .collect();
        found.sort();
        Ok(found)
    }

    /// Returns all containers.
    pub fn containers(&self) -> Result<Vec<String>> {
        read_names(&self.0.trees)
    }

    /// Publishes a staged directory as a layer; an existing layer is kept.
    pub fn publish_layer(&self, staged: StagedEntry, layer: &Digest) -> Result<()> {
        staged
            .publish_new(&self.0.layers.join(layer.hex()))
            .map(|_| ())
            .with_code(Code::ImageInvalid, || format!("layer {layer}"))
    }

    /// Publishes a staged directory as a container; `sync` as in [`super::Driver::create`].
    pub fn publish_container(
        &self,
        staged: StagedEntry,
        (container, chain): (&str, &[Digest]),
        sync: bool,
    ) -> Result<()> {
        let base = staged.path().join(BASE);
        let mut file = File::create_new(&base).with_context(|| format!("write {base:?}"))?;
        file.write_all(&serde_json::to_vec(chain)?).with_context(|| format!("write {base:?}"))?;
        if sync {
            // before a record names the container
            file.sync_all().with_context(|| format!("sync {base:?}"))?;
        }
        if !staged.publish_new(&self.container(container))? {
            bail!("container {container}: its tree is there already");
        }
        Ok(())
    }

    /// Returns the chain that the container was created on; none where a power cut has emptied the file, which happens to
    /// containers alone that do not survive one.
    pub fn base(&self, container: &str) -> Result<Vec<Digest>> {
        let path = self.container(container).join(BASE);
        match std::fs::read(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Ok(bytes) if bytes.is_empty() => Ok(Vec::new()),
            other => serde_json::from_slice(&other.with_context(|| format!("read {path:?}"))?)
                .with_context(|| format!("{path:?} is damaged")),
        }
    }

    /// Removes a layer or a container atomically by a rename into `tmp`, then deletes it there.
    pub fn remove_atomically(&self, of: Tree<'_>) -> Result<()> {
        let staged = self.stage()?;
        staged.take(&self.path(of))?;
        staged.remove()
    }
}

/// Marks a layer, whose directory is open, as one that is on the device. A layer that was removed meanwhile stays removed.
///
/// # Errors
/// No space, read-only.
pub fn mark_durable(layer: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match linux::open::openat(layer, DURABLE, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(err) => Err(err).code(Code::ImageInvalid, "mark a layer as durable"),
    }
}

fn read_names(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in linux::open::read_dir(dir).with_context(|| format!("read {dir:?}"))? {
        found.extend(entry.with_context(|| format!("read {dir:?}"))?.file_name().into_string());
    }
    found.sort();
    Ok(found)
}
