//! A1–A9: symlinks of the image that point to the host.

use std::path::PathBuf;
use test_support::bundle::{add_mount, bind, without_mount};
use test_support::container::Untouched;
use test_support::*;

/// Creates a container, and a host directory that its image points to.
fn hostile(script: &str) -> (Container, PathBuf) {
    let c = Container::sh(script);
    let host = c.host_dir("host");
    (c, host)
}

/// Replaces a directory of the image by a symlink.
fn replace(c: &Container, name: &str, target: impl AsRef<std::path::Path>) {
    let path = c.file(name);
    let _ = std::fs::remove_dir(&path);
    let _ = std::fs::remove_file(&path);
    host::symlink(target, path);
}

#[test]
fn a1_proc_is_a_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    replace(&c, "/proc", &dir);
    c.run().fails();
    before.check();
    c.nothing_left();
    // also a symlink whose target is inside the image
    let (c, _) = hostile("true");
    std::fs::create_dir(c.file("/elsewhere")).unwrap();
    replace(&c, "/proc", "/elsewhere");
    c.run().fails();
    c.nothing_left();
}

#[test]
fn a2_sys_is_a_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    replace(&c, "/sys", &dir);
    c.run().fails();
    before.check();
    c.nothing_left();
}

#[test]
fn a3_dev_is_a_symlink_and_not_mounted() {
    need_root!();
    for target in ["host", "deep"] {
        let (c, dir) = hostile("true");
        std::fs::write(dir.join("ptmx"), "host's\n").unwrap();
        std::fs::write(dir.join("null"), "host's\n").unwrap();
        let before = Untouched::watch(&dir);
        let link = if target == "deep" {
            PathBuf::from("../../../..").join(dir.strip_prefix("/").unwrap())
        } else {
            dir.clone()
        };
        replace(&c, "/dev", link);
        let c = c.edit(|config| {
            for name in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
                without_mount(config, name);
            }
        });
        c.run().no_panic();
        before.check();
        c.nothing_left();
    }
}

#[test]
fn a4_dev_null_is_a_symlink() {
    need_root!();
    let (c, dir) = hostile("cat <&0; cat /dev/null; id -u > /dev/null; true");
    let secret = dir.join("secret");
    std::fs::write(&secret, "host-secret\n").unwrap();
    let before = Untouched::watch(&dir);
    host::symlink(&secret, c.file("/dev/null"));
    let c = c.edit(|config| {
        for name in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
            without_mount(config, name);
        }
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["linux"]["maskedPaths"] = json!([]);
    });
    let out = c.run().no_panic();
    assert!(!out.stdout.contains("host-secret"), "{out:?}");
    before.check();
    c.nothing_left();
}

#[test]
fn a5_dev_console_is_a_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    std::fs::create_dir(c.file("/dev/pts")).unwrap();
    host::symlink(dir.join("made-by-the-runtime"), c.file("/dev/console"));
    let c = c.edit(|config| {
        for name in ["/dev/shm", "/dev/mqueue", "/dev"] {
            without_mount(config, name);
        }
        config["process"]["terminal"] = json!(true);
    });
    let terminal = pty::Terminal::open(24, 80);
    let run = pty::on_terminal(c.run_with(&[]), &terminal).spawn();
    run.wait().no_panic();
    before.check();
    c.nothing_left();
}

#[test]
fn a6_a_mount_below_a_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    host::symlink(&dir, c.file("/lnk"));
    let volume = c.sandbox.mkdir("volume");
    let c = c.mount(bind(&volume, "/lnk/sub/dir", &[]));
    c.run().no_panic();
    before.check();
    c.nothing_left();
}

#[test]
fn a7_a_file_mount_on_a_dangling_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    host::symlink(dir.join("resolv.conf"), c.file("/etc/resolv.conf"));
    let file = c.sandbox.write("resolv.conf", "nameserver 192.0.2.1\n");
    let c = c.mount(bind(&file, "/etc/resolv.conf", &[]));
    c.run().no_panic();
    before.check();
    c.nothing_left();
}

#[test]
fn a8_a_device_below_a_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    host::symlink(&dir, c.file("/lnk"));
    let c = c.edit(|config| {
        config["linux"]["devices"] = json!([{ "path": "/lnk/fuse", "type": "c", "major": 10, "minor": 229 }]);
    });
    c.run().no_panic();
    before.check();
    c.nothing_left();
}

#[test]
fn a9_a_missing_cwd_below_a_symlink() {
    need_root!();
    let (c, dir) = hostile("true");
    let before = Untouched::watch(&dir);
    host::symlink(&dir, c.file("/lnk"));
    let c = c.edit(|config| config["process"]["cwd"] = json!("/lnk/newcwd"));
    c.run().no_panic();
    before.check();
    c.nothing_left();
}

#[test]
fn a_tmpcopyup_of_a_symlink() {
    need_root!();
    let (c, dir) = hostile("cat /data/marker 2>/dev/null; true");
    let before = Untouched::watch(&dir);
    host::symlink(&dir, c.file("/data"));
    let c = c.edit(|config| {
        add_mount(
            config,
            json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }),
        );
    });
    let out = c.run().no_panic();
    assert!(!out.stdout.contains("host-marker"), "{out:?}");
    before.check();
}
