//! One mount step in the child: a detached mount is created or cloned, then attached to the opened mount point.
//!
//! `rootfs::cgroupfs` mounts `type: cgroup`; `rootfs::copyup` copies for `tmpcopyup`.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::bind::{Place, apply_idmap, prepare_bind, set_flags};
use super::opened::{ResolvedSource, Source, Step};
use super::path::{self, FileKind};
use super::root::Root;
use super::{Host, cgroupfs, copyup, long_options, procfs};
use crate::plan::mount::Bind;
use crate::plan::mount::FsOption;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use crate::plan::mount::NewFs;
use crate::plan::mount::SymlinkPolicy;
use linux::mount as sys_mount;
use linux::mount::ATTR_ATIME_MASK;
use linux::mount::ATTR_RDONLY;
use linux::mount::CloneFlags;
use linux::mount::FsContext;
use linux::mount::MountAttr;
use linux::path as sys_path;

/// A step, and what it uses of the host.
type InHost<'a> = (Step<'a>, &'a Host<'a>);

/// Executes one step.
///
/// # Errors
/// The kernel refuses the mount, or the mount point cannot be opened or created.
pub(super) fn mount(root: &mut Root, step: Step<'_>, host: &Host<'_>) -> Result<()> {
    match (&step.planned.kind, step.source) {
        (MountKind::Bind(_), Source::Missing) => Ok(()),
        (MountKind::Bind(_), Source::Symlink(target)) => symlink(root, step.planned, target),
        (MountKind::Bind(bind), Source::Found(found)) => bind_mount(root, (step, host), bind, found),
        (MountKind::Bind(bind), Source::Inside) => bind_inside(root, (step, host), bind),
        (MountKind::Bind(_), Source::None) => bail!("the source was not opened"),
        (MountKind::New(new), _) => new_mount(root, (step, host), new),
        (MountKind::Cgroup, _) => cgroupfs::mount(root, step, host),
        (MountKind::Remount { options }, _) => remount(root, step.planned, options),
    }
}

fn bind_mount(root: &mut Root, (step, host): InHost<'_>, bind: &Bind, found: &ResolvedSource) -> Result<()> {
    let parent_tree = found.tree.as_ref().map(|tree| tree.as_fd());
    let planned = step.planned;
    // in a running container a path would be resolved in the container, and init may have left the host's mounts
    let elsewhere = step.plan.live || step.opened.taken.is_some();
    if let Some(tree) = parent_tree.filter(|_| planned.idmap.is_some() || bind.shared_with_host || elsewhere) {
        return attach_bind(root, (step, host), bind, found.dir, tree);
    }
    // cloned in the child, because then flags of the host's mount stay locked for a user namespace (MT-9)
    match (clone_source(bind, found), parent_tree) {
        (Ok(tree), _) => {
            let place = Place { in_host_group: !step.plan.mount_ns, locked: false };
            prepare_bind(planned, bind, step.userns(), tree.as_fd(), place)?;
            attach_bind(root, (step, host), bind, found.dir, tree.as_fd())
        }
        (Err(_), Some(tree)) => attach_bind(root, (step, host), bind, found.dir, tree),
        (Err(err), None) => Err(err),
    }
}

/// Binds a file or tree of the container's root, which may be of an earlier mount. The path is resolved inside the root,
/// because the image is hostile.
fn bind_inside(root: &mut Root, (step, host): InHost<'_>, bind: &Bind) -> Result<()> {
    let planned = step.planned;
    let source = || format!("source {:?}", bind.source);
    let path = bind.inside.as_deref().unwrap_or(c"/");
    let follow = if bind.nofollow || bind.copy_symlink { SymlinkPolicy::NoFollowLast } else { SymlinkPolicy::Follow };
    let mut found = match path::open(root.fd(), path, follow, 0) {
        Err(err) if planned.nofail && err.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        found => found.with_context(source)?,
    };
    if bind.copy_symlink && sys_path::fstat(found.as_fd())?.is_symlink() {
        return symlink(root, planned, &sys_path::readlinkat(found.as_fd(), c"")?);
    }
    let magic = sys_path::fs_magic(found.as_fd())?;
    if planned.destination_is_proc() && magic != sys_path::PROC_MAGIC {
        bail!(coded!(MountDestination, "cannot be mounted on /proc because it is not a procfs"));
    }
    let dir = sys_path::fstat(found.as_fd())?.is_dir();
    found = sys_mount::clone_fd(found.as_fd(), bind.recursive).with_context(source)?;
    let tree = found.as_fd();
    let place = Place { in_host_group: !step.plan.mount_ns, locked: false };
    set_flags(planned, bind, tree, place)?;
    match &planned.idmap {
        // the kernel refuses it to the user namespace, which has no rights over the file system
        Some(_) if step.plan.user_ns => (host.idmap_outside)(step.index, tree)?,
        Some(idmap) => apply_idmap(idmap, step.userns(), tree)?,
        None => {}
    }
    attach_bind(root, (step, host), bind, dir, tree)
}

/// Clones the source of a bind mount from this namespace's mounts.
///
/// # Errors
/// As open_tree(2); the path leads to another file than before.
pub(super) fn clone_source(bind: &Bind, found: &ResolvedSource) -> Result<OwnedFd> {
    let how = CloneFlags { recursive: bind.recursive, nofollow: bind.nofollow };
    let clone = || {
        let tree = sys_mount::clone_tree(AT_FDCWD, &bind.source, how)?;
        if sys_path::fstat(tree.as_fd())?.identity() != found.identity {
            bail!(coded!(MountFailed, "changed while the container was being created"));
        }
        Ok(tree)
    };
    clone().with_context(|| format!("source {:?}", bind.source))
}

fn attach_bind(root: &mut Root, (step, host): InHost<'_>, bind: &Bind, dir: bool, tree: BorrowedFd<'_>) -> Result<()> {
    let mount_point = root.open_mount_point(step, if dir { FileKind::Dir } else { FileKind::File }, host)?;
    if !dir && sys_path::fstat(mount_point.as_fd())?.is_dir() {
        // the kernel returns EINVAL; callers look for this text
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR))
            .code(Code::MountDestination, "a file cannot be mounted on a directory");
    }
    root.attach(step.plan.live, tree, mount_point.as_fd())?;
    if step.planned.destination_is_root() {
        // later mounts and the change of root are in what covers the root now
        root.fd = sys_path::dup(tree)?;
    }
    if dir && bind.recursive { protect_cgroups(step, tree) } else { Ok(()) }
}

/// Makes the host's cgroup file systems below a bind of the host's sysfs read-only, unless a later entry of the
/// configuration covers them. Flags such as `ro` are of the one mount, and the user may own cgroups of other
/// containers.
fn protect_cgroups(step: Step<'_>, tree: BorrowedFd<'_>) -> Result<()> {
    if sys_path::fs_magic(tree)? != sys_path::SYSFS_MAGIC {
        return Ok(());
    }
    // below a bind of /sys and of /sys/fs
    for below in [c"fs/cgroup", c"cgroup"] {
        let mount_point = match path::open(tree, below, SymlinkPolicy::NoSymlinks, libc::O_DIRECTORY) {
            Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR, libc::ELOOP]) => continue,
            mount_point => mount_point.with_context(|| format!("look for the host's cgroups at {below:?}"))?,
        };
        let destination = step.planned.cleaned_destination().join(OsStr::from_bytes(below.to_bytes()));
        let mut later = Step::all(step.plan, step.opened).skip(step.index + 1);
        let covers = |other: Step<'_>| other.attaches() && other.planned.cleaned_destination() == destination;
        if !sys_mount::is_root(mount_point.as_fd())? || later.any(covers) {
            continue;
        }
        let readonly = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
        sys_mount::set_attr(mount_point.as_fd(), true, readonly)
            .code(Code::MountFailed, "making the host's cgroups read-only")?;
    }
    Ok(())
}

fn new_mount(root: &mut Root, (step, host): InHost<'_>, new: &NewFs) -> Result<()> {
    let planned = step.planned;
    let (mount_point, existed) = {
        let before = root.created.len();
        (root.open_mount_point(step, FileKind::Dir, host)?, root.created.len() == before)
    };
    let covered = Covered { fd: mount_point.as_fd(), existed };
    let created = match &root.pid_namespace {
        Some(pid_namespace) if new.fs.as_c_str() == c"proc" => create_procfs(step, new, covered, pid_namespace.as_fd()),
        _ if long_options::any(&new.options) => create_long(step, new, covered, host.proc_dir),
        _ => create_fs(step, new, covered, None),
    };
    // rootless in the host's network namespace the kernel refuses a new sysfs: bind the host's
    let is_host_sysfs = new.fs.as_c_str() == c"sysfs"
        && created.as_ref().is_err_and(|err| err.is_errno(&[libc::EPERM]))
        && super::in_user_namespace(step.plan);
    let tree = if is_host_sysfs {
        root.warn(format!(
            "{}: the kernel refuses a new sysfs to this user namespace, the host's is bound",
            planned.label
        ));
        host_sysfs(planned)?
    } else {
        created?
    };
    for change in planned.propagation.iter().filter(|p| matches!(p.kind, libc::MS_SHARED | libc::MS_UNBINDABLE)) {
        let change = MountAttr { propagation: change.kind, ..MountAttr::default() };
        sys_mount::set_attr(tree.as_fd(), false, change).context("propagation")?;
    }
    if let Some(idmap) = &planned.idmap {
        apply_idmap(idmap, step.userns(), tree.as_fd())?;
    }
    root.attach(step.plan.live, tree.as_fd(), mount_point.as_fd())?;
    if is_host_sysfs {
        protect_cgroups(step, tree.as_fd())?;
    }
    if new.late_readonly {
        root.late_readonly.push(tree);
    }
    Ok(())
}

/// The directory that a new file system covers.
#[derive(Clone, Copy)]
struct Covered<'a> {
    fd: BorrowedFd<'a>,
    /// It was there before: the image's, or an earlier mount's.
    existed: bool,
}

fn create_procfs(step: Step<'_>, new: &NewFs, covered: Covered<'_>, pid_namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    let fs = FsContext::open(&new.fs).map_err(|err| explain_fsopen(err, &new.fs))?;
    if procfs::set_pid_namespace(&fs, pid_namespace).context("proc of the pid namespace that is joined")? {
        return create_fs(step, new, covered, Some(fs));
    }
    procfs::create_inside(pid_namespace, &|| create_fs(step, new, covered, None))
}

/// Creates a file system with an option that is too long for fsconfig(2), and returns its detached mount.
fn create_long(step: Step<'_>, new: &NewFs, covered: Covered<'_>, proc_dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let fs = FsContext::open(&new.fs).map_err(|err| explain_fsopen(err, &new.fs))?;
    if long_options::is_by_directory(&fs, new) {
        return create_fs(step, new, covered, None);
    }
    let tree = long_options::mount(new, label_of(step, new), covered.fd, proc_dir)?;
    let deferred = if new.late_readonly { ATTR_RDONLY } else { 0 };
    let change = MountAttr { set: step.planned.attr.set & !deferred, clear: ATTR_ATIME_MASK, propagation: 0 };
    sys_mount::set_attr(tree.as_fd(), false, change).context("mount flags")?;
    Ok(tree)
}

/// Returns option and value of the label of a new file system.
fn label_of<'a>(step: Step<'a>, new: &NewFs) -> Option<(&'a CStr, &'a CStr)> {
    let label = step.plan.mount_label.as_ref().filter(|_| step.opened.labels && accepts_label(&new.fs));
    label.map(|(option, label)| (*option, label.as_c_str()))
}

/// Creates a file system and returns its detached mount. `context` has options already; `None`: start a new one.
fn create_fs(step: Step<'_>, new: &NewFs, covered: Covered<'_>, context: Option<FsContext>) -> Result<OwnedFd> {
    let fs = match context {
        Some(fs) => fs,
        None => FsContext::open(&new.fs).map_err(|err| explain_fsopen(err, &new.fs))?,
    };
    configure(&fs, c"source", Some(&new.source))?;
    if let Some((option, label)) = label_of(step, new) {
        configure(&fs, option, Some(label))?;
    }
    for option in &new.options {
        if !long_options::set_lowerdir(&fs, new, option)? {
            configure(&fs, &option.key, option.value.as_deref())?;
        }
    }
    if covered.existed && new.fs.as_c_str() == c"tmpfs" {
        inherit_attributes(&fs, new, covered.fd)?;
    }
    fs.create().map_err(|err| {
        let denied = err.is_errno(&[libc::EPERM]) && super::in_user_namespace(step.plan);
        let err = explain(&fs, err, || format!("{:?} with {}", new.fs, format_options(&new.options)));
        match new.fs.as_c_str() {
            _ if !denied => err,
            fs if fs == c"proc" => Code::MountDenied.add_to(
                err,
                "in a user namespace procfs needs a pid namespace of its own, and nothing mounted over the host's /proc",
            ),
            fs if fs == c"sysfs" => {
                Code::MountDenied.add_to(err, "in a user namespace sysfs needs a network namespace of its own")
            }
            fs if !in_user_namespaces(fs) => {
                Code::MountDenied.add_to(err, format!("{fs:?} cannot be mounted in a user namespace"))
            }
            _ => err,
        }
    })?;
    let deferred = if new.late_readonly { ATTR_RDONLY } else { 0 };
    let tree = fs.mount(step.planned.attr.set & !deferred).with_context(|| format!("{:?}", new.fs))?;
    if new.copyup {
        copyup::copy(covered.fd, tree.as_fd(), &new.options).context("tmpcopyup")?;
    }
    Ok(tree)
}

/// Gives a tmpfs mode and owner of the directory that it covers, unless its options set them, as runc does with the mode.
fn inherit_attributes(fs: &FsContext, new: &NewFs, covered: BorrowedFd<'_>) -> Result<()> {
    let stat = sys_path::fstat(covered)?;
    let is_set = |name: &CStr| new.options.iter().any(|option| option.key.as_c_str() == name);
    if !is_set(c"mode") {
        configure(fs, c"mode", Some(&CString::new(format!("{:o}", stat.permissions()))?))?;
    }
    for (key, id) in [(c"uid", stat.owner().0), (c"gid", stat.owner().1)] {
        if id != 0 && !is_set(key) {
            // EINVAL: the user namespace has no such ID
            let _ = fs.option(key, Some(&CString::new(id.to_string())?));
        }
    }
    Ok(())
}

/// Reports whether SELinux accepts `context=` and similar options for a file system; not for those of the kernel
/// (LX-4).
fn accepts_label(fs: &CStr) -> bool {
    ![c"proc", c"sysfs", c"cgroup", c"cgroup2", c"devtmpfs", c"nsfs"].contains(&fs)
}

/// Reports whether the kernel lets user namespaces mount a file system (FS_USERNS_MOUNT), if only under conditions.
fn in_user_namespaces(fs: &CStr) -> bool {
    const KNOWN: &[&CStr] = &[
        c"proc", c"sysfs", c"tmpfs", c"ramfs", c"devpts", c"mqueue", c"cgroup", c"cgroup2", c"overlay", c"fuse",
        c"binder",
    ];
    KNOWN.contains(&fs)
}

fn explain_fsopen(err: io::Error, fs: &CStr) -> anyhow::Error {
    let hint = match err.raw_os_error() {
        Some(libc::ENODEV) => format!("type {fs:?}: the kernel has no such file system"),
        _ => format!("type {fs:?}"),
    };
    anyhow::Error::new(err).context(hint)
}

/// Adds the kernel's message to the error, because it names the cause better than EINVAL (MT-7).
fn explain(fs: &FsContext, err: io::Error, what: impl FnOnce() -> String) -> anyhow::Error {
    let text = match fs.message() {
        Some(message) => format!("{}: {message}", what()),
        None => what(),
    };
    anyhow::Error::new(err).context(text)
}

fn configure(fs: &FsContext, key: &CStr, value: Option<&CStr>) -> Result<()> {
    fs.option(key, value).map_err(|err| {
        explain(fs, err, || match value {
            Some(value) => format!("option \"{}={}\"", key.to_string_lossy(), value.to_string_lossy()),
            None => format!("option {key:?}"),
        })
    })
}

fn format_options(options: &[FsOption]) -> String {
    let one = |option: &FsOption| match &option.value {
        Some(value) => format!("{}={}", option.key.to_string_lossy(), value.to_string_lossy()),
        None => option.key.to_string_lossy().into_owned(),
    };
    format!("options {:?}", options.iter().map(one).collect::<Vec<_>>().join(","))
}

fn host_sysfs(step: &MountStep) -> Result<OwnedFd> {
    let how = CloneFlags { recursive: true, nofollow: true };
    let tree = sys_mount::clone_tree(AT_FDCWD, c"/sys", how).context("bind of the host's /sys")?;
    // no flag is cleared, because flags of the host's mount may be locked
    let change = MountAttr { set: step.attr.set, clear: 0, propagation: libc::MS_SLAVE };
    sys_mount::set_attr(tree.as_fd(), true, change).context("bind of the host's /sys: setting mount flags")?;
    Ok(tree)
}

/// Changes the mount at the destination; follows no symlink of the image. Refuses a procfs or sysfs, because its flags
/// and the mounts on it are protections.
fn remount(root: &mut Root, step: &MountStep, options: &[FsOption]) -> Result<()> {
    let mount_point = path::open(root.fd(), &step.destination, SymlinkPolicy::NoSymlinks, 0).context("remount")?;
    if matches!(sys_path::fs_magic(mount_point.as_fd())?, sys_path::PROC_MAGIC | sys_path::SYSFS_MAGIC) {
        bail!(coded!(MountOptions, "remount: a procfs or sysfs cannot be changed"));
    }
    if !options.is_empty() {
        let fs = FsContext::pick(mount_point.as_fd()).context("remount")?;
        for FsOption { key, value } in options {
            configure(&fs, key, value.as_deref())?;
        }
        fs.reconfigure().map_err(|err| explain(&fs, err, || format!("remount with {}", format_options(options))))?;
    }
    let mut changes = vec![MountAttr { set: step.attr.set, clear: step.attr.clear, propagation: 0 }];
    changes.extend(step.propagation.iter().map(|p| MountAttr { propagation: p.kind, ..MountAttr::default() }));
    for change in changes.into_iter().filter(|change| *change != MountAttr::default()) {
        sys_mount::set_attr(mount_point.as_fd(), false, change).context("remount")?;
    }
    Ok(())
}

/// Creates the symlink that the source is at the destination (`copy-symlink`).
fn symlink(root: &mut Root, step: &MountStep, target: &CStr) -> Result<()> {
    let mut created = Vec::new();
    let parent = path::open_parent(root.fd(), &step.destination, &mut created);
    root.created.append(&mut created);
    let (parent, name) = parent?;
    match sys_path::symlinkat(target, parent.as_fd(), &name) {
        Ok(()) => {
            root.created.push(path::CreatedPath::new(parent, name, FileKind::File));
            Ok(())
        }
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {
            if sys_path::readlinkat(parent.as_fd(), &name).is_ok_and(|existing| existing.as_c_str() == target) {
                return Ok(());
            }
            bail!(coded!(MountDestination, "copy-symlink: something else exists there"));
        }
        Err(err) => Err(err).context("copy-symlink"),
    }
}
