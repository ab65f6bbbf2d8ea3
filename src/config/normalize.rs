//! Normalization before oci-spec: a checked JSON value becomes one that `typed` can read.
//!
//! `json_type` reports the errors, with the name of the field. Valid values that oci-spec refuses or misreads are
//! rewritten: unknown capabilities, `SCHED_FLAG_DL_OVERRUN`, an empty `pids`, "any" device numbers, file type bits in
//! a device's mode.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::json_type::{Path, check};
use super::{enums, schema};
use base::cpu_set::CpuSet;

type Object = Map<String, Value>;

/// Normalizes a whole `config.json`.
pub(super) fn config(mut value: Value, warnings: &mut Vec<String>) -> Result<Value> {
    check(&mut value, &schema::CONFIG, &Path::Top(""), warnings)?;
    if let Some(process) = object_in(&mut value, "process") {
        adapt_process(process, warnings)?;
    }
    if let Some(linux) = object_in(&mut value, "linux") {
        default_mappings(linux, warnings);
        for (index, device) in objects_in(linux.get_mut("devices")).enumerate() {
            adapt_device(device).with_context(|| format!("linux.devices[{index}]"))?;
        }
        if let Some(resources) = linux.get_mut("resources").and_then(Value::as_object_mut) {
            adapt_resources(resources);
        }
    }
    Ok(value)
}

/// Maps root of a new user namespace without mappings to the runtime's user and nothing else, as crun does.
fn default_mappings(linux: &mut Object, warnings: &mut Vec<String>) {
    let is_empty = |linux: &Object, key| linux.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let is_new = |namespace: &Value| {
        let path = namespace.get("path").and_then(Value::as_str).unwrap_or("");
        namespace.get("type").and_then(Value::as_str) == Some("user") && path.is_empty()
    };
    let mut namespaces = linux.get("namespaces").and_then(Value::as_array).into_iter().flatten();
    if !namespaces.any(is_new) || !is_empty(linux, "uidMappings") || !is_empty(linux, "gidMappings") {
        return;
    }
    warnings
        .push("linux.uidMappings, linux.gidMappings: none for the new user namespace: only root is mapped".to_owned());
    for (key, id) in [("uidMappings", linux::process::euid()), ("gidMappings", nix::unistd::getegid().as_raw())] {
        linux.insert(key.to_owned(), serde_json::json!([{"containerID": 0, "hostID": id, "size": 1}]));
    }
}

/// Normalizes the file of `exec --process`.
pub(super) fn process(mut value: Value, warnings: &mut Vec<String>) -> Result<Value> {
    check(&mut value, &schema::PROCESS, &Path::Top("process"), warnings)?;
    if let Some(process) = value.as_object_mut() {
        adapt_process(process, warnings)?;
    }
    Ok(value)
}

/// Normalizes the document of `update --resources`. Device rules are dropped, because Podman and CRI send "deny all
/// devices" with every update, which would take the devices away from a running container.
pub(super) fn resources(mut value: Value) -> Result<Value> {
    if let Some(resources) = value.as_object_mut() {
        resources.remove("devices");
    }
    check(&mut value, &schema::RESOURCES, &Path::Top("linux.resources"), &mut Vec::new())?;
    if let Some(resources) = value.as_object_mut() {
        adapt_resources(resources);
    }
    Ok(value)
}

/// Normalizes a list of mounts.
pub(super) fn mounts(mut value: Value) -> Result<Value> {
    check(&mut value, &schema::MOUNTS, &Path::Top("mounts"), &mut Vec::new())?;
    Ok(value)
}

fn object_in<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Object> {
    value.get_mut(key).and_then(Value::as_object_mut)
}

fn objects_in(list: Option<&mut Value>) -> impl Iterator<Item = &mut Object> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn adapt_process(process: &mut Object, warnings: &mut Vec<String>) -> Result<()> {
    // every runtime takes an absent `user` for root, and callers rely on it
    process.entry("user").or_insert_with(|| serde_json::json!({"uid": 0, "gid": 0}));
    if let Some(user) = process.get_mut("user").and_then(Value::as_object_mut) {
        user.entry("gid").or_insert_with(|| serde_json::json!(0));
    }
    if let Some(capabilities) = process.get_mut("capabilities").and_then(Value::as_object_mut) {
        drop_unknown_capabilities(capabilities, warnings);
    }
    if let Some(scheduler) = process.get_mut("scheduler").and_then(Value::as_object_mut) {
        for flag in scheduler.get_mut("flags").and_then(Value::as_array_mut).into_iter().flatten() {
            adapt_scheduler_flag(flag);
        }
    }
    if let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) {
        adapt_affinity(affinity)?;
    }
    Ok(())
}

/// Removes blanks and empty lists, because the schema allows them and oci-spec does not. Nothing checks the format of
/// the lists again after this.
fn adapt_affinity(affinity: &mut Object) -> Result<()> {
    for (name, cpus) in affinity.iter_mut() {
        if let Value::String(cpus) = cpus {
            let at = || format!("process.execCPUAffinity.{name}");
            CpuSet::parse(cpus).with_context(at)?;
            cpus.retain(|c| c != ' ');
            // a file of the kernel's may end with a newline, a property may not
            let is_list = cpus.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-'));
            ensure!(is_list, "{}: expected a list such as \"0-3,7\", found {cpus:?}", at());
        }
    }
    affinity.retain(|_, cpus| cpus.as_str() != Some(""));
    Ok(())
}

/// Drops unknown capabilities with a warning (PR-13): one for each name, not one for each of the five sets.
fn drop_unknown_capabilities(capabilities: &mut Object, warnings: &mut Vec<String>) {
    for set in enums::CAPABILITY_SETS {
        let Some(names) = capabilities.get_mut(*set).and_then(Value::as_array_mut) else { continue };
        names.retain(|name| {
            let Some(name) = name.as_str() else { return false };
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            let is_known = enums::CAPABILITIES.iter().any(|known| known.strip_prefix("CAP_") == Some(bare));
            if !is_known {
                // the words are runc's, which youki's suite matches
                let text = format!("ignoring unknown or unavailable capabilities: [{name}]");
                if !warnings.iter().any(|warning| warning.ends_with(&text)) {
                    warnings.push(format!("process.capabilities.{set}: {text}"));
                }
            }
            is_known
        });
    }
}

/// Rewrites the two flags whose names oci-spec derives wrongly.
fn adapt_scheduler_flag(flag: &mut Value) {
    let spelling = match flag.as_str() {
        Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
        Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
        _ => return,
    };
    *flag = Value::from(spelling);
}

/// Removes the file type from a device's mode where it is that of the device, because callers copy `st_mode` of a host
/// device. Another file type stays, and the check of the mode refuses it.
fn adapt_device(device: &mut Object) -> Result<()> {
    let (file_type, has_numbers) = match device.get("type").and_then(Value::as_str) {
        Some("b") => (libc::S_IFBLK, true),
        Some("p") => (libc::S_IFIFO, false),
        _ => (libc::S_IFCHR, true),
    };
    for name in ["major", "minor"] {
        // oci-spec would assume 0, which is another device (DV-1)
        if has_numbers && !device.contains_key(name) {
            bail!("{name}: is required");
        }
    }
    let Some(mode) = device.get("fileMode").and_then(Value::as_u64) else { return Ok(()) };
    if mode & u64::from(libc::S_IFMT) == u64::from(file_type) {
        device.insert("fileMode".to_owned(), Value::from(mode & !u64::from(libc::S_IFMT)));
    }
    Ok(())
}

fn adapt_resources(resources: &mut Object) {
    // PI-1: oci-spec would read an absent `limit` as 0, which is a limit
    if resources.get("pids").is_some_and(|pids| pids.get("limit").is_none()) {
        resources.remove("pids");
    }
    for rule in objects_in(resources.get_mut("devices")) {
        rule.retain(|_, value| value.as_i64() != Some(-1));
    }
    // oci-spec has int64 here; its maximum is no limit either, because the kernel counts pages
    for limit in objects_in(resources.get_mut("hugepageLimits")) {
        if limit.get("limit").and_then(Value::as_u64).is_some_and(|bytes| i64::try_from(bytes).is_err()) {
            limit.insert("limit".to_owned(), Value::from(i64::MAX));
        }
    }
}
