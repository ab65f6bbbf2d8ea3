//! A bind mount while it is detached: its flags, its propagation, its ID map.

use std::io;
use std::os::fd::BorrowedFd;

use anyhow::{Result, anyhow};

use crate::plan::mount::Bind;
use crate::plan::mount::Idmap;
use crate::plan::mount::MountStep;
use linux::mount as sys_mount;

/// Cuts a copied tree off the host's peer groups; only `slave` keeps hearing of the host's mounts (LX-1).
///
/// # Errors
/// As mount_setattr.
pub(super) fn prepare_root(tree: BorrowedFd<'_>, propagation: u64) -> io::Result<()> {
    let propagation = if propagation == libc::MS_SLAVE { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    sys_mount::set_attr(tree, true, sys_mount::MountAttr { propagation, ..Default::default() })
}

/// Sets flags, propagation and ID map of a cloned bind source, while it is detached. `userns` has the ID map; `cut`: it
/// still is in the peer group of a mount of the host.
///
/// # Errors
/// Says which wish the kernel refused.
pub(super) fn prepare_bind(
    step: &MountStep,
    bind: &Bind,
    userns: Option<BorrowedFd<'_>>,
    tree: BorrowedFd<'_>,
    cut: bool,
) -> Result<()> {
    for (recursive, change) in changes(step, bind, cut && !bind.shared_with_host) {
        sys_mount::set_attr(tree, recursive, change).map_err(|err| explain_change(err, change))?;
    }
    if let Some(idmap) = &step.idmap {
        apply_idmap(idmap, userns, tree)?;
    }
    Ok(())
}

/// Shows the detached mount through the mapping, which `userns` has.
///
/// # Errors
/// With a hint for the two usual causes.
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

/// The calls that bring a cloned source to what is asked: (whole tree, change), as few as possible.
fn changes(step: &MountStep, bind: &Bind, cut: bool) -> Vec<(bool, sys_mount::MountAttr)> {
    let mut steps: Vec<(bool, u64)> =
        step.propagation.iter().map(|p| (p.recursive && bind.recursive, p.kind)).collect();
    // a copy is in the peer group of what it copies: cut it off, unless the first wish does that for the whole tree
    let cuts = |(whole, kind): &(bool, u64)| (*whole || !bind.recursive) && *kind != libc::MS_SHARED;
    if cut && !steps.first().is_some_and(cuts) {
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
    // flags ride on a change of the same extent; those of the tree come first, the mount's own have the last word
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
