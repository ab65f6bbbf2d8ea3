//! The cgroup part of the plan: where the container's cgroup is, and what is written there in which order.
//!
//! Pure: it reads the configuration and the machine's layout and returns `CgroupPlan`. The bytes come from
//! `cgroup::resources` and `cgroup::device`; directories and writes are `cgroup::create`.

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxResources, Spec};

use super::device::DeviceList;
use super::layout::{self, Layout};
use super::record::{CgroupDir, CgroupRecord, Scope};
use super::resources::{self, Setting, Version};
use super::systemd::name;
use super::systemd::properties::{self, Property};
use super::systemd::wire::Value;
use crate::id_mapping::IdMappings;

/// What the plan must know of the caller besides the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct CgroupOptions {
    /// `--cgroup-manager=disabled`: the container stays in the caller's cgroup.
    pub manager_disabled: bool,
    /// The caller has no privilege over the initial user namespace.
    pub rootless: bool,
    /// A cgroup that the caller may not make is left out.
    pub on_permission_denied: OnPermissionDenied,
    /// The caller's own place in the v2 hierarchy (`layout::own_unified_path`); used only when `rootless`.
    pub own_cgroup: Option<String>,
    /// The host user who gets the container's cgroup (`delegated_to`).
    pub delegate: Option<u32>,
    /// The service manager that shall make the cgroup.
    pub systemd: Option<ServiceManager>,
}

/// When a cgroup that cannot be had for want of permission is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnPermissionDenied {
    /// Never: that is an error.
    #[default]
    Fail,
    /// When nothing is to be written there.
    SkipUnlimited,
    /// Also with limits, which are then not enforced.
    Skip,
}

/// The systemd that makes scopes for the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager {
    /// Its socket.
    pub address: String,
    /// A user's, not the machine's.
    pub user: bool,
    /// The configuration's annotations; those for systemd are looked for among them.
    pub annotations: Vec<(String, String)>,
}

/// What systemd is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopePlan {
    /// All but the first process.
    pub properties: Vec<Property>,
}

/// All that `cgroup::create` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupPlan {
    /// Where.
    pub record: CgroupRecord,
    /// Limits, in the order of writing.
    pub settings: Vec<Setting>,
    /// Access to devices; `None`: not ours to restrict.
    pub devices: Option<DeviceList>,
    /// Host user who gets the cgroup (CG-4).
    pub delegate: Option<u32>,
    /// Reject a memory limit below the usage (ME-4).
    pub check_before_update: bool,
    /// What is done when a directory may not be created.
    pub on_permission_denied: OnPermissionDenied,
    /// For the log.
    pub warnings: Vec<String>,
    /// How systemd makes it; `None`: croci does.
    pub scope: Option<ScopePlan>,
}

impl CgroupPlan {
    /// What the journal holds. Call `cgroup::survey` before, which finds out which directories are there already.
    pub(crate) fn record(&self) -> CgroupRecord {
        self.record.clone()
    }
}

/// Decides everything about the container's cgroup.
///
/// Places (CG-1): an absolute `cgroupsPath` is relative to the mount point of each hierarchy, and so is a relative one;
/// without one it is `/ID`. So the same value always means the same place, wherever the runtime was called from.
/// Only an unprivileged caller on v2, to whom the top is closed, gets the latter two beside its own cgroup.
pub(crate) fn plan(linux: Option<&Linux>, id: &str, layout: &Layout, situation: &CgroupOptions) -> Result<CgroupPlan> {
    let nothing = LinuxResources::default();
    let resources = linux.and_then(|linux| linux.resources().as_ref()).unwrap_or(&nothing);
    let version = if matches!(layout, Layout::Legacy(_)) { Version::V1 } else { Version::V2 };
    let devices = DeviceList::new(resources.devices().as_deref().unwrap_or_default())?;
    if situation.manager_disabled {
        return Ok(CgroupPlan::default());
    }
    let mut settings = resources::settings(resources, version)?;
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    let path = path.map(|path| path.to_str().context("linux.cgroupsPath: not valid UTF-8")).transpose()?;
    // device files are of no use in a user namespace that the caller could not have made otherwise, and the kernel does
    // not let an unprivileged caller attach a program
    let devices = Some(devices).filter(|_| !situation.rootless);
    let (record, scope) = match &situation.systemd {
        Some(manager) => {
            let (record, mut scope) = plan_scope(path, id, layout, manager)?;
            scope.add_limits(&mut settings.list, devices.as_ref(), version);
            scope.add_annotations(&manager.annotations)?;
            (record, Some(scope))
        }
        None => {
            let path = resolve(path, id, &own_parent(layout, situation))?;
            (CgroupRecord { path, dirs: dirs(layout), scope: None }, None)
        }
    };
    let plan = CgroupPlan {
        record,
        settings: settings.list,
        devices,
        delegate: situation.delegate.filter(|_| version == Version::V2),
        check_before_update: resources.memory().is_some_and(|memory| memory.check_before_update() == Some(true)),
        on_permission_denied: situation.on_permission_denied,
        warnings: settings.warnings,
        scope,
    };
    check_controllers(&plan)?;
    Ok(plan)
}

/// The names of the container's unit and its place; that of a user's unit is known when it is created.
fn plan_scope(
    path: Option<&str>,
    id: &str,
    layout: &Layout,
    manager: &ServiceManager,
) -> Result<(CgroupRecord, ScopePlan)> {
    ensure!(!manager.user || *layout == Layout::Unified, "a user's systemd controls no limits but on cgroup v2");
    let names = name::names(path.filter(|path| !path.is_empty()), id, manager.user)?;
    let place = name::place(&names)?;
    let (path, dirs) = if manager.user { (String::new(), Vec::new()) } else { (place, dirs(layout)) };
    let text = |name, value: &str| Property::new(name, Value::Text(value.to_owned()));
    let on = |name| Property::new(name, Value::Bool(true));
    let properties = vec![
        text("Description", &format!("croci container {id}")),
        text("Slice", &names.slice),
        // no administrator has to look at a container that failed before its name can be used again
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
            // besides init there is the process that the scope begins with
            for setting in settings.iter_mut() {
                setting.deferred |= setting
                    .candidates
                    .iter()
                    .any(|(file, text)| file == "pids.max" && matches!(text.trim(), "0" | "1"));
            }
            self.properties.extend(properties::of_settings(settings));
        }
        self.properties.extend(devices.map(properties::of_devices).unwrap_or_default());
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

/// Whom the container's cgroup shall belong to, by the conditions of the specification (CG-4): a cgroup namespace of its
/// own and a writable cgroup mount at the usual place. The answer is a host user; root needs no change.
pub(crate) fn delegated_to(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let own_namespace = |typ| {
        let mut list = linux.namespaces().iter().flatten();
        list.any(|ns| ns.typ() == typ && ns.path().is_none())
    };
    let writable = spec.mounts().iter().flatten().any(|mount| {
        let options: Vec<&str> = mount.options().iter().flatten().map(String::as_str).collect();
        mount.destination().as_os_str() == layout::MOUNT
            && mount.source().as_ref().is_some_and(|source| source.as_os_str() == "cgroup")
            && options.iter().rfind(|option| matches!(**option, "ro" | "rw")) != Some(&"ro")
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
                made: 0,
            })
            .collect(),
    }
}

/// Where an unprivileged caller may make cgroups: beside its own, for one that has processes cannot have controllers
/// for children (no internal processes).
fn own_parent(layout: &Layout, situation: &CgroupOptions) -> String {
    if !situation.rootless || *layout != Layout::Unified {
        return String::new();
    }
    let own = situation.own_cgroup.as_deref().unwrap_or_default();
    own.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())
}

/// The path below the mount points; never above them (CG-1).
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

/// A limit that nothing could enforce is an error, naming the limit. On v2 the controllers are known when they are enabled.
fn check_controllers(plan: &CgroupPlan) -> Result<()> {
    let dirs = &plan.record.dirs;
    // a user's systemd is on cgroup v2
    if plan.record.is_pure_v2() || plan.scope.is_some() && dirs.is_empty() {
        return Ok(());
    }
    for setting in &plan.settings {
        ensure!(
            dirs.iter().any(|dir| dir.has(&setting.controller)),
            "linux.resources.{}: the cgroup controller {:?} is not mounted on this machine",
            setting.field,
            setting.controller
        );
    }
    let enforced = dirs.iter().any(|dir| dir.unified || dir.has("devices"));
    ensure!(
        enforced || plan.devices.as_ref().is_none_or(DeviceList::allows_everything),
        "linux.resources.devices: no cgroup hierarchy on this machine controls devices"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
