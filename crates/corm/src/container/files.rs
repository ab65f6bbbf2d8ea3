//! Files of a container beside its tree: `resolv.conf`, `hosts` and `hostname`, the volumes that its image declares,
//! its working directory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, mkdirat};

use crate::config::Volume;
use crate::config::mounts::ETC_FILES;
use crate::config::settings::names::Names;
use base::fs::copy::copy_tree;
use linux::resolve::{OpenHow, openat2};

/// Maximum size in bytes of a resolv.conf or hosts file.
const MAX_ETC_FILE_BYTES: u64 = 1 << 20;

/// Writes `resolv.conf`, `hosts` and `hostname` into a container's directory, from the host's.
///
/// # Errors
/// No space.
#[allow(clippy::disallowed_methods, reason = "no other user may write to a directory just created")]
pub fn write_names(dir: &Path, hostname: &str, host_network: bool, names: &Names) -> Result<()> {
    for name in ETC_FILES {
        let content = match name {
            "hostname" => format!("{hostname}\n").into_bytes(),
            "hosts" if !host_network => {
                format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback {hostname}\n")
                    .into_bytes()
            }
            "resolv.conf" => names.resolv_conf(&host_file(name)?),
            name => host_file(name)?,
        };
        let more = if name == "hosts" { names.host_lines() } else { String::new() };
        let content = [content, more.into_bytes()].concat();
        let path = dir.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {path:?}"))?;
        // readable by every user of the container
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&path, mode).with_context(|| format!("mode of {path:?}"))?;
    }
    Ok(())
}

/// Updates `resolv.conf` from the host and the caller's settings before a container starts again.
///
/// # Errors
/// No space.
pub fn refresh_names(dir: &Path, names: &Names) -> Result<()> {
    let path = dir.join("resolv.conf");
    // written in place, because a bind mount of the file then shows the new content
    std::fs::write(&path, names.resolv_conf(&host_file("resolv.conf")?)).with_context(|| format!("write {path:?}"))
}

/// Reads a file of the host's `/etc`; a missing one is empty.
fn host_file(name: &str) -> Result<Vec<u8>> {
    let path = Path::new("/etc").join(name);
    let mut content = Vec::new();
    match File::open(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        other => {
            let read = other.and_then(|file| file.take(MAX_ETC_FILE_BYTES).read_to_end(&mut content));
            read.with_context(|| format!("read {path:?}"))?;
        }
    }
    Ok(content)
}

/// Opens the directory `path` below `root`; symlinks are followed inside the root only.
///
/// # Errors
/// `ENOENT` for a missing directory, `ENOTDIR` for another file.
pub fn open_in(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Creates the directory `path` and its parents below `root`; symlinks are followed inside the root only.
///
/// # Errors
/// A component is no directory.
pub fn make_dirs(root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let context = || format!("create {path:?} in the root file system");
    let below = path.strip_prefix("/").unwrap_or(path);
    if below.as_os_str().is_empty() || open_in(root, below).is_ok() {
        return Ok(());
    }
    let mut above = root.try_clone_to_owned().with_context(context)?;
    let mut so_far = PathBuf::new();
    for part in below.components() {
        so_far.push(part);
        above = match open_in(root, &so_far) {
            Err(Errno::ENOENT) => {
                match mkdirat(&above, part.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(err) => return Err(err).with_context(context),
                }
                open_in(root, &so_far)
            }
            other => other,
        }
        .with_context(context)?;
    }
    Ok(())
}

/// Creates a directory in `dir` for each volume that the image declares, with a copy of the image's content.
///
/// # Errors
/// The content cannot be copied.
pub fn make_volumes(dir: &Path, root: BorrowedFd<'_>, declared: &[PathBuf]) -> Result<Vec<Volume>> {
    let mut created = Vec::with_capacity(declared.len());
    let volumes = dir.join("volumes");
    if !declared.is_empty() {
        std::fs::create_dir(&volumes).with_context(|| format!("create {volumes:?}"))?;
    }
    for (index, destination) in declared.iter().enumerate() {
        let source = volumes.join(index.to_string());
        let context = || format!("volume {destination:?} of the image");
        match open_in(root, destination.strip_prefix("/").unwrap_or(destination)) {
            Ok(there) => {
                let from = format!("/proc/self/fd/{}", there.as_fd().as_raw_fd());
                copy_tree(Path::new(&from), &source).with_context(context)?;
            }
            Err(Errno::ENOENT) => std::fs::create_dir(&source).with_context(context)?,
            Err(err) => return Err(err).with_context(context),
        }
        created.push(Volume { source, destination: destination.clone(), ..Volume::default() });
    }
    Ok(created)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use linux::testing::TempDir;

    #[test]
    fn directories_are_made_inside_the_root_only() {
        let dir = TempDir::new();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("real")).unwrap();
        std::fs::write(tree.join("file"), "").unwrap();
        std::os::unix::fs::symlink("../../../../..", tree.join("up")).unwrap();
        std::os::unix::fs::symlink("/nowhere", tree.join("dangling")).unwrap();
        let root = File::open(&tree).unwrap();
        let make = |path: &str| make_dirs(root.as_fd(), Path::new(path));
        make("/").unwrap();
        make("/a/b/c").unwrap();
        make("/up/real/x").unwrap();
        assert!(tree.join("a/b/c").is_dir() && tree.join("real/x").is_dir());
        for bad in ["/file", "/file/x", "/dangling", "/dangling/x"] {
            assert!(make(bad).is_err(), "{bad}");
        }
        assert!(!dir.path().join("nowhere").exists() && !Path::new("/nowhere").exists());
    }

    #[test]
    fn a_volume_begins_with_what_the_image_has_there() {
        let dir = TempDir::new();
        dir.write("tree/data/file", b"text");
        std::os::unix::fs::symlink("/etc", dir.path().join("tree/link")).unwrap();
        let root = File::open(dir.path().join("tree")).unwrap();
        let declared = ["/data", "/new"].map(PathBuf::from);
        let volumes = make_volumes(dir.path(), root.as_fd(), &declared).unwrap();
        assert_eq!(std::fs::read(volumes[0].source.join("file")).unwrap(), b"text");
        assert!(volumes[1].source.read_dir().unwrap().next().is_none());
        // a link to the host's /etc dangles here, and no file of the host is copied
        std::fs::remove_dir_all(dir.path().join("volumes")).unwrap();
        let volumes = make_volumes(dir.path(), root.as_fd(), &[PathBuf::from("/link")]).unwrap();
        assert!(volumes[0].source.read_dir().unwrap().next().is_none());
    }
}
