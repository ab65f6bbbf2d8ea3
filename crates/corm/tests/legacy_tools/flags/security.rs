//! Capabilities, system calls, masked paths, devices, groups.

use super::{prints, refused};
use crate::fixture::over_one;
use test_support::need_root;

/// Bits of capabilities.
const NET_ADMIN: u64 = 1 << 12;
const SYS_TIME: u64 = 1 << 25;
const CHOWN: u64 = 1;

#[test]
fn capabilities_are_added_and_dropped() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let of = |flags: &[&str], field: &str| {
            let text = prints(fixture, flags, &format!("sed -n 's/^{field}:\\t//p' /proc/self/status"));
            u64::from_str_radix(&text, 16).unwrap()
        };
        let usual = of(&[], "CapEff");
        assert_eq!(of(&["--cap-add", "NET_ADMIN", "--cap-add=cap_sys_time"], "CapEff"), usual | NET_ADMIN | SYS_TIME);
        assert_eq!(of(&["--cap-drop", "CAP_CHOWN"], "CapBnd"), usual & !CHOWN);
        assert_eq!(of(&["--cap-drop", "all", "--cap-add", "chown"], "CapBnd"), CHOWN);
        assert_eq!(of(&["--cap-drop", "ALL"], "CapEff"), 0);
        let all = of(&["--privileged"], "CapEff");
        assert!(all & usual == usual && all & NET_ADMIN != 0 && all.count_ones() > 35, "{all:x}");
        assert_eq!(of(&["--cap-add", "ALL", "--cap-drop", "chown"], "CapEff"), all & !CHOWN);
        // a user has what was asked for
        let user = ["-u", "1000", "--cap-add", "NET_ADMIN"];
        assert_eq!((of(&user, "CapEff"), of(&user, "CapAmb")), (NET_ADMIN, NET_ADMIN));
        assert_eq!(of(&["-u", "1000"], "CapEff"), 0);
        // exec gives no more than the container may have
        fixture.detached(&["--name", "c", "--cap-drop", "ALL", "-u", "1000"], "base", &["sleep", "1000"]);
        let inside = fixture.corm(["exec", "-u", "0", "c", "grep", "CapEff", "/proc/self/status"]).out().ok();
        assert_eq!(inside.text().split_whitespace().last(), Some("0000000000000000"));
        fixture.corm(["rm", "-f", "c"]).out().ok();
        refused(fixture, &["--cap-add", "nothing"], "--cap-add");
        refused(fixture, &["--cap-add", "chown", "--cap-drop", "CHOWN"], "--cap-drop");
        fixture.no_container_left();
    });
}

#[test]
fn a_capability_brings_the_calls_that_need_it() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let mount = "mount -t tmpfs none /mnt && echo mounted; true";
        fixture.run(&["--rm"], "base", &["mkdir", "-p", "/mnt"]).out().ok();
        let mount = format!("mkdir -p /mnt; {mount}");
        assert_eq!(prints(fixture, &["--cap-add", "SYS_ADMIN"], &mount), "mounted");
        assert_eq!(prints(fixture, &[], &format!("{mount} 2>/dev/null")), "");
        assert_eq!(prints(fixture, &["--privileged"], &mount), "mounted");
        fixture.no_container_left();
    });
}

#[test]
fn security_options_change_filter_privileges_and_paths() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let status = |flags: &[&str], field: &str| {
            prints(fixture, flags, &format!("sed -n 's/^{field}:\\t//p' /proc/self/status"))
        };
        assert_eq!(status(&[], "Seccomp"), "2");
        assert_eq!(status(&["--security-opt", "seccomp=unconfined"], "Seccomp"), "0");
        assert_eq!(status(&["--privileged"], "Seccomp"), "0");
        assert_eq!(status(&[], "NoNewPrivs"), "0");
        for option in ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"] {
            assert_eq!(status(&["--security-opt", option], "NoNewPrivs"), "1");
        }
        // a rule of Docker's form, whose condition holds only with the capability
        let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": null, "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [], "comment": "",
             "includes": {"caps": ["CAP_SYS_TIME"]}, "excludes": {}},
            {"name": "chmod", "action": "SCMP_ACT_ERRNO", "args": null}, {"names": ["fchmodat"], "action": "SCMP_ACT_ERRNO"}]}"#;
        let file = fixture.sandbox.write("profile.json", profile);
        let option = format!("seccomp={}", file.display());
        let script = "mkdir /new 2>&1 && echo made; chmod 700 /etc 2>&1; true";
        let seen = prints(fixture, &["--security-opt", &option], script);
        assert!(seen.starts_with("made\n") && seen.contains("Operation not permitted"), "{seen}");
        let seen = prints(fixture, &["--security-opt", &option, "--cap-add", "SYS_TIME"], script);
        assert!(seen.contains("not supported") && !seen.contains("made"), "{seen}");
        for (option, word) in [
            ("seccomp=/no/such/file", "/no/such/file"),
            ("seccomp=/etc/passwd", "profile"),
            ("nothing", "--security-opt"),
            ("apparmor=no-such-profile", "apparmor"),
        ] {
            refused(fixture, &["--security-opt", option], word);
        }
        prints(fixture, &["--security-opt", "label=disable", "--security-opt", "apparmor=unconfined"], "true");
        fixture.no_container_left();
    });
}

#[test]
fn paths_are_masked_and_unmasked() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let masked =
            "grep -c ' /proc/timer_list ' /proc/self/mountinfo; grep -c ' /proc/sys ro' /proc/self/mountinfo; true";
        assert_eq!(prints(fixture, &[], masked), "1\n1");
        assert_eq!(prints(fixture, &["--security-opt", "unmask=/proc/timer_list"], masked), "0\n1");
        assert_eq!(prints(fixture, &["--security-opt", "unmask=/proc/*"], masked), "0\n0");
        for all in ["unmask=ALL", "systempaths=unconfined"] {
            assert_eq!(prints(fixture, &["--security-opt", all], masked), "0\n0");
        }
        let script = "ls /etc/busybox 2>/dev/null; ls -A /home | wc -l; cat /etc/passwd | wc -c";
        let before = prints(fixture, &[], "mkdir -p /home/x; ls -A /home | wc -l; wc -c < /etc/passwd");
        assert!(before.starts_with('1') && !before.ends_with("\n0"), "{before}");
        assert_eq!(prints(fixture, &["--security-opt", "mask=/home:/etc/passwd"], script).lines().last(), Some("0"));
        let seen = prints(fixture, &["--security-opt", "proc-opts=hidepid=2"], "grep ' /proc ' /proc/self/mountinfo");
        assert!(seen.contains("hidepid="), "{seen}");
        // a privileged container may write to /sys, and has the devices of the host
        let script = "grep ' /sys ' /proc/self/mountinfo | cut -d' ' -f6; test -c /dev/kmsg && echo kmsg";
        let seen = prints(fixture, &["--privileged"], script);
        assert!(seen.starts_with("rw") && seen.ends_with("kmsg"), "{seen}");
        assert!(prints(fixture, &[], &format!("{script}; true")).starts_with("ro"));
        fixture.no_container_left();
    });
}

#[test]
fn a_device_of_the_host_is_in_the_container() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let stat = "stat -c '%t:%T' /dev/kmsg";
        fixture.run(&["--rm"], "base", &["stat", "/dev/kmsg"]).out().fails();
        assert_eq!(prints(fixture, &["--device", "/dev/kmsg"], stat), "1:b");
        assert_eq!(prints(fixture, &["--device", "/dev/kmsg:/dev/x:rw"], "stat -c '%t:%T' /dev/x"), "1:b");
        // a symlink of the host is resolved
        let link = fixture.sandbox.path("link");
        std::os::unix::fs::symlink("/dev/kmsg", &link).unwrap();
        let device = format!("{}:/dev/linked", link.display());
        assert_eq!(prints(fixture, &["--device", &device], "stat -c '%t:%T' /dev/linked"), "1:b");
        // the permissions count: reading needs r
        let read = "(: < /dev/x) 2>/dev/null && echo opened; true";
        let opened = |access: &str| prints(fixture, &["--device", &format!("/dev/loop-control:/dev/x:{access}")], read);
        assert_eq!((opened("rm").as_str(), opened("w").as_str()), ("opened", ""));
        refused(fixture, &["--device", "/no/such/device"], "--device");
        refused(fixture, &["--device", "/etc/passwd"], "is no device");
        refused(fixture, &["--device", "/dev/kmsg:/dev/x:q"], "--device");
        fixture.no_container_left();
    });
}

#[test]
fn groups_are_added_by_name_and_number() {
    need_root!();
    over_one(|fixture| {
        let rootfs = fixture.busybox_dir("groups");
        std::fs::write(rootfs.join("etc/group"), "root:x:0:\nadm:x:44:\n").unwrap();
        fixture.corm(["init"]).arg(&rootfs).arg("base").out().ok();
        assert_eq!(prints(fixture, &["-u", "33", "--group-add", "adm", "--group-add", "99"], "id -G"), "0 44 99");
        refused(fixture, &["--group-add", "no-such-group"], "--group-add");
        refused(fixture, &["--group-add", "keep-groups", "--group-add", "1"], "keep-groups");
        fixture.no_container_left();
    });
}
