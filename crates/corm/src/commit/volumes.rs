//! The content of volumes as a layer, for `commit --include-volumes`.

use crate::build;
use base::coded;
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::config::Volume;
use crate::container::files;
use crate::driver::mount_util;
use crate::layer;
use crate::layer::pack;
use crate::model::layer::Layer;
use crate::store::ContainerRecord;
use crate::store::Store;
use base::fs::copy;
use base::fs::copy::Options;
use base::fs::copy::copy_attributes_of;
use base::fs::staging::StagedEntry;
use linux::open::openat;

/// Stores a layer with the content of a container's volumes at their paths; their parent directories have the
/// attributes of the tree of `below`.
///
/// # Errors
/// A volume cannot be read.
pub(super) fn layer(store: &Store, container: &ContainerRecord, below: &[Layer]) -> Result<Layer> {
    let stage = StagedEntry::dir(&store.tmp())?;
    let tree = stage.path().join("tree");
    DirBuilder::new().mode(0o755).create(&tree).with_context(|| format!("create {tree:?}"))?;
    let view = super::view(store, below)?;
    let root = view.root()?;
    let top = mount_util::open_dir(&tree)?;
    let mut volumes: Vec<&Volume> = container.setup.volumes.iter().collect();
    // a directory before the mounts in it
    volumes.sort_by_key(|volume| volume.destination.components().count());
    for volume in volumes {
        add(top.as_fd(), volume, store.root()).with_context(|| format!("volume {:?}", volume.source))?;
    }
    copy_parent_attributes(top.as_fd(), root.as_fd(), &container.setup.volumes)?;
    let (layer, _) = build::write_blob(store, |out| pack::tree(top.as_fd(), out))?;
    stage.remove()?;
    Ok(layer)
}

/// Copies a volume's content to its path below `top`. An outer volume copied before may have a container's symlinks:
/// they are followed below `top` only, and no file is written through one.
fn add(top: BorrowedFd<'_>, volume: &Volume, own: &Path) -> Result<()> {
    let place = volume.destination.strip_prefix("/").unwrap_or(&volume.destination);
    let name = place.file_name().context("its place has no name")?;
    let above = place.parent().unwrap_or(Path::new(""));
    files::make_dirs(top, above)?;
    let above = open_in(top, above).with_context(|| format!("open {above:?}"))?;
    let source = volume.open_source(own)?;
    let meta = source.metadata()?;
    if meta.is_dir() {
        let options = Options { keep_attribute: layer::is_layer_xattr, ..Options::default() };
        let to = match open_in(top, place) {
            Err(Errno::ENOENT) => {
                mkdirat(&above, name, Mode::from_bits_truncate(0o755)).context("create its directory")?;
                open_in(top, place)
            }
            other => other,
        };
        return copy::fill_tree_of(source.as_fd(), &volume.source, to.context("open its directory")?, &options);
    }
    ensure!(meta.is_file(), coded!(RuntimeFailed, "is neither a directory nor a regular file"));
    match unlinkat(&above, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        other => other.context("remove the file in its place")?,
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut to = File::from(openat(&above, name, flags, Mode::from_bits_truncate(0o600)).context("create its file")?);
    std::io::copy(&mut &source, &mut to).context("copy")?;
    to.set_permissions(meta.permissions()).context("mode")
}

/// Sets the attributes of the volumes' parent directories, the root included, to those in the container.
fn copy_parent_attributes(top: BorrowedFd<'_>, root: BorrowedFd<'_>, volumes: &[Volume]) -> Result<()> {
    let mut above: Vec<PathBuf> = volumes
        .iter()
        .flat_map(|volume| volume.destination.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
        .filter(|path| !volumes.iter().any(|volume| path.starts_with(&volume.destination)))
        .collect();
    // innermost first, because a change in a directory changes its times
    above.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    above.dedup();
    for path in above {
        let below = path.strip_prefix("/").unwrap_or(&path);
        let Ok(from) = open_in(root, below) else { continue };
        let to = open_in(top, below).with_context(|| format!("{path:?}"))?;
        copy_attributes_of(from.as_fd(), to.as_fd(), layer::is_layer_xattr)
            .with_context(|| format!("attributes of {path:?}"))?;
    }
    Ok(())
}

/// Opens a directory below the root; an empty path is the root itself.
fn open_in(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    files::open_in(root, if path.as_os_str().is_empty() { Path::new(".") } else { path })
}
