//! The configuration that `croci spec` writes: a shell in `rootfs`, with the customary mounts and namespaces.

use serde_json::{Value, json};

/// Version of the runtime specification that croci implements.
pub const SPEC_VERSION: &str = "1.3.0";

/// The capabilities that runc's default grants. The inheritable set is empty, because it would pass capabilities on to
/// programs that did not have them (CVE-2022-29162, E1).
const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Returns the configuration. `rootless` holds the user and group ID of an unprivileged caller, who becomes root in a
/// user namespace.
pub fn default_config(rootless: Option<(u32, u32)>, cgroup_v2: bool) -> Value {
    json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "croci",
        "mounts": mounts(rootless.is_some()),
        "linux": linux(rootless, cgroup_v2),
    })
}

fn mounts(rootless: bool) -> Value {
    // gid 5 is the group tty, which a user namespace with a single mapping does not have
    let pts = if rootless { json!([]) } else { json!(["gid=5"]) };
    let mut pts_options = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    if let (Value::Array(options), Value::Array(more)) = (&mut pts_options, pts) {
        options.extend(more);
    }
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &json!([])),
        mount("/dev", "tmpfs", "tmpfs", &json!(["nosuid", "strictatime", "mode=755", "size=65536k"])),
        mount("/dev/pts", "devpts", "devpts", &pts_options),
        mount("/dev/shm", "tmpfs", "shm", &json!(["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])),
        mount("/dev/mqueue", "mqueue", "mqueue", &json!(["nosuid", "noexec", "nodev"])),
    ];
    if rootless {
        // sysfs can be mounted only with a network namespace of the same owner, which a rootless container lacks
        mounts.push(mount("/sys", "none", "/sys", &json!(["rbind", "nosuid", "noexec", "nodev", "ro", "rro"])));
    } else {
        mounts.push(mount("/sys", "sysfs", "sysfs", &json!(["nosuid", "noexec", "nodev", "ro"])));
    }
    // also over the host's cgroup file system, which shows other containers of the user
    let options = json!(["nosuid", "noexec", "nodev", "relatime", "ro"]);
    mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    Value::Array(mounts)
}

fn mount(destination: &str, typ: &str, source: &str, options: &Value) -> Value {
    let mut mount = json!({"destination": destination, "type": typ, "source": source});
    if let (Some(mount), false) = (mount.as_object_mut(), options.as_array().is_some_and(Vec::is_empty)) {
        mount.insert("options".to_owned(), options.clone());
    }
    mount
}

fn linux(rootless: Option<(u32, u32)>, cgroup_v2: bool) -> Value {
    let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
    if rootless.is_some() {
        namespaces.push("user");
    } else {
        namespaces.insert(1, "network");
    }
    if cgroup_v2 {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|typ| json!({"type": typ})).collect();
    let mut linux = json!({
        "namespaces": namespaces,
        "maskedPaths": MASKED_PATHS,
        "readonlyPaths": READONLY_PATHS,
    });
    let Some(properties) = linux.as_object_mut() else { return linux };
    if let Some((uid, gid)) = rootless {
        properties.insert("uidMappings".to_owned(), json!([{"containerID": 0, "hostID": uid, "size": 1}]));
        properties.insert("gidMappings".to_owned(), json!([{"containerID": 0, "hostID": gid, "size": 1}]));
    } else {
        properties.insert("resources".to_owned(), json!({"devices": [{"allow": false, "access": "rwm"}]}));
    }
    linux
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn namespaces(config: &Value) -> Vec<&str> {
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|ns| ns["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn e_1_the_default_configuration_has_no_inheritable_capabilities() {
        let capabilities = &default_config(None, true)["process"]["capabilities"];
        assert!(capabilities.get("inheritable").is_none() && capabilities.get("ambient").is_none());
        assert_eq!(capabilities["bounding"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn rootless_maps_the_caller_and_shares_the_network() {
        let config = default_config(Some((1000, 100)), true);
        assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(config["linux"]["gidMappings"], json!([{"containerID": 0, "hostID": 100, "size": 1}]));
        let types = namespaces(&config);
        assert!(types.contains(&"user") && !types.contains(&"network"), "{types:?}");
        let text = config.to_string();
        assert!(!text.contains("gid=5") && !text.contains("sysfs") && text.contains("rro"), "{text}");
        assert!(text.contains("/sys/fs/cgroup"), "{text}");
    }
}
