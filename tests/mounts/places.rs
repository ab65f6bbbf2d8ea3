//! Destinations, a bind as the root, and roots that are no mount of the container.

use super::*;

#[test]
fn mt_2_dots_are_removed_from_a_destination() {
    need_root!();
    let c = Container::sh("cat /data/marker; ls -d /x 2>&1");
    let dir = c.host_dir("shared");
    // with `..` resolved by the kernel a symlink would lead elsewhere
    host::symlink("/tmp", c.file("link"));
    let c = c.mount(bundle::bind(&dir, "/x/../link/.././data/", &[]));
    let out = c.run().exits(1);
    assert!(out.stdout.starts_with("host-marker"), "{out:?}");
    assert!(out.stdout.contains("No such file"), "{out:?}");
    c.nothing_left();
}

#[test]
fn mt_2_a_bind_on_the_root_is_the_root() {
    need_root!();
    for userns in [false, true] {
        let mut c =
            Container::sh("cat /marker; cat /later/marker; ls -d /only-below 2>&1; touch /x 2>&1; ls /dev/null");
        if userns {
            c = c.edit(bundle::with_userns);
        }
        open_to_all(&c, true);
        std::fs::write(c.file("only-below"), "").unwrap();
        let other = c.host_dir("other");
        let shared = c.host_dir("shared");
        let other = bundle::make_rootfs(&other);
        std::fs::write(other.join("marker"), "host-marker\n").unwrap();
        std::fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
        for dir in ["later", "proc", "dev", "sys"] {
            std::fs::create_dir_all(other.join(dir)).unwrap();
        }
        let c = c.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.insert(0, bundle::bind(&other, "/", &["ro"]));
            mounts.push(bundle::bind(&shared, "/later", &[]));
        });
        let out = c.run().ok();
        assert_eq!(out.text().matches("host-marker").count(), 2, "{out:?}");
        assert!(out.text().contains("No such file") && out.text().contains("Read-only"), "{out:?}");
        assert!(out.text().ends_with("/dev/null"), "{out:?}");
        assert!(!other.join("x").exists() && host::mounts_below(&other).is_empty());
        c.nothing_left();
    }
}

#[test]
fn mt_2_nothing_else_covers_the_root() {
    need_root!();
    let c = Container::new(&["true"]);
    let dir = c.host_dir("shared");
    let tmpfs = json!({ "destination": "/x/..", "type": "tmpfs", "source": "t" });
    c.mount(tmpfs).create().fails().one_line().stderr_contains("root");
    // without a mount namespace the host's files would be covered
    let c = Container::new(&["true"]).mount(bundle::bind(&dir, "/", &[])).edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "mount");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    c.create().fails().one_line().stderr_contains("mount namespace");
    assert!(host::mounts_below(&c.rootfs).is_empty());
    c.nothing_left();
}

/// Without a mount namespace a read-only root would be the host's: it is left out, with a warning.
#[test]
fn a_read_only_root_without_a_mount_namespace() {
    need_root!();
    let c = Container::sh("touch /tmp/written && echo done").edit(|config| {
        config["root"]["readonly"] = json!(true);
        config["mounts"] = json!([]);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "mount");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    c.write_config();
    // in a mount namespace of the test, because this container's mounts are the caller's
    let out = c.run_by(with_mounts(&c, "")).ok();
    assert_eq!(out.text(), "done");
    assert!(out.stderr.contains("root.readonly"), "the warning is shown: {out:?}");
    std::fs::write(c.file("tmp/by-the-host"), "").unwrap();
    c.nothing_left();
}

/// The mounts of a container without a mount namespace are the caller's: delete removes them, and those of a tree that was
/// attached as one (the hierarchies of cgroup v1) with it.
#[test]
fn delete_unmounts_what_a_container_without_a_mount_namespace_has_mounted() {
    need_root!();
    let c = Container::sh("ls /sys/fs/cgroup; echo done").edit(|config| {
        config["mounts"] = json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs" },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" },
        ]);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "mount");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    c.write_config();
    let script = format!("\"$@\" && ! grep {}/ /proc/self/mounts", c.rootfs.display());
    let run = c.sandbox.program("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    let run = run.arg(runtime()).arg("--root").arg(&c.sandbox.root);
    let out = run.args(["run", "--bundle"]).arg(&c.bundle).arg(&c.id).out().ok();
    assert_eq!(out.lines().last(), Some(&"done"), "{out:?}");
    c.nothing_left();
}

/// A complete procfs or sysfs of the host that stays below the root would let a user namespace mount a new one, in which
/// nothing is masked.
#[test]
fn no_pivot_leaves_no_complete_procfs() {
    need_root!();
    let script = "busybox unshare -U -r -m -p -f sh -c 'mount -t proc proc /tmp && ls /tmp/kcore'; echo ended $?";
    let c = Container::sh(script).edit(|config| {
        config["process"]["noNewPrivileges"] = json!(false);
    });
    let other = c.sandbox.mkdir("other");
    c.write_config();
    for flags in [&["--no-pivot"][..], &[]] {
        let setup = format!("mkdir -p {0}; mount -t proc proc {0}; mount -t sysfs sys /mnt", other.display());
        let run = with_mounts(&c, &setup).arg(runtime()).arg("--root").arg(&c.sandbox.root);
        let out = run.args(["run", "--bundle"]).arg(&c.bundle).args(flags).arg(&c.id).out().ok();
        assert!(out.text().contains("ended 1"), "{flags:?}: {out:?}");
        assert!(out.stderr.contains("permission denied"), "{flags:?}: {out:?}");
    }
    c.nothing_left();
}

#[test]
fn lx_3_relative_read_only_paths_are_below_the_containers_root() {
    need_root!();
    let script = "for f in /own/x /link/x /data/x; do echo x >$f && echo written $f; done 2>&1; true";
    let with = |paths: Value| {
        let c = Container::sh(script).edit(|config| {
            config["process"]["cwd"] = json!("/data");
            config["linux"]["readonlyPaths"] = paths;
        });
        for dir in ["own", "data", "target"] {
            std::fs::create_dir(c.file(dir)).unwrap();
        }
        host::symlink("/target", c.file("link"));
        c
    };
    let c = with(json!(["own/", "./link", "missing"]));
    let out = c.run().ok();
    assert_eq!(out.text().matches("Read-only file system").count(), 2, "{out:?}");
    assert!(out.text().contains("written /data/x"), "{out:?}");
    if is_croci() {
        assert_eq!(out.stderr.matches("is relative: taken below the container's root").count(), 2, "{out:?}");
        // a path that does not exist needs no word, as an absolute one
        assert_eq!(with(json!(["missing"])).run().ok().stderr, "");
        with(json!(["."])).run().fails().stderr_contains("is the root");
    }
    c.nothing_left();
}
