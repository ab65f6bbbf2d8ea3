//! OCI bundles, which any low-level runtime starts: of a directory, or of a container in the store.
//!
//! A bundle is staged and renamed, so it is complete or missing, and an existing one is never changed.

use base::coded;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::symlinkat;

use crate::store::{OutputNote, Store};
use base::default_config;
use base::fs::copy::{Options, fill_tree_of};
use base::fs::remove::remove_open_dir;
use base::fs::staging::StagedEntry;
use linux::open::openat;
use linux::path;
use linux::place;
use linux::place::Place;

/// Creates the bundle `bundle` with a copy of `dir` as its root file system and the default configuration, whose program
/// has a terminal with `tty`. With a store a killed process leaves nothing that the store's next removal does not remove.
/// `own_ids`: the caller has entered a user namespace, which the container gets, too.
///
/// # Errors
/// `bundle` exists or is inside `dir`, or a file could not be copied; nothing is left then.
pub fn make(store: Option<&Store>, dir: &Path, bundle: &Path, tty: bool, own_ids: bool) -> Result<()> {
    let source = place::open_to_read(dir).with_context(|| format!("{dir:?}"))?;
    if !source.metadata().with_context(|| format!("{dir:?}"))?.is_dir() {
        bail!(coded!(FileInvalid, "{dir:?}: not a directory"));
    }
    let unfinished = begin(store, bundle)?;
    if unfinished.path()?.starts_with(dir.canonicalize()?) {
        bail!("{bundle:?} is inside {dir:?}: the copy would contain itself");
    }
    unfinished.copy_tree(source.as_fd(), dir)?;
    let mut config = default_config(own_ids)?;
    if own_ids {
        map_own_ids(&mut config)?;
    }
    if let Some(terminal) = config.pointer_mut("/process/terminal") {
        *terminal = tty.into();
    }
    unfinished.write_config(&serde_json::to_vec_pretty(&config)?)?;
    unfinished.publish()
}

/// Begins a bundle at `bundle`, with a note in the store for the removal of what a killed process leaves.
///
/// # Errors
/// `bundle` exists.
pub fn begin(store: Option<&Store>, bundle: &Path) -> Result<Unfinished> {
    let context = || format!("{bundle:?}");
    let target = Place::find(bundle).with_context(context)?;
    if target.stat().with_context(context)?.is_some() {
        bail!(coded!(NameTaken, "{bundle:?}: already exists"));
    }
    let make = |before: &dyn Fn(&OsStr) -> Result<()>| StagedEntry::dir_beside(&target, before);
    let (staged, note) = match store {
        Some(store) => store.output(&target, make).map(|(staged, note)| (staged, Some(note))),
        None => make(&|_| Ok(())).map(|staged| (staged, None)),
    }
    .with_context(context)?;
    Ok(Unfinished { staged, target, bundle: bundle.to_owned(), _note: note })
}

/// Finishes a bundle of a container in the store: its configuration, with the absolute path of the tree, and a symlink
/// `rootfs` for users.
///
/// # Errors
/// The container has no configuration, or another process created `bundle`.
pub fn link(unfinished: Unfinished, container: &Path) -> Result<()> {
    let (config, rootfs) = config_of(container)?;
    symlinkat(rootfs.as_str(), unfinished.dir(), "rootfs").context("link to the root file system")?;
    // people edit it
    unfinished.write_config(&serde_json::to_vec_pretty(&config)?)?;
    unfinished.publish()
}

/// Finishes a bundle of a container in the store for a caller without privilege: the tree, which is mounted at `mounted`
/// in this mount namespace alone, is copied, and the configuration has the IDs of this user namespace.
///
/// # Errors
/// The container has no configuration, a file cannot be copied, or another process created `bundle`.
pub fn copy(unfinished: Unfinished, container: &Path, mounted: &Path) -> Result<()> {
    let (mut config, _) = config_of(container)?;
    if let Some(path) = config.pointer_mut("/root/path") {
        *path = "rootfs".into();
    }
    map_own_ids(&mut config)?;
    let source = place::open_to_read(mounted).with_context(|| format!("{mounted:?}"))?;
    unfinished.copy_tree(source.as_fd(), mounted)?;
    unfinished.write_config(&serde_json::to_vec_pretty(&config)?)?;
    unfinished.publish()
}

/// Gives a configuration a new user namespace with the IDs of this one, as the parent namespace knows them.
fn map_own_ids(config: &mut serde_json::Value) -> Result<()> {
    let maps = [("uidMappings", "/proc/self/uid_map"), ("gidMappings", "/proc/self/gid_map")];
    let linux = config.pointer_mut("/linux").and_then(serde_json::Value::as_object_mut);
    let linux = linux.context("the configuration has no linux")?;
    for (name, file) in maps {
        let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
        let mappings: Option<Vec<_>> = text.lines().map(mapping).collect();
        linux.insert(name.to_owned(), mappings.with_context(|| format!("{file}: {text:?}"))?.into());
    }
    let namespaces = linux.entry("namespaces").or_insert_with(|| serde_json::json!([]));
    if let Some(list) = namespaces.as_array_mut()
        && !list.iter().any(|namespace| namespace.get("type").is_some_and(|typ| typ == "user"))
    {
        list.push(serde_json::json!({"type": "user"}));
    }
    Ok(())
}

/// Converts a line of a uid_map: the first ID inside, the first outside, and the count.
fn mapping(line: &str) -> Option<serde_json::Value> {
    let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>());
    let mut next = || numbers.next()?.ok();
    Some(serde_json::json!({"containerID": next()?, "hostID": next()?, "size": next()?}))
}

/// Reads the configuration of a container in the store; returns it with the path of the tree.
fn config_of(container: &Path) -> Result<(serde_json::Value, String)> {
    let source = container.join("config.json");
    let config = std::fs::read(&source).with_context(|| format!("read {source:?}"))?;
    let value: serde_json::Value = serde_json::from_slice(&config).with_context(|| format!("{source:?}"))?;
    let rootfs = value.pointer("/root/path").and_then(serde_json::Value::as_str);
    let rootfs = rootfs.with_context(|| format!("{source:?} has no root.path"))?.to_owned();
    Ok((value, rootfs))
}

/// Returns the tree of a container in the store.
///
/// # Errors
/// The container has no configuration.
pub fn tree(container: &Path) -> Result<PathBuf> {
    config_of(container).map(|(_, rootfs)| rootfs.into())
}

/// Returns the tree to which the link of a bundle leads; `None` where there is no bundle or no link.
///
/// # Errors
/// The link cannot be read.
pub fn tree_of(bundle: &Path) -> Result<Option<PathBuf>> {
    let link = bundle.join("rootfs");
    match std::fs::read_link(&link) {
        Ok(target) => Ok(Some(target)),
        // EINVAL: a directory, not a link
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(err) => Err(err).with_context(|| format!("{link:?}")),
    }
}

/// The `rootfs` entry of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rootfs {
    /// A copy of a directory.
    Copy,
    /// A symlink to a container's tree in the store.
    Link,
}

/// Removes a bundle, and a directory's copy with it. After an interrupted removal only the link may be left, or no
/// file.
///
/// # Errors
/// The directory is no bundle, a symlink that other users could have created leads to it, or a mount point is in it.
pub fn remove(bundle: &Path, rootfs: Rootfs) -> Result<()> {
    let context = || format!("{bundle:?}");
    let found = match Place::find(bundle) {
        Err(err) if rootfs == Rootfs::Link && err.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.with_context(context)?,
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = match openat(found.dir(), found.name(), flags, Mode::empty()) {
        Err(Errno::ENOENT) if rootfs == Rootfs::Link => return Ok(()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => bail!("{bundle:?}: is no bundle"),
        dir => dir.with_context(context)?,
    };
    if !is_bundle(&dir, rootfs).with_context(context)? {
        bail!("{bundle:?}: is no bundle");
    }
    // removed by descriptor, because the owner of the parent directory may have exchanged the entry
    remove_open_dir(found.dir(), found.name(), dir).with_context(context)
}

fn is_bundle(dir: &OwnedFd, rootfs: Rootfs) -> Result<bool> {
    let kind = |name: &str| match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        stat => stat.map(|stat| Some(stat.st_mode & libc::S_IFMT)),
    };
    let (config, tree) = (kind("config.json")? == Some(libc::S_IFREG), kind("rootfs")?);
    Ok(match rootfs {
        Rootfs::Copy => config && tree == Some(libc::S_IFDIR),
        Rootfs::Link => config || tree == Some(libc::S_IFLNK) || path::read_dir_names(dir.as_fd())?.is_empty(),
    })
}

fn default_config(own_ids: bool) -> Result<serde_json::Value> {
    let (uid, gid) = (linux::process::euid(), nix::unistd::getegid().as_raw());
    let rootless = (own_ids || uid != 0).then_some((uid, gid));
    Ok(default_config::default_config(rootless, base::host::cgroup_v2()?))
}

/// An unfinished bundle: a directory beside its destination, removed on drop unless published. Every file is created by
/// the directory's descriptor, because the owner of the parent directory may exchange the entry.
#[derive(Debug)]
pub struct Unfinished {
    staged: StagedEntry,
    target: Place,
    bundle: PathBuf,
    // dropped last
    _note: Option<OutputNote>,
}

impl Unfinished {
    fn dir(&self) -> &File {
        self.staged.file_ref()
    }

    /// Returns its current path.
    fn path(&self) -> Result<PathBuf> {
        let link = format!("/proc/self/fd/{}", self.dir().as_raw_fd());
        std::fs::read_link(&link).with_context(|| link)
    }

    /// Copies a tree to `rootfs`; `name` is for errors.
    fn copy_tree(&self, source: BorrowedFd<'_>, name: &Path) -> Result<()> {
        mkdirat(self.dir(), "rootfs", Mode::S_IRWXU).context("create rootfs")?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let rootfs = openat(self.dir(), "rootfs", flags, Mode::empty()).context("open rootfs")?;
        fill_tree_of(source, name, rootfs, &Options::default())
    }

    fn write_config(&self, config: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.dir(), "config.json", flags, Mode::from_bits_truncate(0o666));
        let written = file.map_err(std::io::Error::from).and_then(|file| File::from(file).write_all(config));
        written.context("write config.json")
    }

    fn publish(self) -> Result<()> {
        let bundle = &self.bundle;
        // the IDs of a user namespace must be able to reach the root file system
        self.dir().set_permissions(Permissions::from_mode(0o755)).with_context(|| format!("{bundle:?}"))?;
        if !self.staged.publish_new_at(&self.target).with_context(|| format!("{bundle:?}"))? {
            bail!(coded!(NameTaken, "{bundle:?}: already exists"));
        }
        Ok(())
    }
}
