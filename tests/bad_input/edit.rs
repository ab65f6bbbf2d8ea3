//! Functions by which the tables of wrong values change a configuration, and the check of a table.

use crate::refused;
use test_support::*;

pub(crate) type Change = fn(&mut Value);

/// A case of a table: its name, a change of the configuration, and the text that the error must contain.
pub(crate) type Case = (&'static str, Change, &'static str);

pub(crate) fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = &mut *config;
    for part in parent.split('/').skip(1) {
        place = match part.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[part],
        };
    }
    match key.parse::<usize>() {
        Ok(index) if place.is_array() => place[index] = value,
        _ => place[key] = value,
    }
}

pub(crate) fn push_ns(config: &mut Value, ns: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(ns);
}

pub(crate) fn drop_ns(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != kind);
}

pub(crate) fn replace_ns(config: &mut Value, ns: Value) {
    drop_ns(config, ns["type"].as_str().unwrap());
    push_ns(config, ns);
}

pub(crate) fn maps(config: &mut Value, uids: Value) {
    push_ns(config, json!({ "type": "user" }));
    config["linux"]["uidMappings"] = uids;
    config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
}

pub(crate) fn device(config: &mut Value, device: Value) {
    config["linux"]["devices"] = json!([device]);
}

pub(crate) fn mount(config: &mut Value, mount: Value) {
    config["mounts"] = json!([mount]);
}

pub(crate) fn resources(config: &mut Value, resources: Value) {
    config["linux"]["resources"] = resources;
}

/// Appends `tail` to the test's own cgroup path, so that a cgroup that a runtime wrongly creates is found by its name.
pub(crate) fn append_to_cgroup_path(config: &mut Value, tail: &str) {
    let path = config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    config["linux"]["cgroupsPath"] = json!(format!("{path}-bad{tail}"));
}

pub(crate) fn seccomp(config: &mut Value, profile: Value) {
    config["linux"]["seccomp"] = profile;
}

pub(crate) fn hook(config: &mut Value, kind: &str, hook: Value) {
    config["hooks"] = json!({ kind: [hook] });
}

/// Returns the current value of the host's sysctl, so that a runtime that wrongly accepts the key does no harm.
pub(crate) fn current(name: &str) -> String {
    host::sysctl(name).trim().to_owned()
}

/// Checks that each case is refused; fails with a list of all that are not.
#[track_caller]
pub(crate) fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (name, change, error) in cases {
        let c = Container::new(&["true"]).edit(change);
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| refused(&c, error)));
        if verdict.is_err() {
            wrong.push(*name);
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases are not refused as they should be: {wrong:#?}", wrong.len(), cases.len());
}
