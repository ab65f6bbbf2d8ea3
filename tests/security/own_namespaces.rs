//! Namespace paths that lead to the runtime's own namespaces: properties that need a new namespace are refused, and the
//! host's values are not changed. The runtime runs in private namespaces, so that a failure does not change the host.

use test_support::*;

/// Runs the container with the runtime in private namespaces. Returns the output, and the values of the namespaces
/// afterwards: the host and domain names, and the output of the script `after`.
fn in_private_namespaces(c: &Container, after: &str) -> (Out, String) {
    c.write_config();
    let words = format!(
        "\"$@\"; status=$?; echo; echo AFTER; hostname; cat /proc/sys/kernel/domainname; {after}; exit $status"
    );
    let runtime = c.sandbox.program("unshare").args(["--uts", "--ipc", "--net", "sh", "-c", &words, "sh"]);
    let out = c.run_by(runtime);
    let after = out.stdout.split("AFTER\n").nth(1).unwrap_or_default().to_owned();
    (out, after)
}

fn join_own(config: &mut Value, kind: &str, path: &str) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != kind);
    list.push(json!({ "type": kind, "path": path }));
}

#[test]
fn values_of_the_runtimes_own_namespaces_are_not_written() {
    need_root!();
    type Edit = fn(&mut Value);
    let cases: [(&str, &str, Edit, &str); 6] = [
        ("uts", "uts", |config| config["hostname"] = json!("pwned"), "hostname"),
        ("uts", "uts", |config| config["domainname"] = json!("pwned"), "domainname"),
        ("uts", "uts", |config| config["linux"]["sysctl"] = json!({ "kernel.domainname": "pwned" }), "linux.sysctl"),
        ("ipc", "ipc", |config| config["linux"]["sysctl"] = json!({ "kernel.shmmni": "1234" }), "linux.sysctl"),
        (
            "network",
            "net",
            |config| config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77" }),
            "linux.sysctl",
        ),
        ("network", "net", |config| config["linux"]["netDevices"] = json!({ "lo": {} }), "linux.netDevices"),
    ];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (kind, file, edit, field) in cases {
        for path in [format!("/proc/self/ns/{file}"), format!("/proc/thread-self/ns/{file}")] {
            let c = Container::sh("echo ran").edit(|config| {
                config.as_object_mut().unwrap().remove("hostname");
                join_own(config, kind, &path);
                edit(config);
            });
            let values = "cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_default_ttl; ls /sys/class/net >/dev/null";
            let (out, after) = in_private_namespaces(&c, values);
            assert!(!out.stdout.contains("ran"), "{path}: {out:?}");
            assert!(after.starts_with(&host) && after.lines().count() == 4, "{path}: {after:?}");
            assert!(!after.contains("pwned") && !after.contains("1234"), "{path}: {after:?}");
            assert_ne!(after.lines().last(), Some("77"), "{path}: {after:?}");
            out.fails().one_line().stderr_contains(field).stderr_contains("namespace");
            c.nothing_left();
        }
    }
}

/// A file to which a namespace is bound is recognised as the same namespace as its link in procfs.
#[test]
fn a_bound_namespace_file_is_recognised() {
    need_root!();
    let c = Container::sh("echo ran");
    let file = c.sandbox.write("bound", "");
    let c = c.edit(|config| {
        join_own(config, "uts", file.to_str().unwrap());
        config["hostname"] = json!("pwned");
    });
    c.write_config();
    let words =
        format!("mount --bind /proc/self/ns/uts {0} && \"$@\"; status=$?; hostname; exit $status", file.display());
    let runtime = c.sandbox.program("unshare").args(["--uts", "--mount", "sh", "-c", &words, "sh"]);
    let out = c.run_by(runtime);
    assert!(!out.stdout.contains("pwned") && !out.stdout.contains("ran"), "{out:?}");
    out.fails().one_line().stderr_contains("hostname: needs a uts namespace");
}

/// The host's mounts do not change, and the container has its root by chroot(2), also in an exec.
#[test]
fn the_runtimes_own_mount_namespace_is_not_the_containers() {
    need_root!();
    let mut c = Container::new(&["sleep", "1000"]);
    c.config["linux"].as_object_mut().unwrap().retain(|name, _| name != "maskedPaths" && name != "readonlyPaths");
    join_own(&mut c.config, "mount", "/proc/self/ns/mnt");
    let masked = Container::within(&c.sandbox, &["true"]).edit(|config| join_own(config, "mount", "/proc/self/ns/mnt"));
    masked.run().fails().one_line().stderr_contains("needs a mount namespace");
    let before = host::mount_table();
    let c = c.up();
    let marker = c.host_dir("host").join("marker");
    let out = c.exec(&["cat", marker.to_str().unwrap()]).exits(1);
    assert!(!out.stdout.contains("host-marker"), "{out:?}");
    c.exec(&["test", "-e", "/bin/busybox"]).ok();
    c.delete_force().ok();
    assert_eq!(host::mount_table(), before);
    c.nothing_left();
}
