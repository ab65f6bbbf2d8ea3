//! Namespaces, ID maps, propagation and cgroups.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::{Case, WRAPPER, case, with_wrapper};

#[test]
fn lx_1_propagation_of_the_root() {
    for (word, field) in [("shared", "shared:"), ("rslave", "master:"), ("private", "- "), ("unbindable", "unbindable")]
    {
        let mut case = case!();
        case.config["linux"] = json!({"rootfsPropagation": word, "readonlyPaths": ["/bin"]});
        let seen = case.run("grep ' / / ' /proc/self/mountinfo || grep ' / ' /proc/self/mountinfo");
        let line = seen.lines().find(|l| l.contains(" / ") && l.contains(" - ")).unwrap().to_owned();
        let optional = line.split_whitespace().nth(6).unwrap().to_owned();
        assert!(optional.starts_with(field.trim()), "{word}: {line}");
    }
}

#[test]
fn propagation_of_each_bind() {
    let mut case = case!();
    for word in ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"] {
        case.mount(&format!("/b/{word}"), "bind", "host", &["rbind", word, "mode=755", "size=1k"]);
        case.mount(&format!("/t/{word}"), "tmpfs", "tmpfs", &[word, "mode=755", "size=1k"]);
    }
    let seen = case.run("cat /proc/self/mountinfo");
    for (place, want) in [
        ("/b/shared", "shared:"),
        ("/b/rshared", "shared:"),
        ("/b/slave", "master:"),
        ("/b/rslave", "master:"),
        ("/b/private", "-"),
        ("/b/rprivate", "-"),
        ("/b/unbindable", "unbindable"),
        ("/b/runbindable", "unbindable"),
        ("/t/shared", "shared:"),
        ("/t/slave", "-"),
        ("/t/rprivate", "-"),
        ("/t/runbindable", "unbindable"),
    ] {
        let line = seen.lines().find(|l| l.split(' ').nth(4) == Some(place)).unwrap();
        assert!(line.split(' ').nth(6).unwrap().starts_with(want), "{place}: {line}");
    }
}

#[test]
fn mi_4_id_mapped_binds() {
    let mut case = case!();
    case.host_file("vol/f", "");
    case.mount("/option", "bind", "vol", &["bind", "idmap=uids=0-1234-10;gids=0-4321-10"]);
    case.mount("/fields", "bind", "vol", &["bind"]);
    let last = case.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    last["uidMappings"] = json!([{"containerID": 0, "hostID": 77, "size": 5}]);
    last["gidMappings"] = json!([{"containerID": 0, "hostID": 88, "size": 5}]);
    case.mount("/tmpfs", "tmpfs", "tmpfs", &["idmap=uids=0-5-10;gids=0-6-10"]);
    let seen = case.run("stat -c '%n %u:%g' /option/f /fields/f /tmpfs");
    for line in ["/option/f 1234:4321", "/fields/f 77:88", "/tmpfs 5:6"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    let mut case = case!();
    case.mount("/x", "bind", "host", &["bind", "idmap"]);
    assert!(case.refused().contains("idmap"), "MI-3: no mapping to use");
    let mut case = case!();
    case.mount("/x", "proc", "proc", &["idmap=uids=0-5-10;gids=0-6-10"]);
    assert!(case.refused().contains("does not support"), "MI-4");
}

#[test]
fn a_user_namespace_binds_devices_and_sysfs() {
    let mut case = case!();
    let root = case.dir.join("rootfs");
    nix::unistd::chown(&root, Some(100_000.into()), Some(100_000.into())).unwrap();
    case.host_file("closed/vol/f", "unreadable path");
    fs::set_permissions(case.dir.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    case.mount("/vol", "bind", "closed/vol", &["rbind", "ro"]);
    case.config["linux"] = json!({"maskedPaths": ["/proc/cpuinfo", "/sys/firmware"], "readonlyPaths": ["/proc/sys"]});
    case.config["root"]["readonly"] = json!(true);
    let seen = case.run_as(
        "userns",
        "stat -c '%n %t:%T' /dev/null /dev/tty; echo x > /dev/null; cat /vol/f; ls /sys; \
        ls /sys/firmware; touch /x; touch /vol/x; echo y > /proc/sys/kernel/hostname; readlink /dev/ptmx",
    );
    assert!(seen.contains("/dev/null 1:3") && seen.contains("/dev/tty 5:0"), "{seen}");
    assert!(seen.contains("unreadable path") && seen.contains("kernel") && seen.contains("pts/ptmx"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 3, "{seen}");
}

#[test]
fn devpts_group_outside_the_user_namespace() {
    let mut case = case!();
    case.mount("/pts2", "devpts", "devpts", &["newinstance", "gid=70000"]);
    let output = case.command("userns", "true").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("no group 70000"), "{text}");
}

#[test]
fn ns_5_without_a_mount_namespace() {
    let mut case = case!();
    case.without("/dev").without("/sys").without("/proc").mount("/vol", "bind", "host", &["bind"]);
    // the mounts stay in the caller's namespace and end with the wrapper's, so that they are not compared
    let output = case.command("chroot", "cat /vol/marker; ls /dev/null; ls /..").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("host/dev/null") && text.lines().any(|l| l == "bin"), "{text}");
    case.config["root"]["readonly"] = json!(true);
    let output = case.command("chroot", "touch /written && echo done").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("done"), "the host's mount stays as it is: {output:?}");
}

#[test]
fn mt_6_cgroup_v1_is_a_tmpfs_of_binds() {
    let mut case = case!();
    case.host_file("cg/box/tasks", "own");
    case.host_file("cg/other", "foreign");
    case.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]);
    let mut command = case.command(
        "plain",
        "cd /sys/fs/cgroup; cat cpu/tasks cpuacct/tasks cpu,cpuacct/tasks; ls memory; touch x; touch cpu/x; ls",
    );
    command.env("CROCI_TEST_CGROUP", case.path("cg"));
    let seen = case.finish(&mut command);
    assert!(seen.contains("ownownown") && seen.contains("other"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
}

#[test]
fn rt_3_rootless_the_child_opens_and_locked_flags_stay() {
    let mut case = case!();
    case.host_file("vol/f", "volume");
    nix::unistd::chown(&case.dir.join("rootfs"), Some(65_534.into()), Some(65_534.into())).unwrap();
    let pts = &mut case.config["mounts"][2]["options"];
    *pts = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    case.mount("/vol", "bind", "vol", &["rbind", "ro"]);
    case.config["linux"] = json!({"maskedPaths": ["/proc/cpuinfo", "/sys/firmware"], "readonlyPaths": ["/proc/sys"]});
    case.config["root"]["readonly"] = json!(true);
    let seen = case.run_as(
        "rootless",
        "cat /vol/f; stat -c '%n %t:%T' /dev/null /proc/cpuinfo; touch /x /vol/x; ls /sys; ls /sys/firmware",
    );
    assert!(seen.contains("volume") && seen.contains("/dev/null 1:3") && seen.contains("/proc/cpuinfo 1:3"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");

    // flags of a host mount that is nodev and read-only cannot be cleared in a user namespace
    let locked = |options: &str| {
        let vol = case.path("vol");
        format!("mount --bind {vol} {vol} && mount -o remount,bind,{options} {vol}\n{WRAPPER}")
    };
    let (nodev, readonly) = (locked("ro,nodev"), locked("ro"));
    case.config["mounts"].as_array_mut().unwrap().pop();
    case.mount("/vol", "bind", "vol", &["rbind"]);
    let script = "touch /vol/x; mount -o remount,bind,rw /vol && echo opened; grep vol /proc/self/mounts";
    for mode in ["rootless", "userns"] {
        let seen = case.finish(&mut with_wrapper(&case.command(mode, script), &nodev));
        assert!(seen.contains("Read-only") && !seen.contains("opened") && seen.contains("nodev"), "{mode} {seen}");
    }
    case.mount("/vol", "bind", "vol", &["rbind", "rw"]);
    let output = with_wrapper(&case.command("rootless", "true"), &readonly).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("locked") && text.contains("operation not permitted"), "MT-9: {text}");
}

#[test]
fn mt_6_cgroup_v2_in_a_namespace_of_its_own() {
    let mut case = case!();
    case.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"]);
    let seen = case.run_as("cgroupns", "grep /sys/fs/cgroup /proc/self/mountinfo; ls /sys/fs/cgroup");
    assert!(
        seen.contains("- cgroup2 cgroup") && seen.contains("cgroup.procs") && seen.contains(" ro,nosuid"),
        "{seen}"
    );
}

#[test]
fn shared_binds_under_a_shared_root_reach_the_host() {
    let mut case = case!();
    fs::create_dir_all(case.dir.join("vol/sub")).unwrap();
    case.mount("/both", "bind", "vol", &["rbind", "rshared"]).mount("/own", "bind", "vol", &["rbind", "rprivate"]);
    case.config["linux"]["rootfsPropagation"] = json!("rshared");
    let script =
        "mount -t tmpfs seen-by-host /both/sub; mount -t tmpfs unseen /own/sub; mount -t tmpfs unseen2 /sys/fs";
    let wrapped = WRAPPER.replace("exit $status", "cat /proc/self/mounts; exit $status");
    let output = with_wrapper(&case.command("plain", script), &wrapped).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("seen-by-host") && !text.contains("unseen"), "{text}");
}

#[test]
fn op_3_without_a_mount_namespace_a_failed_build_unmounts() {
    let mut case = case!();
    case.without("/proc").mount("/vol", "bind", "host", &["bind"]).mount("/t", "tmpfs", "tmpfs", &["nosuch=1"]);
    let text = String::from_utf8_lossy(&case.command("chroot", "true").output().unwrap().stdout).into_owned();
    assert!(text.contains("nosuch=1") && !text.contains("LEAK"), "{text}");
    assert!(!case.dir.join("rootfs/vol").exists(), "its mount point too");
    case.host_unchanged();
}
