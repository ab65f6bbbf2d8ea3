//! Images and containers that try to reach beyond what is theirs by way of corm: users and groups, volumes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::{Out, host, json, wait_for};
use crate::need_root;
use crate::world::{over_all, over_one};

/// The supplementary groups of the process that printed its status.
#[track_caller]
fn groups(out: &Out) -> Vec<u32> {
    let line = out.stdout.lines().find_map(|line| line.strip_prefix("Groups:"));
    let line = line.unwrap_or_else(|| panic!("no line of groups: {out:?}"));
    line.split_whitespace().map(|gid| gid.parse().unwrap()).collect()
}

#[test]
fn the_primary_group_is_among_the_supplementary_ones() {
    need_root!();
    over_one(|world| {
        world.image("base");
        world.corm(["config", "base", "as-user", "--user", "user"]).out().ok();
        world.corm(["config", "base", "as-1000", "--user", "1000:2000"]).out().ok();
        let status = ["cat", "/proc/self/status"];
        world.detached(&["--name", "up"], "base", &["sleep", "1000"]);
        for (user, want) in [
            ("", &[0][..]),
            ("root", &[0]),
            ("0", &[0]),
            ("user", &[1000, 2000]),
            ("1000", &[1000, 2000]),
            ("user:extra", &[2000]),
            ("user:7", &[7]),
            ("1000:extra", &[2000]),
            ("1000:2000", &[2000]),
            ("4242", &[0]),
            ("4242:4243", &[4243]),
        ] {
            let flags = ["-u", user];
            let flags = if user.is_empty() { &[][..] } else { &flags };
            let out = world.run(&[&["--rm"], flags].concat(), "base", &status).out().ok();
            assert_eq!(groups(&out), want, "run -u {user:?}");
            let out = world.corm(["exec"]).args(flags).arg("up").args(status).out().ok();
            assert_eq!(groups(&out), want, "exec -u {user:?}");
        }
        for (image, want) in [("as-user", &[1000, 2000][..]), ("as-1000", &[2000])] {
            let out = world.run(&["--name", image], image, &["sh", "-c", "cat /proc/self/status; sleep 1000"]);
            let running = out.spawn();
            wait_for("its status", || running.stdout().contains("Groups:"));
            // without -u: the container's own user
            let out = world.corm(["exec", image]).args(status).out().ok();
            assert_eq!(groups(&out), want, "exec in {image}");
            world.corm(["rm", "-f", image]).out().ok();
            assert_eq!(groups(&running.wait()), want, "image {image}");
        }
        world.corm(["rm", "-f", "up"]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn an_image_declares_no_volume_below_dev_proc_and_sys() {
    need_root!();
    over_one(|world| {
        let dir = world.busybox_dir("linked");
        for (target, link) in [
            ("proc", "lnk"),
            ("/../../sys", "abs"),
            ("/dev", "devices"),
            ("lnk/sys/..", "chain"),
            ("/", "top"),
            ("loop", "loop"),
        ] {
            symlink(target, dir.join(link)).unwrap();
        }
        symlink("../../lnk", dir.join("home/up")).unwrap();
        world.corm(["init"]).arg(&dir).arg("plain").out().ok();
        let volumes = [
            "/proc",
            "/proc/1/attr",
            "//proc/./sys",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/dev/shm",
            "//dev/new",
            "/a/../proc",
            "/lnk",
            "/lnk/1",
            "/abs/kernel",
            "/devices/shm",
            "/chain",
            "/home/up/x",
            "/top",
            "/loop/x",
        ];
        for (number, volume) in volumes.into_iter().enumerate() {
            let image = format!("declares{number}");
            world.reconfigured("plain", &image, |config| config["config"]["Volumes"] = json!({ volume: {} }));
            let out = world.run(&[], &image, &["true"]).out().exits(125).one_line().no_panic();
            assert!(out.stderr.contains("config.Volumes") && out.stderr.contains(volume), "{volume}: {out:?}");
            world.run(&["-d", "--name", "n"], &image, &["true"]).out().exits(125).one_line().says("config.Volumes");
            let bundle = world.sandbox.path("bundle");
            world.corm(["bundle", &image]).arg(&bundle).out().fails().one_line().says("config.Volumes");
            assert!(bundle.symlink_metadata().is_err());
            world.no_container_left();
        }
        // what a caller shows may cover a device, and nothing that the kernel shows
        let data = world.sandbox.write("data", "text");
        let given = |place: &str| world.run(&["--rm", "-v", &format!("{}:{place}", data.display())], "plain", &["cat"]);
        for place in ["/lnk/x", "/abs/x", "/top", "/chain/version"] {
            given(place).out().exits(125).one_line().says("--volume").says(place);
        }
        assert_eq!(given("/devices/mine").arg("/dev/mine").out().ok().stdout, "text");
        world.no_container_left();
    });
}

#[test]
fn a_commit_of_volumes_follows_no_symlink_out_of_them() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let [outer, inner, victim] = ["outer", "inner", "victim"].map(|name| world.sandbox.mkdir(name));
        fs::create_dir_all(outer.join("sub/deep")).unwrap();
        fs::write(outer.join("one"), "").unwrap();
        fs::write(inner.join("planted"), "planted").unwrap();
        fs::write(victim.join("passwd"), "the host's").unwrap();
        let file = world.sandbox.write("file", "from the volume");
        let given = |from: &Path, to: &str| format!("{}:{to}", from.display());
        let around = given(&outer, "/v");
        world.run(&["--name", "dir", "-v", &around, "-v", &given(&inner, "/v/sub/deep")], "base", &["true"]).out().ok();
        world.run(&["--name", "file", "-v", &around, "-v", &given(&file, "/v/one")], "base", &["true"]).out().ok();
        // what another container with the same volume can do
        fs::remove_dir_all(outer.join("sub")).unwrap();
        fs::remove_file(outer.join("one")).unwrap();
        symlink(&victim, outer.join("sub")).unwrap();
        symlink(victim.join("passwd"), outer.join("one")).unwrap();
        let before = host::snapshot(&victim);
        for name in ["dir", "file"] {
            let out = world.corm(["commit", "--include-volumes", name, &format!("of-{name}")]).out().no_panic();
            assert_eq!(before, host::snapshot(&victim), "the host's directory was changed: {out:?}");
        }
        // what is at the place of a file gives way to it
        let seen = world.run(&["--rm"], "of-file", &["cat", "/v/one"]).out().ok();
        assert_eq!(seen.stdout, "from the volume");
        world.corm(["rm", "dir", "file"]).out().ok();
        world.no_container_left();
    });
}
