//! The parent's part: opens the root and checks the bind sources before any side effect.
//!
//! Sources that the child cannot open in its own mount namespace are cloned to detached trees.

use base::coded;
use base::error::{Code, Coding as _};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::bind::{Place, apply_idmap, prepare_bind, prepare_root};
use super::outside_devices::{self, OutsideDevices};
use crate::plan::mount::Bind;
use crate::plan::mount::IdmapSource;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use crate::plan::rootfs::RootfsPlan;
use base::error::HasErrno as _;
use linux::mount as sys_mount;
use linux::path as sys_path;
use linux::userns;

/// Most trees that are kept open, because the usual limit is 1024 descriptors. The child clones the others by path.
const MAX_TREES: usize = 256;

/// File system type of selinuxfs (statfs(2)).
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

/// Descriptors and properties of the host for a [`RootfsPlan`].
#[derive(Debug)]
pub(crate) struct OpenedRootfs {
    /// The root directory.
    pub root: RootSource,
    /// One entry for each step of the plan.
    pub steps: Vec<OpenedStep>,
    /// The plan has a label for new file systems and the host supports it.
    pub labels: bool,
    /// Device nodes that a container with a user namespace may not create.
    pub devices: Option<OutsideDevices>,
    /// What init took from the host's mounts before it left them.
    pub(super) taken: Option<Taken>,
    /// Configured protections that this host does not have, reported at any log level.
    pub unprotected: Vec<String>,
}

/// The detached mounts of one step for `type: cgroup`.
#[derive(Debug)]
pub(super) enum CgroupTrees {
    /// A mount of the unified hierarchy, or of the host's directory of all hierarchies.
    One {
        /// The mount.
        tree: OwnedFd,
        /// The kernel has refused a new mount, so that the host's is bound.
        refused: bool,
    },
    /// A mount of each hierarchy of cgroup v1, by its name.
    Legacy(Vec<(String, OwnedFd)>),
}

/// What was taken from the host's mounts before init left them.
#[derive(Debug)]
pub(super) struct Taken {
    /// See `Root::null`.
    pub null: Option<OwnedFd>,
    /// Device number of the host's /dev.
    pub dev: Option<libc::dev_t>,
}

/// The root directory.
#[derive(Debug)]
pub(crate) enum RootSource {
    /// A detached copy of the tree with its propagation set.
    Tree(OwnedFd),
    /// The directory. The child clones it by path, or uses it directly without a mount namespace.
    Dir(OwnedFd),
    /// The root of a running container, which is not built.
    Running,
}

/// Descriptors of the host for one step of the plan.
#[derive(Debug)]
pub(crate) struct OpenedStep {
    /// The source of the mount.
    pub source: Source,
    /// The user namespace with the ID mapping of the mount.
    pub userns: Option<Rc<OwnedFd>>,
    /// The mounts of a step for `type: cgroup`, where they were created before the host's mounts were left.
    pub(super) cgroup: Option<CgroupTrees>,
}

/// The source of a step.
#[derive(Debug)]
pub(crate) enum Source {
    /// The step is no bind mount.
    None,
    /// The source exists.
    Found(ResolvedSource),
    /// The source is below the container's root and is resolved there when the mounts before it exist.
    Inside,
    /// `copy-symlink` with a source that is a symlink: the same symlink is created.
    Symlink(CString),
    /// `nofail` and the source is missing: nothing is mounted.
    Missing,
}

/// The bind source as the parent has found it.
#[derive(Debug)]
pub(crate) struct ResolvedSource {
    /// The source is a directory.
    pub dir: bool,
    /// Device and inode; the child must find the same.
    pub identity: (libc::dev_t, libc::ino_t),
    /// A detached tree with its flags set, where the child cannot clone the path: ID mappings, the host's peer group, a
    /// path without permission for its user namespace. Usually the child clones the path, because mountinfo lists
    /// mounts in the order of creation.
    pub tree: Option<OwnedFd>,
}

/// A step of a plan with its descriptors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    /// The whole plan.
    pub plan: &'a RootfsPlan,
    /// The descriptors of all steps.
    pub opened: &'a OpenedRootfs,
    /// Index of the step.
    pub index: usize,
    /// The step of the plan.
    pub planned: &'a MountStep,
    /// The source of the mount.
    pub source: &'a Source,
}

impl<'a> Step<'a> {
    /// Iterates over the steps in order.
    pub(super) fn all(plan: &'a RootfsPlan, opened: &'a OpenedRootfs) -> impl Iterator<Item = Step<'a>> {
        let pairs = plan.steps.iter().zip(&opened.steps).enumerate();
        pairs.map(move |(index, (planned, step))| Step { plan, opened, index, planned, source: &step.source })
    }

    /// Reports whether the step attaches a mount.
    pub(super) fn attaches(&self) -> bool {
        self.opened.attaches(self.plan, self.index)
    }

    /// The mounts for `type: cgroup` that were created before.
    pub(super) fn cgroup(&self) -> Option<&'a CgroupTrees> {
        self.opened.steps.get(self.index)?.cgroup.as_ref()
    }

    /// Reports whether an earlier step has mounted on a parent of the destination.
    pub(super) fn is_below_another(&self) -> bool {
        let destination = self.planned.cleaned_destination();
        let above = |step: &MountStep| {
            let other = step.cleaned_destination();
            other.components().count() > 1 && destination != other && destination.starts_with(other)
        };
        self.plan.steps.iter().take(self.index).any(above)
    }

    /// The user namespace with the ID mapping of the mount.
    pub(super) fn userns(&self) -> Option<BorrowedFd<'a>> {
        self.opened.steps.get(self.index)?.userns.as_ref().map(|fd| fd.as_fd())
    }
}

impl OpenedRootfs {
    /// Reports whether the root is a detached copy, which needs no path of the host any more.
    pub(crate) fn has_clone(&self) -> bool {
        matches!(self.root, RootSource::Tree(_))
    }

    /// Reports whether the step `index` attaches or changes a mount.
    pub(crate) fn mounts(&self, index: usize) -> bool {
        let source = self.steps.get(index).map(|step| &step.source);
        !matches!(source, Some(Source::Symlink(_) | Source::Missing))
    }

    /// Lists the indexes of steps that neither attach nor change a mount.
    pub(crate) fn without_mount(&self) -> Vec<usize> {
        (0..self.steps.len()).filter(|index| !self.mounts(*index)).collect()
    }

    /// Reports whether the step `index` of `plan` attaches a mount.
    pub(crate) fn attaches(&self, plan: &RootfsPlan, index: usize) -> bool {
        let kind = plan.steps.get(index).map(|step| &step.kind);
        self.mounts(index) && matches!(kind, Some(MountKind::Bind(_) | MountKind::New(_) | MountKind::Cgroup))
    }

    /// ID-maps the detached mount `tree` of the step `index`, for a process of a user namespace that has no right to.
    ///
    /// # Errors
    /// The step has no ID mapping, or the kernel refuses it.
    pub(crate) fn idmap(&self, plan: &RootfsPlan, index: usize, tree: BorrowedFd<'_>) -> Result<()> {
        let (step, opened) = (plan.steps.get(index), self.steps.get(index));
        let idmap = step.and_then(|step| step.idmap.as_ref()).context("the mount has no ID mapping")?;
        let userns = opened.and_then(|step| step.userns.as_ref()).map(|fd| fd.as_fd());
        apply_idmap(idmap, userns, tree)
            .with_code(Code::MountFailed, || step.map(|step| step.label.clone()).unwrap_or_default())
    }

    /// The descriptor of the root directory or of the root of the copied tree.
    ///
    /// # Errors
    /// The container is running, so that its root was not opened.
    pub(crate) fn root(&self) -> Result<BorrowedFd<'_>> {
        match &self.root {
            RootSource::Tree(fd) | RootSource::Dir(fd) => Ok(fd.as_fd()),
            RootSource::Running => bail!("the root was not opened"),
        }
    }
}

/// Opens the root and every bind source, and checks their file types.
///
/// # Errors
/// A file that cannot be opened; the error names the field: `root.path "rootfs": no such file or directory`.
pub(crate) fn open(plan: &RootfsPlan) -> Result<OpenedRootfs> {
    let (root, privileged) =
        open_root(plan).with_code(Code::RootfsInvalid, || format!("root.path {:?}", plan.configured_path))?;
    // the child's user namespace may have no permission for the path of a source
    let mut tree_budget = if privileged && plan.user_ns { MAX_TREES } else { 0 };
    let steps = open_steps(plan, |step, userns| match &step.kind {
        MountKind::Bind(Bind { inside: Some(_), .. }) => Ok(Source::Inside),
        _ => open_step(step, userns, plan.user_ns, &mut tree_budget),
    })?;
    let mut opened = finish(plan, root, steps);
    if privileged {
        opened.devices = outside_devices::make(plan, opened.labels)?;
    }
    Ok(opened)
}

/// Opens every bind source as a detached tree for a running container, whose processes cannot open the host's paths.
///
/// # Errors
/// The same as [`open`].
pub(crate) fn open_live(plan: &RootfsPlan) -> Result<OpenedRootfs> {
    let steps = open_steps(plan, |step, userns| {
        let source = open_step(step, userns, false, &mut 1);
        let lacks_tree = matches!(&source, Ok(Source::Found(found)) if found.tree.is_none());
        if sys_mount::is_old() && (source.is_err() || lacks_tree) {
            return Err(sys_mount::needs_detached("a mount in a running container").into());
        }
        let source = source?;
        if lacks_tree {
            bail!(coded!(MountDenied, "opening the source for another mount namespace needs privilege"));
        }
        Ok(source)
    })?;
    Ok(finish(plan, RootSource::Running, steps))
}

fn open_steps(
    plan: &RootfsPlan,
    mut open: impl FnMut(&MountStep, Option<BorrowedFd<'_>>) -> Result<Source>,
) -> Result<Vec<OpenedStep>> {
    let mut user_namespaces = Vec::new();
    let one = |step: &MountStep| {
        let userns = open_idmap(step, &mut user_namespaces).with_code(Code::MountFailed, || step.label.clone())?;
        let source =
            open(step, userns.as_ref().map(|fd| fd.as_fd())).with_code(Code::MountFailed, || step.label.clone())?;
        Ok(OpenedStep { source, userns, cgroup: None })
    };
    plan.steps.iter().map(one).collect()
}

fn finish(plan: &RootfsPlan, root: RootSource, steps: Vec<OpenedStep>) -> OpenedRootfs {
    let labels = plan.mount_label.is_some() && selinux();
    let refused = plan.mount_label.iter().filter(|_| !labels);
    let mut unprotected: Vec<String> = refused
        .map(|(_, label)| format!("linux.mountLabel: {label:?} ignored: SELinux is not enabled on this host"))
        .collect();
    if plan.readonly_ignored {
        unprotected.push("root.readonly: ignored: the container has no mount namespace of its own".to_owned());
    }
    OpenedRootfs { root, steps, labels, unprotected, devices: None, taken: None }
}

/// Opens the root, and reports whether this process may clone trees.
fn open_root(plan: &RootfsPlan) -> Result<(RootSource, bool)> {
    let path = CString::new(plan.path.as_os_str().as_bytes())?;
    let dir = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let here = sys_path::stat_at(AT_FDCWD, c"/", true)?;
    if sys_path::fstat(dir.as_fd())?.identity() == here.identity() {
        bail!(coded!(RootfsInvalid, "is the host's own root, which would be changed"));
    }
    if !plan.mount_ns {
        // no copy, because the mounts are created in the caller's namespace, where the program uses them
        return Ok((RootSource::Dir(dir), true));
    }
    match sys_mount::clone_fd(dir.as_fd(), true) {
        Ok(tree) => match prepare_root(tree.as_fd(), plan.propagation.kind) {
            Ok(()) => Ok((RootSource::Tree(tree), true)),
            Err(_) if sys_mount::is_old() => Ok((RootSource::Dir(dir), false)),
            Err(err) => Err(err.into()),
        },
        Err(_) if sys_mount::is_old() => Ok((RootSource::Dir(dir), false)),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Ok((RootSource::Dir(dir), false)),
        Err(err) => Err(err.into()),
    }
}

fn selinux() -> bool {
    sys_path::openat(AT_FDCWD, c"/sys/fs/selinux", libc::O_PATH, 0)
        .and_then(|dir| sys_path::fs_magic(dir.as_fd()))
        .is_ok_and(|magic| magic == SELINUX_MAGIC)
}

fn open_idmap(step: &MountStep, known: &mut Vec<(IdmapSource, Rc<OwnedFd>)>) -> Result<Option<Rc<OwnedFd>>> {
    let Some(idmap) = &step.idmap else { return Ok(None) };
    if let Some((_, known)) = known.iter().find(|(map, _)| *map == idmap.map) {
        return Ok(Some(Rc::clone(known)));
    }
    let userns = match &idmap.map {
        IdmapSource::Path(path) => {
            let path = CString::new(path.as_os_str().as_bytes())?;
            sys_path::openat(AT_FDCWD, &path, libc::O_RDONLY, 0)
                .code(Code::NamespaceDenied, "the user namespace of idmap")?
        }
        IdmapSource::Ranges { uids, gids } => userns::with_maps(&uids.to_string(), &gids.to_string())
            .code(Code::NamespaceDenied, "create the user namespace of idmap")?,
    };
    let userns = Rc::new(userns);
    known.push((idmap.map.clone(), Rc::clone(&userns)));
    Ok(Some(userns))
}

/// Opens the source of one step. `locked`: the flags of the source are those that a user namespace may not clear.
fn open_step(
    step: &MountStep,
    userns: Option<BorrowedFd<'_>>,
    locked: bool,
    tree_budget: &mut usize,
) -> Result<Source> {
    let MountKind::Bind(bind) = &step.kind else { return Ok(Source::None) };
    if bind.copy_symlink {
        match sys_path::readlinkat(AT_FDCWD, &bind.source) {
            Ok(target) => return Ok(Source::Symlink(target)),
            // no symlink, or what the open below reports
            Err(err) if err.is_errno(&[libc::EINVAL, libc::ENOENT, libc::ENOTDIR]) => {}
            Err(err) => return Err(err).with_context(|| format!("source {:?}", bind.source)),
        }
    }
    match open_source(step, bind, (userns, locked), tree_budget).with_context(|| format!("source {:?}", bind.source)) {
        Ok(found) => Ok(Source::Found(found)),
        Err(err) if step.nofail && is_missing(&err) => Ok(Source::Missing),
        Err(err) => Err(err),
    }
}

fn is_missing(err: &anyhow::Error) -> bool {
    err.root_cause().downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) == Some(libc::ENOENT)
}

fn open_source(
    step: &MountStep,
    bind: &Bind,
    (userns, locked): (Option<BorrowedFd<'_>>, bool),
    tree_budget: &mut usize,
) -> Result<ResolvedSource> {
    let stat = sys_path::stat_at(AT_FDCWD, &bind.source, !bind.nofollow)?;
    if step.destination_is_proc() && !is_procfs(bind)? {
        // a fake procfs would receive what the runtime writes (SEC-4)
        bail!(coded!(MountDestination, "cannot be mounted on /proc because it is not a procfs"));
    }
    let needed = bind.shared_with_host || step.idmap.is_some();
    let tree = if needed || *tree_budget > 0 { clone_in_parent(step, bind, (userns, locked), needed)? } else { None };
    if tree.is_some() {
        *tree_budget = tree_budget.saturating_sub(1);
    }
    Ok(ResolvedSource { dir: stat.is_dir(), identity: stat.identity(), tree })
}

fn is_procfs(bind: &Bind) -> io::Result<bool> {
    let source = sys_path::openat(AT_FDCWD, &bind.source, libc::O_PATH, 0)?;
    Ok(sys_path::fs_magic(source.as_fd())? == sys_path::PROC_MAGIC)
}

fn clone_in_parent(
    step: &MountStep,
    bind: &Bind,
    (userns, locked): (Option<BorrowedFd<'_>>, bool),
    needed: bool,
) -> Result<Option<OwnedFd>> {
    let how = sys_mount::CloneFlags { recursive: bind.recursive, nofollow: bind.nofollow };
    match sys_mount::clone_tree(AT_FDCWD, &bind.source, how) {
        Ok(tree) => {
            let place = Place { in_host_group: true, locked: locked && step.idmap.is_none() };
            prepare_bind(step, bind, userns, tree.as_fd(), place)?;
            Ok(Some(tree))
        }
        Err(_) if !needed => Ok(None),
        Err(_) if sys_mount::is_old() => {
            let what = if step.idmap.is_some() { "an ID-mapped mount" } else { "a mount that propagates to the host" };
            Err(sys_mount::needs_detached(what).into())
        }
        Err(err) if err.raw_os_error() == Some(libc::EPERM) && step.idmap.is_none() => Ok(None),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Err(err).context("ID-mapped mounts need privilege"),
        Err(err) => Err(err.into()),
    }
}
