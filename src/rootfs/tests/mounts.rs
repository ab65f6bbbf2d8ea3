//! Mounts, devices and what happens to them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;

use super::{Case, case};

#[test]
fn mt_10_the_default_configuration() {
    let case = case!();
    let seen = case.run("cat /proc/self/mounts; ls -l /dev; stat -c '%n %a %t:%T' /dev/null /dev/tty; ls /");
    for line in [
        "proc /proc proc rw,nosuid,nodev,noexec,relatime",
        "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755",
        "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666",
        "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k",
        "mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime",
        "/dev/null 666 1:3",
        "/dev/tty 666 5:0",
        "fd -> /proc/self/fd",
        "stdin -> /proc/self/fd/0",
        "ptmx -> pts/ptmx",
    ] {
        assert!(seen.contains(line), "{line} in\n{seen}");
    }
    assert_eq!(seen.lines().filter(|l| l.contains("ext4") || l.contains("overlay")).count(), 1, "one root\n{seen}");
}

#[test]
fn rt_2_a_read_only_root_with_created_mount_points() {
    let mut case = case!();
    case.config["root"]["readonly"] = json!(true);
    case.mount("/run/late", "tmpfs", "tmpfs", &["ro"]).mount("/run/late/below", "tmpfs", "tmpfs", &[]);
    let seen = case.run("touch /x; touch /run/late/x; touch /run/late/below/x && echo below; touch /dev/x && echo dev");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(seen.contains("below") && seen.contains("dev"), "{seen}");
}

#[test]
fn mt_3_binds_of_files_and_directories() {
    let mut case = case!();
    case.host_file("vol/file", "volume");
    let (vol, file) = (case.path("vol"), case.path("vol/file"));
    case.mount("/data/deep", "bind", &vol, &["rbind", "ro", "rprivate"])
        .mount("/etc/one", "bind", &file, &["bind", "noexec"])
        .mount("/relative", "none", "vol", &["bind"]);
    let seen = case.run(
        "cat /data/deep/file /etc/one /relative/file; touch /data/deep/x; touch /relative/y; cat /proc/self/mounts",
    );
    assert_eq!(seen.matches("volume").count(), 3, "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 1, "{seen}");
    assert!(seen.lines().any(|l| l.contains(" /etc/one ") && l.contains("noexec")), "{seen}");
    assert!(case.dir.join("vol/y").exists());
}

#[test]
fn mt_4_sources_that_do_not_fit() {
    for (destination, source, text) in [
        ("/d", "none", "source"),
        ("/bin", "host/marker", "not a directory"),
        ("/bin/busybox", "host", "not a directory"),
    ] {
        let mut case = case!();
        let source = case.path(source);
        case.mount(destination, "bind", &source, &["bind"]);
        let error = case.refused();
        assert!(error.contains(text) && error.contains(&format!("mounts[6]: destination {destination:?}")), "{error}");
    }
    let mut case = case!();
    case.mount("/d", "bind", "/no/such", &["bind"]);
    assert!(case.refused().ends_with("source \"/no/such\": no such file or directory"));
    case.config["mounts"].as_array_mut().unwrap().pop();
    case.mount("/d", "bind", "/no/such", &["bind", "nofail"]);
    assert!(case.run("echo fine").contains("fine"));
}

#[test]
fn mt_7_the_refused_option_is_named() {
    let mut case = case!();
    case.mount("/t", "tmpfs", "tmpfs", &["size=1m", "sizz=1"]);
    let error = case.refused();
    assert!(error.contains("\"sizz=1\"") && error.contains("Unknown parameter 'sizz'"), "{error}");
    let mut case = case!();
    case.mount("/t", "bind", "host", &["bind", "sizz"]);
    assert!(case.refused().contains("\"sizz\""));
    let mut case = case!();
    case.mount("/t", "nosuchfs", "x", &[]);
    assert!(case.refused().contains("nosuchfs"));
}

#[test]
fn dv_1_devices_with_exact_modes() {
    let mut case = case!();
    case.config["linux"]["devices"] = json!([
        {"path": "/dev/c", "type": "c", "major": 10, "minor": 666, "fileMode": 432, "uid": 7, "gid": 8},
        {"path": "/dev/b", "type": "b", "major": 8, "minor": 666, "fileMode": 432},
        {"path": "/dev/p", "type": "p", "major": 8, "minor": 666, "fileMode": 432},
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200},
    ]);
    let seen = case.run("stat -c '%n %a %F %t:%T %u:%g' /dev/c /dev/b /dev/p /dev/net/tun");
    for line in [
        "/dev/c 660 character special file a:29a 7:8",
        "/dev/b 660 block special file 8:29a 0:0",
        "/dev/p 660 fifo 0:0 0:0",
        "/dev/net/tun 666 character special file a:c8 0:0",
    ] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
}

#[test]
fn tmpcopyup_keeps_what_was_there() {
    let mut case = case!();
    case.host_file("rootfs/conf/a", "one");
    case.host_file("rootfs/conf/sub/b", "two");
    let conf = case.dir.join("rootfs/conf");
    fs::hard_link(conf.join("a"), conf.join("hard")).unwrap();
    symlink("sub/b", conf.join("soft")).unwrap();
    fs::set_permissions(conf.join("a"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o711)).unwrap();
    nix::unistd::chown(&conf.join("sub"), Some(12.into()), Some(13.into())).unwrap();
    case.mount("/conf", "tmpfs", "tmpfs", &["tmpcopyup", "", "nodev"]);
    let seen = case.run(
        "cat /conf/a /conf/soft; stat -c '%n %a %u:%g %h' /conf /conf/a /conf/sub; readlink /conf/soft; touch /conf/new; \
         stat -f -c %T /conf",
    );
    for line in ["onetwo", "/conf 711 0:0", "/conf/a 4751 0:0 2", "/conf/sub 755 12:13", "sub/b", "tmpfs"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!conf.join("new").exists());
}

#[test]
fn copy_symlink_and_nofollow() {
    let mut case = case!();
    case.host_file("vol/real", "real");
    symlink("real", case.dir.join("vol/lnk")).unwrap();
    case.link("/bin", "dest");
    case.host_file("rootfs/plain", "");
    case.mount("/copied", "bind", "vol/lnk", &["bind", "copy-symlink"])
        .mount("/linked", "bind", "vol/lnk", &["bind", "src-nofollow"])
        .mount("/dest", "bind", "vol/real", &["bind", "dest-nofollow"]);
    let seen = case.run("readlink /copied; readlink /linked; cat /dest; ls /bin/busybox");
    assert!(seen.contains("real\nreal\nreal/bin/busybox"), "{seen}");
}

#[test]
fn op_3_a_failed_build_removes_its_mount_points() {
    let mut case = case!();
    case.mount("/new/deep/dir", "tmpfs", "tmpfs", &[]).mount("/newer", "tmpfs", "tmpfs", &["nosuch=1"]);
    case.refused();
    let mut names: Vec<_> = fs::read_dir(case.dir.join("rootfs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bin"]);
}

#[test]
fn remount_changes_what_is_there() {
    let mut case = case!();
    case.mount("/dev/shm", "tmpfs", "shm", &["remount", "size=1m", "ro"]);
    case.mount("/bin", "bind", "rootfs/bin", &["bind"]).mount(
        "/bin",
        "none",
        "x",
        &["bind", "remount", "ro", "nosuid"],
    );
    let seen = case.run("cat /proc/self/mounts");
    assert!(seen.contains("shm /dev/shm tmpfs ro,nosuid,nodev,noexec,relatime,size=1024k"), "{seen}");
    assert!(seen.lines().any(|l| l.contains(" /bin ") && l.contains("ro,nosuid")), "{seen}");
}

#[test]
fn many_binds_stay_within_the_limit_of_descriptors() {
    let mut case = case!();
    case.host_file("vol/f", "x");
    for index in 0..1000 {
        case.mount(&format!("/many/{index}"), "bind", "vol", &["bind", "ro"]);
    }
    let seen = case.run("cat /many/0/f /many/999/f; touch /many/999/x");
    assert!(seen.contains("xx") && seen.contains("Read-only"), "{seen}");
}

#[test]
fn mt_1_mounts_are_created_in_order() {
    let mut case = case!();
    for index in 0..4 {
        case.mount(&format!("/b/{index}"), "", "host", &["bind", "private"]);
        case.mount(&format!("/t/{index}"), "tmpfs", "tmpfs", &["ro"]);
    }
    let configured: Vec<_> =
        case.config["mounts"].as_array().unwrap().iter().map(|m| m["destination"].clone()).collect();
    let seen = case.run("cat /proc/self/mountinfo");
    // mountinfo has the order of creation; the official suite compares it with the order of the configuration
    let listed: Vec<_> = seen.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| *at != "/").collect();
    assert_eq!(listed, configured, "{seen}");
}
