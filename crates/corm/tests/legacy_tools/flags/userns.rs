//! User namespaces: `--userns`, `--uidmap`, `--subuidname`.

use std::os::unix::fs::{MetadataExt as _, chown};

use super::{prints, refused};
use crate::fixture::{CormFixture, over_all, over_one};
use nix::mount::MsFlags;
use test_support::need_root;

const MAP: [&str; 2] = ["--uidmap", "0:100000:65536"];

/// Creates the image `base`, with files of other owners than root.
fn image(fixture: &CormFixture) {
    fixture.image("plain");
    let script = "echo x > /own; chown 33:44 /own; mkdir -p /vol; echo v > /vol/f; chown 5:6 /vol /vol/f";
    fixture.run(&["--name", "made"], "plain", &["sh", "-c", script]).out().ok();
    fixture.corm(["commit", "made", "base"]).out().ok();
    fixture.corm(["rm", "made"]).out().ok();
}

/// Returns the owner of a process.
fn owner_of(pid: i32) -> (u32, u32) {
    let of = std::fs::metadata(format!("/proc/{pid}")).unwrap();
    (of.uid(), of.gid())
}

#[test]
fn a_user_namespace_has_the_images_owners_on_every_driver() {
    need_root!();
    over_all(|fixture| {
        image(fixture);
        let script =
            "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; stat -c '%u:%g %n' / /own /vol/f /etc/hosts";
        let inside = " 0 100000 65536\n 0 100000 65536\n0:0 /\n33:44 /own\n5:6 /vol/f\n0:0 /etc/hosts";
        let shown = prints(fixture, &MAP, script);
        assert_eq!(format!(" {}", shown.trim_start()), inside);
        assert_eq!(
            prints(fixture, &["--uidmap", "0:100000:10", "--gidmap", "0:200000:9"], "wc -l < /proc/self/gid_map"),
            "1"
        );

        let script = "echo new > /new; chown 7:8 /new; echo v > /vol/g; exec sleep 1000";
        fixture.detached(&[&MAP[..], &["--name", "n", "-v", "/vol"]].concat(), "base", &["sh", "-c", script]);
        test_support::wait_for("its files", || {
            fixture.corm(["exec", "n", "test", "-e", "/vol/g"]).out().code == Some(0)
        });
        assert_eq!(owner_of(fixture.pid("n")), (100_000, 100_000));
        assert_eq!(fixture.corm(["exec", "-u", "33", "n", "id", "-u"]).out().ok().text(), "33");

        // cp into and out of it while it runs
        let file = fixture.sandbox.path("given");
        std::fs::write(&file, "given").unwrap();
        fixture.corm(["cp"]).arg(&file).arg("n:/got").out().ok();
        fixture.corm(["cp"]).arg(&file).arg("n:/vol/got").out().ok();
        fixture.corm(["cp", "n:/own", "n:/own2"]).out().ok();
        let stat = ["exec", "n", "stat", "-c", "%u:%g %n", "/got", "/vol/got", "/vol/f", "/new"];
        assert_eq!(fixture.corm(stat).out().ok().text(), "0:0 /got\n0:0 /vol/got\n5:6 /vol/f\n7:8 /new");
        let tar = fixture.sandbox.path("own.tar");
        let out = fixture.corm(["cp", "n:/own", "-"]).out().ok();
        std::fs::write(&tar, &out.stdout).unwrap();
        let list = std::process::Command::new("tar").arg("-tvf").arg(&tar).output().unwrap();
        assert!(String::from_utf8_lossy(&list.stdout).contains("33/44"), "{list:?}");

        // what leaves it has the image's owners
        for (verb, name) in [("running", "k1"), ("stopped", "k2")] {
            fixture.corm(["commit", "n", name]).out().ok();
            let stat = ["stat", "-c", "%u:%g %n", "/", "/new", "/got", "/own"];
            let found = fixture.run(&["--rm"], name, &stat).out().ok();
            assert_eq!(found.text(), "0:0 /\n7:8 /new\n0:0 /got\n33:44 /own", "{verb}");
            let tar = fixture.sandbox.path(&format!("{verb}.tar"));
            fixture.corm(["export", "n", "-o"]).arg(&tar).out().ok();
            let list = std::process::Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(&tar).output().unwrap();
            let list = String::from_utf8(list.stdout).unwrap();
            let of = |name: &str| list.lines().find(|line| line.ends_with(name)).unwrap().to_owned();
            assert!(of(" new").contains("7/8") && of(" got").contains("0/0"), "{verb}: {list}");
            fixture.corm(["stop", "-t", "0", "n"]).out().ok();
        }
        fixture.corm(["start", "n"]).out().ok();
        assert_eq!(owner_of(fixture.pid("n")), (100_000, 100_000));
        fixture.corm(["rm", "-f", "n"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn volumes_and_networks_of_a_user_namespace_work() {
    need_root!();
    over_one(|fixture| {
        image(fixture);
        let dir = fixture.sandbox.mkdir("shared");
        std::fs::write(dir.join("f"), "f").unwrap();
        chown(&dir, Some(0), Some(0)).unwrap();
        let mount = |options: &str| format!("{}:/m{options}", dir.display());
        let with = |volume: &str, script: &str| prints(fixture, &[&MAP[..], &["-v", volume]].concat(), script);
        assert_eq!(with(&mount(""), "stat -c %u:%g /m/f"), "65534:65534");
        assert_eq!(with(&mount(":idmap"), "echo x > /m/g; stat -c %u:%g /m/f"), "0:0");
        assert_eq!(std::fs::metadata(dir.join("g")).unwrap().uid(), 0);
        assert_eq!(with(&mount(":U"), "stat -c %u:%g /m/f"), "0:0");
        assert_eq!(std::fs::metadata(dir.join("f")).unwrap().uid(), 100_000);
        assert_eq!(with("named:/vol", "stat -c %u:%g /vol/f; echo y > /vol/z"), "5:6");
        // the same volume without the namespace
        assert_eq!(prints(fixture, &["-v", "named:/vol"], "stat -c %u:%g /vol/z"), "0:0");
        assert_eq!(
            prints(fixture, &[&MAP[..], &["--network", "host"]].concat(), "test -d /sys/class/net/lo; echo $?"),
            "0"
        );
        assert_eq!(prints(fixture, &[&MAP[..], &["--pid", "host"]].concat(), "test -d /proc/1; echo $?"), "0");
        assert_eq!(
            prints(
                fixture,
                &[&MAP[..], &["--device", "/dev/null:/dev/other", "--read-only"]].concat(),
                "echo x > /dev/other; echo $?"
            ),
            "0"
        );
        refused(fixture, &[&MAP[..], &["-v", &mount(":O")]].concat(), "--volume");
        fixture.corm(["volume", "rm", "named"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn ranges_are_those_of_a_name_or_of_no_other_container() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let subordinate = fixture.sandbox.path("subordinate");
        std::fs::write(&subordinate, "me:300000:10\nme:400000:5\ncontainers:500000:5000\n").unwrap();
        for file in ["/etc/subuid", "/etc/subgid"] {
            nix::mount::mount(Some(&subordinate), file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
        let map = "cat /proc/self/uid_map | tr -s ' ' | sed 's/^ //'";
        assert_eq!(prints(fixture, &["--subuidname", "me"], map), "0 300000 10\n10 400000 5");
        let groups = map.replace("uid_map", "gid_map");
        assert_eq!(
            prints(fixture, &["--subuidname", "containers", "--subgidname", "me"], &groups),
            "0 300000 10\n10 400000 5"
        );
        // the image has a user 2000
        assert_eq!(prints(fixture, &["--userns", "auto"], map), "0 500000 2001");
        fixture.detached(&["--name", "a", "--userns", "auto:size=2000"], "base", &["sleep", "1000"]);
        fixture.detached(&["--name", "b", "--userns", "auto:size=2000"], "base", &["sleep", "1000"]);
        let owners = ["a", "b"].map(|name| owner_of(fixture.pid(name)).0);
        assert_eq!(owners, [500_000, 502_000]);
        refused(fixture, &["--userns", "auto:size=2000"], "auto");
        let size = ["--userns", "auto:size=20,uidmapping=5:7:1"];
        assert_eq!(prints(fixture, &size, map), "0 504000 5\n6 504005 15\n5 7 1");

        let read = "readlink /proc/self/ns/user";
        let of_a = std::fs::read_link(format!("/proc/{}/ns/user", fixture.pid("a"))).unwrap().display().to_string();
        assert_eq!(prints(fixture, &["--userns", "container:a"], read), of_a);
        let path = format!("ns:/proc/{}/ns/user", fixture.pid("a"));
        assert_eq!(prints(fixture, &["--userns", &path], &format!("{read}; stat -c %u /")), format!("{of_a}\n0"));
        assert_ne!(prints(fixture, &["--userns", "keep-id"], read), prints(fixture, &[], read));
        for bad in ["nomap", "keep-id:uid=5", "container:none", "ns:/etc/passwd", "private", "other"] {
            refused(fixture, &["--userns", bad], "--userns");
        }
        refused(fixture, &["--subuidname", "nobody-at-all"], "/etc/subuid");
        refused(fixture, &["--uidmap", "1:100000:10"], "--userns");
        fixture.corm(["rm", "-f", "a", "b"]).out().ok();
        fixture.no_container_left();
    });
}
