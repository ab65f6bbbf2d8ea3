//! zocker: detached containers by name, volumes, commits that hold what a volume held.

use std::fs;
use std::path::Path;

use crate::fixture::{World, over_all, rows, untar};
use test_support::need_root;
use test_support::{wait_for, wait_until};

#[test]
fn zocker_row_step_by_step() {
    need_root!();
    over_all(walk);
}

fn walk(world: &World) {
    world.image("busybox");
    let volume = world.sandbox.mkdir("a volume: no").parent().unwrap().join("vol 'ume");
    fs::create_dir(&volume).unwrap();
    let given = format!("{}:/to/the vol", volume.display());

    // run -d --name N -v SRC:DST IMAGE CMD
    let id = world.detached(&["--name", "first", "-v", &given], "busybox", &["sleep", "999"]);
    let other = world.detached(&["--name", "second", "-v", &given], "busybox", &["sleep", "1000"]);

    // ps: a table with ID NAME PID STATUS COMMAND CREATED
    let table = world.corm(["ps"]).out().ok();
    let first = rows(&table).into_iter().find(|row| row[1] == "first").unwrap();
    assert!(id.starts_with(&first[0]) && first[4] == "running" && first[5] == "sleep 999", "{first:?}");
    assert_eq!(first[3].parse::<i32>().unwrap(), world.pid("first"));

    // exec NAME sh: what is written to a volume shows on the host and in the other container, the rest does not
    world.corm(["exec", "first", "sh", "-c", "echo hello > '/to/the vol/file'; echo own > /own"]).out().ok();
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "hello\n");
    assert_eq!(world.corm(["exec", "second", "cat", "/to/the vol/file"]).out().ok().text(), "hello");
    world.corm(["exec", "second", "test", "-e", "/own"]).out().exits(1);

    // commit NAME IMAGE with what the volume held: the path of a tar that unpacks to the changed tree
    let tar = world.sandbox.path("com mitted.tar");
    let out = world.corm(["commit", "--include-volumes", "-o"]).arg(&tar).args(["first", "with"]).out().ok();
    assert_eq!(out.text(), tar.to_str().unwrap());
    let unpacked = world.sandbox.path("unpacked");
    untar(&tar, &unpacked);
    assert_eq!(fs::read_to_string(unpacked.join("to/the vol/file")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(unpacked.join("own")).unwrap(), "own\n");
    assert!(unpacked.join("bin/busybox").exists());
    // it was paused and goes on
    assert_eq!(world.status("first"), "running");

    // without: the mount point is there and empty
    world.corm(["commit", "first", "without"]).out().ok();
    let list = |image: &str| world.run(&["--rm"], image, &["ls", "-A", "/to/the vol"]).out().ok().text().to_owned();
    assert_eq!((list("with").as_str(), list("without").as_str()), ("file", ""));
    let seen = world.run(&["--rm"], "with", &["cat", "/own", "/to/the vol/file"]).out().ok();
    assert_eq!(seen.stdout, "own\nhello\n");

    // rm: mount point and write layer of that container only
    assert_eq!(world.corm(["stop", "-t", "0", "first"]).out().ok().stdout, "");
    assert_eq!(world.status("first"), "exited");
    world.corm(["rm", "first"]).out().ok();
    assert_eq!((world.entries("containers"), world.entries("trees")), (vec![other.clone()], vec![other]));
    assert_eq!(world.status("second"), "running");
    assert!(volume.join("file").exists(), "what is the host's stays");
    world.corm(["rm", "-f", "second"]).out().ok();
    world.no_container_left();
}

#[test]
fn zocker_a_read_only_volume_and_a_file_as_volume() {
    need_root!();
    over_all(|world| {
        world.image("busybox");
        let dir = world.sandbox.mkdir("ro");
        let file = world.sandbox.write("one-file", "text");
        let (ro, one) = (format!("{}:/ro:ro", dir.display()), format!("{}:/etc/one", file.display()));
        let out =
            world.run(&["--rm", "-v", &ro, "-v", &one], "busybox", &["sh", "-c", "cat /etc/one; touch /ro/x"]).out();
        assert_eq!(out.clone().exits(1).stdout, "text");
        assert!(out.stderr.contains("Read-only"), "{out:?}");
        for bad in ["/nowhere-at-all:/x", "/tmp:relative", "/tmp:/a/../b", "/tmp:/proc", "/tmp"] {
            world.run(&["-v", bad], "busybox", &["true"]).out().exits(125).one_line().no_panic();
        }
        world.no_container_left();
    });
}

#[test]
fn zocker_the_image_may_declare_volumes() {
    need_root!();
    over_all(|world| {
        let dir = world.busybox_dir("declared");
        fs::create_dir(dir.join("data")).unwrap();
        fs::write(dir.join("data/seed"), "seed").unwrap();
        world.corm(["init"]).arg(&dir).arg("plain").out().ok();
        let image = with_volume(world, "plain");
        world.run(&["--name", "v"], &image, &["sh", "-c", "cat /data/seed; echo more > /data/more"]).out().ok();
        // kept over a start, and no part of a commit
        world.corm(["commit", "v", "out"]).out().ok();
        let mine = world.run(&["--rm", "-v", &format!("{}:/data", dir.display())], "out", &["ls", "/data"]).out().ok();
        assert!(mine.stdout.contains("bin") && !mine.stdout.contains("more"), "{mine:?}");
        let diff = world.corm(["diff", "v"]).out().ok();
        assert!(!diff.stdout.contains("more"), "{diff:?}");
        world.corm(["rm", "v"]).out().ok();
        world.no_container_left();
    });
}

/// There is no flag for it: the image is written to a layout, changed there, and loaded.
fn with_volume(world: &World, image: &str) -> String {
    let layout = world.sandbox.path("layout");
    world.corm(["save", image, "--format", "oci-dir", "-o"]).arg(&layout).out().ok();
    let status = std::process::Command::new("umoci")
        .args(["config", "--config.volume", "/data", "--image"])
        .arg(format!("{}:{}", layout.display(), only_tag(&layout)))
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    world.corm(["load"]).arg(&layout).args(["--name", "declares"]).out().ok();
    "declares".to_owned()
}

fn only_tag(layout: &Path) -> String {
    let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned()
}

#[test]
fn zocker_logs_follow_a_detached_container_until_its_end() {
    need_root!();
    over_all(|world| {
        world.image("busybox");
        let gate = world.sandbox.mkdir("gate");
        let given = format!("{}:/gate", gate.display());
        let script = "echo one; until [ -e /gate/open ]; do usleep 1000; done; echo two >&2; printf three";
        let id = world.detached(&["-v", &given], "busybox", &["sh", "-c", script]);
        let follow = world.corm(["logs", "-f", &id]).spawn();
        wait_until("the first line", || (follow.stdout() == "one\n").then_some(()));
        let waiting = world.corm(["wait", &id]).spawn();
        fs::write(gate.join("open"), "").unwrap();
        let followed = follow.wait().ok();
        assert_eq!((followed.stdout.as_str(), followed.stderr.as_str()), ("one\nthree", "two\n"));
        assert_eq!(waiting.wait().ok().text(), "0");
        wait_for("exited", || world.status(&id) == "exited");
        assert_eq!(world.corm(["logs", &id]).out().ok().stdout, "one\nthree");
    });
}
