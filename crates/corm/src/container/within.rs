//! Resolution of paths in a container's root, without opening the files.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, readlinkat};

use crate::config::Volume;
use crate::config::settings::tmpfs::Tmpfs;
use linux::resolve::{OpenHow, openat2};

/// Maximum number of symlinks followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// Paths of the kernel's file systems, which no volume may cover.
const KERNEL_FILE_SYSTEMS: [&str; 2] = ["/proc", "/sys"];

/// Paths that an image's volumes may not cover; a caller may bind mount a device.
const FORBIDDEN_FOR_IMAGES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Checks that no volume's path leads, by a symlink of the image, to the root or to a kernel file system.
///
/// # Errors
/// A volume does; for volumes of the image, also below `/dev`.
pub fn check_volumes(root: BorrowedFd<'_>, declared: &[PathBuf], given: &[Volume]) -> Result<()> {
    for path in declared {
        check(root, path, &FORBIDDEN_FOR_IMAGES)
            .with_code(Code::ImageInvalid, || format!("config.Volumes of the image: {path:?}"))?;
    }
    for Volume { destination, .. } in given {
        check(root, destination, &KERNEL_FILE_SYSTEMS)
            .with_code(Code::UsageValue, || format!("--volume: destination {destination:?}"))?;
    }
    Ok(())
}

/// Checks that no tmpfs leads, by a symlink of the image, to the root or to a kernel file system.
///
/// # Errors
/// One does.
pub fn check_tmpfs(root: BorrowedFd<'_>, all: &[Tmpfs]) -> Result<()> {
    all.iter().try_for_each(|Tmpfs { destination, .. }| {
        check(root, destination, &KERNEL_FILE_SYSTEMS)
            .with_code(Code::UsageValue, || format!("--tmpfs: destination {destination:?}"))
    })
}

fn check(root: BorrowedFd<'_>, path: &Path, taken: &[&str]) -> Result<()> {
    let place = resolve(root, path)?;
    ensure!(place != Path::new("/"), coded!(ImageInvalid, "leads to the root of the container"));
    let below = taken.iter().find(|taken| place.starts_with(taken));
    ensure!(below.is_none(), coded!(ImageInvalid, "leads to {place:?}, where the image must not have a volume"));
    Ok(())
}

/// Resolves `path` below `root` to an absolute path without symlinks, `.` and `..`. A missing component is kept.
///
/// # Errors
/// A loop of symlinks, or a directory that cannot be searched.
pub fn resolve(root: BorrowedFd<'_>, path: &Path) -> Result<PathBuf> {
    let mut place = PathBuf::from("/");
    let mut todo: VecDeque<OsString> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut links = 0;
    while let Some(part) = todo.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => place = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(place.pop()),
            Some(Component::Normal(name)) => {
                let next = place.join(name);
                let Some(target) = link_at(root, &next).with_context(|| format!("resolve {next:?} in the image"))?
                else {
                    place = next;
                    continue;
                };
                links += 1;
                if links > MAX_LINKS {
                    bail!(coded!(ImageInvalid, "{path:?}: too many levels of symbolic links"));
                }
                for part in Path::new(&target).components().rev() {
                    todo.push_front(part.as_os_str().to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(place)
}

/// Returns the target of the symlink at `path`, whose parent has no symlink; `None` for another file.
fn link_at(root: BorrowedFd<'_>, path: &Path) -> nix::Result<Option<OsString>> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = loop {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            other => break other?,
        }
    };
    match readlinkat(&found, "") {
        // no symlink
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use linux::testing::TempDir;
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;

    fn tree() -> (TempDir, File) {
        let dir = TempDir::new();
        std::fs::create_dir_all(dir.path().join("data/sub")).unwrap();
        for (target, link) in [
            ("/proc", "p"),
            ("sub/../../proc/x", "data/rel"),
            ("../../../../sys", "up"),
            ("/", "top"),
            ("loop2", "loop1"),
            ("loop1", "loop2"),
            ("p/./y", "chain"),
            ("/dev", "d"),
            ("data", "fine"),
        ] {
            symlink(target, dir.path().join(link)).unwrap();
        }
        let root = File::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn symlinks_are_followed_inside_the_root() {
        let (_dir, root) = tree();
        for (path, want) in [
            ("/", "/"),
            ("/data/./sub//x", "/data/sub/x"),
            ("/none/../data", "/data"),
            ("/p/sys", "/proc/sys"),
            ("/data/rel/y", "/proc/x/y"),
            ("/up/kernel", "/sys/kernel"),
            ("/top/data", "/data"),
            ("/chain", "/proc/y"),
            ("/fine/new", "/data/new"),
            ("/../../etc", "/etc"),
        ] {
            assert_eq!(resolve(root.as_fd(), Path::new(path)).unwrap(), Path::new(want), "{path}");
        }
        assert!(resolve(root.as_fd(), Path::new("/loop1/x")).is_err());
    }

    #[test]
    fn volumes_lead_nowhere_they_must_not() {
        let (_dir, root) = tree();
        let declared = |path: &str| check_volumes(root.as_fd(), &[path.into()], &[]);
        let given = |path: &str| {
            let volume = Volume { source: "/".into(), destination: path.into(), ..Volume::default() };
            check_volumes(root.as_fd(), &[], &[volume])
        };
        for path in ["/data", "/fine", "/fine/proc", "/new/dir", "/procedure", "/device"] {
            declared(path).unwrap();
            given(path).unwrap();
        }
        for path in ["/p", "/p/1", "/data/rel", "/up", "/up/kernel", "/top", "/chain", "/loop1"] {
            assert!(declared(path).is_err() && given(path).is_err(), "{path}");
        }
        for path in ["/d", "/d/shm", "/dev", "/dev/new"] {
            assert!(declared(path).is_err(), "{path}");
            given(path).unwrap();
        }
    }
}
