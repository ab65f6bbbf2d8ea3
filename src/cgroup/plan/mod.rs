//! The cgroup part of the plan: the path of the container's cgroup, and the values to write there in order.
//!
//! Pure: computes a `CgroupPlan` from the configuration and the machine's layout. `cgroup::resources` and
//! `cgroup::device` compute the values; `cgroup::create` creates the directories and writes.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxResources, Spec};

use super::device::DeviceList;
use super::layout::{self, Layout};
use super::record::{CgroupDir, CgroupRecord, Scope};
use super::resources::{self, Setting, Version};
use super::systemd::name;
use super::systemd::properties::{self, Property};
use super::systemd::wire::Value;
use crate::id_mapping::IdMappings;

/// Properties of the caller that the plan needs besides the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct CgroupOptions {
    /// `--cgroup-manager=disabled`: the container stays in the caller's cgroup.
    pub manager_disabled: bool,
    /// The caller has no privilege over the initial user namespace.
    pub rootless: bool,
    /// The reaction to a cgroup that the caller may not create.
    pub on_permission_denied: OnPermissionDenied,
    /// The caller's path in the v2 hierarchy (`layout::own_unified_path`); used only when `rootless`.
    pub own_cgroup: Option<String>,
    /// The host user who becomes the owner of the container's cgroup (`delegated_to`).
    pub delegate: Option<u32>,
    /// The service manager that creates the cgroup; `None`: croci creates it.
    pub systemd: Option<ServiceManager>,
}

/// The reaction when creation of a cgroup fails with EACCES, EPERM or EROFS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnPermissionDenied {
    /// Return the error.
    #[default]
    Fail,
    /// Skip a cgroup for which the configuration has no limits; otherwise return the error.
    SkipUnlimited,
    /// Skip the cgroup with its limits, which are then not enforced.
    Skip,
}

/// The systemd that creates scopes for the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager {
    /// The socket: a path, or `@` and an abstract name.
    pub address: String,
    /// The manager is a user's, not the system's.
    pub user: bool,
    /// All annotations of the configuration; the plan uses those for systemd.
    pub annotations: Vec<(String, String)>,
}

/// The scope to request from systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopePlan {
    /// The properties of the unit, without the first process (`PIDs`).
    pub properties: Vec<Property>,
}

/// The cgroup to create, with everything to write into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupPlan {
    /// The path and the hierarchies.
    pub record: CgroupRecord,
    /// Limits, in the order in which they are written.
    pub settings: Vec<Setting>,
    /// Access to devices; `None`: croci does not restrict it.
    pub devices: Option<DeviceList>,
    /// Host user who becomes the owner of the cgroup (CG-4).
    pub delegate: Option<u32>,
    /// Reject a memory limit below the usage (ME-4).
    pub check_before_update: bool,
    /// The reaction when a directory may not be created.
    pub on_permission_denied: OnPermissionDenied,
    /// Warnings for the log.
    pub warnings: Vec<String>,
    /// The scope, if systemd creates the cgroup; `None`: croci creates it.
    pub scope: Option<ScopePlan>,
}

impl CgroupPlan {
    /// Returns the record for the journal. Call `cgroup::probe_existing` before, which adds the directories that exist.
    pub(crate) fn record(&self) -> CgroupRecord {
        self.record.clone()
    }

    /// Defers what limits the time on the CPU, because a container's own creation should not be as slow as its program: a
    /// quota of 1 % holds it up for seconds, and on a busy host the least weight starves it. Not for a scope, of which
    /// systemd sets the limits.
    pub(crate) fn defer_cpu_time(&mut self) {
        const FILES: [&str; 8] = [
            "cpu.shares",
            "cpu.cfs_period_us",
            "cpu.cfs_quota_us",
            "cpu.cfs_burst_us",
            "cpu.idle",
            "cpu.weight",
            "cpu.max",
            "cpu.max.burst",
        ];
        let limits = |setting: &Setting| setting.candidates.iter().any(|(file, _)| FILES.contains(&file.as_ref()));
        for setting in self.settings.iter_mut().filter(|setting| self.scope.is_none() && limits(setting)) {
            setting.deferred = true;
        }
    }
}

/// Plans the container's cgroup.
///
/// Paths (CG-1): an absolute and a relative `cgroupsPath` both start at the mount point of each hierarchy; the default
/// is `/ID`. So a value always means the same cgroup, independent of the caller's. Only for an unprivileged caller on
/// v2 a relative path and the default start at the parent of its own cgroup, because the root is not writable for it.
///
/// # Errors
/// A resource that cannot be converted or enforced, or a wrong `cgroupsPath`; the error names the field.
pub(crate) fn plan(linux: Option<&Linux>, id: &str, layout: &Layout, options: &CgroupOptions) -> Result<CgroupPlan> {
    let nothing = LinuxResources::default();
    let resources = linux.and_then(|linux| linux.resources().as_ref()).unwrap_or(&nothing);
    let version = if matches!(layout, Layout::Legacy(_)) { Version::V1 } else { Version::V2 };
    let devices = DeviceList::new(resources.devices().as_deref().unwrap_or_default())?;
    if options.manager_disabled {
        return Ok(CgroupPlan::default());
    }
    let mut settings = resources::settings(resources, version)?;
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    let path = path.map(|path| path.to_str().context("linux.cgroupsPath: not valid UTF-8")).transpose()?;
    // the kernel does not let an unprivileged caller attach a program, and device nodes do not work in its user
    // namespace
    let devices = Some(devices).filter(|_| !options.rootless);
    let (record, scope) = match &options.systemd {
        Some(manager) => {
            let (record, mut scope) = plan_scope(path, id, layout, manager)?;
            scope.add_limits(&mut settings.list, devices.as_ref(), version);
            scope.add_annotations(&manager.annotations)?;
            (record, Some(scope))
        }
        None => {
            let path = resolve(path, id, &own_parent(layout, options))?;
            (CgroupRecord { path, dirs: dirs(layout), scope: None }, None)
        }
    };
    let plan = CgroupPlan {
        record,
        settings: settings.list,
        devices,
        delegate: options.delegate.filter(|_| version == Version::V2),
        check_before_update: resources.memory().is_some_and(|memory| memory.check_before_update() == Some(true)),
        on_permission_denied: options.on_permission_denied,
        warnings: settings.warnings,
        scope,
    };
    check_controllers(&plan)?;
    Ok(plan)
}

/// Plans the unit and its path. The path of a user's unit stays empty, because it is known only after creation.
fn plan_scope(
    path: Option<&str>,
    id: &str,
    layout: &Layout,
    manager: &ServiceManager,
) -> Result<(CgroupRecord, ScopePlan)> {
    ensure!(
        !manager.user || *layout == Layout::Unified,
        coded!(CgroupSystemd, "a user's systemd controls no limits but on cgroup v2")
    );
    let names = name::names(path.filter(|path| !path.is_empty()), id, manager.user)?;
    let scope_path = name::cgroup_path(&names)?;
    let (path, dirs) = if manager.user { (String::new(), Vec::new()) } else { (scope_path, dirs(layout)) };
    let text = |name, value: &str| Property::new(name, Value::Text(value.to_owned()));
    let on = |name| Property::new(name, Value::Bool(true));
    let properties = vec![
        text("Description", &format!("croci container {id}")),
        text("Slice", &names.slice),
        // the name of a failed unit can be used again without `systemctl reset-failed`
        text("CollectMode", "inactive-or-failed"),
        Property::new("DefaultDependencies", Value::Bool(false)),
        on("Delegate"),
        on("CPUAccounting"),
        on("IOAccounting"),
        on("MemoryAccounting"),
        on("TasksAccounting"),
    ];
    let scope = Scope { unit: names.unit, address: manager.address.clone(), user: manager.user };
    Ok((CgroupRecord { path, dirs, scope: Some(scope) }, ScopePlan { properties }))
}

impl ScopePlan {
    fn add_limits(&mut self, settings: &mut [Setting], devices: Option<&DeviceList>, version: Version) {
        if version == Version::V2 {
            // the placeholder of the scope counts besides init
            for setting in settings.iter_mut() {
                setting.deferred |= setting
                    .candidates
                    .iter()
                    .any(|(file, text)| file == "pids.max" && matches!(text.trim(), "0" | "1"));
            }
            self.properties.extend(properties::from_settings(settings));
        }
        self.properties.extend(devices.map(properties::from_devices).unwrap_or_default());
    }

    fn add_annotations(&mut self, annotations: &[(String, String)]) -> Result<()> {
        for (key, text) in annotations {
            if let Some(property) = super::systemd::annotation::property(key, text)? {
                self.properties.retain(|other| other.name != property.name);
                self.properties.push(property);
            }
        }
        Ok(())
    }
}

/// Returns the host user who becomes the owner of the container's cgroup by the conditions of the specification (CG-4):
/// a new cgroup namespace and a writable cgroup mount at `/sys/fs/cgroup`. `None` for root, who needs no change.
pub(crate) fn delegated_to(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let own_namespace = |typ| {
        let mut list = linux.namespaces().iter().flatten();
        list.any(|ns| ns.typ() == typ && ns.path().is_none())
    };
    let writable = spec.mounts().iter().flatten().any(|mount| {
        let mount_options: Vec<&str> = mount.options().iter().flatten().map(String::as_str).collect();
        mount.destination().as_os_str() == layout::MOUNT
            && mount.source().as_ref().is_some_and(|source| source.as_os_str() == "cgroup")
            && mount_options.iter().rfind(|option| matches!(**option, "ro" | "rw")) != Some(&"ro")
    });
    if !own_namespace(LinuxNamespaceType::Cgroup) || !writable {
        return None;
    }
    let uid = spec.process().as_ref()?.user().uid();
    let host = if own_namespace(LinuxNamespaceType::User) {
        IdMappings::from(linux.uid_mappings()).to_host(uid)?
    } else {
        uid
    };
    (host != 0).then_some(host)
}

fn dirs(layout: &Layout) -> Vec<CgroupDir> {
    match layout {
        Layout::None => Vec::new(),
        Layout::Unified => vec![CgroupDir { mount: layout::MOUNT.to_owned(), unified: true, ..CgroupDir::default() }],
        Layout::Legacy(list) => list
            .iter()
            .map(|h| CgroupDir {
                mount: h.mount.clone(),
                controllers: h.controllers.clone(),
                unified: h.unified,
                created_depth: 0,
            })
            .collect(),
    }
}

/// Returns the cgroup in which an unprivileged caller may create others: the parent of its own, because a cgroup with
/// processes cannot enable controllers for children (no internal processes).
fn own_parent(layout: &Layout, options: &CgroupOptions) -> String {
    if !options.rootless || *layout != Layout::Unified {
        return String::new();
    }
    let own = options.own_cgroup.as_deref().unwrap_or_default();
    own.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())
}

/// Resolves `cgroupsPath` to a path below the mount points (CG-1). `base`: the parent of a relative path.
fn resolve(path: Option<&str>, id: &str, base: &str) -> Result<String> {
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Ok(format!("{base}/{id}"));
    };
    let mut clean = if path.starts_with('/') { String::new() } else { base.to_owned() };
    let start = clean.len();
    for part in path.split('/') {
        match part {
            "" | "." => continue,
            ".." => bail!("linux.cgroupsPath: {path:?} contains \"..\""),
            part if part.contains(['\0', '\n']) => bail!("linux.cgroupsPath: {path:?} is not a path of a cgroup"),
            part => {
                clean.push('/');
                clean.push_str(part);
            }
        }
    }
    ensure!(clean.len() > start, "linux.cgroupsPath: {path:?} names no cgroup of its own");
    Ok(clean)
}

/// Refuses a limit whose controller is not mounted. On v2 the check is in `create`, which enables the controllers.
fn check_controllers(plan: &CgroupPlan) -> Result<()> {
    let dirs = &plan.record.dirs;
    // a user's systemd requires cgroup v2
    if plan.record.is_pure_v2() || plan.scope.is_some() && dirs.is_empty() {
        return Ok(());
    }
    for setting in &plan.settings {
        ensure!(
            dirs.iter().any(|dir| dir.has(&setting.controller)),
            coded!(
                CgroupController,
                "linux.resources.{}: the cgroup controller {:?} is not mounted on this machine",
                setting.field,
                setting.controller
            )
        );
    }
    let enforced = dirs.iter().any(|dir| dir.unified || dir.has("devices"));
    ensure!(
        enforced || plan.devices.as_ref().is_none_or(DeviceList::allows_everything),
        "linux.resources.devices: no cgroup hierarchy on this machine controls devices (--cgroup-manager disabled: a container \
         without any limit)"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
