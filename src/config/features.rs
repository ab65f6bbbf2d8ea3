//! The features document: what this build supports, independent of the machine (FE-1 to FE-4).

use serde_json::{Value, json};

use super::{SPEC_VERSION, SPEC_VERSION_MIN, enums};

/// Mount options that croci handles itself; all others are passed to the file system (checklist, part 5).
pub const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "rasync",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "rdirsync",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "riversion",
    "rlazytime",
    "rloud",
    "rmand",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnoiversion",
    "rnolazytime",
    "rnomand",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rsilent",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "rsync",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// Annotations that change what croci does. A trailing dot marks a prefix (FE-3), which covers annotations added later.
const UNSAFE_ANNOTATIONS: &[&str] = &["org.criu.config", "org.systemd.property.", "run.oci."];

/// Builds the document that `croci features` prints.
pub fn features() -> Value {
    json!({
        "ociVersionMin": SPEC_VERSION_MIN,
        "ociVersionMax": SPEC_VERSION,
        "hooks": enums::HOOKS,
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": enums::NAMESPACES,
            "capabilities": enums::CAPABILITIES,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": enums::SECCOMP_ACTIONS,
                "operators": enums::SECCOMP_OPERATORS,
                "archs": enums::SECCOMP_ARCHS,
                "knownFlags": enums::SECCOMP_FLAGS,
                "supportedFlags": enums::SECCOMP_FLAGS,
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": enums::MEMORY_POLICIES, "flags": enums::MEMORY_POLICY_FLAGS},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": {"croci.version": env!("CARGO_PKG_VERSION")},
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config;

    fn strings(value: &Value) -> Vec<&str> {
        value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
    }

    fn config(version: &str, linux: &Value) -> String {
        json!({"ociVersion": version, "root": {"path": "rootfs"}, "linux": linux}).to_string()
    }

    #[test]
    fn fe_2_both_ends_of_the_version_range_are_accepted_in_a_config() {
        let features = features();
        for end in ["ociVersionMin", "ociVersionMax"] {
            let config = config(features[end].as_str().unwrap(), &json!({}));
            assert_eq!(config::parse(config.as_bytes()).unwrap().warnings, Vec::<String>::new(), "{end}");
        }
    }

    #[test]
    fn fe_3_every_listed_element_is_recognised() {
        let features = features();
        for namespace in strings(&features["linux"]["namespaces"]) {
            let mut linux = json!({"namespaces": [{"type": namespace}]});
            if namespace == "user" {
                let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
                linux = json!({"namespaces": [{"type": namespace}], "uidMappings": map, "gidMappings": map});
            }
            config::parse(config("1.3.0", &linux).as_bytes()).expect(namespace);
        }
        for arch in strings(&features["linux"]["seccomp"]["archs"]) {
            let linux = json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch]}});
            config::parse(config("1.3.0", &linux).as_bytes()).expect(arch);
        }
        for action in strings(&features["linux"]["seccomp"]["actions"]) {
            let rule = json!({"names": ["read"], "action": action});
            let linux =
                json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [rule]}});
            config::parse(config("1.3.0", &linux).as_bytes()).expect(action);
        }
        for mode in strings(&features["linux"]["memoryPolicy"]["modes"]) {
            let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode) { "" } else { "0" };
            let linux = json!({"memoryPolicy": {"mode": mode, "nodes": nodes}});
            config::parse(config("1.3.0", &linux).as_bytes()).expect(mode);
        }
    }

    #[test]
    fn fe_4_no_part_of_the_document_is_left_out() {
        let features = features();
        assert_eq!(strings(&features["linux"]["capabilities"]).len(), 41);
        assert_eq!(strings(&features["hooks"]).len(), 6);
        for pointer in [
            "/linux/cgroup/rdma",
            "/linux/seccomp/knownFlags/3",
            "/linux/seccomp/operators/6",
            "/linux/apparmor/enabled",
            "/linux/selinux/enabled",
            "/linux/intelRdt/monitoring",
            "/linux/memoryPolicy/flags/2",
            "/linux/mountExtensions/idmap/enabled",
            "/linux/netDevices/enabled",
            "/potentiallyUnsafeConfigAnnotations/0",
        ] {
            assert!(features.pointer(pointer).is_some_and(|value| !value.is_null()), "{pointer}");
        }
        let options = strings(&features["mountOptions"]);
        assert!(options.is_sorted() && options.contains(&"tmpcopyup") && options.contains(&"rnosymfollow"));
    }
}
