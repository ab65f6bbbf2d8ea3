//! What volumes hold, as a layer: for commits that ask for it.

use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::image::config::Volume;
use crate::image::copy::{self, Options, copy_attributes_of};
use crate::image::driver::attach;
use crate::image::layer::{self, pack};
use crate::image::store::aside::Aside;
use crate::image::store::{ContainerRecord, Layer, Store};

/// Stores a layer with the volumes of a container at their places; directories above them are as in the tree that
/// `below` gives.
///
/// # Errors
/// A volume cannot be read.
pub(super) fn layer(store: &Store, container: &ContainerRecord, below: &[Layer]) -> Result<Layer> {
    let stage = Aside::dir(&store.tmp())?;
    let tree = stage.path().join("tree");
    DirBuilder::new().mode(0o755).create(&tree).with_context(|| format!("make {tree:?}"))?;
    let view = super::view(store, below)?;
    let root = view.root()?;
    let mut volumes: Vec<&Volume> = container.setup.volumes.iter().collect();
    // a directory before what is mounted in it
    volumes.sort_by_key(|volume| volume.destination.components().count());
    for volume in volumes {
        add(&tree, volume).with_context(|| format!("volume {:?}", volume.source))?;
    }
    dress(&tree, root.as_fd(), &container.setup.volumes)?;
    let top = attach::open_dir(&tree)?;
    let (layer, _) = layer::write_blob(store, |out| pack::tree(top.as_fd(), out))?;
    stage.remove()?;
    Ok(layer)
}

fn add(tree: &Path, volume: &Volume) -> Result<()> {
    let place = tree.join(volume.destination.strip_prefix("/").unwrap_or(&volume.destination));
    if let Some(above) = place.parent() {
        std::fs::create_dir_all(above).with_context(|| format!("make {above:?}"))?;
    }
    let options = Options { keep_attribute: layer::belongs, ..Options::default() };
    if !volume.source.metadata()?.is_dir() {
        std::fs::copy(&volume.source, &place).context("copy")?;
        return Ok(());
    }
    if !place.exists() {
        return copy::copy_tree_with(&volume.source, &place, &options);
    }
    copy::fill_tree(&volume.source, attach::open_dir(&place)?, &options)
}

/// Directories above the volumes get the attributes that they have in the container, the root itself too.
fn dress(tree: &Path, root: BorrowedFd<'_>, volumes: &[Volume]) -> Result<()> {
    let mut above: Vec<PathBuf> = volumes
        .iter()
        .flat_map(|volume| volume.destination.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
        .filter(|path| !volumes.iter().any(|volume| path.starts_with(&volume.destination)))
        .collect();
    // the innermost first: to change what is in a directory changes its times
    above.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    above.dedup();
    for path in above {
        let below = path.strip_prefix("/").unwrap_or(&path);
        let Some(from) = open_in(root, below) else { continue };
        let to = File::open(tree.join(below)).with_context(|| format!("{path:?}"))?;
        copy_attributes_of(from.as_fd(), to.as_fd(), layer::belongs)
            .with_context(|| format!("attributes of {path:?}"))?;
    }
    Ok(())
}

fn open_in(root: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2(root, path, how).ok()
}
