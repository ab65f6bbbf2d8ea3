//! What people do every day with Docker and Podman, and expect to be the same: volumes, exit statuses, limits, imports.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::need_root;

/// Runs a shell script in a container with these flags; returns its output.
#[track_caller]
fn prints(fixture: &CormFixture, flags: &[&str], script: &str) -> String {
    fixture.run(&[&["--rm"], flags].concat(), "base", &["sh", "-c", script]).out().ok().text().to_owned()
}

#[test]
fn set_id_programs_and_devices_of_a_volume_work_unless_an_option_says_otherwise() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        // beside the store, because the sandbox may be on a file system without set-id programs
        let dir = fixture.place.mkdir("volume");
        // not busybox's, which drops the rights itself
        fs::copy("/usr/bin/id", dir.join("id")).unwrap();
        fs::set_permissions(dir.join("id"), fs::Permissions::from_mode(0o4755)).unwrap();
        let volume = |options: &str| format!("{}:/v{options}", dir.display());
        let libraries = ["-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-u", "1000", "-v"];
        let effective = |options: &str| prints(fixture, &[&libraries[..], &[&volume(options)]].concat(), "/v/id -u");
        assert_eq!((effective("").as_str(), effective(":nosuid").as_str()), ("0", "1000"));
        assert_eq!(prints(fixture, &["-v", "/dev/null:/data/f"], "echo x > /data/f; stat -c %t:%T /data/f"), "1:3");
        let flags = ["-v", "/dev/null:/data/f:nodev"];
        fixture.run(&[&["--rm"], &flags[..]].concat(), "base", &["sh", "-c", "echo x > /data/f"]).out().fails();
        let flags = format!("{}:/v:ro,noexec,rslave,z", dir.display());
        let out =
            prints(fixture, &["-v", &flags], "grep ' /v ' /proc/self/mountinfo; touch /v/x 2>&1; /v/id 2>&1; true");
        assert!(out.contains(" /v ro,") && out.contains("noexec"), "{out}");
        assert!(out.contains("Read-only") && out.contains("Permission denied"), "{out}");
        fixture.no_container_left();
    });
}

#[test]
fn a_volume_at_dev_is_the_containers_dev_with_its_own_terminals() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let dev = fixture.place.mkdir("dev");
        for (name, minor) in [("null", "3"), ("zero", "5"), ("only-here", "7")] {
            fixture.sandbox.program("mknod").arg(dev.join(name)).args(["c", "1", minor]).out().ok();
        }
        let volume = format!("{}:/dev", dev.display());
        let seen = prints(
            fixture,
            &["-v", &volume],
            "ls /dev; echo x > /dev/null; ls /dev/pts; grep -c ' /dev/pts ' /proc/mounts",
        );
        assert!(seen.contains("only-here") && seen.contains("ptmx") && seen.ends_with("\n1"), "{seen}");
        fixture.no_container_left();
    });
}

#[test]
fn two_volumes_at_one_place_and_unknown_options_are_refused() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let out = fixture.run(&["-v", "/tmp:/x", "-v", "/usr:/x/"], "base", &["true"]).out().exits(125);
        assert!(out.stderr.contains("the destination of two"), "{out:?}");
        for bad in ["/tmp:/x:rx", "/tmp:/x:ro,rw", "/tmp:/x:", "/tmp:/x:idmap"] {
            fixture.run(&["-v", bad], "base", &["true"]).out().exits(125).one_line().no_panic();
        }
        fixture.no_container_left();
    });
}

#[test]
fn exec_says_why_by_its_status() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        let exec = |args: &[&str]| fixture.corm(["exec"]).args(args).out();
        for (args, status) in [
            (&["c", "no-such-program"][..], 127),
            (&["c", "/no/such/program"], 127),
            (&["c", "/etc/passwd"], 126),
            (&["c", "/etc"], 126),
            (&["-d", "c", "no-such-program"], 127),
            (&["-w", "/etc/passwd", "c", "true"], 125),
            (&["-u", "nobody-here", "c", "true"], 125),
            (&["nothing", "true"], 125),
            (&["c"], 125),
            (&["--no-such-flag", "c", "true"], 125),
            (&["c", "sh", "-c", "exit 125"], 125),
            (&["c", "sh", "-c", "exit 255"], 255),
            (&["c", "sh", "-c", "exit 1"], 1),
            (&["c", "sh", "-c", "kill -9 $$"], 137),
            (&["-d", "c", "true"], 0),
        ] {
            let out = exec(args).exits(status);
            let own =
                out.stderr.lines().filter(|line| line.starts_with("corm: ") || line.starts_with("croci: ")).count();
            assert_eq!(own, usize::from((125..=127).contains(&status) && args.last() != Some(&"exit 125")), "{out:?}");
        }
        fixture.corm(["rm", "-f", "c"]).out().ok();
        assert_eq!(exec(&["c", "true"]).code, Some(125));
        fixture.no_container_left();
    });
}

#[test]
fn a_signal_to_exec_reaches_its_program() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
            let script = "trap 'echo got; exit 9' TERM INT USR1; echo ready; while :; do sleep 0.1; done";
            let exec = fixture.corm(["exec", "c", "sh", "-c", script]).spawn();
            test_support::wait_for("it runs", || exec.stdout().contains("ready"));
            exec.signal(signal);
            let out = exec.wait().exits(9);
            assert_eq!(out.stdout, "ready\ngot\n", "{signal}");
        }
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = |flags: &[&str], script: &str| {
            let run = fixture.run(&[&["--rm"], flags].concat(), "base", &["sh", "-c", script]);
            run.inherit(full().into(), 1).out()
        };
        for flags in [&[][..], &["-t"]] {
            let out = run(flags, "echo hello").exits(125).one_line();
            assert!(out.stderr.contains("standard output: no space left"), "{out:?}");
        }
        run(&[], "echo hello; exit 3").exits(3);
        run(&[], "true").ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_memory_limit_may_be_none_and_has_everybodys_units() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let limit = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true";
        let limited = |size: &str| prints(fixture, &["-m", size], limit);
        let none = prints(fixture, &[], limit);
        assert_eq!((limited("-1"), limited("0")), (none.clone(), none));
        for size in ["64Mi", "64m", "64MB", "64MiB", "67108864"] {
            assert_eq!(limited(size), "67108864", "{size}");
        }
        for bad in ["-2", "64i", "i", "lots", ""] {
            fixture.run(&["-m", bad], "base", &["true"]).out().exits(125);
        }
        fixture.no_container_left();
    });
}

#[test]
fn an_empty_tar_is_no_image() {
    need_root!();
    over_all(|fixture| {
        let out = fixture.corm(["import", "-", "empty"]).stdin("").out().exits(1).one_line();
        assert!(out.stderr.contains("is empty"), "{out:?}");
        let file = fixture.sandbox.write("empty.tar", "");
        fixture.corm(["import"]).arg(file).arg("empty").out().exits(1).one_line();
        assert_eq!(fixture.json(&["images", "--format", "json"]).as_array().unwrap().len(), 0);
    });
}

#[test]
fn what_no_layer_can_hold_does_not_block_a_commit_nor_uncover_what_it_replaced() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        // overlay itself refuses the device
        let script = "mknod /zero c 0 0; rm /etc/group; mknod /etc/group c 0 0; touch /kept; true";
        fixture.run(&["--name", "c"], "base", &["sh", "-c", script]).out().ok();
        fixture.corm(["commit", "c", "changed"]).out().ok();
        let seen = fixture.run(&["--rm"], "changed", &["sh", "-c", "ls / /etc"]).out().ok();
        assert!(seen.stdout.contains("kept") && !seen.stdout.contains("zero"), "{seen:?}");
        assert!(!seen.stdout.contains("group"), "{seen:?}");
        fixture.corm(["export", "c", "-o"]).arg(fixture.sandbox.path("c.tar")).out().ok();
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_store_may_have_a_backslash_in_its_path() {
    need_root!();
    over_all(|fixture| {
        let root = fixture.place.path().join("back\\slash, and: more");
        let rootfs = fixture.busybox_dir("busybox");
        let corm = |args: &[&str]| fixture.corm(["--root"]).arg(&root).args(args);
        corm(&["init"]).arg(&rootfs).arg("base").out().ok();
        corm(&["run", "--name", "c", "base", "touch", "/new"]).out().ok();
        corm(&["commit", "c", "changed"]).out().ok();
        corm(&["run", "--rm", "changed", "ls", "/new"]).out().ok();
        corm(&["rm", "c"]).out().ok();
    });
}

#[test]
fn the_groups_of_a_user_include_its_own() {
    need_root!();
    over_all(|fixture| {
        let rootfs = fixture.busybox_dir("groups");
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n").unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nweb:x:33:\nadm:x:44:web\n").unwrap();
        fixture.corm(["init"]).arg(&rootfs).arg("base").out().ok();
        assert_eq!(prints(fixture, &["-u", "web"], "id -G"), "33 44");
        assert_eq!(prints(fixture, &["-u", "33:"], "id -G"), "33 44");
        assert_eq!(prints(fixture, &["-u", "web:adm"], "id -G"), "44");
        fixture.detached(&["--name", "c", "-u", "web"], "base", &["sleep", "1000"]);
        assert_eq!(fixture.corm(["exec", "c", "id", "-G"]).out().ok().text(), "33 44");
        assert_eq!(fixture.corm(["exec", "-u", "web", "c", "id", "-G"]).out().ok().text(), "33 44");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}
