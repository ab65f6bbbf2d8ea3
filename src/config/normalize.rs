//! Normalization before oci-spec: a checked JSON value becomes one that `typed` can read.
//!
//! `json_type` reports the errors, with the name of the field. Valid values that oci-spec refuses or misreads are
//! rewritten: unknown capabilities, `SCHED_FLAG_DL_OVERRUN`, an empty `pids`, "any" device numbers, file type bits in
//! a device's mode.

use anyhow::{Context, Result, bail, ensure};
use base::coded;
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
    add_user_namespace(&mut value, linux::process::euid(), warnings);
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

/// Adds a user namespace to a configuration without one when the runtime's user `euid` is not root, because the kernel allows
/// an ordinary user no other namespace else; the program's user and group are mapped to the runtime's, as crun does.
fn add_user_namespace(config: &mut Value, euid: u32, warnings: &mut Vec<String>) {
    let is_user = |namespace: &Value| namespace.get("type").and_then(Value::as_str) == Some("user");
    let namespaces = config.pointer("/linux/namespaces").and_then(Value::as_array);
    if euid == 0 || namespaces.into_iter().flatten().any(is_user) {
        return;
    }
    let id = |key: &str| config.pointer(key).and_then(Value::as_u64).unwrap_or(0);
    let (uid, gid) = (id("/process/user/uid"), id("/process/user/gid"));
    let Some(config) = config.as_object_mut() else { return };
    warnings.push("linux.namespaces: no user namespace, which an ordinary user needs: one was added".to_owned());
    drop_other_ids(config.get_mut("mounts"), uid, gid);
    let linux = config.entry("linux").or_insert_with(|| Value::Object(Object::new()));
    let Some(linux) = linux.as_object_mut() else { return };
    let namespaces = linux.entry("namespaces").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = namespaces.as_array_mut() {
        list.push(serde_json::json!({"type": "user"}));
    }
    for (key, inside, outside) in [("uidMappings", uid, euid), ("gidMappings", gid, nix::unistd::getegid().as_raw())] {
        linux.insert(key.to_owned(), serde_json::json!([{"containerID": inside, "hostID": outside, "size": 1}]));
    }
}

/// Removes the options `uid=` and `gid=` of mounts for IDs that the added user namespace does not have, such as the group of
/// terminals, because the kernel would refuse the mount.
fn drop_other_ids(mounts: Option<&mut Value>, uid: u64, gid: u64) {
    let own = |option: &Value| {
        let number = |text: &str, key: &str| text.strip_prefix(key).and_then(|id| id.parse::<u64>().ok());
        let text = option.as_str().unwrap_or_default();
        number(text, "uid=").is_none_or(|id| id == uid) && number(text, "gid=").is_none_or(|id| id == gid)
    };
    for mount in objects_in(mounts) {
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(own);
        }
    }
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
            ensure!(is_list, coded!(ConfigType, "{}: expected a list such as \"0-3,7\", found {cpus:?}", at()));
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
            bail!(coded!(ConfigRequired, "{name}: is required"));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    #[test]
    fn pr_6_a_user_without_a_group_has_the_group_0() {
        for (user, wanted) in [
            (json!({"uid": 7}), json!({"uid": 7, "gid": 0})),
            (json!({"uid": 7, "gid": 8}), json!({"uid": 7, "gid": 8})),
        ] {
            let mut process = json!({ "user": user }).as_object().cloned().unwrap();
            adapt_process(&mut process, &mut Vec::new()).unwrap();
            assert_eq!(process["user"], wanted);
        }
    }

    #[test]
    fn an_ordinary_user_gets_a_user_namespace_where_none_is_configured() {
        let plain = json!({"process": {"user": {"uid": 7, "gid": 8}}, "linux": {"namespaces": [{"type": "pid"}]}});
        let own = json!({"linux": {"namespaces": [{"type": "user", "path": "/x"}]}});
        for (euid, mut config, added) in
            [(1000, plain.clone(), true), (0, plain, false), (1000, own, false), (1000, json!({}), true)]
        {
            let (before, mut warnings) = (config.clone(), Vec::new());
            add_user_namespace(&mut config, euid, &mut warnings);
            assert_eq!((config != before, warnings.len()), (added, usize::from(added)), "{before}");
            if added {
                let uid = before.pointer("/process/user/uid").cloned().unwrap_or(json!(0));
                assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": uid, "hostID": 1000, "size": 1}]));
            }
        }
        let mut config = json!({"mounts": [{"options": ["mode=0620", "gid=5", "uid=0", "gid=x"]}, {}]});
        add_user_namespace(&mut config, 1000, &mut Vec::new());
        assert_eq!(config["mounts"], json!([{"options": ["mode=0620", "uid=0", "gid=x"]}, {}]));
    }
}
