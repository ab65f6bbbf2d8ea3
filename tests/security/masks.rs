//! B1, B2: masked paths and the console with a hostile /dev. C1–C6: mounts over or inside of /proc.

use crate::common::bundle::{add_mount, bind, without_mount};
use crate::common::container::Untouched;
use crate::common::*;
use crate::need_root;

#[test]
fn b1_a_hostile_dev_null_does_not_unmask() {
    need_root!();
    let c = Container::sh("cat /proc/keys; echo end");
    let dev = c.sandbox.mkdir("dev");
    for target in ["/proc/version", "/proc/sys/kernel/core_pattern"] {
        let _ = std::fs::remove_file(dev.join("null"));
        host::symlink(target, dev.join("null"));
        let d = Container::within(&c.sandbox, &["sh", "-c", "cat /masked; cat /proc/keys; echo end"]);
        std::fs::write(d.file("/masked"), "masked-content\n").unwrap();
        let d = d.edit(|config| {
            for name in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
                without_mount(config, name);
            }
            add_mount(config, bind(&dev, "/dev", &[]));
            config["linux"]["maskedPaths"] = json!(["/masked", "/proc/keys"]);
        });
        let out = d.run().no_panic();
        let foreign = ["Linux version", "core", "masked-content"];
        assert!(!foreign.iter().any(|text| out.stdout.contains(text)), "{target}: {out:?}");
    }
}

#[test]
fn b2_a_hostile_pts_is_not_the_console() {
    need_root!();
    let c = Container::sh("cat /dev/console </dev/null & sleep 0; head -c 200 /dev/console < /dev/null; echo end");
    let dev = c.sandbox.mkdir("dev");
    std::fs::create_dir(dev.join("pts")).unwrap();
    for number in 0..4 {
        host::symlink("/proc/version", dev.join(format!("pts/{number}")));
    }
    host::symlink("pts/ptmx", dev.join("ptmx"));
    host::symlink("/proc/version", dev.join("console"));
    let before = Untouched::watch(&dev);
    let c = c.edit(|config| {
        for name in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
            without_mount(config, name);
        }
        add_mount(config, bind(&dev, "/dev", &["ro"]));
        config["process"]["terminal"] = json!(true);
        config["process"]["args"] = json!(["sh", "-c", "test -c /dev/console || cat /dev/console; echo end"]);
    });
    let socket = pty::ConsoleSocket::listen(&c.sandbox.dir);
    let out = c.create_with(&["--console-socket", &socket.flag()]).out().no_panic();
    if out.code == Some(0) {
        let mut console = socket.receive();
        c.start().ok();
        let seen = console.expect("end");
        assert!(!seen.contains("Linux version"), "{seen}");
    }
    before.check();
    c.delete_force().ok();
    c.nothing_left();
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value, &Container)) {
    let mut c = Container::new(&["true"]);
    let mut config = c.config.clone();
    change(&mut config, &c);
    c.config = config;
    let out = c.create();
    assert_eq!(out.code, Some(1), "must be refused: {out:?}");
    out.fails().one_line().says("proc");
    c.nothing_left();
}

#[test]
fn c1_tmpfs_inside_proc_self() {
    need_root!();
    refused(|config, _| {
        add_mount(config, json!({ "destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs" }));
    });
}

#[test]
fn c2_tmpfs_as_proc() {
    need_root!();
    refused(|config, _| {
        without_mount(config, "/proc");
        add_mount(config, json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs" }));
    });
    refused(|config, _| add_mount(config, json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs" })));
}

#[test]
fn c3_a_fake_proc_by_bind() {
    need_root!();
    refused(|config, c| {
        let fake = c.sandbox.mkdir("fakeproc/self/attr");
        without_mount(config, "/proc");
        add_mount(config, bind(fake.parent().unwrap().parent().unwrap(), "/proc", &[]));
    });
}

#[test]
fn c4_tmpfs_at_proc_sys() {
    need_root!();
    refused(|config, _| {
        add_mount(config, json!({ "destination": "/proc/sys", "type": "tmpfs", "source": "tmpfs" }));
    });
}

#[test]
fn c5_a_bind_into_proc_by_dots() {
    need_root!();
    refused(|config, c| {
        let file = c.sandbox.write("file", "");
        add_mount(config, bind(&file, "/tmp/../proc/sysrq-trigger", &[]));
    });
}

#[test]
fn c6_a_mount_into_proc_by_a_symlink_of_the_image() {
    need_root!();
    refused(|config, c| {
        host::symlink("/proc/self", c.file("/lnk"));
        add_mount(config, json!({ "destination": "/lnk", "type": "tmpfs", "source": "tmpfs" }));
    });
}

/// The customary exceptions (class 4) stay possible.
#[test]
fn c_the_customary_files_of_proc_may_be_bound() {
    need_root!();
    let c = Container::sh("cat /proc/uptime /proc/cpuinfo");
    let file = c.sandbox.write("fake", "faked-by-lxcfs\n");
    let c = c.mount(bind(&file, "/proc/uptime", &["ro"])).mount(bind(&file, "/proc/cpuinfo", &["ro"]));
    assert_eq!(c.run().ok().stdout, "faked-by-lxcfs\nfaked-by-lxcfs\n");
    // and the host's /proc by bind, as with --pid host in a user namespace
    let c = Container::sh("test -e /proc/1/status").edit(|config| {
        without_mount(config, "/proc");
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid");
        add_mount(config, bind(std::path::Path::new("/proc"), "/proc", &[]));
    });
    c.run().ok();
}
