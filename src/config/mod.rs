//! The configuration: strict JSON, checked values, typed names; and the documents croci writes from the specification.
//!
//! ```text
//! bytes ──json──▶ Value ──normalize (schema)──▶ Value ──typed──▶ oci_spec::Spec ──validate──▶ Config { spec, warnings }
//! ```
//! Pure: opens no file and reads nothing of the machine. Every fault that the document alone shows is an error here,
//! before any side effect (CF-7). `plan` interprets the values.

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
use base::coded;
pub use base::default_config::default_config;
use base::error::{Code, Coding as _};
use base::json;
use oci_spec::runtime::{LinuxResources, Mount, Process, Spec};
use serde_json::Value;

pub use features::{MOUNT_OPTIONS, features};
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
    /// The typed configuration. It has `process.user`, no empty strings in optional fields and no unknown capabilities.
    pub spec: Spec,
    /// Warnings for the log, one line each.
    pub warnings: Vec<String>,
}

/// A process for `exec` that passed all checks.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The typed process, normalized like [`Config::spec`].
    pub process: Process,
    /// Warnings for the log, one line each.
    pub warnings: Vec<String>,
}

/// Parses the text of a `config.json`.
///
/// # Errors
/// One line that names the field.
pub fn parse(bytes: &[u8]) -> Result<Config> {
    let read = || -> Result<Config> {
        let mut warnings = Vec::new();
        let spec = typed::spec(normalize::config(json::parse_object(bytes)?, &mut warnings)?)?;
        validate::config(&spec, &mut warnings)?;
        Ok(Config { spec, warnings })
    };
    read().or_code(Code::ConfigInvalid).map_err(add_runcs_words)
}

/// Adds the words for which runc's own tests look to an error of `linux.memoryPolicy` (callers' list, part 2).
fn add_runcs_words(err: anyhow::Error) -> anyhow::Error {
    let text = base::error::describe(&err);
    for (field, words) in [("mode", "mode"), ("flags", "flag"), ("nodes", "nodes")] {
        if text.starts_with(&format!("linux.memoryPolicy.{field}")) {
            return coded!(ConfigInvalid, "{text} (invalid memory policy {words})").into();
        }
    }
    err
}

/// Puts a profile that allows every call in the place of the configured one.
///
/// # Errors
/// The configuration has no `linux`.
pub(crate) fn allow_all_calls(spec: &mut Spec) -> Result<()> {
    let mut linux = spec.linux().clone().code(Code::ConfigRequired, "linux: is required with --record-seccomp")?;
    linux.set_seccomp(Some(serde_json::from_value(serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW"}))?));
    spec.set_linux(Some(linux));
    Ok(())
}

/// Parses the text of the file of `exec --process`.
///
/// # Errors
/// One line that names the field, as `process.…`.
pub fn parse_process(bytes: &[u8]) -> Result<ProcessConfig> {
    let mut warnings = Vec::new();
    let process = typed::process(normalize::process(json::parse_object(bytes)?, &mut warnings)?)?;
    validate::process(&process)?;
    Ok(ProcessConfig { process, warnings })
}

/// Checks a process built from flags by the rules for a parsed one.
///
/// # Errors
/// The same as [`parse_process`].
pub fn check_process(process: &Process) -> Result<()> {
    validate::process(process)
}

/// Parses the document of `update --resources`. Device rules in it are ignored.
///
/// # Errors
/// One line that names the field, as `linux.resources.…`.
pub fn parse_resources(bytes: &[u8]) -> Result<LinuxResources> {
    let resources = typed::typed(normalize::resources(json::parse_object(bytes)?)?)?;
    check_resources(&resources)?;
    Ok(resources)
}

/// Checks resources built from flags by the rules for parsed ones.
///
/// # Errors
/// The same as [`parse_resources`].
pub fn check_resources(resources: &LinuxResources) -> Result<()> {
    validate::resources(resources)
}

/// Parses mounts for a running container: a list of mounts, or an object with the property `mounts`.
///
/// # Errors
/// One line that names the field, as `mounts[…]`.
pub fn parse_mounts(bytes: &[u8]) -> Result<Vec<Mount>> {
    let list = match json::parse(bytes)? {
        Value::Object(mut document) => match document.remove("mounts") {
            Some(list) => list,
            None => bail!(coded!(ConfigRequired, "mounts: is required")),
        },
        list => list,
    };
    let mounts: Vec<Mount> = typed::typed(normalize::mounts(list)?)?;
    validate::live_mounts(&mounts, &mut Vec::new())?;
    Ok(mounts)
}
