//! The device list: croci's BPF program applies it exactly, and systemd's denies nothing that it allows, also after a
//! reload.

use super::{property, reload};
use crate::need_systemd;
use test_support::*;

const DENIED: &str = "Operation not permitted";

/// Returns whether the device cgroup lets a process open the device with these numbers. Most have no driver: then ENXIO
/// shows that the cgroup allows it, and EPERM that it does not.
fn is_allowed(c: &Container, kind: &str, major: u32, minor: u32, mode: &str) -> bool {
    let redirect = if mode == "w" { ">" } else { "<" };
    let script = format!("rm -f /tmp/d; mknod /tmp/d {kind} {major} {minor} && : {redirect}/tmp/d");
    let out = c.croci(["exec", &c.id, "sh", "-c", &script]).out();
    assert!(!out.stderr.contains("mknod"), "{out:?}");
    !out.stderr.contains(DENIED)
}

#[track_caller]
fn check(c: &Container, expected: &[(&str, u32, u32, &str, bool)]) {
    for (kind, major, minor, mode, allowed) in expected {
        assert_eq!(is_allowed(c, kind, *major, *minor, mode), *allowed, "{kind} {major}:{minor} {mode}");
    }
}

#[test]
fn dv_6_devices_are_named_by_number_and_stay_after_a_reload() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        config["linux"]["resources"]["devices"] = json!([
            { "allow": false, "access": "rwm" },
            // no driver has these numbers, and no node of them exists on the host
            { "allow": true, "type": "c", "major": 241, "minor": 7, "access": "rw" },
            { "allow": true, "type": "c", "major": 242, "access": "r" },
            { "allow": true, "type": "b", "major": 243, "minor": 1, "access": "rw" },
            { "allow": false, "type": "c", "major": 242, "minor": 9, "access": "r" }
        ]);
    });
    let c = c.up();
    assert_eq!(property(&c, "DevicePolicy"), "strict");
    let allowed = property(&c, "DeviceAllow");
    for entry in ["/dev/char/241:7 rw", "char-242 r", "/dev/block/243:1 rw", "/dev/char/1:3 rwm", "char-* m"] {
        assert!(allowed.contains(entry), "{entry}: {allowed}");
    }
    let expected = [
        ("c", 241, 7, "r", true),
        ("c", 241, 7, "w", true),
        ("c", 241, 8, "r", false),
        ("c", 242, 5, "r", true),
        ("c", 242, 5, "w", false),
        ("c", 242, 9, "r", false),
        ("b", 243, 1, "r", true),
        ("b", 243, 2, "r", false),
        ("c", 1, 3, "w", true),
        ("c", 1, 11, "r", false),
    ];
    check(&c, &expected);
    reload(&c);
    check(&c, &expected);
    c.verb("update", &["--pids-limit", "60"]).out().ok();
    check(&c, &expected);
}

#[test]
fn dv_6_all_devices_with_exceptions() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        config["linux"]["resources"]["devices"] = json!([
            { "allow": true, "access": "rwm" },
            { "allow": false, "type": "c", "major": 241, "minor": 7, "access": "rw" }
        ]);
    });
    let c = c.up();
    let expected = [("c", 241, 7, "r", false), ("c", 241, 8, "r", true), ("b", 243, 2, "w", true)];
    check(&c, &expected);
    reload(&c);
    check(&c, &expected);
}
