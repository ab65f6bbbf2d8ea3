//! Choice of the driver for a new store: the requested one if it works, else the best that does. Each is probed by use.

use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::layout::DriverDirs;
use super::overlay::{Branches, join};
use super::{DriverKind, DriverPaths, mount_util};
use base::fs::staging::StagedEntry;
use linux::btrfs;
use linux::file;

/// A chosen driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// Kind of the driver.
    pub kind: DriverKind,
    /// Whether overlay must use user attributes (`userxattr`).
    pub user_xattrs: bool,
}

/// Chooses the driver for a store whose directories exist.
///
/// # Errors
/// The requested driver does not work; the message has the reason and the alternatives.
pub fn choose(paths: &DriverPaths, wanted: Option<DriverKind>) -> Result<Chosen> {
    if let Some(kind) = wanted {
        return try_kind(paths, kind).with_context(|| format!("driver {kind} ({})", alternatives(paths, kind)));
    }
    for kind in [DriverKind::Btrfs, DriverKind::Overlay, DriverKind::Aufs] {
        if let Ok(chosen) = try_kind(paths, kind) {
            return Ok(chosen);
        }
    }
    try_kind(paths, DriverKind::Copy)
}

/// Returns the drivers that work, for the message about one that does not.
fn alternatives(paths: &DriverPaths, not: DriverKind) -> String {
    let works = |kind: &DriverKind| *kind != not && try_kind(paths, *kind).is_ok();
    let names: Vec<&str> = DriverKind::ALL.into_iter().filter(works).map(DriverKind::name).collect();
    format!("here work: {}", names.join(", "))
}

fn try_kind(paths: &DriverPaths, kind: DriverKind) -> Result<Chosen> {
    let plain = Chosen { kind, user_xattrs: false };
    match kind {
        DriverKind::Btrfs => try_btrfs(&paths.tmp).map(|()| plain),
        DriverKind::Overlay => try_overlay(paths),
        DriverKind::Aufs => super::aufs::probe(paths).map(|()| plain),
        DriverKind::Copy => Ok(plain),
    }
}

/// Creates a subvolume and deletes it, because unprivileged users often lack permission for the latter.
fn try_btrfs(tmp: &Path) -> Result<()> {
    let staged = StagedEntry::dir(tmp)?;
    let dir = mount_util::open_dir(staged.path())?;
    if !btrfs::is_btrfs(dir.as_fd()) {
        bail!("{tmp:?} is not on btrfs");
    }
    btrfs::create(dir.as_fd(), c"try").context("create a subvolume")?;
    btrfs::delete(dir.as_fd(), c"try")
        .context("delete a subvolume (unprivileged users need the mount option user_subvol_rm_allowed)")
}

/// Mounts two directories, with the attributes that this process may set.
fn try_overlay(paths: &DriverPaths) -> Result<Chosen> {
    let staged = StagedEntry::dir(&paths.tmp)?;
    let dir = |name: &str| {
        let path = staged.path().join(name);
        std::fs::create_dir(&path).with_context(|| format!("create {path:?}")).map(|()| path)
    };
    let (lower, empty, upper, work) = (dir("lower")?, dir("empty")?, dir("upper")?, dir("work")?);
    let name = super::c_path(&lower)?;
    // trusted attributes require CAP_SYS_ADMIN in the initial user namespace
    let user_xattrs = file::set_xattr(&name, c"trusted.overlay.opaque", b"n").is_err();
    if user_xattrs {
        file::set_xattr(&name, c"user.overlay.opaque", b"n").context("user attributes for overlay")?;
    }
    let branches = Branches { lowers: vec![lower], empty, upper: Some((upper, work)), user_xattrs };
    let joined = join(&branches, &DriverDirs::new(paths))?;
    // a file system on which overlay mounts the upper directory read-only is unsuitable
    let name = c".try";
    linux::open::openat(
        &joined,
        name,
        nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::S_IRUSR,
    )
    .context("write to an overlay")?;
    Ok(Chosen { kind: DriverKind::Overlay, user_xattrs })
}
