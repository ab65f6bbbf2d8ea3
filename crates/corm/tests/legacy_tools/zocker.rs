//! zocker: detached containers by name, volumes, commits with the content of volumes.

use std::fs;
use std::path::Path;

use crate::fixture::{CormFixture, over_all, rows, untar};
use test_support::need_root;
use test_support::{wait_for, wait_until};

#[test]
fn zocker_row_step_by_step() {
    need_root!();
    over_all(|fixture| {
        fixture.image("busybox");
        let volume = fixture.sandbox.path("vol 'ume");
        fs::create_dir(&volume).unwrap();
        let given = format!("{}:/to/the vol", volume.display());
        let id = fixture.detached(&["--name", "first", "-v", &given], "busybox", &["sleep", "999"]);
        let other = fixture.detached(&["--name", "second", "-v", &given], "busybox", &["sleep", "1000"]);
        lists_a_container_by_name(fixture, &id);
        shares_a_volume_and_nothing_else(fixture, &volume);
        commits_with_and_without_the_volume(fixture);
        removes_one_container_only(fixture, &other);
        assert!(volume.join("file").exists(), "what is the host's stays");
        fixture.corm(["rm", "-f", "second"]).out().ok();
        fixture.no_container_left();
    });
}

fn lists_a_container_by_name(fixture: &CormFixture, id: &str) {
    let table = fixture.corm(["ps"]).out().ok();
    let first = rows(&table).into_iter().find(|row| row[5] == "first").unwrap();
    assert!(id.starts_with(&first[0]) && first[4].starts_with("Up ") && first[2] == "sleep 999", "{first:?}");
}

/// Checks that the host and the other container have a file of the volume, and not one outside of it.
fn shares_a_volume_and_nothing_else(fixture: &CormFixture, volume: &Path) {
    fixture.corm(["exec", "first", "sh", "-c", "echo hello > '/to/the vol/file'; echo own > /own"]).out().ok();
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "hello\n");
    assert_eq!(fixture.corm(["exec", "second", "cat", "/to/the vol/file"]).out().ok().text(), "hello");
    fixture.corm(["exec", "second", "test", "-e", "/own"]).out().exits(1);
}

/// Checks that `commit -o` prints the path of a tar that unpacks to the changed tree, with or without the volume.
fn commits_with_and_without_the_volume(fixture: &CormFixture) {
    let tar = fixture.sandbox.path("com mitted.tar");
    let out = fixture.corm(["commit", "--include-volumes", "-o"]).arg(&tar).args(["first", "with"]).out().ok();
    assert_eq!(out.text(), tar.to_str().unwrap());
    let unpacked = fixture.sandbox.path("unpacked");
    untar(&tar, &unpacked);
    assert_eq!(fs::read_to_string(unpacked.join("to/the vol/file")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(unpacked.join("own")).unwrap(), "own\n");
    assert!(unpacked.join("bin/busybox").exists());
    // the container was paused and resumed
    assert_eq!(fixture.status("first"), "running");

    // without the volume its mount point is an empty directory
    fixture.corm(["commit", "first", "without"]).out().ok();
    let list = |image: &str| fixture.run(&["--rm"], image, &["ls", "-A", "/to/the vol"]).out().ok().text().to_owned();
    assert_eq!((list("with").as_str(), list("without").as_str()), ("file", ""));
    let seen = fixture.run(&["--rm"], "with", &["cat", "/own", "/to/the vol/file"]).out().ok();
    assert_eq!(seen.stdout, "own\nhello\n");
}

/// Checks that `rm` removes mount point and write layer of the first container, and none of the other.
fn removes_one_container_only(fixture: &CormFixture, other: &str) {
    assert_eq!(fixture.corm(["stop", "-t", "0", "first"]).out().ok().stdout, "first\n");
    assert_eq!(fixture.status("first"), "exited");
    fixture.corm(["rm", "first"]).out().ok();
    assert_eq!(
        (fixture.entries("containers"), fixture.entries("trees")),
        (vec![other.to_owned()], vec![other.to_owned()])
    );
    assert_eq!(fixture.status("second"), "running");
}

#[test]
fn zocker_a_read_only_volume_and_a_file_as_volume() {
    need_root!();
    over_all(|fixture| {
        fixture.image("busybox");
        let dir = fixture.sandbox.mkdir("ro");
        let file = fixture.sandbox.write("one-file", "text");
        let (ro, one) = (format!("{}:/ro:ro", dir.display()), format!("{}:/etc/one", file.display()));
        let out =
            fixture.run(&["--rm", "-v", &ro, "-v", &one], "busybox", &["sh", "-c", "cat /etc/one; touch /ro/x"]).out();
        assert_eq!(out.clone().exits(1).stdout, "text");
        assert!(out.stderr.contains("Read-only"), "{out:?}");
        for bad in ["/nowhere-at-all:/x", "/tmp:relative", "/tmp:/a/../b", "/tmp:/proc", "tmp"] {
            fixture.run(&["-v", bad], "busybox", &["true"]).out().exits(125).one_line().no_panic();
        }
        fixture.no_container_left();
    });
}

#[test]
fn zocker_the_image_may_declare_volumes() {
    need_root!();
    over_all(|fixture| {
        let dir = fixture.busybox_dir("declared");
        fs::create_dir(dir.join("data")).unwrap();
        fs::write(dir.join("data/seed"), "seed").unwrap();
        fixture.corm(["init"]).arg(&dir).arg("plain").out().ok();
        let image = with_volume(fixture, "plain");
        fixture.run(&["--name", "v"], &image, &["sh", "-c", "cat /data/seed; echo more > /data/more"]).out().ok();
        // the volume is kept when the container is started again, and is no part of a commit
        fixture.corm(["commit", "v", "out"]).out().ok();
        let mine =
            fixture.run(&["--rm", "-v", &format!("{}:/data", dir.display())], "out", &["ls", "/data"]).out().ok();
        assert!(mine.stdout.contains("bin") && !mine.stdout.contains("more"), "{mine:?}");
        let diff = fixture.corm(["diff", "v"]).out().ok();
        assert!(!diff.stdout.contains("more"), "{diff:?}");
        fixture.corm(["rm", "v"]).out().ok();
        fixture.no_container_left();
    });
}

/// Creates an image that declares a volume. corm has no flag for it: the image is saved as a layout, changed there, and
/// loaded.
fn with_volume(fixture: &CormFixture, image: &str) -> String {
    let layout = fixture.sandbox.path("layout");
    fixture.corm(["save", image, "--format", "oci-dir", "-o"]).arg(&layout).out().ok();
    let status = std::process::Command::new("umoci")
        .args(["config", "--config.volume", "/data", "--image"])
        .arg(format!("{}:{}", layout.display(), only_tag(&layout)))
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    fixture.corm(["load"]).arg(&layout).args(["--name", "declares"]).out().ok();
    "declares".to_owned()
}

fn only_tag(layout: &Path) -> String {
    let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned()
}

#[test]
fn zocker_logs_follow_a_detached_container_until_its_end() {
    need_root!();
    over_all(|fixture| {
        fixture.image("busybox");
        let gate = fixture.sandbox.mkdir("gate");
        let given = format!("{}:/gate", gate.display());
        let script = "echo one; until [ -e /gate/open ]; do usleep 1000; done; echo two >&2; printf three";
        let id = fixture.detached(&["-v", &given], "busybox", &["sh", "-c", script]);
        let follow = fixture.corm(["logs", "-f", &id]).spawn();
        wait_until("the first line", || (follow.stdout() == "one\n").then_some(()));
        let waiting = fixture.corm(["wait", &id]).spawn();
        fs::write(gate.join("open"), "").unwrap();
        let followed = follow.wait().ok();
        assert_eq!((followed.stdout.as_str(), followed.stderr.as_str()), ("one\nthree", "two\n"));
        assert_eq!(waiting.wait().ok().text(), "0");
        wait_for("exited", || fixture.status(&id) == "exited");
        assert_eq!(fixture.corm(["logs", &id]).out().ok().stdout, "one\nthree");
    });
}
