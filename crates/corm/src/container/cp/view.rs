//! The file systems between which `cp` copies: that of a container, running or not, and the host's.
//!
//! A running container is hostile: its paths are resolved in its root to one without symlinks, and then opened without
//! following any, so that an exchange in between is an error and never leads out of the root.

use base::coded;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::config::Volume;
use crate::config::settings::userns::Mapping;
use crate::container::run_dir::RunDir;
use crate::container::{cleanup, create, status, within};
use crate::driver::mount_util;
use crate::store::ROOTFS;
use crate::store::{ContainerRecord, Store};
use anyhow::{Context as _, Result, ensure};
use base::fs::lock::create_locked;
use linux::path;
use linux::path::Stat;

/// An open file system.
pub struct View<'a> {
    root: OwnedFd,
    /// Volumes that are not mounted, because the container does not run.
    volumes: &'a [Volume],
    store_root: PathBuf,
    /// The user namespace of a container that runs, whose files have IDs of it.
    mapping: Option<&'a Mapping>,
}

/// What an opened view of a stopped container needs until it is closed.
struct Mounted<'a> {
    store: &'a Store,
    run: &'a RunDir,
    record: &'a ContainerRecord,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // not while another process starts or supervises the container; errors are left to its removal
        if let Ok(Some(_supervisor)) = self.run.lock_supervisor(&self.record.id) {
            let _ = cleanup::forget(self.store, self.run, self.record);
        }
    }
}

/// Calls `act` with the file system of a container; that of a stopped one is mounted for the call.
///
/// # Errors
/// Those of `act`; the tree cannot be mounted.
pub fn with_container<T>(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    act: impl FnOnce(&View<'_>) -> Result<T>,
) -> Result<T> {
    let store_root = store.root().to_owned();
    if let Some(pid) = status::of(store, run, record)?.pid() {
        let mapping = record.setup.userns.as_ref().map(|userns| &userns.mapping);
        return act(&View { root: mount_util::open_root_of(pid)?, volumes: &[], store_root, mapping });
    }
    let dir = store.container_dir(&record.id);
    // one at a time, because the first to end unmounts the tree
    let lock = create_locked(&dir.join("cp.lock")).with_context(|| format!("lock {dir:?}"))?;
    let was_mounted = mount_util::is_mounted(&dir.join(ROOTFS)).unwrap_or(false);
    let mounted = (!was_mounted).then(|| Mounted { store, run, record });
    let root = mount_util::open_dir(&create::mount(store, &record.id)?)?;
    let done = act(&View { root, volumes: &record.setup.volumes, store_root, mapping: None });
    drop(mounted);
    drop(lock);
    done
}

/// A file or a missing one: its open parent directory and its name, which is no symlink.
pub struct Place {
    /// Parent directory.
    pub dir: OwnedFd,
    /// Name in it; `.` for the root of the file system.
    pub name: CString,
    /// What is there; `None` for nothing.
    pub stat: Option<Stat>,
}

impl Place {
    /// Returns whether it is an existing directory.
    pub fn is_dir(&self) -> bool {
        self.stat.as_ref().is_some_and(Stat::is_dir)
    }

    /// Opens it as a directory.
    ///
    /// # Errors
    /// It is none.
    pub fn open_dir(&self) -> Result<OwnedFd> {
        Ok(path::openat(self.dir.as_fd(), &self.name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?)
    }
}

impl<'a> View<'a> {
    /// Returns the host's file system.
    ///
    /// # Errors
    /// As open(2).
    pub fn host() -> Result<View<'a>> {
        Ok(View {
            root: mount_util::open_dir(Path::new("/"))?,
            volumes: &[],
            store_root: PathBuf::new(),
            mapping: None,
        })
    }

    /// Returns the user namespace whose IDs the files have; `None` for this process's.
    pub fn mapping(&self) -> Option<&Mapping> {
        self.mapping
    }

    /// Returns the root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Finds the place that a path leads to; symlinks, also in the last component, are followed inside the root only.
    /// `None` when its parent directory does not exist.
    ///
    /// # Errors
    /// A loop of symlinks; a component that is no directory; a mounted file of a stopped container.
    pub fn find(&self, path: &Path) -> Result<Option<Place>> {
        let clean = within::resolve(self.root(), path)?;
        let below = |volume: &&Volume| clean.starts_with(&volume.destination);
        let volume = self.volumes.iter().filter(below).max_by_key(|volume| volume.destination.components().count());
        let Some(volume) = volume else { return place(self.root(), &clean) };
        let source = volume.open_source(&self.store_root)?;
        let is_dir = source.metadata().with_context(|| format!("{:?}", volume.source))?.is_dir();
        ensure!(is_dir, coded!(FileInvalid, "{path:?}: is a mounted file, which only a running container has"));
        let rest = Path::new("/").join(clean.strip_prefix(&volume.destination)?);
        let rest = within::resolve(source.as_fd(), &rest)?;
        place(source.as_fd(), &rest)
    }
}

/// Opens the parent directory of a resolved path.
fn place(root: BorrowedFd<'_>, clean: &Path) -> Result<Option<Place>> {
    let below = |path: &Path| -> Result<CString> {
        let path = path.strip_prefix("/").unwrap_or(path).as_os_str();
        Ok(CString::new(if path.is_empty() { OsStr::new(".") } else { path }.as_bytes())?)
    };
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let parent = below(clean.parent().unwrap_or(Path::new("/")))?;
    let dir = match path::openat2(root, &parent, flags, resolve) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("{:?}", clean.parent().unwrap_or(clean)))?,
    };
    let name = match clean.file_name() {
        Some(name) => CString::new(name.as_bytes())?,
        None => c".".to_owned(),
    };
    let stat = match path::stat_at(dir.as_fd(), &name, false) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(other.with_context(|| format!("{clean:?}"))?),
    };
    Ok(Some(Place { dir, name, stat }))
}
