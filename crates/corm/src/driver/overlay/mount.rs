//! Overlay mounts: by the mount API of Linux 6.8 (`lowerdir+`) where the kernel has it, else by an option string.

use base::coded;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::driver::c_path;
use crate::driver::layout::DriverDirs;
use crate::driver::mount_util;
use crate::driver::mount_util::FdPath;
use base::fs::staging::StagedEntry;
use linux::mount::FsContext;

/// Maximum number of lower directories (OVL_MAX_STACK), of which one is the empty one.
const MAX_LOWERS: usize = 500;

/// Maximum length of a string for fsconfig(2).
const MAX_STRING_BYTES: usize = 255;

/// Directories of an overlay mount.
pub(crate) struct Branches {
    /// Layers, topmost first.
    pub lowers: Vec<PathBuf>,
    /// An empty lowest directory, because overlay requires two lower directories without an upper one.
    pub empty: PathBuf,
    /// The upper directory and the work directory.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Whether whiteouts are marked by `user.*` attributes (`userxattr`).
    pub user_xattrs: bool,
}

/// A directory that is mounted once more for a moment, with the IDs of a user namespace.
pub(crate) struct Mapped {
    source: PathBuf,
    place: StagedEntry,
}

impl Mapped {
    /// Mounts `source` at a temporary path.
    ///
    /// # Errors
    /// The kernel maps no IDs of this file system.
    pub(crate) fn at(dirs: &DriverDirs, source: PathBuf, userns: BorrowedFd<'_>) -> Result<Self> {
        let place = dirs.stage()?;
        let tree = mount_util::clone_mapped(&source, userns)?;
        mount_util::at(tree.as_fd(), place.path())?;
        Ok(Self { source, place })
    }

    /// Returns the path here of a directory below the source.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn path(&self, of: &Path) -> Result<PathBuf> {
        Ok(self.place.path().join(of.strip_prefix(&self.source)?))
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // a mount that stays is removed with its directory by the next sweep of `tmp`
        let _ = mount_util::detach(self.place.path());
    }
}

/// Creates a detached overlay mount.
///
/// # Errors
/// Too many layers; as mount(2).
pub(crate) fn join(branches: &Branches, dirs: &DriverDirs) -> Result<OwnedFd> {
    if branches.lowers.len() >= MAX_LOWERS {
        bail!(coded!(ImageInvalid, "{} layers: overlay joins {} at most", branches.lowers.len(), MAX_LOWERS - 1));
    }
    match join_one_by_one(branches) {
        Err(err) if is_unknown_option(&err) => join_by_string(branches, dirs).map_err(|_| err),
        other => other,
    }
    .context("overlay")
}

/// Returns whether the kernel does not know `lowerdir+` (before Linux 6.8).
fn is_unknown_option(err: &anyhow::Error) -> bool {
    err.chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|err| matches!(err.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)))
}

fn named(path: &Path) -> Result<FdPath> {
    // the kernel removes backslashes from `upperdir` and `workdir`
    if path.as_os_str().len() <= MAX_STRING_BYTES && !path.as_os_str().as_bytes().contains(&b'\\') {
        return Ok(FdPath { text: c_path(path)?, _open: None });
    }
    FdPath::by_descriptor(path)
}

/// Returns the value of `redirect_dir`: no redirects in the upper directory, because it becomes a layer. With userxattr the
/// kernel refuses `off`, which its configuration (Debian's) or a module parameter may turn into `follow`.
fn redirects(branches: &Branches) -> &'static CStr {
    if branches.user_xattrs { c"nofollow" } else { c"off" }
}

fn join_one_by_one(branches: &Branches) -> Result<OwnedFd> {
    let fs = FsContext::open(c"overlay").context("fsopen")?;
    let mut open_dirs = Vec::new();
    let context = |what: String| match fs.message() {
        Some(message) => format!("{what}: {message}"),
        None => what,
    };
    for lower in branches.lowers.iter().chain([&branches.empty]) {
        let name = named(lower)?;
        fs.option(c"lowerdir+", Some(&name.text)).with_context(|| context(format!("lower directory {lower:?}")))?;
        open_dirs.push(name);
    }
    if let Some((upper, work)) = &branches.upper {
        for (key, dir) in [(c"upperdir", upper), (c"workdir", work)] {
            let name = named(dir)?;
            fs.option(key, Some(&name.text)).with_context(|| context(format!("{key:?} {dir:?}")))?;
            open_dirs.push(name);
        }
    }
    for (key, value) in [(c"index", c"off"), (c"metacopy", c"off"), (c"redirect_dir", redirects(branches))] {
        fs.option(key, Some(value)).with_context(|| context(format!("{key:?}")))?;
    }
    if branches.user_xattrs {
        fs.option(c"userxattr", None).with_context(|| context("userxattr".into()))?;
    }
    fs.create().with_context(|| context("create the file system".into()))?;
    fs.mount(0).context("fsmount")
}

/// Mounts by mount(2), whose options are limited to one page, so directories are named by descriptors. It mounts at a
/// temporary path, and the mount is detached from there.
fn join_by_string(branches: &Branches, dirs: &DriverDirs) -> Result<OwnedFd> {
    let mut open_dirs = Vec::new();
    let mut options = b"lowerdir=".to_vec();
    for (number, lower) in branches.lowers.iter().chain([&branches.empty]).enumerate() {
        let name = FdPath::by_descriptor(lower)?;
        if number > 0 {
            options.push(b':');
        }
        options.extend_from_slice(name.text.to_bytes());
        open_dirs.push(name);
    }
    if let Some((upper, work)) = &branches.upper {
        for (key, dir) in [(",upperdir=", upper), (",workdir=", work)] {
            let name = FdPath::by_descriptor(dir)?;
            options.extend_from_slice(key.as_bytes());
            options.extend_from_slice(name.text.to_bytes());
            open_dirs.push(name);
        }
    }
    options.extend_from_slice(b",index=off,metacopy=off,redirect_dir=");
    options.extend_from_slice(redirects(branches).to_bytes());
    if branches.user_xattrs {
        options.extend_from_slice(b",userxattr");
    }
    mount_util::mount_detached(dirs, "overlay", OsStr::from_bytes(&options))
}
