//! The copy driver, for any file system. A layer is a whole tree, a container a copy of it (by reflink where possible)
//! with a manifest of its files at creation.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::layout::{DriverDirs, TREE};
use super::tree_diff::{Entry, Scan, compare};
use super::{Driver, DriverKind, LayerBuilder, View, mount_util, set_root_defaults};
use crate::model::change::Change;
use crate::model::digest::Digest;
use base::fs::copy::copy_tree;
use base::fs::staging::StagedEntry;

/// File with the manifest of a container at creation: one JSON value a line, in the order of [`Scan`].
const MANIFEST: &str = "manifest";

/// The copy driver.
pub(super) struct CopyDriver {
    dirs: DriverDirs,
}

impl CopyDriver {
    /// Creates a driver with its trees at `dirs`.
    pub(super) fn new(dirs: DriverDirs) -> Self {
        Self { dirs }
    }

    /// Stages a copy of `of`, or an empty tree.
    fn start(&self, of: Option<&Path>) -> Result<StagedEntry> {
        let staged = self.dirs.stage()?;
        let tree = staged.path().join(TREE);
        match of {
            Some(of) => copy_tree(of, &tree)?,
            None => {
                std::fs::create_dir(&tree).with_context(|| format!("create {tree:?}"))?;
                set_root_defaults(mount_util::open_dir(&tree)?.as_fd())?;
            }
        }
        Ok(staged)
    }
}

impl Driver for CopyDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Copy
    }

    fn dirs(&self) -> &DriverDirs {
        &self.dirs
    }

    fn keeps_each(&self) -> bool {
        false
    }

    fn begin(&self, parent: Option<&Digest>) -> Result<Box<dyn LayerBuilder>> {
        let parent = parent.map(|parent| self.dirs.require_layer(parent)).transpose()?;
        Ok(Box::new(CopyBuilder { staged: self.start(parent.as_deref())?, dirs: self.dirs.clone() }))
    }

    fn create(&self, container: &str, chain: &[Digest], sync: bool) -> Result<()> {
        let top = chain.last().map(|top| self.dirs.require_layer(top)).transpose()?;
        let staged = self.start(top.as_deref())?;
        write_manifest(&staged.path().join(TREE), &staged.path().join(MANIFEST))?;
        self.dirs.publish_container(staged, (container, chain), sync)
    }

    fn mount(&self, container: &str, _target: &Path) -> Result<PathBuf> {
        Ok(self.dirs.container_tree(container))
    }

    fn changes(&self, container: &str) -> Result<(OwnedFd, Vec<Change>)> {
        let tree = mount_util::open_dir(&self.dirs.container_tree(container))?;
        let before = read_manifest(&self.dirs.container(container).join(MANIFEST))?;
        let changes = compare(before, Scan::of(mount_util::reopen(tree.as_fd())?)?)
            .with_context(|| format!("changes of container {container}"))?;
        Ok((tree, changes))
    }

    fn commit(&self, container: &str, id: &Digest) -> Result<()> {
        self.dirs.publish_layer(self.start(Some(&self.dirs.container_tree(container)))?, id)
    }

    fn seal(&self, container: &str, id: &Digest) -> Result<()> {
        let staged = self.dirs.stage()?;
        let tree = self.dirs.container_tree(container);
        std::fs::rename(&tree, staged.path().join(TREE)).with_context(|| format!("rename {tree:?}"))?;
        self.dirs.publish_layer(staged, id)
    }

    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>> {
        mount_util::view_of(&self.dirs.top(chain)?)
    }
}

fn write_manifest(tree: &Path, to: &Path) -> Result<()> {
    let context = || format!("write {to:?}");
    let mut out = BufWriter::new(File::create_new(to).with_context(context)?);
    for entry in Scan::of(mount_util::open_dir(tree)?)? {
        serde_json::to_writer(&mut out, &entry?).with_context(context)?;
        out.write_all(b"\n").with_context(context)?;
    }
    out.flush().with_context(context)
}

fn read_manifest(from: &Path) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
    let from = from.to_owned();
    let file = File::open(&from).with_context(|| format!("read {from:?}"))?;
    Ok(BufReader::new(file).split(b'\n').map(move |line| {
        let line = line.with_context(|| format!("read {from:?}"))?;
        serde_json::from_slice(&line).with_context(|| format!("{from:?} is damaged"))
    }))
}

/// An unfinished layer.
struct CopyBuilder {
    dirs: DriverDirs,
    staged: StagedEntry,
}

impl LayerBuilder for CopyBuilder {
    fn root(&self) -> Result<OwnedFd> {
        mount_util::open_dir(&self.staged.path().join(TREE))
    }

    fn finish(self: Box<Self>, id: &Digest) -> Result<()> {
        self.dirs.publish_layer(self.staged, id)
    }
}
