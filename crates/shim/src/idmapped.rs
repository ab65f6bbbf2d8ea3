//! Layers with mapped owners: containerd 2 asks for them by `uidmap=` and `gidmap=` among the options of a root file system
//! whose pod has a user namespace.
//!
//! An overlay takes directories, so each layer is mounted, mapped, on a directory of the bundle until the overlay has its own copy.

use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::proto::task::Mount;

/// Directory of the bundle with the mapped layers.
const LAYERS: &str = "layers";

/// Mapped layers, which are unmounted when this is dropped.
pub(crate) struct Layers(PathBuf);

impl Drop for Layers {
    fn drop(&mut self) {
        let _ = remove(&self.0);
    }
}

/// Takes the maps out of the options, and puts mapped layers in the place of those that the mount names. `None` where it has no maps.
///
/// # Errors
/// Maps that cannot be read; a file system without ID-mapped mounts.
pub(crate) fn prepare(one: &mut Mount, bundle: &Path) -> Result<Option<Layers>> {
    let (uids, gids) = (take(&mut one.options, "uidmap=")?, take(&mut one.options, "gidmap=")?);
    let (uids, gids) = match (uids, gids) {
        (None, None) => return Ok(None),
        (Some(uids), Some(gids)) => (uids, gids),
        _ => bail!("one of uidmap and gidmap alone"),
    };
    let userns = linux::userns::with_maps(&uids, &gids).context("create the user namespace of uidmap and gidmap")?;
    let layers = Layers(bundle.join(LAYERS));
    if one.kind == "overlay" {
        let mut number = 0;
        for option in &mut one.options {
            let Some(list) = option.strip_prefix("lowerdir=") else { continue };
            let mut places = Vec::new();
            for dir in list.split(':') {
                places.push(map(dir, &layers.0.join(number.to_string()), userns.as_fd())?);
                number += 1;
            }
            *option = format!("lowerdir={}", places.join(":"));
        }
    } else {
        one.source = map(&one.source, &layers.0.join("0"), userns.as_fd())?;
    }
    Ok(Some(layers))
}

/// Unmounts and removes the layers of a bundle; nothing if there are none.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn clean(bundle: &Path) -> Result<()> {
    remove(&bundle.join(LAYERS))
}

/// Takes an option out of the list and returns its map as the kernel reads it.
fn take(options: &mut Vec<String>, name: &str) -> Result<Option<String>> {
    let Some(place) = options.iter().position(|option| option.starts_with(name)) else { return Ok(None) };
    let option = options.remove(place);
    let ranges = option.get(name.len()..).unwrap_or_default();
    let line = |range: &str| {
        let numbers = range.split(':').map(str::parse).collect::<std::result::Result<Vec<u32>, _>>();
        let numbers = numbers.with_context(|| format!("{option:?}: a number is expected"))?;
        let Ok([inside, outside, count]) = <[u32; 3]>::try_from(numbers) else {
            bail!("{option:?}: CONTAINER:HOST:SIZE is expected")
        };
        Ok(format!("{inside} {outside} {count}\n"))
    };
    Ok(Some(ranges.split(',').map(line).collect::<Result<String>>()?))
}

/// Mounts the directory with mapped owners on a new one; returns the path of that.
fn map(dir: &str, place: &Path, userns: BorrowedFd<'_>) -> Result<String> {
    DirBuilder::new().recursive(true).mode(0o700).create(place).with_context(|| format!("create {place:?}"))?;
    let open = |path: &Path| File::open(path).with_context(|| format!("open {path:?}"));
    let tree: OwnedFd = linux::mount::clone_fd(open(Path::new(dir))?.as_fd(), false)
        .with_context(|| format!("clone the mount of {dir:?}"))?;
    linux::mount::idmap(tree.as_fd(), false, userns)
        .with_context(|| format!("map the owners of {dir:?}, whose file system must have ID-mapped mounts"))?;
    linux::mount::move_mount(tree.as_fd(), open(place)?.as_fd())
        .with_context(|| format!("mount {dir:?} on {place:?}"))?;
    place.to_str().map(ToOwned::to_owned).context("the path of the bundle is not UTF-8")
}

/// Unmounts what is mounted on each directory below this one and removes them.
fn remove(layers: &Path) -> Result<()> {
    let Ok(list) = std::fs::read_dir(layers) else { return Ok(()) };
    for place in list.flatten().map(|entry| entry.path()) {
        let path =
            CString::new(place.to_str().context("the path of a layer is not UTF-8")?).context("path of a layer")?;
        // no mount where the shim was killed before it, and then the directory is empty
        let _ = linux::mount::detach(&path);
        std::fs::remove_dir(&place).with_context(|| format!("remove {place:?}"))?;
    }
    std::fs::remove_dir(layers).with_context(|| format!("remove {layers:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn maps_are_taken_out_of_the_options() {
        let options = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let mut given = options(&["ro", "uidmap=0:1000:10,10:5000:1", "lowerdir=/a:/b"]);
        assert_eq!(take(&mut given, "uidmap=").unwrap().unwrap(), "0 1000 10\n10 5000 1\n");
        assert_eq!(given, options(&["ro", "lowerdir=/a:/b"]));
        assert_eq!(take(&mut given, "gidmap=").unwrap(), None);
        for wrong in ["uidmap=", "uidmap=0:1", "uidmap=0:1:2:3", "uidmap=0:x:1"] {
            assert!(take(&mut options(&[wrong]), "uidmap=").is_err(), "{wrong}");
        }
    }
}
