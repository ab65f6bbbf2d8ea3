//! Preparation of a detached bind mount: flags, propagation, ID mapping.

use std::io;
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result, anyhow};

use crate::plan::mount::Bind;
use crate::plan::mount::Idmap;
use crate::plan::mount::MountStep;
use crate::plan::mount_options::NAMED_RELATIME;
use linux::mount as sys_mount;
use linux::mount::ATTR_ATIME_MASK;
use linux::mount::ATTR_NOATIME;
use linux::mount::ATTR_NODEV;
use linux::mount::ATTR_NODIRATIME;
use linux::mount::ATTR_NOEXEC;
use linux::mount::ATTR_NOSUID;
use linux::mount::ATTR_NOSYMFOLLOW;
use linux::mount::ATTR_RDONLY;
use linux::mount::ATTR_STRICTATIME;
use linux::mount::MountAttr;
use linux::path as sys_path;

/// Removes a copied tree from the host's peer groups; only with `slave` the host's mounts still propagate to it (LX-1).
///
/// # Errors
/// Errors of mount_setattr(2).
pub(super) fn prepare_root(tree: BorrowedFd<'_>, propagation: u64) -> io::Result<()> {
    let propagation = if propagation == libc::MS_SLAVE { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    sys_mount::set_attr(tree, true, sys_mount::MountAttr { propagation, ..Default::default() })
}

/// The place of a cloned tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The tree is in the peer group of a mount of the host.
    pub in_host_group: bool,
    /// The flags of the source stay, as if the kernel had locked them: this process could clear them, but the container's
    /// user namespace could not.
    pub locked: bool,
}

/// Sets flags, propagation and ID mapping of a cloned bind source, while it is detached. `userns` has the ID mapping.
///
/// # Errors
/// The kernel refuses a change, or a flag that was named to be cleared is locked; the error names it.
pub(super) fn prepare_bind(
    step: &MountStep,
    bind: &Bind,
    userns: Option<BorrowedFd<'_>>,
    tree: BorrowedFd<'_>,
    place: Place,
) -> Result<()> {
    set_flags(step, bind, tree, place)?;
    if let Some(idmap) = &step.idmap {
        apply_idmap(idmap, userns, tree)?;
    }
    Ok(())
}

/// Sets flags and propagation, as [`prepare_bind`] does.
///
/// # Errors
/// As [`prepare_bind`].
pub(super) fn set_flags(step: &MountStep, bind: &Bind, tree: BorrowedFd<'_>, place: Place) -> Result<()> {
    for Change { whole, own, attr } in changes(step, bind, place.in_host_group && !bind.shared_with_host) {
        let changed =
            if own && place.locked { Err(io::ErrorKind::PermissionDenied.into()) } else { set(tree, whole, attr) };
        match changed {
            // with a locked flag the kernel changes nothing: the flags of the source stay
            Err(_) if own => set(tree, whole, keep_locked(attr, bind.named_off, tree)?).map_err(explain_change)?,
            changed => changed.map_err(explain_change)?,
        }
    }
    Ok(())
}

fn set(tree: BorrowedFd<'_>, whole: bool, attr: sys_mount::MountAttr) -> io::Result<()> {
    sys_mount::set_attr(tree, whole, attr)
}

/// Bits of statvfs(3) and of mount_setattr(2) for the flags that the kernel locks, but for access times.
const LOCKABLE: [(u64, u64); 4] = [(1, ATTR_RDONLY), (2, ATTR_NOSUID), (4, ATTR_NODEV), (8, ATTR_NOEXEC)];

/// Returns the change that keeps every flag of `tree` that the kernel locks for a user namespace; `nosymfollow` is none of
/// them.
///
/// # Errors
/// A flag that is locked was named to be cleared, or other access times were named.
fn keep_locked(attr: MountAttr, named_off: u64, tree: BorrowedFd<'_>) -> Result<MountAttr> {
    let flags = sys_path::fs_facts(tree).context("flags of the source")?.flags;
    let have = |bit: u64| flags & bit != 0;
    let held = LOCKABLE.iter().filter(|(bit, _)| have(*bit)).fold(0, |all, (_, attr)| all | attr);
    let (nodiratime, noatime, relatime) = (have(2048), have(1024), have(4096));
    let times = if noatime {
        ATTR_NOATIME
    } else if relatime {
        0
    } else {
        ATTR_STRICTATIME
    };
    let times = times | if nodiratime { ATTR_NODIRATIME } else { 0 };
    let named_times = if relatime { NAMED_RELATIME } else { 0 };
    let mask = ATTR_ATIME_MASK | ATTR_NODIRATIME;
    let other_times = attr.clear & ATTR_ATIME_MASK != 0 && attr.set & mask != times;
    let kept = MountAttr { set: attr.set & !mask, clear: attr.clear & ATTR_NOSYMFOLLOW, ..attr };
    if held & !attr.set == 0 && !other_times {
        // nothing that is locked would change; `atime` alone changes nothing
        return Ok(kept);
    }
    let refused = || io::Error::from_raw_os_error(libc::EPERM);
    if (held | times | named_times) & named_off != 0 {
        return Err(refused())
            .context("a flag that is to be cleared is locked on the source (options such as rw, exec, dev, suid)");
    }
    if other_times {
        return Err(refused()).context("the access times of the source are locked (options such as relatime, noatime)");
    }
    Ok(kept)
}

/// Sets the ID mapping of `userns` on the detached mount.
///
/// # Errors
/// Errors of mount_setattr(2), with a hint for the two usual causes.
pub(super) fn apply_idmap(idmap: &Idmap, userns: Option<BorrowedFd<'_>>, tree: BorrowedFd<'_>) -> Result<()> {
    let userns = userns.ok_or_else(|| anyhow!("the ID map was not opened"))?;
    sys_mount::idmap(tree, idmap.recursive, userns).map_err(|err| {
        let hint = match err.raw_os_error() {
            Some(libc::EINVAL) => "ID-mapped mount: the file system (or one below it) does not support it",
            Some(libc::EPERM) => "ID-mapped mount: needs privilege over the file system",
            _ => "ID-mapped mount",
        };
        anyhow::Error::new(err).context(hint)
    })
}

fn explain_change(err: io::Error) -> anyhow::Error {
    let locked = err.raw_os_error() == Some(libc::EPERM);
    let text = if locked {
        "a flag that is to be cleared is locked on the source (options such as rw, exec, dev, suid)"
    } else {
        "setting mount flags"
    };
    anyhow::Error::new(err).context(text)
}

/// One call of mount_setattr(2).
#[derive(Debug, Clone, Copy)]
struct Change {
    /// The change is for the whole tree.
    whole: bool,
    /// The change has the flags of this mount alone.
    own: bool,
    /// Flags and propagation.
    attr: MountAttr,
}

/// Returns the calls of mount_setattr(2) that set flags and propagation of a cloned source, and as few as possible.
fn changes(step: &MountStep, bind: &Bind, in_host_group: bool) -> Vec<Change> {
    let mut steps: Vec<(bool, u64)> =
        step.propagation.iter().map(|p| (p.recursive && bind.recursive, p.kind)).collect();
    // a copy is in the peer group of the original: remove it, unless the first change does so for the whole tree
    let leaves_group = |(whole, kind): &(bool, u64)| (*whole || !bind.recursive) && *kind != libc::MS_SHARED;
    if in_host_group && !steps.first().is_some_and(leaves_group) {
        steps.insert(0, (bind.recursive, libc::MS_SLAVE));
    }
    let mut list: Vec<Change> = steps
        .into_iter()
        .map(|(whole, propagation)| Change {
            whole,
            own: false,
            attr: MountAttr { propagation, ..MountAttr::default() },
        })
        .collect();
    // Flags are set in a change of the same extent. Those of the tree last, because those of the mount clear what they do
    // not name.
    let mut after = 0;
    for (whole, own, flags) in [(false, true, step.attr), (bind.recursive, false, step.recursive)] {
        if flags.is_empty() {
            continue;
        }
        let found = list.iter().skip(after).position(|change| change.whole == whole).map(|at| at + after);
        let at = found.unwrap_or_else(|| {
            list.push(Change { whole, own, attr: MountAttr::default() });
            list.len() - 1
        });
        if let Some(change) = list.get_mut(at) {
            change.own |= own;
            (change.attr.set, change.attr.clear) = (flags.set, flags.clear);
        }
        after = at + 1;
    }
    list
}
