//! Parts of the plan of a container that exists, for later verbs, from the private copy of its configuration.

use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::sync;
use crate::cgroup;
use crate::id_mapping::IdMappings;
use crate::opened::namespaces::is_own_user;
use crate::plan;
use crate::plan::context::CgroupView;
use crate::plan::context::Hierarchy;
use crate::plan::context::RootfsContext;
use crate::plan::namespace::TYPES;
use crate::plan::process::ProcessContext;
use crate::plan::process::ProcessPlan;
use crate::plan::rootfs::RootfsPlan;
use crate::state::Record;
use base::host;

/// Plans the root file system of a container that exists again.
///
/// # Errors
/// As [`plan::rootfs::plan`].
pub(super) fn stored_rootfs(spec: &Spec, record: &Record) -> Result<RootfsPlan> {
    let given = |kind| namespace(spec.linux().as_ref(), kind);
    let context = RootfsContext {
        bundle: &record.bundle,
        user_ns: given(LinuxNamespaceType::User).is_some(),
        mount_ns: given(LinuxNamespaceType::Mount).is_some(),
        cgroup_ns: given(LinuxNamespaceType::Cgroup).is_some(),
        own_cgroup: cgroup_view(&record.cgroup),
        no_pivot: false,
        id_maps: id_mappings(spec.linux().as_ref()),
        user_ns_path: user_ns_path(spec.linux().as_ref()),
    };
    plan::rootfs::plan(spec, &context)
}

/// Returns the user and the group mappings of the configuration.
pub(super) fn id_mappings(linux: Option<&Linux>) -> (IdMappings, IdMappings) {
    linux.map(|linux| (linux.uid_mappings().into(), linux.gid_mappings().into())).unwrap_or_default()
}

/// Plans the process of a container that exists again; `None` where the configuration has no process.
///
/// # Errors
/// As [`plan::process::plan`].
pub(super) fn stored_process(spec: &Spec) -> Result<Option<ProcessPlan>> {
    let Some(process) = spec.process() else { return Ok(None) };
    let linux = spec.linux().as_ref();
    let (uid_maps, gid_maps) = id_mappings(linux);
    let user_ns = match namespace(linux, LinuxNamespaceType::User) {
        Some(Some(path)) => !std::fs::File::open(path).is_ok_and(|file| is_own_user(file.as_fd()).unwrap_or(false)),
        new => new.is_some(),
    };
    let context = ProcessContext {
        user_ns,
        setgroups_denied: host::setgroups_denied() || user_ns && sync::denies_setgroups(&gid_maps),
        uid_maps,
        gid_maps,
        available_caps: available_caps(user_ns)?,
        rootless: host::rootless(),
        keep_groups: plan::annotation::read(spec)?.keep_groups,
        ..ProcessContext::default()
    };
    plan::process::plan(process, linux, &context).map(Some)
}

/// Returns whether a container has a seccomp filter.
///
/// # Errors
/// An annotation has an invalid value.
pub(super) fn has_filter(spec: &Spec) -> Result<bool> {
    let configured = spec.linux().as_ref().is_some_and(|linux| linux.seccomp().is_some());
    Ok(configured || plan::annotation::read(spec)?.seccomp_program.is_some())
}

/// Returns the namespaces of a container that exists: the name of each, and the path of one that was joined.
pub(super) fn stored_namespaces(spec: &Spec) -> Vec<(&'static str, Option<CString>)> {
    let linux = spec.linux().as_ref();
    let found = TYPES.into_iter().filter_map(|(kind, name, _)| Some((name, namespace(linux, kind)?)));
    found.map(|(name, path)| (name, path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()))).collect()
}

/// Returns what a mount of type `cgroup` shows of the container's cgroup.
pub(super) fn cgroup_view(record: &cgroup::CgroupRecord) -> CgroupView {
    match record.dirs.as_slice() {
        [] => CgroupView::None,
        [_] if record.is_pure_v2() => CgroupView::Unified { path: record.path.clone() },
        dirs => {
            let name = |mount: &str| mount.rsplit('/').next().unwrap_or_default().to_owned();
            let one = |dir: &cgroup::CgroupDir| Hierarchy {
                name: name(&dir.mount),
                mount_point: dir.mount.clone(),
                path: record.path.clone(),
            };
            CgroupView::Legacy(dirs.iter().map(one).collect())
        }
    }
}

/// Returns the namespaces that a checkpoint leaves out and a restore joins again: name below `/proc/PID/ns`, key in the
/// images.
pub(super) fn external_namespaces(spec: &Spec) -> Vec<(&'static str, &'static str)> {
    let all = [(LinuxNamespaceType::Network, "net", NET_KEY), (LinuxNamespaceType::Pid, "pid", PID_KEY)];
    let joined = |kind| namespace(spec.linux().as_ref(), kind).flatten().is_some();
    all.into_iter().filter(|(kind, ..)| joined(*kind)).map(|(_, name, key)| (name, key)).collect()
}

/// Key of a joined network namespace in the images; other runtimes use the same.
pub(super) const NET_KEY: &str = "extRootNetNS";
/// Key of a joined pid namespace in the images; other runtimes use the same.
pub(super) const PID_KEY: &str = "extRootPidNS";

/// Returns the path of the user namespace that is joined.
pub(super) fn user_ns_path(linux: Option<&Linux>) -> Option<&Path> {
    namespace(linux, LinuxNamespaceType::User).flatten()
}

/// Returns the namespace of a type: `Some(None)` is a new one, `Some(Some(path))` one that is joined.
pub(super) fn namespace(linux: Option<&Linux>, kind: LinuxNamespaceType) -> Option<Option<&Path>> {
    let mut all = linux.and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
    let path = all.find(|namespace| namespace.typ() == kind)?.path().as_deref();
    Some(path.filter(|path| !path.as_os_str().is_empty()))
}

/// Returns the permitted capabilities of croci as a mask, which are all that the container can get; `None` in a user
/// namespace of the container's own, because its first process has them all.
pub(super) fn available_caps(user_ns: bool) -> Result<Option<u64>> {
    if user_ns {
        return Ok(None);
    }
    Ok(Some(linux::cred::capget().context("own capabilities")?.permitted))
}
