//! G1–G8: masks and read-only paths, propagation, the old root, namespaces of another type than the configuration
//! names.

use test_support::bundle::bind;
use test_support::container::Untouched;
use test_support::*;

#[test]
fn g1_masked_and_read_only_paths() {
    need_root!();
    let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls -A /sys/firmware | wc -l; \
        for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity; do \
        [ -e $f ] || continue; (echo x > $f) 2>&1; done; (echo x > /sys/x) 2>&1; true";
    let out = Container::sh(script).run();
    let lines = out.lines();
    assert_eq!(lines[..2], ["0", "0"], "{out:?}");
    for line in &lines[2..] {
        assert!(line.contains("Read-only file system"), "{out:?}");
    }
    assert!(lines.len() >= 4, "{out:?}");
}

#[test]
fn g1_a_read_only_root() {
    need_root!();
    let c = Container::sh(
        "(echo x > /x) 2>&1; echo y > /tmp/y && echo tmp-ok; grep ' / / \\| / ' /proc/self/mountinfo | head -1",
    )
    .edit(|config| config["root"]["readonly"] = json!(true))
    .mount(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
    let out = c.run().ok();
    assert!(out.stdout.contains("Read-only file system") && out.stdout.contains("tmp-ok"), "{out:?}");
    assert!(!c.file("/x").exists());
}

/// Runs containers in a new mount namespace after the shell commands `prepare`, and checks that its mount table is
/// unchanged.
fn mount_table_is_kept(prepare: &str) {
    let c = Container::sh("mount -t tmpfs x /tmp 2>/dev/null; true");
    let source = c.sandbox.mkdir("volume");
    let c = c.mount(bind(&source, "/volume", &["rshared"])).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
        }
    });
    c.write_config();
    let script = format!(
        "{prepare}; cat /proc/self/mountinfo > {0}/before; for n in 1 2 3 4 5 6 7 8; do \"$0\" \"$@\" || exit 9; done; \
        cat /proc/self/mountinfo > {0}/after",
        c.sandbox.dir.display()
    );
    let unshare = c.sandbox.program("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script]);
    c.run_by(unshare).ok();
    let read = |name: &str| std::fs::read_to_string(c.sandbox.path(name)).unwrap();
    assert!(!read("before").is_empty());
    assert_eq!(read("before"), read("after"));
    c.nothing_left();
}

#[test]
fn g2_the_hosts_mount_table_is_kept() {
    need_root!();
    mount_table_is_kept("true");
}

#[test]
fn g3_also_when_the_hosts_root_is_shared() {
    need_root!();
    mount_table_is_kept("mount --make-rshared /");
}

#[test]
fn g4_the_old_root_is_out_of_reach() {
    need_root!();
    for flags in [&[][..], &["--no-pivot"]] {
        let c = Container::sh("true");
        let marker = c.host_dir("host").join("marker");
        let script = format!(
            "cat /..{0} /../..{0} /proc/1/root{0} /proc/self/root/..{0} /proc/1/cwd/..{0} .{0} ..{0} 2>/dev/null; \
            ls /.. | grep -x work; true",
            marker.display()
        );
        let c = c.edit(|config| config["process"]["args"] = json!(["sh", "-c", script]));
        let out = c.run_with(flags).out().ok();
        assert!(out.stdout.is_empty(), "{flags:?}: {out:?}");
    }
}

#[test]
fn g4_no_mount_of_the_host_is_seen() {
    need_root!();
    let out = Container::new(&["cat", "/proc/self/mountinfo"]).run().ok();
    let points: Vec<_> = out.lines().iter().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
    assert_eq!(points[0], "/", "{points:?}");
    for point in &points[1..] {
        assert!(["/proc", "/dev", "/sys"].iter().any(|top| point.starts_with(top)), "{point} in {points:?}");
    }
}

#[test]
fn g5_a_namespace_of_another_type() {
    need_root!();
    for (kind, path) in [("network", "/proc/self/ns/uts"), ("pid", "/proc/self/ns/net"), ("ipc", "/proc/self/ns/mnt")] {
        let c = Container::new(&["true"]).edit(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|ns| ns["type"] != kind);
            list.push(json!({ "type": kind, "path": path }));
        });
        c.create().fails().one_line().stderr_contains(kind);
        c.nothing_left();
    }
}

#[test]
fn g6_a_namespace_twice() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({ "type": "network", "path": "/proc/1/ns/net" }));
    });
    c.create().fails().one_line().stderr_contains("network");
    c.nothing_left();
}

#[test]
fn g7_dv_2_something_else_in_the_place_of_a_device() {
    need_root!();
    let device = json!([{ "path": "/devices/thing", "type": "c", "major": 1, "minor": 3, "fileMode": 438 }]);
    let makers: [fn(&std::path::Path); 4] = [
        |path| std::fs::write(path, "a file\n").unwrap(),
        |path| std::fs::create_dir(path).unwrap(),
        |path| host::symlink("/etc/passwd", path),
        |path| {
            let kind = nix::sys::stat::SFlag::S_IFCHR;
            nix::sys::stat::mknod(path, kind, nix::sys::stat::Mode::S_IRUSR, nix::sys::stat::makedev(1, 5)).unwrap();
        },
    ];
    for make in makers {
        let c = Container::new(&["true"]).edit(|config| config["linux"]["devices"] = device.clone());
        std::fs::create_dir(c.file("/devices")).unwrap();
        make(&c.file("/devices/thing"));
        let before = Untouched::watch(&c.file("/devices"));
        c.create().fails().one_line().stderr_contains("/devices/thing");
        before.check();
        c.nothing_left();
    }
}

#[test]
fn g8_recursive_read_only() {
    need_root!();
    let c = Container::sh("(echo x > /tree/a) 2>&1; (echo x > /tree/sub/a) 2>&1; true");
    let tree = c.sandbox.mkdir("tree/sub").parent().unwrap().to_owned();
    let c = c.mount(bind(&tree, "/tree", &["rro"]));
    c.write_config();
    let script = format!("mount -t tmpfs x {}/sub && exec \"$0\" \"$@\"", tree.display());
    let unshare = c.sandbox.program("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script]);
    let out = c.run_by(unshare).ok();
    assert_eq!(out.stdout.matches("Read-only file system").count(), 2, "{out:?}");
}

#[test]
fn class_12_a_user_namespace_cannot_reach_the_hosts_cgroups() {
    need_root!();
    let c = Container::sh(
        "for f in $(find /sys/fs/cgroup -name cgroup.procs 2>/dev/null | head -20); do \
        (echo 1 > $f) 2>/dev/null && echo wrote $f; done; true",
    )
    .edit(|config| {
        bundle::with_userns(config);
        bundle::add_mount(
            config,
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }),
        );
    });
    // the host's root owns the image, which the container's root may read
    let out = c.run().ok();
    assert!(out.stdout.is_empty(), "{out:?}");
    c.nothing_left();
}

#[test]
fn class_21_a_state_root_that_others_can_write() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc does not look");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let c = Container::new(&["true"]);
    std::fs::create_dir(&c.sandbox.root).unwrap();
    std::fs::set_permissions(&c.sandbox.root, std::fs::Permissions::from_mode(0o777)).unwrap();
    c.create().fails().one_line().stderr_contains(c.sandbox.root.to_str().unwrap());
    c.nothing_left();
}

/// The path of a createContainer hook is resolved on the host, because in the mount namespace of another container it
/// would be a program of that container.
#[test]
fn no_hook_comes_from_the_mount_namespace_of_another_container() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let hook = c.sandbox.script("hook", "#!/bin/sh\ntrue\n");
    let planted = c.file(hook.to_str().unwrap());
    std::fs::create_dir_all(planted.parent().unwrap()).unwrap();
    cmd::script(&planted, "#!/bin/sh\necho ran > /ran\n");
    let other = Container::within(&c.sandbox, &["true"]);
    std::fs::create_dir_all(c.file(other.rootfs.to_str().unwrap())).unwrap();
    let c = c.up();
    let other = other.edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "mount");
        list.push(json!({ "type": "mount", "path": format!("/proc/{}/ns/mnt", c.pid()) }));
        config["hooks"] = json!({ "createContainer": [{ "path": hook, "env": ["PATH=/bin"] }] });
        config["mounts"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let out = other.run();
    assert!(!c.file("/ran").exists(), "the container's program ran: {out:?}");
    if is_croci() {
        out.fails().one_line().stderr_contains("hooks.createContainer");
    }
    c.delete_force().ok();
    c.nothing_left();
}
