//! The root file system part of the plan: root, mounts, devices, links, masked and read-only paths.
//!
//! Pure. `rootfs::opened` opens sources on the host; `rootfs` executes the plan.

use base::coded;
use std::collections::HashSet;
use std::ffi::{CStr, CString, NulError, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use oci_spec::runtime::{Linux, Spec};

use super::annotation;
use super::context::{CgroupView, RootfsContext};
use super::device::{self, Device};
use super::mount::{self, MountKind, MountStep, PlannedRoot};
use super::mount_options::{self, Propagation};
use crate::config::path::clean;
use crate::config::path::container_path;
use crate::id_mapping::IdMappings;

/// The root file system to build.
#[derive(Debug)]
pub(crate) struct RootfsPlan {
    /// Absolute path of the root directory on the host.
    pub path: PathBuf,
    /// `root.path` as configured, for messages.
    pub configured_path: PathBuf,
    /// Propagation of `/` while the program runs.
    pub propagation: Propagation,
    /// See [`RootfsContext::mount_ns`].
    pub mount_ns: bool,
    /// See [`RootfsContext::user_ns`].
    pub user_ns: bool,
    /// See [`RootfsContext::id_maps`].
    pub id_maps: (IdMappings, IdMappings),
    /// See [`RootfsContext::cgroup_ns`].
    pub cgroup_ns: bool,
    /// See [`RootfsContext::own_cgroup`].
    pub cgroup: CgroupView,
    /// See [`RootfsContext::no_pivot`].
    pub no_pivot: bool,
    /// The container runs already, so that the child cannot open paths of the host.
    pub live: bool,
    /// The mounts, in order.
    pub steps: Vec<MountStep>,
    /// Devices to create; `None` when the host's /dev is bound and must not change.
    pub devices: Option<Vec<Device>>,
    /// Mount option and SELinux context of new file systems; ignored on a host without SELinux.
    pub mount_label: Option<(&'static CStr, CString)>,
    /// Masked paths, absolute in the container.
    pub masked: Vec<CString>,
    /// Read-only paths, absolute in the container.
    pub readonly_paths: Vec<CString>,
    /// The root becomes read-only.
    pub readonly: bool,
    /// The configuration has a read-only root, and the container has no mount namespace for it.
    pub readonly_ignored: bool,
    /// Warnings for the log.
    pub warnings: Vec<String>,
}

/// File systems of the kernel, whose source and options name no file of the host.
const WITHOUT_SOURCE: [&CStr; 14] = [
    c"proc",
    c"sysfs",
    c"tmpfs",
    c"ramfs",
    c"devpts",
    c"mqueue",
    c"cgroup2",
    c"devtmpfs",
    c"bpf",
    c"debugfs",
    c"tracefs",
    c"securityfs",
    c"hugetlbfs",
    c"binfmt_misc",
];

/// Most steps whose descriptors are open at once, because the usual limit is 1024.
const MANY_STEPS: usize = 256;

impl RootfsPlan {
    /// See [`super::ContainerPlan::can_leave_host_mounts`].
    pub(super) fn can_leave_host_mounts(&self) -> bool {
        let apart = |step: &MountStep| match &step.kind {
            MountKind::New(new) => WITHOUT_SOURCE.contains(&new.fs.as_c_str()),
            MountKind::Bind(_) | MountKind::Cgroup | MountKind::Remount { .. } => true,
        };
        !self.no_pivot && self.steps.len() <= MANY_STEPS && self.steps.iter().all(apart)
    }
}

/// Plans the container's root file system.
///
/// # Errors
/// A wrong value or combination; the error names the field of the configuration.
pub(crate) fn plan(spec: &Spec, ctx: &RootfsContext<'_>) -> Result<RootfsPlan> {
    let root = spec.root().as_ref().ok_or_else(|| anyhow!(coded!(ConfigRequired, "root: missing")))?;
    if root.path().as_os_str().is_empty() {
        bail!("root.path: empty");
    }
    container_path(root.path()).context("root.path")?;
    let no_linux = Linux::default();
    let linux = spec.linux().as_ref();
    // As runc does: without a mount namespace the host's own mount would become read-only. `rootfs::opened` warns.
    let readonly = root.readonly().unwrap_or(false);
    let (readonly, readonly_ignored) = (readonly && ctx.mount_ns, readonly && !ctx.mount_ns);
    let list = |list: Option<&Option<Vec<String>>>| list.and_then(|list| list.as_deref()).unwrap_or(&[]).to_vec();
    let mut masked = paths(&list(linux.map(Linux::masked_paths)), "linux.maskedPaths")?;
    // each mask is a mount, and a second one would cover the first
    let mut seen = HashSet::new();
    masked.retain(|path| seen.insert(clean(Path::new(OsStr::from_bytes(path.to_bytes())))));
    let readonly_paths = paths(&list(linux.map(Linux::readonly_paths)), "linux.readonlyPaths")?;
    if !ctx.mount_ns {
        refuse_without_mount_ns(&masked, &readonly_paths)?;
    }
    let propagation = match linux.and_then(|linux| linux.rootfs_propagation().as_deref()).filter(|w| !w.is_empty()) {
        Some(word) => mount_options::root_propagation(word).context("linux.rootfsPropagation")?,
        None => Propagation { kind: libc::MS_PRIVATE, recursive: false },
    };
    let mut warnings = Vec::new();
    let path = ctx.bundle.join(root.path());
    let planned_root = PlannedRoot { path: clean(&path), shared: propagation.kind == libc::MS_SHARED };
    let steps = plan_steps(spec, ctx, &planned_root, &mut warnings)?;
    let configured = linux.unwrap_or(&no_linux).devices().as_deref().unwrap_or(&[]);
    let devices = device::plan(if linux.is_some() { configured } else { &[] })?;
    let option = annotation::read(spec)?.label_option;
    let mount_label = linux.and_then(|linux| linux.mount_label().as_deref()).filter(|label| !label.is_empty());
    let mount_label = mount_label.map(|label| Ok::<_, NulError>((option, CString::new(label)?)));
    Ok(RootfsPlan {
        path,
        configured_path: root.path().clone(),
        propagation,
        mount_ns: ctx.mount_ns,
        user_ns: ctx.user_ns,
        id_maps: ctx.id_maps.clone(),
        cgroup_ns: ctx.cgroup_ns,
        cgroup: ctx.own_cgroup.clone(),
        no_pivot: ctx.no_pivot,
        devices: (!binds_dev(spec)).then_some(devices),
        live: false,
        steps,
        mount_label: mount_label.transpose().context("linux.mountLabel")?,
        masked,
        readonly_paths,
        readonly,
        readonly_ignored,
        warnings,
    })
}

fn plan_steps(
    spec: &Spec,
    ctx: &RootfsContext<'_>,
    root: &PlannedRoot,
    warnings: &mut Vec<String>,
) -> Result<Vec<MountStep>> {
    let mounts = spec.mounts().as_deref().unwrap_or(&[]);
    let mut steps = Vec::with_capacity(mounts.len());
    for (index, mount) in mounts.iter().enumerate() {
        let label = format!("mounts[{index}]: destination {:?}", mount.destination());
        if mount.destination().as_os_str().is_empty() {
            bail!(coded!(MountDestination, "mounts[{index}]: destination: missing"));
        }
        steps.push(mount::plan(mount, &label, ctx, root, warnings).with_context(|| label.clone())?);
    }
    Ok(steps)
}

/// Reports whether the configuration binds the host's /dev: it has all devices, and new nodes would change the host.
fn binds_dev(spec: &Spec) -> bool {
    let mounts = spec.mounts().as_deref().unwrap_or(&[]);
    mounts.iter().any(|mount| {
        let words = mount.options().as_deref().unwrap_or(&[]);
        clean(mount.destination()) == Path::new("/dev") && words.iter().any(|word| word == "bind" || word == "rbind")
    })
}

fn refuse_without_mount_ns(masked: &[CString], readonly_paths: &[CString]) -> Result<()> {
    for (field, is_set) in
        [("linux.maskedPaths", !masked.is_empty()), ("linux.readonlyPaths", !readonly_paths.is_empty())]
    {
        if is_set {
            bail!(coded!(ConfigRequired, "{field}: needs a mount namespace, else the host's own mounts would change"));
        }
    }
    Ok(())
}

/// Returns the cleaned paths; a relative one stays relative.
fn paths(list: &[String], field: &str) -> Result<Vec<CString>> {
    let one = |(index, path): (usize, &String)| {
        let cleaned = without_dots(path);
        if cleaned.is_empty() || clean(Path::new(&cleaned)) == Path::new("/") {
            bail!("{field}[{index}]: {path:?} is the root");
        }
        let cleaned = if path.starts_with('/') { &cleaned } else { cleaned.trim_start_matches('/') };
        CString::new(cleaned).with_context(|| format!("{field}[{index}]: {path:?}"))
    };
    list.iter().enumerate().map(one).collect()
}

/// Removes `.`, and slashes at the end, because with them the lookup would fail for a file.
fn without_dots(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").flat_map(|part| ["/", part]).collect()
}
