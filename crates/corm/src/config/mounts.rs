//! Mounts of a container beside its root: the default file systems, `/etc` files, volumes.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use serde_json::{Value, json};

use super::settings::names::Names;
use super::volume::Volume;
use linux::resolve::{OpenHow, openat2};

/// Files of `/etc` that are bind mounted from the container's directory, so that the image's tree, and every commit of
/// it, keeps its own.
pub const ETC_FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// Adds the files in `dir` and the volumes to the default mounts.
pub(super) fn add(mounts: &mut Vec<Value>, dir: &Path, names: &Names, volumes: &[Volume], unprivileged: bool) {
    for name in ETC_FILES.into_iter().filter(|name| names.writes(name)) {
        let destination = format!("/etc/{name}");
        let options = json!(["bind", "rprivate", "nosuid", "nodev", "noexec"]);
        mounts.push(json!({"destination": destination, "type": "bind", "source": dir.join(name), "options": options}));
    }
    let of_volume = |(index, volume): (usize, &Volume)| volume.mount(dir, index, unprivileged);
    insert(mounts, volumes.iter().enumerate().map(of_volume).collect());
}

/// Inserts mounts, each before those below its destination, so that `-v /dev:/dev` does not hide the container's own
/// /dev/pts; of two mounts at the same destination the later one replaces the earlier.
pub(super) fn insert(mounts: &mut Vec<Value>, mut more: Vec<Value>) {
    // a directory before the mounts in it
    more.sort_by_key(|mount| destination(mount).components().count());
    for mount in more {
        let place = destination(&mount).to_owned();
        mounts.retain(|other| destination(other) != place);
        let at = mounts.iter().position(|other| destination(other).starts_with(&place)).unwrap_or(mounts.len());
        mounts.insert(at, mount);
    }
}

/// Returns the destination of a mount.
fn destination(mount: &Value) -> &Path {
    Path::new(mount.get("destination").and_then(Value::as_str).unwrap_or_default())
}

/// Returns the mount points that the root file system lacks and a runtime creates, parent directories included, sorted.
/// Volumes' mount points are excluded, because they remain as empty directories. A mount point below another mount is
/// not in the tree.
///
/// # Errors
/// The tree cannot be read.
pub fn missing_points(root: BorrowedFd<'_>, mounts: &[Value], volumes: &[Volume]) -> Result<Vec<PathBuf>> {
    let all: Vec<&Path> = mounts.iter().filter_map(|mount| mount.get("destination")?.as_str()).map(Path::new).collect();
    let mut missing = Vec::new();
    for &point in &all {
        let below_another = all.iter().any(|&other| other != point && point.starts_with(other));
        if below_another || volumes.iter().any(|volume| volume.destination == point) {
            continue;
        }
        for place in point.ancestors().filter_map(|path| path.strip_prefix("/").ok()) {
            if place.as_os_str().is_empty() || exists(root, place)? {
                break;
            }
            missing.push(place.to_owned());
        }
    }
    missing.sort();
    missing.dedup();
    Ok(missing)
}

/// Returns whether `path` exists, following symlinks inside the root only.
fn exists(root: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(root, path, how) {
            Ok(_) => return Ok(true),
            Err(Errno::ENOENT) => return Ok(false),
            // the runtime reports what is in the way
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(err) => return Err(err).with_context(|| format!("look for {path:?} in the root file system")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use linux::testing::TempDir;
    use std::fs::File;
    use std::os::fd::AsFd as _;

    fn at(destination: &str) -> Value {
        json!({"destination": destination})
    }

    fn volume(destination: &str, read_only: bool) -> Volume {
        Volume { source: "/src".into(), destination: destination.into(), read_only, ..Volume::default() }
    }

    #[test]
    fn a_volume_takes_the_place_of_what_is_there() {
        let mut mounts = vec![at("/proc"), at("/dev/shm")];
        add(
            &mut mounts,
            Path::new("/c"),
            &Names::default(),
            &[volume("/a/b", true), volume("/a", false), volume("/etc/hosts", false)],
            false,
        );
        let destinations: Vec<_> = mounts.iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
        assert_eq!(
            destinations,
            ["/proc", "/dev/shm", "/etc/resolv.conf", "/etc/hostname", "/a", "/a/b", "/etc/hosts"]
        );
        let options = |at: usize| mounts[at]["options"].as_array().unwrap().iter().any(|option| option == "ro");
        assert!(options(5) && !options(4));
        add(&mut mounts, Path::new("/c"), &Names::default(), &[volume("/dev", false)], false);
        let at = |path: &str| mounts.iter().position(|mount| mount["destination"] == path).unwrap();
        assert!(at("/dev") < at("/dev/shm"));
    }

    #[test]
    fn only_what_lies_in_the_tree_is_missing_there() {
        let dir = TempDir::new();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/hosts"), "").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        let root = File::open(dir.path()).unwrap();
        let points = ["/proc", "/dev", "/dev/shm", "/etc/hosts", "/etc/hostname", "/a/b/c", "/link/hosts", "/v"];
        let mounts: Vec<Value> = points.into_iter().map(at).collect();
        let missing = missing_points(root.as_fd(), &mounts, &[volume("/v", false)]).unwrap();
        let want = ["a", "a/b", "a/b/c", "dev", "etc/hostname", "proc"];
        assert_eq!(missing, want.map(PathBuf::from));
    }
}
