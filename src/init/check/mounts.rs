//! The comparison of a container's mounts with the plan: masked and read-only paths, the root, the flags of `mounts`.
//!
//! Each path is opened below the root as the container's processes would, and the checks use the descriptor: a mount
//! protects only if the path leads to it. The mount points in mountinfo are those that symlinks of the image led to,
//! not the paths of the configuration; so mountinfo is read only for trees (`rro`).

use base::error::{Code, Coding as _, HasErrno as _};
use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::path::clean;
use crate::plan::mount::Bind;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use crate::plan::mount::SymlinkPolicy;
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs::OpenedRootfs;
use crate::rootfs::path;
use crate::verify::Check;
use crate::verify::Verdict;
use base::mountinfo;
use base::mountinfo::Mount;
use linux::mount::ATTR_NODEV;
use linux::mount::ATTR_NOEXEC;
use linux::mount::ATTR_NOSUID;
use linux::mount::ATTR_NOSYMFOLLOW;
use linux::mount::ATTR_RDONLY;
use linux::path as sys_path;

/// The process whose mount table is read.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    /// Root directory of a procfs.
    pub proc: BorrowedFd<'a>,
    /// Pid in that procfs, or `self`.
    pub process: &'a str,
}

/// The flags that protect: bits of mount_setattr(2), bits of statvfs(3), names of mount(8).
const FLAGS: [(u64, u64, &str); 5] = [
    (ATTR_RDONLY, 0x1, "ro"),
    (ATTR_NOSUID, 0x2, "nosuid"),
    (ATTR_NODEV, 0x4, "nodev"),
    (ATTR_NOEXEC, 0x8, "noexec"),
    (ATTR_NOSYMFOLLOW, 0x2000, "nosymfollow"),
];

/// Compares the mounts below `root` with the plan; `opened` is `None` for a container that runs already.
///
/// # Errors
/// The mount table cannot be read. A path that cannot be opened is a difference and no error.
pub(crate) fn check(
    plan: &RootfsPlan,
    opened: Option<&OpenedRootfs>,
    root: BorrowedFd<'_>,
    table: &Table<'_>,
) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (index, path) in plan.masked.iter().enumerate() {
        let name = || format!("linux.maskedPaths[{index}]: {path:?}");
        checks.extend(masked(root, path).map(|(actual, verdict)| Check::new(name(), "covered", actual, verdict)));
    }
    for (index, path) in plan.readonly_paths.iter().enumerate() {
        let name = || format!("linux.readonlyPaths[{index}]: {path:?}");
        checks.extend(readonly(root, path).map(|(actual, verdict)| Check::new(name(), "ro", actual, verdict)));
    }
    if plan.readonly {
        let facts = sys_path::fs_facts(root).code(Code::VerifyDiffers, "self-check: root.readonly")?;
        checks.push(flags("root.readonly".to_owned(), ATTR_RDONLY, facts.flags));
    }
    let steps = Steps { plan, opened, root, table };
    for index in 0..plan.steps.len() {
        checks.extend(steps.check(index)?);
    }
    Ok(checks)
}

fn masked(root: BorrowedFd<'_>, path: &CStr) -> Option<(String, Verdict)> {
    match open(root, path, SymlinkPolicy::Follow) {
        Ok(place) => Some(match is_mask(place.as_fd()) {
            Ok(true) => ("covered".to_owned(), Verdict::Ok),
            Ok(false) => ("visible".to_owned(), Verdict::Different),
            Err(err) => (error_text(&err), Verdict::Different),
        }),
        Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR]) => None,
        Err(err) => Some((error_text(&err), Verdict::Different)),
    }
}

/// Returns whether `place` is the null device or an empty read-only tmpfs, whose only inode is its root.
fn is_mask(place: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = sys_path::fstat(place)?;
    if !stat.is_dir() {
        return Ok(stat.is_char(1, 3));
    }
    if sys_path::fs_magic(place)? != sys_path::TMPFS_MAGIC {
        return Ok(false);
    }
    let facts = sys_path::fs_facts(place)?;
    Ok(facts.flags & 1 != 0 && facts.inodes == 1)
}

fn readonly(root: BorrowedFd<'_>, path: &CStr) -> Option<(String, Verdict)> {
    let place = match open(root, path, SymlinkPolicy::Follow) {
        Ok(place) => place,
        Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR]) => return None,
        Err(err) => return Some((error_text(&err), Verdict::Different)),
    };
    Some(match sys_path::fs_facts(place.as_fd()) {
        Ok(facts) if facts.flags & 1 != 0 => ("ro".to_owned(), Verdict::Ok),
        // also in `maskedPaths`
        Ok(_) if is_mask(place.as_fd()).unwrap_or(false) => ("covered".to_owned(), Verdict::Ok),
        Ok(_) => ("rw".to_owned(), Verdict::Different),
        Err(err) => (error_text(&err), Verdict::Different),
    })
}

fn open(root: BorrowedFd<'_>, path: &CStr, target: SymlinkPolicy) -> io::Result<OwnedFd> {
    path::open(root, path, target, 0)
}

fn error_text(err: &io::Error) -> String {
    err.raw_os_error().map_or_else(|| err.to_string(), base::error::errno_text)
}

/// Compares the flags of a mount: `wanted` has bits of mount_setattr(2), `got` bits of statvfs(3).
fn flags(name: String, wanted: u64, got: u64) -> Check {
    let words = |is_set: &dyn Fn(&(u64, u64, &str)) -> bool| {
        let list: Vec<&str> =
            FLAGS.iter().filter(|flag| wanted & flag.0 != 0 && is_set(flag)).map(|flag| flag.2).collect();
        if list.is_empty() { "none".to_owned() } else { list.join(",") }
    };
    let (expected, actual) = (words(&|_| true), words(&|flag| got & flag.1 != 0));
    let verdict = if expected == actual { Verdict::Ok } else { Verdict::Different };
    let actual = if actual == "none" && expected == "ro" { "rw".to_owned() } else { actual };
    Check::new(name, expected, actual, verdict)
}

/// Returns the protecting flags that a step sets on its own mount.
fn own_flags(step: &MountStep) -> u64 {
    let attr = match &step.kind {
        MountKind::Bind(_) => step.attr.and(step.recursive),
        MountKind::New(_) | MountKind::Cgroup | MountKind::Remount { .. } => step.attr,
    };
    protecting(attr.set)
}

/// Returns the protecting flags that a step sets on the mounts below its own.
fn tree_flags(step: &MountStep) -> u64 {
    match &step.kind {
        MountKind::Bind(bind) if bind.recursive => protecting(step.recursive.set),
        _ => 0,
    }
}

fn protecting(set: u64) -> u64 {
    set & FLAGS.iter().fold(0, |all, flag| all | flag.0)
}

/// The steps of `mounts`; a later one may cover or change an earlier one.
struct Steps<'a> {
    plan: &'a RootfsPlan,
    opened: Option<&'a OpenedRootfs>,
    root: BorrowedFd<'a>,
    table: &'a Table<'a>,
}

impl Steps<'_> {
    fn check(&self, index: usize) -> Result<Option<Check>> {
        let Some(step) = self.plan.steps.get(index).filter(|_| self.mounts(index)) else { return Ok(None) };
        let wanted = own_flags(step);
        if wanted == 0 && tree_flags(step) == 0 {
            return Ok(None);
        }
        let place = open(self.root, &step.destination, step.target);
        let facts = place
            .as_ref()
            .map_err(error_text)
            .and_then(|fd| sys_path::fs_facts(fd.as_fd()).map_err(|err| error_text(&err)));
        let mut check = match facts {
            Ok(facts) => flags(step.label.clone(), wanted, facts.flags),
            Err(text) => Check::new(step.label.clone(), "mounted", text, Verdict::Different),
        };
        if check.verdict == Verdict::Different {
            // `nofail` with a source in the container's root, where only the mounts tell whether it was there
            let left_out = matches!(&step.kind, MountKind::Bind(bind) if step.nofail && bind.inside.is_some());
            if left_out || self.is_covered(index, step, place.as_ref().ok()) {
                return Ok(None);
            }
            // the plan of a container that runs does not have the mounts that `create` left out
            let optional = |bind: &Bind| step.nofail || bind.copy_symlink;
            if self.opened.is_none() && matches!(&step.kind, MountKind::Bind(bind) if optional(bind)) {
                check.verdict = Verdict::Unchecked;
            }
        } else if let (Ok(place), below @ 1..) = (&place, tree_flags(step)) {
            self.tree(index, place.as_fd(), below, &mut check)?;
        }
        Ok(Some(check))
    }

    /// Returns whether a later step, the terminal or a mask covers the mount of this step.
    fn is_covered(&self, index: usize, step: &MountStep, place: Option<&OwnedFd>) -> bool {
        let path = step.cleaned_destination();
        if path == Path::new("/dev/console") || place.is_some_and(|place| is_mask(place.as_fd()).unwrap_or(false)) {
            return true;
        }
        let is_below = |other: &CStr| path.starts_with(clean(Path::new(OsStr::from_bytes(other.to_bytes()))));
        if self.plan.masked.iter().any(|masked| is_below(masked)) {
            return true;
        }
        let mount = place.and_then(|place| sys_path::mount_id(place.as_fd()).ok());
        self.later(index).any(|later| is_below(&later.destination) || mount.is_some() && self.mount_of(later) == mount)
    }

    /// Returns whether the step mounts: not when its source is missing, or is a symlink that was copied.
    fn mounts(&self, index: usize) -> bool {
        self.opened.is_none_or(|opened| opened.mounts(index))
    }

    fn later(&self, index: usize) -> impl Iterator<Item = &MountStep> {
        let later = self.plan.steps.iter().enumerate().skip(index + 1);
        later.filter(|(index, _)| self.mounts(*index)).map(|(_, step)| step)
    }

    /// Returns the mount ID at the destination of a step.
    fn mount_of(&self, step: &MountStep) -> Option<u64> {
        let place = open(self.root, &step.destination, step.target).ok()?;
        sys_path::mount_id(place.as_fd()).ok()
    }

    /// Checks that every mount below `place` has the flags `wanted`, except those of later steps.
    fn tree(&self, index: usize, place: BorrowedFd<'_>, wanted: u64, check: &mut Check) -> Result<()> {
        let name = std::ffi::CString::new(format!("{}/mountinfo", self.table.process))?;
        let file = sys_path::openat(self.table.proc, &name, libc::O_RDONLY, 0)
            .code(Code::VerifyDiffers, "self-check: mountinfo")?;
        let mut text = Vec::new();
        std::fs::File::from(file).read_to_end(&mut text).code(Code::VerifyDiffers, "self-check: mountinfo")?;
        let top = sys_path::mount_id(place).code(Code::VerifyDiffers, "self-check: mount ID")?;
        let except: BTreeSet<u64> = self.later(index).filter_map(|step| self.mount_of(step)).collect();
        if let Some((path, options)) = unprotected(&mountinfo::parse(&text), top, &except, wanted) {
            check.verdict = Verdict::Different;
            check.actual = format!("{options} at {path:?}");
        }
        Ok(())
    }
}

/// Returns mount point and options of the first mount below `top` that lacks one of the flags `wanted`. The mounts
/// `except`, and those below them, are left out.
fn unprotected(table: &[Mount], top: u64, except: &BTreeSet<u64>, wanted: u64) -> Option<(PathBuf, String)> {
    let mut below = BTreeSet::from([top]);
    // repeated until no mount is added, because a tree that was moved may be listed before its parent
    loop {
        let before = below.len();
        for mount in table {
            if below.contains(&mount.parent) && !except.contains(&mount.id) {
                below.insert(mount.id);
            }
        }
        if below.len() == before {
            break;
        }
    }
    let lacks = |mount: &&Mount| {
        let lacks_one = FLAGS.iter().any(|flag| wanted & flag.0 != 0 && !mount.has_option(flag.2));
        mount.id != top && below.contains(&mount.id) && lacks_one
    };
    let options = |mount: &Mount| String::from_utf8_lossy(&mount.options).into_owned();
    table.iter().find(lacks).map(|mount| (mount.mount_point.clone(), options(mount)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_mount_below_that_lacks_a_flag_is_found() {
        let table = b"10 1 0:5 / / rw - ext4 x rw\n\
                     20 10 0:6 / /v ro,nosuid - tmpfs x rw\n\
                     21 20 0:7 / /v/a ro,nosuid - tmpfs x rw\n\
                     22 21 0:7 / /v/a/b rw,nosuid - tmpfs x rw\n\
                     30 10 0:8 / /w rw - tmpfs x rw\n\
                     31 20 0:9 / /v/s rw - squashfs x ro\n";
        let none = BTreeSet::new();
        let found = |except: &BTreeSet<u64>, wanted| unprotected(&mountinfo::parse(table), 20, except, wanted);
        assert_eq!(found(&none, ATTR_RDONLY), Some(("/v/a/b".into(), "rw,nosuid".to_owned())));
        assert_eq!(found(&BTreeSet::from([21]), ATTR_RDONLY), None, "the superblock of /v/s is read-only");
        assert_eq!(found(&BTreeSet::from([21]), ATTR_NOSUID), Some(("/v/s".into(), "rw".to_owned())));
        assert_eq!(found(&BTreeSet::from([22, 31]), ATTR_RDONLY | ATTR_NOSUID), None);
    }

    #[test]
    fn flags_are_named_as_by_mount() {
        let check = flags("x".into(), ATTR_RDONLY | ATTR_NOEXEC, 0x1);
        assert_eq!((check.verdict, check.describe().as_str()), (Verdict::Different, "x is ro, not ro,noexec"));
        assert_eq!(flags("x".into(), ATTR_RDONLY, 0).describe(), "x is rw, not ro");
        assert_eq!(flags("x".into(), ATTR_NOSYMFOLLOW | ATTR_NOSUID, 0x2002).verdict, Verdict::Ok);
    }
}
