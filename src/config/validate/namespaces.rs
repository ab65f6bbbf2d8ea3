//! `linux.namespaces`, and properties that need a namespace.

use anyhow::{Result, bail};
use base::coded;
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType as Type, Spec, User};

use super::id_mappings;
use crate::config::names::SysctlKey;
use crate::id_mapping::IdMappings;

/// The kernel's limit for host and domain names (`__NEW_UTS_LEN`).
const MAX_HOST_NAME: usize = 64;

/// The namespaces of a container, looked up by type.
pub(super) struct Namespaces<'a>(&'a [LinuxNamespace]);

impl<'a> Namespaces<'a> {
    pub(super) fn of(spec: &'a Spec) -> Self {
        Self(spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default())
    }

    fn get(&self, typ: Type) -> Option<&LinuxNamespace> {
        self.0.iter().find(|namespace| namespace.typ() == typ)
    }

    /// Reports whether the container has its own namespace of the type, new or joined.
    pub(super) fn has(&self, typ: Type) -> bool {
        self.get(typ).is_some()
    }

    pub(super) fn has_user(&self) -> bool {
        self.has(Type::User)
    }

    fn is_new(&self, typ: Type) -> bool {
        self.get(typ).is_some_and(|namespace| namespace.path().is_none())
    }
}

pub(super) fn check(spec: &Spec, namespaces: &Namespaces<'_>, warnings: &mut Vec<String>) -> Result<()> {
    for (index, namespace) in namespaces.0.iter().enumerate() {
        if namespaces.0.iter().take(index).any(|other| other.typ() == namespace.typ()) {
            bail!("linux.namespaces[{index}].type: {} is given twice", type_name(namespace.typ()));
        }
        if let Some(path) = namespace.path().as_ref().filter(|path| !path.is_absolute()) {
            bail!("linux.namespaces[{index}].path: {path:?} is not an absolute path");
        }
    }
    // PR-19: without a uts namespace these would rename the host
    for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name else { continue };
        if !namespaces.has(Type::Uts) {
            bail!(coded!(ConfigRequired, "{field}: needs a uts namespace"));
        }
        if name.len() > MAX_HOST_NAME {
            bail!("{field}: has {} bytes, at most {MAX_HOST_NAME} are allowed", name.len());
        }
    }
    // as crun; runc writes the one and then the other
    let is_domain = |name: &str| SysctlKey::new(name).is_ok_and(|key| key.namespace() == Type::Uts);
    let mut sysctls = spec.linux().iter().flat_map(|linux| linux.sysctl()).flatten();
    if let Some(domain) = spec.domainname()
        && let Some((name, value)) = sysctls.find(|(name, value)| is_domain(name) && value.trim_end() != domain)
    {
        bail!("linux.sysctl: {name:?} is {value:?}, and the property \"domainname\" is {domain:?}");
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    user(linux, namespaces, warnings)?;
    if let Some(process) = spec.process().as_ref().filter(|_| namespaces.is_new(Type::User)) {
        mapped_user(process.user(), linux)?;
    }
    time(linux, namespaces)?;
    // NS-5: without a mount namespace these would hide files of the host
    for (field, paths) in [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())] {
        if paths.as_ref().is_some_and(|paths| !paths.is_empty()) && !namespaces.has(Type::Mount) {
            bail!(coded!(ConfigRequired, "linux.{field}: needs a mount namespace"));
        }
    }
    Ok(())
}

/// Checks the ID mappings of the user namespace (UM-1).
fn user(linux: &Linux, namespaces: &Namespaces<'_>, warnings: &mut Vec<String>) -> Result<()> {
    for (field, mappings) in [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())] {
        let field = format!("linux.{field}");
        let mappings: &[LinuxIdMapping] = mappings.as_deref().unwrap_or_default();
        if mappings.is_empty() {
            if namespaces.is_new(Type::User) {
                bail!(coded!(ConfigRequired, "{field}: a new user namespace needs a mapping"));
            }
            continue;
        }
        if !namespaces.has(Type::User) {
            bail!(coded!(ConfigRequired, "{field}: needs a user namespace"));
        }
        if !namespaces.is_new(Type::User) {
            warnings.push(format!("{field}: ignored, the user namespace that is joined has its own"));
        }
        id_mappings(mappings, &field)?;
    }
    Ok(())
}

/// Checks that the IDs of the process are mapped, because setresuid(2) and setgroups(2) would fail with EINVAL (PR-6).
/// Only for a new namespace: the mappings of a joined one are not known here.
fn mapped_user(user: &User, linux: &Linux) -> Result<()> {
    let (uids, gids) = (IdMappings::from(linux.uid_mappings()), IdMappings::from(linux.gid_mappings()));
    if !uids.contains(user.uid()) {
        bail!(coded!(ProcessUser, "process.user.uid: {} is not mapped in the user namespace", user.uid()));
    }
    if !gids.contains(user.gid()) {
        bail!(coded!(ProcessUser, "process.user.gid: {} is not mapped in the user namespace", user.gid()));
    }
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        if !gids.contains(*gid) {
            bail!(coded!(
                ProcessUser,
                "process.user.additionalGids[{index}]: {gid} is not mapped in the user namespace"
            ));
        }
    }
    Ok(())
}

/// Checks the clock offsets (TM-1).
fn time(linux: &Linux, namespaces: &Namespaces<'_>) -> Result<()> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else { return Ok(()) };
    if let Some(clock) = offsets.keys().find(|clock| !["monotonic", "boottime"].contains(&clock.as_str())) {
        bail!(coded!(ConfigUnknown, "linux.timeOffsets: unknown clock {clock:?} (must be monotonic or boottime)"));
    }
    if !namespaces.is_new(Type::Time) {
        bail!(coded!(ConfigRequired, "linux.timeOffsets: needs a new time namespace"));
    }
    Ok(())
}

/// The type in the spelling of the configuration; `Display` of oci-spec has the names of `/proc/PID/ns`.
pub(super) fn type_name(typ: Type) -> &'static str {
    match typ {
        Type::Mount => "mount",
        Type::Cgroup => "cgroup",
        Type::Uts => "uts",
        Type::Ipc => "ipc",
        Type::User => "user",
        Type::Pid => "pid",
        Type::Network => "network",
        Type::Time => "time",
    }
}
