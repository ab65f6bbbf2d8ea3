//! Joining directories: the mount API of Linux 6.8 where the kernel has it, else the option string.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::driver::c_path;
use crate::driver::layout::DriverDirs;
use crate::driver::mount_util;
use crate::driver::mount_util::FdPath;
use linux::mount::FsContext;

/// The kernel refuses more lower directories (OVL_MAX_STACK), of which one is the empty one.
const MOST_LOWERS: usize = 500;

/// Longest string that fsconfig takes.
const LONGEST_STRING: usize = 255;

/// What is joined.
pub(crate) struct Branches {
    /// The layers, topmost first.
    pub lowers: Vec<PathBuf>,
    /// An empty directory, below all: overlay wants two lower directories where there is no upper one.
    pub empty: PathBuf,
    /// Where changes go, and overlay's own directory beside it.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Whiteouts are told by user attributes.
    pub user_xattrs: bool,
}

/// A detached mount of the joined directories.
///
/// # Errors
/// Too many layers; what the kernel says.
pub(crate) fn join(branches: &Branches, shelf: &DriverDirs) -> Result<OwnedFd> {
    if branches.lowers.len() >= MOST_LOWERS {
        bail!("{} layers: overlay joins {} at most", branches.lowers.len(), MOST_LOWERS - 1);
    }
    match join_one_by_one(branches) {
        Err(err) if refused(&err) => join_by_string(branches, shelf).map_err(|_| err),
        other => other,
    }
    .context("overlay")
}

/// Before Linux 6.8 the kernel does not know `lowerdir+`.
fn refused(err: &anyhow::Error) -> bool {
    err.chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|err| matches!(err.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)))
}

fn named(path: &Path) -> Result<FdPath> {
    if path.as_os_str().len() <= LONGEST_STRING {
        return Ok(FdPath { text: c_path(path)?, _open: None });
    }
    FdPath::by_descriptor(path)
}

fn join_one_by_one(branches: &Branches) -> Result<OwnedFd> {
    let fs = FsContext::open(c"overlay").context("fsopen")?;
    let mut held = Vec::new();
    let context = |what: String| match fs.message() {
        Some(message) => format!("{what}: {message}"),
        None => what,
    };
    for lower in branches.lowers.iter().chain([&branches.empty]) {
        let name = named(lower)?;
        fs.option(c"lowerdir+", Some(&name.text)).with_context(|| context(format!("lower directory {lower:?}")))?;
        held.push(name);
    }
    if let Some((upper, work)) = &branches.upper {
        for (key, dir) in [(c"upperdir", upper), (c"workdir", work)] {
            let name = named(dir)?;
            fs.option(key, Some(&name.text)).with_context(|| context(format!("{key:?} {dir:?}")))?;
            held.push(name);
        }
    }
    // nothing but plain whole files in the upper directory: it becomes a layer
    // with userxattr the kernel refuses `off`, which a module parameter may turn into `follow`
    let redirect = if branches.user_xattrs { c"nofollow" } else { c"off" };
    for (key, value) in [(c"index", c"off"), (c"metacopy", c"off"), (c"redirect_dir", redirect)] {
        fs.option(key, Some(value)).with_context(|| context(format!("{key:?}")))?;
    }
    if branches.user_xattrs {
        fs.option(c"userxattr", None).with_context(|| context("userxattr".into()))?;
    }
    fs.create().with_context(|| context("make the file system".into()))?;
    fs.mount(0).context("fsmount")
}

/// The old call takes one page of options, so directories are named by descriptors. It mounts at a place; the mount is
/// taken from there.
fn join_by_string(branches: &Branches, shelf: &DriverDirs) -> Result<OwnedFd> {
    let mut held = Vec::new();
    let mut options = b"lowerdir=".to_vec();
    for (number, lower) in branches.lowers.iter().chain([&branches.empty]).enumerate() {
        let name = FdPath::by_descriptor(lower)?;
        if number > 0 {
            options.push(b':');
        }
        options.extend_from_slice(name.text.to_bytes());
        held.push(name);
    }
    if let Some((upper, work)) = &branches.upper {
        for (key, dir) in [(",upperdir=", upper), (",workdir=", work)] {
            let name = FdPath::by_descriptor(dir)?;
            options.extend_from_slice(key.as_bytes());
            options.extend_from_slice(name.text.to_bytes());
            held.push(name);
        }
    }
    options.extend_from_slice(b",index=off,metacopy=off,redirect_dir=off");
    if branches.user_xattrs {
        options.extend_from_slice(b",userxattr");
    }
    mount_util::mount_aside(shelf, "overlay", OsStr::from_bytes(&options))
}
