//! B1, B2: masked paths and the console with a hostile /dev. C1–C6: mounts over or inside /proc.

use test_support::bundle::{add_mount, bind, without_mount};
use test_support::container::Untouched;
use test_support::*;

#[test]
fn b1_a_hostile_dev_null_does_not_unmask() {
    need_root!();
    for target in ["/proc/version", "/proc/sys/kernel/core_pattern"] {
        let c = Container::sh("cat /masked; cat /proc/keys; echo end");
        let dev = c.sandbox.mkdir("dev");
        host::symlink(target, dev.join("null"));
        std::fs::write(c.file("/masked"), "masked-content\n").unwrap();
        let c = c.edit(|config| {
            for name in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
                without_mount(config, name);
            }
            add_mount(config, bind(&dev, "/dev", &[]));
            config["linux"]["maskedPaths"] = json!(["/masked", "/proc/keys"]);
        });
        // both files are empty: the program ran, and printed only its last line
        assert_eq!(c.run().ok().stdout, "end\n", "{target}");
        c.nothing_left();
    }
}

/// A masked or read-only symlink covers its target, whatever other names the target has.
#[test]
fn b3_a_masked_path_that_is_a_symlink() {
    need_root!();
    let script = "cat /secret/f /f /deep/er/f /proc/keys; echo $?; ls -A /secret; (echo x >/proc/sys/vm/swappiness) 2>&1; \
                  test -L /to-dir && cat /to-dir/f; echo end";
    let c = Container::sh(&format!("({script}) 2>&1"));
    for name in ["secret/f", "f", "deep/er/f"] {
        std::fs::create_dir_all(c.file(name).parent().unwrap()).unwrap();
        std::fs::write(c.file(name), "unmasked\n").unwrap();
    }
    for (link, target) in [
        ("to-dir", "secret"),
        ("to-file", "/f"),
        ("up", "deep"),
        ("chain", "../../to-keys"),
        ("to-keys", "/proc/keys"),
        ("to-sys", "proc/sys"),
        ("dangling", "/no/such"),
    ] {
        host::symlink(target, c.file(link));
    }
    let c = c.edit(|config| {
        let masked = json!(["/to-dir", "/to-file", "/up/er/f", "/chain", "/dangling", "/f/below", "/no/such"]);
        config["linux"]["maskedPaths"] = masked;
        config["linux"]["readonlyPaths"] = json!(["/to-sys", "/dangling"]);
    });
    let out = c.run().ok();
    assert!(!out.stdout.contains("unmasked"), "{out:?}");
    let lines = out.lines();
    // the files are empty, and so is their directory
    assert!(lines[0].contains("/secret/f") && lines[1] == "1", "{out:?}");
    assert!(lines[2].contains("Read-only"), "{out:?}");
    assert!(lines[3].contains("/to-dir/f") && lines[4] == "end", "{out:?}");
    c.nothing_left();
}

/// A path of a file is masked also where it ends in a slash or a dot, as the path of a directory may.
#[test]
fn b3_a_masked_path_with_a_slash_or_a_dot_at_its_end() {
    need_root!();
    for path in ["/secret/", "/secret//", "/secret/.", "/secret/./", "/./to-file/", "/up/../secret/."] {
        let c = Container::sh("cat /secret; (echo x >/locked) 2>&1; echo end").edit(|config| {
            config["linux"]["maskedPaths"] = json!([path]);
            config["linux"]["readonlyPaths"] =
                json!([path.replace("secret", "locked").replace("to-file", "to-locked")]);
        });
        for name in ["secret", "locked"] {
            std::fs::write(c.file(name), "unmasked\n").unwrap();
        }
        std::fs::create_dir(c.file("up")).unwrap();
        host::symlink("secret", c.file("to-file"));
        host::symlink("locked", c.file("to-locked"));
        let out = c.run().ok();
        assert!(!out.stdout.contains("unmasked"), "{path}: {out:?}");
        assert!(out.stdout.contains("Read-only"), "{path}: {out:?}");
        c.nothing_left();
    }
    // nor is a path skipped that has `..` after a file
    for field in ["maskedPaths", "readonlyPaths"] {
        let c = Container::sh("cat /secret").edit(|config| config["linux"][field] = json!(["/file/../secret"]));
        for name in ["secret", "file"] {
            std::fs::write(c.file(name), "unmasked\n").unwrap();
        }
        c.run().fails().one_line().stderr_contains(field).stderr_contains("no directory");
        c.nothing_left();
    }
}

#[test]
fn b4_a_masked_path_that_leads_nowhere_good() {
    need_root!();
    for (links, path, error) in [
        (vec![("loop", "loop")], "/loop", "loop"),
        (vec![("one", "two"), ("two", "/one")], "/one", "loop"),
        (vec![("loop", "loop")], "/loop/below", "loop"),
        (vec![("all", "/")], "/all", "leads to the root"),
        (vec![("all", "usr/../..")], "/all", "leads to the root"),
        (vec![("magic", "/proc/self/root")], "/magic/etc", "/magic/etc"),
    ] {
        for field in ["maskedPaths", "readonlyPaths"] {
            let c = Container::new(&["true"]).edit(|config| config["linux"][field] = json!([path]));
            for (link, target) in &links {
                host::symlink(target, c.file(link));
            }
            let out = c.run().fails().one_line().stderr_contains(error);
            assert!(out.stderr.contains(&format!("linux.{field}: {path:?}")), "{out:?}");
            c.nothing_left();
        }
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
    if is_croci() {
        // symlinks in pts are no terminals
        out.fails().one_line().stderr_contains("process.terminal").stderr_contains("devpts");
    } else if out.code == Some(0) {
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
    out.fails().one_line().stderr_contains("proc");
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

/// The usual exceptions (class 4) are allowed.
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
