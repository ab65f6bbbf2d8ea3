//! Preparation of the root file system for a restore: CRIU requires a root that is a mount, and its mount points.

use base::error::{Code, Coding as _};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::AT_FDCWD;

use crate::plan::mount::Bind;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use crate::plan::mount::SymlinkPolicy;
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs::opened::OpenedRootfs;
use crate::rootfs::opened::Source;
use crate::rootfs::path;
use crate::rootfs::path::CreatedPath;
use crate::rootfs::path::FileKind;
use linux::mount as sys_mount;
use linux::mount::FsContext;
use linux::path as sys_path;

/// Mount points that were created for a restore.
#[derive(Debug, Default)]
pub(super) struct MountPoints(Vec<CreatedPath>);

impl MountPoints {
    /// Creates the mount points that are missing, but for those in a file system that is in the images.
    ///
    /// # Errors
    /// Names the mount; those created so far are removed again.
    pub(super) fn create(plan: &RootfsPlan, opened: &OpenedRootfs) -> Result<MountPoints> {
        let mut created = MountPoints::default();
        // without a mask, because the modes are exact
        let umask = sys_path::umask(0);
        let result =
            plan.steps.iter().enumerate().try_for_each(|(index, step)| {
                created.create_one(plan, opened, index).with_context(|| step.label.clone())
            });
        sys_path::umask(umask);
        match result {
            Ok(()) => Ok(created),
            Err(err) => {
                created.undo();
                Err(err)
            }
        }
    }

    /// Removes the created mount points.
    pub(super) fn undo(self) {
        self.0.iter().rev().for_each(CreatedPath::remove);
    }

    fn create_one(&mut self, plan: &RootfsPlan, opened: &OpenedRootfs, index: usize) -> Result<()> {
        let (Some(step), Some(found)) = (plan.steps.get(index), opened.steps.get(index)) else { return Ok(()) };
        if !opened.attaches(plan, index) {
            return Ok(());
        }
        let kind = match &found.source {
            Source::Found(found) if !found.dir => FileKind::File,
            Source::Inside if is_file_inside(step, opened)? => FileKind::File,
            _ => FileKind::Dir,
        };
        let place = step.cleaned_destination();
        // mount that contains the mount point: of several the innermost, of equals the last
        let mut outer: Option<(usize, &MountStep, PathBuf)> = None;
        for (number, earlier) in plan.steps.iter().enumerate().take(index) {
            let below = earlier.cleaned_destination();
            let deeper = outer.as_ref().is_none_or(|(_, _, best)| below.starts_with(best));
            if place != below && place.starts_with(&below) && deeper {
                outer = Some((number, earlier, below));
            }
        }
        match outer.map(|(number, outer, below)| (&outer.kind, opened.mounts(number), below)) {
            None => {
                path::open_or_create(opened.root()?, &step.destination, step.target, kind, &mut self.0)?;
            }
            // a mount of the container itself is in the images, and so is what it covers
            Some((MountKind::Bind(bind), true, below)) if bind.inside.is_none() => {
                let source = sys_path::openat(AT_FDCWD, &bind.source, libc::O_PATH | libc::O_DIRECTORY, 0)
                    .with_context(|| format!("source {:?}", bind.source))?;
                let rest = Path::new("/").join(place.strip_prefix(&below)?);
                let rest = CString::new(rest.as_os_str().as_bytes())?;
                path::open_or_create(source.as_fd(), &rest, step.target, kind, &mut self.0)?;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Reports whether the source of a bind is a file of the container's root; one in an earlier mount is not found.
fn is_file_inside(step: &MountStep, opened: &OpenedRootfs) -> Result<bool> {
    let MountKind::Bind(Bind { inside: Some(inside), .. }) = &step.kind else { return Ok(false) };
    let Ok(found) = path::open(opened.root()?, inside, SymlinkPolicy::Follow, 0) else { return Ok(false) };
    Ok(!sys_path::fstat(found.as_fd())?.is_dir())
}

/// Mounts the root file system at `place`, in a new mount namespace of this process; the mount ends with the last
/// process in that namespace.
///
/// # Errors
/// `EPERM` for an unprivileged caller.
pub(super) fn attach_root(opened: &OpenedRootfs, place: &Path) -> Result<()> {
    linux::process::unshare(libc::CLONE_NEWNS).code(Code::CriuFailed, "a mount namespace for criu")?;
    crate::rootfs::make_rslave()?;
    let path = CString::new(place.as_os_str().as_bytes())?;
    let target: OwnedFd = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    sys_mount::move_mount(opened.root()?, target.as_fd())
        .with_context(|| format!("mount the root file system at {place:?}"))
}

/// Replaces the directory of the images by one that all users may enter and that exists for CRIU alone, because
/// processes in a new user namespace read the images first as uid 65534, then as the container's root, and neither owns
/// them.
///
/// The directory is an overlay on a tmpfs at `place`, both in this process's mount namespace.
///
/// # Errors
/// The kernel has no overlayfs.
pub(super) fn show_images(open: &mut [OwnedFd], images: &Path, place: &Path) -> Result<()> {
    let Some(shown) = open.first_mut() else { return Ok(()) };
    let path = CString::new(place.as_os_str().as_bytes())?;
    let target = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let fs = FsContext::open(c"tmpfs").context("tmpfs")?;
    fs.create().context("tmpfs")?;
    let tmpfs = fs.mount(0).context("tmpfs")?;
    for name in [c"upper", c"work"] {
        sys_path::mkdirat(tmpfs.as_fd(), name, 0o755).context("tmpfs")?;
    }
    sys_mount::move_mount(tmpfs.as_fd(), target.as_fd()).context("tmpfs")?;
    let fs = FsContext::open(c"overlay").context("overlayfs")?;
    let lower = escaped(images);
    for (key, value) in
        [(c"lowerdir", lower), (c"upperdir", place.join("upper").into()), (c"workdir", place.join("work").into())]
    {
        fs.option(key, Some(&CString::new(value.as_bytes())?)).with_context(|| format!("overlayfs: option {key:?}"))?;
    }
    fs.create().context("overlayfs")?;
    let tree = fs.mount(0).context("overlayfs")?;
    *shown = sys_path::openat(tree.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    Ok(())
}

/// Escapes a path for `lowerdir`, in which a colon separates directories.
fn escaped(path: &Path) -> OsString {
    let mut text = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    OsString::from_vec(text)
}
