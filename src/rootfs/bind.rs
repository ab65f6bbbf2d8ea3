//! Preparation of a detached bind mount: flags, propagation, ID mapping.

use std::io;
use std::os::fd::BorrowedFd;

use anyhow::{Result, anyhow};

use crate::plan::mount::Bind;
use crate::plan::mount::Idmap;
use crate::plan::mount::MountStep;
use linux::mount as sys_mount;

/// Removes a copied tree from the host's peer groups; only with `slave` the host's mounts still propagate to it (LX-1).
///
/// # Errors
/// Errors of mount_setattr(2).
pub(super) fn prepare_root(tree: BorrowedFd<'_>, propagation: u64) -> io::Result<()> {
    let propagation = if propagation == libc::MS_SLAVE { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    sys_mount::set_attr(tree, true, sys_mount::MountAttr { propagation, ..Default::default() })
}

/// Sets flags, propagation and ID mapping of a cloned bind source, while it is detached. `userns` has the ID mapping.
/// `in_host_group`: the tree is in the peer group of a mount of the host.
///
/// # Errors
/// The kernel refuses a change; the error names it.
pub(super) fn prepare_bind(
    step: &MountStep,
    bind: &Bind,
    userns: Option<BorrowedFd<'_>>,
    tree: BorrowedFd<'_>,
    in_host_group: bool,
) -> Result<()> {
    for (recursive, change) in changes(step, bind, in_host_group && !bind.shared_with_host) {
        sys_mount::set_attr(tree, recursive, change).map_err(|err| explain_change(err, change))?;
    }
    if let Some(idmap) = &step.idmap {
        apply_idmap(idmap, userns, tree)?;
    }
    Ok(())
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

fn explain_change(err: io::Error, change: sys_mount::MountAttr) -> anyhow::Error {
    let locked = err.raw_os_error() == Some(libc::EPERM) && change.clear != 0;
    let text = if locked {
        "a flag that is to be cleared is locked on the source (options such as rw, exec, dev, suid)"
    } else {
        "setting mount flags"
    };
    anyhow::Error::new(err).context(text)
}

/// Returns the fewest calls of mount_setattr(2) that set flags and propagation of a cloned source: (whole tree,
/// change).
fn changes(step: &MountStep, bind: &Bind, in_host_group: bool) -> Vec<(bool, sys_mount::MountAttr)> {
    let mut steps: Vec<(bool, u64)> =
        step.propagation.iter().map(|p| (p.recursive && bind.recursive, p.kind)).collect();
    // a copy is in the peer group of the original: remove it, unless the first change does so for the whole tree
    let leaves_group = |(whole, kind): &(bool, u64)| (*whole || !bind.recursive) && *kind != libc::MS_SHARED;
    if in_host_group && !steps.first().is_some_and(leaves_group) {
        steps.insert(0, (bind.recursive, libc::MS_SLAVE));
    }
    let (mut own, mut tree) = (step.attr, step.recursive);
    if !bind.recursive {
        own = own.and(tree);
        tree = crate::plan::mount_options::Attr::default();
    }
    let mut list: Vec<(bool, sys_mount::MountAttr)> = steps
        .into_iter()
        .map(|(whole, propagation)| (whole, sys_mount::MountAttr { propagation, ..Default::default() }))
        .collect();
    // flags are set in a change of the same extent; those of the tree first, because those of the mount have precedence
    let mut after = 0;
    for (whole, attr) in [(true, tree), (false, own)] {
        if attr.is_empty() {
            continue;
        }
        let found = list.iter().skip(after).position(|(same, _)| *same == whole).map(|at| at + after);
        let at = found.unwrap_or_else(|| {
            list.push((whole, sys_mount::MountAttr::default()));
            list.len() - 1
        });
        if let Some((_, change)) = list.get_mut(at) {
            (change.set, change.clear) = (attr.set, attr.clear);
        }
        after = at;
    }
    list
}
