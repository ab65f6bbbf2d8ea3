//! Options of volumes that need more than their mount: `U`, the owner of the container's user, and `O`, a file system of overlay that takes
//! the changes in the place of the source.

use base::coded;
use std::ffi::CStr;
use std::fs::DirBuilder;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::config::volume::{self, Volume};
use crate::driver::mount_util;
use base::fs::copy::copy_attributes_of;
use base::fs::remove::remove_tree;
use base::fs::walk::{self, MAX_DEPTH, Step, Walk};
use linux::path;

/// Directories of the machine whose owner `U` never changes, because the machine would not work afterwards.
const OF_THE_MACHINE: [&str; 18] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root",
    "/run", "/sbin", "/sys", "/usr", "/var",
];

/// Changes the owner of the volumes with `U`, and of all that is in them, to the container's user.
///
/// # Errors
/// A directory of the machine; as fchownat(2).
pub(super) fn chown(volumes: &[Volume], (uid, gid): (u32, u32), own: &Path) -> Result<()> {
    for volume in volumes.iter().filter(|volume| volume.chown) {
        let source = &volume.source;
        let context = || format!("--volume {source:?}: option U");
        let of_machine = OF_THE_MACHINE.iter().any(|dir| source == Path::new(dir));
        ensure!(
            !of_machine && !source.starts_with("/dev"),
            coded!(UsageValue, "{}: is a directory of the machine", context())
        );
        chown_tree(volume.find(own)?.as_fd(), (uid, gid)).with_context(context)?;
    }
    Ok(())
}

/// Changes the owner of a file or tree; symlinks are changed themselves.
fn chown_tree(top: BorrowedFd<'_>, (uid, gid): (u32, u32)) -> Result<()> {
    let is_dir = path::fstat(top)?.is_dir();
    path::chown_fd(top, uid, gid)?;
    if !is_dir {
        return Ok(());
    }
    let dir = walk::open_subdir(top, c".")?;
    let mut walk = Walk::new(MAX_DEPTH);
    let names = path::read_dir_names(dir.as_fd())?;
    walk.enter(dir, PathBuf::new(), names, ())?;
    while let Some(step) = walk.step() {
        let Step::Name(parent, name) = step else { continue };
        let place = parent.path_of(&name);
        let below = chown_entry(parent.fd.as_fd(), &name, (uid, gid)).with_context(|| format!("{place:?}"))?;
        if let Some(below) = below {
            let names = path::read_dir_names(below.as_fd())?;
            walk.enter(below, place, names, ())?;
        }
    }
    Ok(())
}

/// Changes the owner of an entry; returns a directory, opened.
fn chown_entry(parent: BorrowedFd<'_>, name: &CStr, (uid, gid): (u32, u32)) -> Result<Option<OwnedFd>> {
    let stat = path::stat_at(parent, name, false)?;
    if stat.owner() != (uid, gid) {
        path::chownat(parent, name, uid, gid)?;
    }
    Ok(if stat.is_dir() { Some(walk::open_subdir(parent, name)?) } else { None })
}

/// Refuses volumes with `O` of a container with a user namespace.
///
/// # Errors
/// There is one.
pub(super) fn refuse_overlays(volumes: &[Volume]) -> Result<()> {
    let found = volumes.iter().find(|volume| volume.overlay);
    ensure!(found.is_none(), "--volume: option O excludes --userns, because its directories have other owners");
    Ok(())
}

/// Creates the directories of the volumes with `O` in the container's directory, in the place of those of an earlier run:
/// changes end with it, as in Podman.
///
/// # Errors
/// No space.
pub(super) fn renew_overlays(dir: &Path, volumes: &[Volume], own: &Path) -> Result<()> {
    if !volumes.iter().any(|volume| volume.overlay) {
        return Ok(());
    }
    let all = volume::overlays(dir);
    if all.symlink_metadata().is_ok() {
        remove_tree(&all).with_context(|| format!("{all:?}"))?;
    }
    let make = |path: &Path| DirBuilder::new().mode(0o755).create(path).with_context(|| format!("create {path:?}"));
    make(&all)?;
    for (index, volume) in volumes.iter().enumerate().filter(|(_, volume)| volume.overlay) {
        let (upper, work) = volume::overlay_dirs(dir, index);
        make(upper.parent().unwrap_or(&all))?;
        make(&upper)?;
        make(&work)?;
        // the tree's top has the attributes of the upper directory
        let source = volume.open_source(own)?;
        let created = mount_util::open_dir(&upper)?;
        copy_attributes_of(source.as_fd(), created.as_fd(), |_| false).with_context(|| format!("{upper:?}"))?;
    }
    Ok(())
}
