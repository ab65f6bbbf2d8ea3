//! The configuration: strict JSON, checked values, typed names; and the documents croci writes from the specification.
//!
//! ```text
//! bytes ──json──▶ Value ──normalize (schema)──▶ Value ──typed──▶ oci_spec::Spec ──validate──▶ Config { spec, warnings }
//! ```
//! Everything here is pure: no file is opened and the machine is not asked. All that can be known to be wrong from the
//! document alone is an error here, before any side effect (CF-7). Meaning is given to the values in `plan`.

pub mod enums;
mod features;
mod id;
mod json_type;
pub mod names;
mod normalize;
pub mod path;
mod schema;
#[cfg(test)]
mod tests;
mod typed;
mod validate;
mod version;

use anyhow::{Result, bail};
pub use base::default_config::default_config;
use base::json;
use oci_spec::runtime::{LinuxResources, Mount, Process, Spec};
use serde_json::Value;

pub use features::{MOUNT_OPTIONS, SECCOMP_ARCHS, features};
pub use id::ContainerId;
pub use validate::PROC_MOUNT_ALLOWLIST;
pub use version::{SPEC_VERSION, SPEC_VERSION_MIN};

/// Checks the rules between the fields of a configuration again, after a change to it.
///
/// # Errors
/// The first broken rule, with the name of the field.
pub fn check(spec: &Spec) -> Result<()> {
    validate::config(spec, &mut Vec::new())
}

/// A configuration that passed all checks.
#[derive(Clone, Debug)]
pub struct Config {
    /// As oci-spec has it. Empty strings of optional fields and unknown capabilities are gone, `process.user` is there.
    pub spec: Spec,
    /// What the user should know though it is no error.
    pub warnings: Vec<String>,
}

/// A process for `exec` that passed all checks.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// As oci-spec has it.
    pub process: Process,
    /// What the user should know though it is no error.
    pub warnings: Vec<String>,
}

/// Reads a `config.json`.
///
/// # Errors
/// One line that names the field.
pub fn parse(bytes: &[u8]) -> Result<Config> {
    let mut warnings = Vec::new();
    let spec = typed::spec(normalize::config(json::parse_object(bytes)?, &mut warnings)?)?;
    validate::config(&spec, &mut warnings)?;
    Ok(Config { spec, warnings })
}

/// Reads the file of `exec --process`.
///
/// # Errors
/// One line that names the field, as `process.…`.
pub fn parse_process(bytes: &[u8]) -> Result<ProcessConfig> {
    let mut warnings = Vec::new();
    let process = typed::process(normalize::process(json::parse_object(bytes)?, &mut warnings)?)?;
    validate::process(&process)?;
    Ok(ProcessConfig { process, warnings })
}

/// Checks a process made from flags by the rules for one that was read.
///
/// # Errors
/// As [`parse_process`].
pub fn check_process(process: &Process) -> Result<()> {
    validate::process(process)
}

/// Reads the document of `update --resources`. Device rules in it are ignored.
///
/// # Errors
/// One line that names the field, as `linux.resources.…`.
pub fn parse_resources(bytes: &[u8]) -> Result<LinuxResources> {
    let resources = typed::typed(normalize::resources(json::parse_object(bytes)?)?)?;
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
    let mounts: Vec<Mount> = typed::typed(normalize::mounts(list)?)?;
    validate::live_mounts(&mounts, &mut Vec::new())?;
    Ok(mounts)
}
