//! Tables of paths, of controllers that are missing, of delegation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::cgroup::layout::Hierarchy;
use base::error::describe;

fn legacy(names: &[&str]) -> Layout {
    let hierarchy = |name: &&str| Hierarchy {
        mount: format!("/sys/fs/cgroup/{name}"),
        controllers: if *name == "unified" { vec![] } else { vec![name.to_string()] },
        unified: *name == "unified",
    };
    Layout::Legacy(names.iter().map(hierarchy).collect())
}

fn linux(json: &str) -> Linux {
    serde_json::from_str(json).unwrap()
}

fn rootless(own: &str) -> CgroupOptions {
    CgroupOptions {
        rootless: true,
        on_permission_denied: OnPermissionDenied::SkipUnlimited,
        own_cgroup: Some(own.to_owned()),
        ..CgroupOptions::default()
    }
}

#[test]
fn cg_1_the_same_value_is_always_the_same_place() {
    for (path, expected) in [
        (None, "/c1"),
        (Some(""), "/c1"),
        (Some("/a/b"), "/a/b"),
        (Some("//a/./b/"), "/a/b"),
        (Some("testdir/cgrouptest/container"), "/testdir/cgrouptest/container"),
        (Some("system.slice:croci:c1"), "/system.slice:croci:c1"),
    ] {
        assert_eq!(resolve(path, "c1", "").unwrap(), expected, "{path:?}");
    }
}

#[test]
fn cg_1_no_path_leaves_the_cgroup_file_system() {
    for path in ["../x", "/../../../../x", "a/../b", "/", "//", ".", "./", "/a\nb", ".."] {
        for base in ["", "/user"] {
            let err = describe(&resolve(Some(path), "c1", base).unwrap_err());
            assert!(err.starts_with("linux.cgroupsPath: "), "{path:?}: {err}");
        }
    }
}

#[test]
fn cg_1_an_unprivileged_caller_gets_a_place_beside_its_own() {
    for (layout, own, path, expected) in [
        (Layout::Unified, "/user/job", None, "/user/c1"),
        (Layout::Unified, "/user/job", Some("x/y"), "/user/x/y"),
        (Layout::Unified, "/user/job", Some("/x/y"), "/x/y"),
        (Layout::Unified, "/", None, "/c1"),
        (legacy(&["memory"]), "/user/job", None, "/c1"),
    ] {
        let base = own_parent(&layout, &rootless(own));
        assert_eq!(resolve(path, "c1", &base).unwrap(), expected, "{own} {path:?}");
    }
}

#[test]
fn a_limit_without_its_controller_is_an_error_that_names_it() {
    let config = linux(r#"{"resources":{"devices":[{"allow":true,"access":"rwm"}],"pids":{"limit":5}}}"#);
    for (layout, text) in [
        (legacy(&["memory", "unified"]), "linux.resources.pids.limit: the cgroup controller \"pids\" is not mounted"),
        (Layout::None, "linux.resources.pids.limit: the cgroup controller \"pids\" is not mounted"),
    ] {
        let err = plan(Some(&config), "c1", &layout, &CgroupOptions::default()).unwrap_err();
        assert!(describe(&err).starts_with(text), "{err:#}");
    }
    assert!(plan(Some(&config), "c1", &legacy(&["pids"]), &CgroupOptions::default()).is_ok());
    let disabled = CgroupOptions { manager_disabled: true, ..CgroupOptions::default() };
    assert_eq!(plan(Some(&config), "c1", &Layout::None, &disabled).unwrap(), CgroupPlan::default());
}

#[test]
fn dv_6_devices_are_restricted_unless_unprivileged_or_unneeded() {
    let open = linux(r#"{"resources":{"devices":[{"allow":true,"access":"rwm"}]}}"#);
    for (linux, situation, restricted) in [
        (None, CgroupOptions::default(), true),
        (Some(&open), CgroupOptions::default(), false),
        (None, rootless("/u/j"), false),
    ] {
        let plan = plan(linux, "c1", &Layout::Unified, &situation).unwrap();
        let needed = plan.devices.is_some_and(|list| !list.allows_everything());
        assert_eq!(needed, restricted, "{linux:?} {situation:?}");
    }
    let err = plan(None, "c1", &legacy(&["memory"]), &CgroupOptions::default()).unwrap_err();
    assert!(describe(&err).starts_with("linux.resources.devices: "));
}

#[test]
fn cg_4_delegation_needs_its_three_conditions() {
    let spec = |ns: &str, options: &str, user: &str| -> Spec {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","process":{{"cwd":"/","args":["x"],"user":{user}}},
            "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":{options}}}],
            "linux":{{"namespaces":{ns},"uidMappings":[{{"containerID":0,"hostID":100000,"size":1000}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let both = r#"[{"type":"cgroup"},{"type":"user"}]"#;
    let user = r#"{"uid":7,"gid":0}"#;
    for (ns, options, user, expected) in [
        (both, r#"["nosuid"]"#, user, Some(100_007)),
        (both, r#"["ro"]"#, user, None),
        (both, r#"["ro","rw"]"#, user, Some(100_007)),
        (both, r#"[]"#, r#"{"uid":1000,"gid":0}"#, None),
        (r#"[{"type":"cgroup"}]"#, "[]", user, Some(7)),
        (r#"[{"type":"cgroup"}]"#, "[]", r#"{"uid":0,"gid":0}"#, None),
        (r#"[{"type":"user"}]"#, "[]", user, None),
        (r#"[{"type":"cgroup","path":"/proc/1/ns/cgroup"}]"#, "[]", user, None),
    ] {
        assert_eq!(delegated_to(&spec(ns, options, user)), expected, "{ns} {options} {user}");
    }
}

#[test]
fn record_survives_the_state_file() {
    let plan = plan(None, "c1", &legacy(&["devices", "unified"]), &CgroupOptions::default()).unwrap();
    let text = serde_json::to_string(&plan.record()).unwrap();
    assert_eq!(serde_json::from_str::<CgroupRecord>(&text).unwrap(), plan.record());
    assert_eq!(plan.record.path_in(&plan.record.dirs[1]), "/sys/fs/cgroup/unified/c1");
    assert!(!plan.record.is_pure_v2());
}
