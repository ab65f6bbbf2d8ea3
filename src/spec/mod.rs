//! The configuration: strict JSON, checked values, typed names; and the documents croci writes from the specification.
//!
//! ```text
//! bytes ──json──▶ Value ──front (schema, shape)──▶ oci_spec::Spec ──validate──▶ Config { spec, extra, warnings }
//! ```
//! Everything here is pure: no file is opened and the machine is not asked. All that can be known to be wrong from the
//! document alone is an error here, before any side effect (CF-7). Meaning is given to the values in `plan`.

mod defaults;
mod features;
mod front;
mod id;
pub(crate) mod json;
pub mod known;
pub mod lists;
pub mod names;
mod schema;
mod shape;
pub mod signal;
#[cfg(test)]
mod tests;
mod validate;
mod version;

use anyhow::{Result, bail};
use oci_spec::runtime::{LinuxResources, Mount, Process, Spec};
use serde_json::Value;

pub use defaults::default_config;
pub use features::{MOUNT_OPTIONS, SECCOMP_ARCHS, features};
pub use id::ContainerId;
pub use validate::COVERABLE;
pub use version::{SPEC_VERSION, SPEC_VERSION_MIN};

use lists::IdList;
use names::{CgroupPath, ClosId, IfName, SysctlKey};

/// Checks the rules between the fields of a configuration again, after a change to it.
///
/// # Errors
/// The first broken rule, with the name of the field.
pub fn check(spec: &Spec) -> Result<()> {
    validate::config(spec, &mut Vec::new()).map(drop)
}

/// A configuration that passed all checks.
#[derive(Clone, Debug)]
pub struct Config {
    /// As oci-spec has it. Empty strings of optional fields and unknown capabilities are gone, `process.user` is there.
    pub spec: Spec,
    /// What was checked into a type of its own.
    pub extra: Extra,
    /// What the user should know though it is no error.
    pub warnings: Vec<String>,
}

/// Values of a [`Spec`] whose check gave a better type than text. Lists are sorted where the source is a map.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// From `process`.
    pub process: ProcessExtra,
    /// `linux.cgroupsPath`
    pub cgroups_path: Option<CgroupPath>,
    /// `linux.sysctl`: the file below `/proc/sys` and its value.
    pub sysctls: Vec<(SysctlKey, String)>,
    /// `linux.netDevices`: the name on the host, and in the container (which may end in `%d`).
    pub net_devices: Vec<(IfName, IfName)>,
    /// `linux.intelRdt.closID`
    pub clos_id: Option<ClosId>,
    /// `linux.memoryPolicy.nodes`
    pub memory_nodes: IdList,
}

/// As [`Extra`], for one process.
#[derive(Clone, Debug, Default)]
pub struct ProcessExtra {
    /// `execCPUAffinity.initial`; none where absent or empty.
    pub initial_cpus: Option<IdList>,
    /// `execCPUAffinity.final`; none where absent or empty.
    pub final_cpus: Option<IdList>,
}

/// A process for `exec` that passed all checks.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// As oci-spec has it.
    pub process: Process,
    /// What was checked into a type of its own.
    pub extra: ProcessExtra,
    /// What the user should know though it is no error.
    pub warnings: Vec<String>,
}

/// Reads a `config.json`.
///
/// # Errors
/// One line that names the field.
pub fn parse(bytes: &[u8]) -> Result<Config> {
    let mut warnings = Vec::new();
    let spec = front::config(json::parse_object(bytes)?, &mut warnings)?;
    let extra = validate::config(&spec, &mut warnings)?;
    Ok(Config { spec, extra, warnings })
}

/// Reads the file of `exec --process`.
///
/// # Errors
/// One line that names the field, as `process.…`.
pub fn parse_process(bytes: &[u8]) -> Result<ProcessConfig> {
    let mut warnings = Vec::new();
    let process = front::process(json::parse_object(bytes)?, &mut warnings)?;
    let extra = validate::process(&process)?;
    Ok(ProcessConfig { process, extra, warnings })
}

/// Checks a process made from flags by the rules for one that was read.
///
/// # Errors
/// As [`parse_process`].
pub fn check_process(process: &Process) -> Result<ProcessExtra> {
    validate::process(process)
}

/// Reads the document of `update --resources`. Device rules in it are ignored.
///
/// # Errors
/// One line that names the field, as `linux.resources.…`.
pub fn parse_resources(bytes: &[u8]) -> Result<LinuxResources> {
    let resources = front::resources(json::parse_object(bytes)?)?;
    check_resources(&resources)?;
    Ok(resources)
}

/// Checks resources made from flags by the rules for those that were read.
///
/// # Errors
/// As [`parse_resources`].
pub fn check_resources(resources: &LinuxResources) -> Result<()> {
    validate::resources(resources)
}

/// Reads mounts for a live container: a list of mounts, or an object with the property `mounts`.
///
/// # Errors
/// One line that names the field, as `mounts[…]`.
pub fn parse_mounts(bytes: &[u8]) -> Result<Vec<Mount>> {
    let list = match json::parse(bytes)? {
        Value::Object(mut document) => match document.remove("mounts") {
            Some(list) => list,
            None => bail!("mounts: is required"),
        },
        list => list,
    };
    let mounts = front::mounts(list)?;
    validate::live_mounts(&mounts, &mut Vec::new())?;
    Ok(mounts)
}
