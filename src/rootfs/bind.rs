//! The parent's part before any side effect: opening the root and looking at the bind sources, while a mistake still
//! costs nothing.
//!
//! What the child will not be able to open in its own mount namespace is cloned here to a detached tree.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::fcntl::AT_FDCWD;

use crate::error::HasErrno as _;
use crate::plan::mount::{Bind, Idmap, IdmapSource, MountKind, MountStep, Opened};
use crate::plan::rootfs::{OpenedRoot, RootfsPlan};
use crate::sys::{mount as sys_mount, path as sys_path, userns};

/// More descriptors than this are not kept open: the usual limit is 1024. The child clones the rest by path.
const MAX_TREES: usize = 256;

/// Type of selinuxfs.
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

impl RootfsPlan {
    /// Opens the root and every bind source, and checks their kinds.
    ///
    /// # Errors
    /// Names the field: `root.path "rootfs": no such file or directory`.
    pub fn open(&mut self) -> Result<()> {
        let privileged = self.open_root().with_context(|| format!("root.path {:?}", self.given))?;
        // a user namespace may find the way to a source closed
        let mut room = if privileged && self.user_ns { MAX_TREES } else { 0 };
        let mut spaces = Vec::new();
        for step in &mut self.steps {
            open_idmap(step, &mut spaces).with_context(|| step.label.clone())?;
            open_step(step, &mut room).with_context(|| step.label.clone())?;
        }
        self.drop_label();
        Ok(())
    }

    /// Opens every bind source as a detached tree, for a container that runs: its processes do not see the host's paths.
    ///
    /// # Errors
    /// As [`RootfsPlan::open`].
    pub fn open_live(&mut self) -> Result<()> {
        self.live = true;
        let mut spaces = Vec::new();
        for step in &mut self.steps {
            open_idmap(step, &mut spaces).with_context(|| step.label.clone())?;
            open_step(step, &mut 1).with_context(|| step.label.clone())?;
            if matches!(&step.kind, MountKind::Bind(bind) if bind.opened.as_ref().is_none_or(|it| it.tree.is_none())) {
                bail!("{}: opening the source for another mount namespace needs privilege", step.label);
            }
        }
        self.drop_label();
        Ok(())
    }

    fn drop_label(&mut self) {
        let Some((_, label)) = self.mount_label.take_if(|_| !selinux()) else { return };
        self.unprotected.push(format!("linux.mountLabel: {label:?} ignored: SELinux is not enabled on this host"));
    }

    /// Answers whether trees can be cloned.
    fn open_root(&mut self) -> Result<bool> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let dir = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let here = sys_path::stat_at(AT_FDCWD, c"/", true)?;
        if sys_path::fstat(dir.as_fd())?.identity() == here.identity() {
            bail!("is the host's own root, which would be changed");
        }
        if !self.mount_ns {
            // no copy: what is mounted goes where the program will look for it, in the caller's own namespace
            self.root = OpenedRoot::Dir(dir);
            return Ok(true);
        }
        match sys_mount::clone_fd(dir.as_fd(), true) {
            Ok(tree) => {
                prepare_root(tree.as_fd(), self.propagation.kind)?;
                self.root = OpenedRoot::Tree(tree);
                Ok(true)
            }
            Err(err) if err.raw_os_error() == Some(libc::EPERM) => {
                self.root = OpenedRoot::Dir(dir);
                Ok(false)
            }
            Err(err) => Err(err.into()),
        }
    }
}

/// Cuts a copied tree off the host's peer groups; only `slave` keeps hearing of the host's mounts (LX-1).
///
/// # Errors
/// As mount_setattr.
pub fn prepare_root(tree: BorrowedFd<'_>, propagation: u64) -> io::Result<()> {
    let propagation = if propagation == libc::MS_SLAVE { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    sys_mount::change(tree, true, sys_mount::Change { propagation, ..Default::default() })
}

fn selinux() -> bool {
    sys_path::openat(AT_FDCWD, c"/sys/fs/selinux", libc::O_PATH, 0)
        .and_then(|dir| sys_path::fs_magic(dir.as_fd()))
        .is_ok_and(|magic| magic == SELINUX_MAGIC)
}

fn open_idmap(step: &mut MountStep, spaces: &mut Vec<(IdmapSource, Rc<OwnedFd>)>) -> Result<()> {
    let Some(idmap) = &mut step.idmap else { return Ok(()) };
    if let Some((_, known)) = spaces.iter().find(|(map, _)| *map == idmap.map) {
        idmap.userns = Some(Rc::clone(known));
        return Ok(());
    }
    let userns = match &idmap.map {
        IdmapSource::Path(path) => {
            let path = CString::new(path.as_os_str().as_bytes())?;
            sys_path::openat(AT_FDCWD, &path, libc::O_RDONLY, 0).context("the user namespace of idmap")?
        }
        IdmapSource::Ranges { uids, gids } => {
            userns::with_maps(&uids.to_string(), &gids.to_string()).context("making the user namespace of idmap")?
        }
    };
    let userns = Rc::new(userns);
    spaces.push((idmap.map.clone(), Rc::clone(&userns)));
    idmap.userns = Some(userns);
    Ok(())
}

fn open_step(step: &mut MountStep, room: &mut usize) -> Result<()> {
    let MountKind::Bind(bind) = &step.kind else { return Ok(()) };
    if bind.copy_symlink
        && let Ok(says) = sys_path::readlinkat(AT_FDCWD, &bind.source)
    {
        step.kind = MountKind::Symlink(says);
        return Ok(());
    }
    match open_source(step, bind, room).with_context(|| format!("source {:?}", bind.source)) {
        Ok(opened) => {
            if let MountKind::Bind(bind) = &mut step.kind {
                bind.opened = Some(opened);
            }
            Ok(())
        }
        Err(err) if step.nofail && err.is_errno(&[libc::ENOENT]) => {
            step.kind = MountKind::Skip;
            Ok(())
        }
        Err(err) => Err(err),
    }
}

fn open_source(step: &MountStep, bind: &Bind, room: &mut usize) -> Result<Opened> {
    let stat = sys_path::stat_at(AT_FDCWD, &bind.source, !bind.nofollow)?;
    if step.destination_is_proc() && !is_procfs(bind)? {
        // a fake one would take what the runtime writes (SEC-4)
        bail!("cannot be mounted on /proc because it is not a procfs");
    }
    let needed = bind.host_peer || step.idmap.is_some();
    let tree = if needed || *room > 0 { parents_tree(step, bind, needed)? } else { None };
    if tree.is_some() {
        *room = room.saturating_sub(1);
    }
    Ok(Opened { dir: stat.is_dir(), identity: stat.identity(), tree })
}

fn is_procfs(bind: &Bind) -> io::Result<bool> {
    let source = sys_path::openat(AT_FDCWD, &bind.source, libc::O_PATH, 0)?;
    Ok(sys_path::fs_magic(source.as_fd())? == sys_path::PROC_MAGIC)
}

fn parents_tree(step: &MountStep, bind: &Bind, needed: bool) -> Result<Option<OwnedFd>> {
    let how = sys_mount::Clone { recursive: bind.recursive, nofollow: bind.nofollow };
    match sys_mount::clone_tree(AT_FDCWD, &bind.source, how) {
        Ok(tree) => {
            prepare_bind(step, bind, tree.as_fd(), true)?;
            Ok(Some(tree))
        }
        Err(_) if !needed => Ok(None),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) && step.idmap.is_none() => Ok(None),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Err(err).context("ID-mapped mounts need privilege"),
        Err(err) => Err(err.into()),
    }
}

/// Sets flags, propagation and ID map of a cloned bind source, while it is detached. `cut`: it still is in the peer group
/// of a mount of the host.
///
/// # Errors
/// Says which wish the kernel refused.
pub fn prepare_bind(step: &MountStep, bind: &Bind, tree: BorrowedFd<'_>, cut: bool) -> Result<()> {
    for (recursive, change) in changes(step, bind, cut && !bind.host_peer) {
        sys_mount::change(tree, recursive, change).map_err(|err| explain_change(err, change))?;
    }
    if let Some(idmap) = &step.idmap {
        apply_idmap(idmap, tree)?;
    }
    Ok(())
}

/// Shows the detached mount through the mapping.
///
/// # Errors
/// With a hint for the two usual causes.
pub fn apply_idmap(idmap: &Idmap, tree: BorrowedFd<'_>) -> Result<()> {
    let userns = idmap.userns.as_ref().ok_or_else(|| anyhow!("the ID map was not opened"))?;
    sys_mount::idmap(tree, idmap.recursive, userns.as_fd()).map_err(|err| {
        let hint = match err.raw_os_error() {
            Some(libc::EINVAL) => "ID-mapped mount: the file system (or one below it) does not support it",
            Some(libc::EPERM) => "ID-mapped mount: needs privilege over the file system",
            _ => "ID-mapped mount",
        };
        anyhow::Error::new(err).context(hint)
    })
}

fn explain_change(err: io::Error, change: sys_mount::Change) -> anyhow::Error {
    let locked = err.raw_os_error() == Some(libc::EPERM) && change.clear != 0;
    let text = if locked {
        "a flag that is to be cleared is locked on the source (options such as rw, exec, dev, suid)"
    } else {
        "setting mount flags"
    };
    anyhow::Error::new(err).context(text)
}

/// The calls that bring a cloned source to what is asked: (whole tree, change), as few as possible.
fn changes(step: &MountStep, bind: &Bind, cut: bool) -> Vec<(bool, sys_mount::Change)> {
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
    let mut list: Vec<(bool, sys_mount::Change)> = steps
        .into_iter()
        .map(|(whole, propagation)| (whole, sys_mount::Change { propagation, ..Default::default() }))
        .collect();
    // flags ride on a change of the same extent; those of the tree come first, the mount's own have the last word
    let mut after = 0;
    for (whole, attr) in [(true, tree), (false, own)] {
        if attr.is_empty() {
            continue;
        }
        let found = list.iter().skip(after).position(|(same, _)| *same == whole).map(|at| at + after);
        let at = found.unwrap_or_else(|| {
            list.push((whole, sys_mount::Change::default()));
            list.len() - 1
        });
        if let Some((_, change)) = list.get_mut(at) {
            (change.set, change.clear) = (attr.set, attr.clear);
        }
        after = at;
    }
    list
}
