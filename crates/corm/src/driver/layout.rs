//! What all drivers have alike: directories named by layers and containers, which appear and disappear by a rename.
//!
//! ```text
//! layers/HEX/tree     the layer           layers/HEX/…  what else a driver knows of it
//! trees/ID/base.json  the chain below     trees/ID/…    the container, as the driver keeps it
//! ```

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{DriverPaths, Tree};
use crate::model::digest::Digest;
use base::fs::staging::StagedEntry;

/// The directory with the content.
pub(super) const TREE: &str = "tree";

/// The chain that a container was created on.
const BASE: &str = "base.json";

/// The places of a driver.
#[derive(Debug, Clone)]
pub struct DriverDirs(DriverPaths);

impl DriverDirs {
    /// At these places.
    pub fn new(places: &DriverPaths) -> Self {
        Self(places.clone())
    }

    /// Creates an empty directory below `tmp`, to be published when it is whole.
    pub fn stage(&self) -> Result<StagedEntry> {
        StagedEntry::dir(&self.0.tmp)
    }

    /// The content of a layer.
    pub fn layer(&self, layer: &Digest) -> PathBuf {
        self.0.layers.join(layer.hex()).join(TREE)
    }

    /// A directory in which nothing ever is.
    pub fn empty(&self) -> Result<PathBuf> {
        let path = self.0.layers.join("empty");
        match DirBuilder::new().mode(0o755).create(&path) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(path),
            other => other.map(|()| path.clone()).with_context(|| format!("make {path:?}")),
        }
    }

    /// What is kept of a container.
    pub fn container(&self, container: &str) -> PathBuf {
        self.0.trees.join(container)
    }

    /// The content of a container, for drivers that keep it as a whole tree.
    pub fn container_tree(&self, container: &str) -> PathBuf {
        self.container(container).join(TREE)
    }

    /// Where [`Tree`] lies.
    pub fn path(&self, of: Tree<'_>) -> PathBuf {
        match of {
            Tree::Layer(layer) => self.0.layers.join(layer.hex()),
            Tree::Container(container) => self.container(container),
        }
    }

    /// Whether the layer is there.
    pub fn has(&self, layer: &Digest) -> bool {
        self.layer(layer).is_dir()
    }

    /// That the layer is there.
    pub fn require_layer(&self, layer: &Digest) -> Result<PathBuf> {
        let path = self.layer(layer);
        if !path.is_dir() {
            bail!("layer {layer} is not in the store (see corm fsck)");
        }
        Ok(path)
    }

    /// The topmost layer of a chain, where it is; without any the empty directory.
    pub fn top(&self, chain: &[Digest]) -> Result<PathBuf> {
        chain.last().map_or_else(|| self.empty(), |top| self.require_layer(top))
    }

    /// All layers.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        let mut found: Vec<Digest> = read_names(&self.0.layers)?
            .iter()
            .filter_map(|name| Digest::parse(&format!("sha256:{name}")).ok())
            .collect();
        found.sort();
        Ok(found)
    }

    /// All containers.
    pub fn containers(&self) -> Result<Vec<String>> {
        read_names(&self.0.trees)
    }

    /// What was staged becomes the layer; when it is there already, that one stays.
    pub fn publish_layer(&self, staged: StagedEntry, layer: &Digest) -> Result<()> {
        staged.publish_new(&self.0.layers.join(layer.hex())).map(|_| ()).with_context(|| format!("layer {layer}"))
    }

    /// What was staged becomes the container.
    pub fn publish_container(&self, staged: StagedEntry, container: &str, chain: &[Digest]) -> Result<()> {
        let base = staged.path().join(BASE);
        std::fs::write(&base, serde_json::to_vec(chain)?).with_context(|| format!("write {base:?}"))?;
        if !staged.publish_new(&self.container(container))? {
            bail!("container {container}: its tree is there already");
        }
        Ok(())
    }

    /// The chain that the container was created on.
    pub fn base(&self, container: &str) -> Result<Vec<Digest>> {
        let path = self.container(container).join(BASE);
        match std::fs::read(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => serde_json::from_slice(&other.with_context(|| format!("read {path:?}"))?)
                .with_context(|| format!("{path:?} is damaged")),
        }
    }

    /// Takes a layer or a container away: at once, then piece by piece.
    pub fn remove_atomically(&self, of: Tree<'_>) -> Result<()> {
        let staged = self.stage()?;
        staged.take(&self.path(of))?;
        staged.remove()
    }
}

fn read_names(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {dir:?}"))? {
        found.extend(entry.with_context(|| format!("read {dir:?}"))?.file_name().into_string());
    }
    found.sort();
    Ok(found)
}
