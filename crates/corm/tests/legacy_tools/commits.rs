//! Commits: of running containers, of odd trees, and beside other commands.

use std::fs;

use crate::fixture::{CormFixture, over_all, over_one, untar};
use test_support::{cgroup, wait_for};
use test_support::{need_root, skip, tree};

#[test]
fn a_committed_image_exported_is_the_containers_tree() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let change = "mkdir -p /d/e; echo x > /d/f; ln /d/f /d/hard; ln -s ../up /d/link; mkfifo /d/fifo; \
            mknod /d/null c 1 3; chmod 4755 /d/f; chown 33:44 /d/e; rm -r /home; echo h > /home; \
            dd if=/dev/zero of=/d/sparse bs=1 count=1 seek=524287 2>/dev/null; touch -d '2001-02-03 04:05:06' /d/f";
        fixture.run(&["--name", "c"], "base", &["sh", "-c", change]).out().ok();
        let tar = fixture.sandbox.path("c.tar");
        fixture.corm(["commit", "-o"]).arg(&tar).args(["c", "changed"]).out().ok();
        let unpacked = fixture.sandbox.path("unpacked");
        untar(&tar, &unpacked);
        let bundle = fixture.sandbox.path("b");
        fixture.corm(["bundle", "changed"]).arg(&bundle).out().ok();
        tree::assert_same(&tree::read(&bundle.join("rootfs/")), &tree::read(&unpacked));
        assert!(unpacked.join("home").is_file() && unpacked.join("d/hard").exists());
        fixture.corm(["unbundle"]).arg(&bundle).out().ok();
        fixture.corm(["rm", "c"]).out().ok();
    });
}

/// A tree that another program created has thousands of files of all kinds: `DEBIAN_ROOT` is a directory of
/// debootstrap.
#[test]
fn a_real_root_file_system_is_exported_as_it_was() {
    need_root!();
    if std::env::var_os("DEBIAN_ROOT").is_none() {
        skip!("DEBIAN_ROOT names no root file system of Debian");
    }
    over_all(|fixture| {
        let debian = std::env::var_os("DEBIAN_ROOT").unwrap();
        fixture.corm(["init"]).arg(debian).arg("debian").out().ok();
        let change = "rm -r /usr/share/doc; mv /etc/issue /etc/was-issue; echo x >> /etc/passwd; ln /bin/ls /root/ls; \
            chown -R 12:34 /var/log; mknod /root/null c 1 3; truncate -s 90M /root/sparse";
        fixture.run(&["--name", "c"], "debian", &["sh", "-c", change]).out().ok();
        fixture.corm(["commit", "c", "changed"]).out().ok();
        let (tar, unpacked) = (fixture.sandbox.path("changed.tar"), fixture.sandbox.path("unpacked"));
        fixture.corm(["export", "changed", "-o"]).arg(&tar).out().ok();
        untar(&tar, &unpacked);
        let bundle = fixture.sandbox.path("b");
        fixture.corm(["bundle", "changed"]).arg(&bundle).out().ok();
        tree::assert_same(&tree::read(&bundle.join("rootfs/")), &tree::read(&unpacked));
        let missing = ["usr/share/doc", "etc/issue"].map(|path| unpacked.join(path).exists());
        assert!(missing == [false, false] && unpacked.join("usr/bin/dpkg").exists());
        fixture.corm(["unbundle"]).arg(&bundle).out().ok();
        fixture.corm(["rm", "c"]).out().ok();
    });
}

/// Starts the container `busy`, which counts in two files; their numbers differ by at most one at any moment.
pub(crate) fn start_counting(fixture: &CormFixture) {
    let script = "i=0; while :; do i=$((i+1)); echo $i > /t; mv /t /a; echo $i > /t; mv /t /b; done";
    fixture.detached(&["--name", "busy"], "base", &["sh", "-c", script]);
    wait_for("it writes", || fixture.corm(["exec", "busy", "test", "-s", "/b"]).out().code == Some(0));
}

/// Asserts that an image has the two files of `busy` as they were at one moment.
#[track_caller]
pub(crate) fn counted_at_one_moment(fixture: &CormFixture, image: &str) {
    let seen = fixture.run(&["--rm"], image, &["cat", "/a", "/b"]).out().ok();
    let numbers: Vec<i64> = seen.lines().iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() == 2 && (0..=1).contains(&(numbers[0] - numbers[1])), "{image}: {numbers:?}");
}

#[test]
fn a_running_container_is_paused_meanwhile_and_resumed() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        start_counting(fixture);
        for round in 0..3 {
            let image = format!("round{round}");
            fixture.corm(["commit", "busy", &image]).out().ok();
            counted_at_one_moment(fixture, &image);
            assert_eq!(fixture.status("busy"), "running");
        }
        fixture.corm(["rm", "-f", "busy"]).out().ok();
        fixture.no_container_left();
    });
}

/// The kernel resumes the container, because a killed commit cannot.
#[test]
fn a_killed_commit_leaves_no_frozen_container() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let fill = "dd if=/dev/urandom of=/big bs=1M count=40 2>/dev/null; echo ready; exec sleep 1000";
        fixture.detached(&["--name", "big"], "base", &["sh", "-c", fill]);
        wait_for("filled", || fixture.corm(["logs", "big"]).out().stdout == "ready\n");
        let commit = fixture.corm(["commit", "big", "image"]).spawn();
        wait_for("paused", || fixture.status("big") == "paused");
        commit.signal(libc::SIGKILL);
        assert_eq!(commit.wait().signal, Some(libc::SIGKILL));
        wait_for("running again", || fixture.status("big") == "running");
        fixture.corm(["exec", "big", "true"]).out().ok();
        assert!(fixture.corm(["inspect", "image"]).out().code != Some(0), "no unfinished image");
        fixture.corm(["commit", "big", "image"]).out().ok();
        fixture.corm(["rm", "-f", "big"]).out().ok();
        wait_for("no cgroup", || cgroup::dirs_with(&fixture.sandbox.token).is_empty());
    });
}

#[test]
fn a_bundle_is_committed_by_its_directory() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let bundle = fixture.sandbox.path("a bundle");
        fixture.corm(["bundle", "base"]).arg(&bundle).out().ok();
        fs::write(bundle.join("rootfs/added"), "x").unwrap();
        fixture.corm(["commit"]).arg(&bundle).arg("of-bundle").out().ok();
        assert_eq!(fixture.run(&["--rm"], "of-bundle", &["cat", "/added"]).out().ok().stdout, "x");
        fixture.corm(["bundle", "base"]).arg(&bundle).out().fails().one_line().stderr_contains("exists");
        fixture.corm(["unbundle"]).arg(&bundle).out().ok();
        fixture.corm(["unbundle"]).arg(&bundle).out().fails();
        fixture.no_container_left();
    });
}

#[test]
fn two_commits_to_one_name_leave_one_of_both() {
    need_root!();
    over_all(|fixture: &CormFixture| {
        fixture.image("base");
        for name in ["a", "b"] {
            fixture.run(&["--name", name], "base", &["sh", "-c", &format!("echo {name} > /which")]).out().ok();
        }
        let both = ["a", "b"].map(|name| fixture.corm(["commit", name, "target"]).spawn());
        let _ = both.map(|commit| commit.wait().ok());
        let which = fixture.run(&["--rm"], "target", &["cat", "/which"]).out().ok();
        assert!(["a\n", "b\n"].contains(&which.stdout.as_str()), "{which:?}");
        fixture.corm(["fsck"]).out().ok();
        fixture.corm(["rm", "a", "b"]).out().ok();
    });
}

#[test]
fn corm_reads_back_what_it_has_packed_itself() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let levels = "d/".repeat(300);
        let script = format!(
            "dd if=/dev/zero of=/zeros bs=1M count=300 2>/dev/null; mkdir -p /{levels}; echo end > /{levels}f; \
             dd if=/dev/zero of=/sparse bs=1 count=1 seek=40G 2>/dev/null"
        );
        fixture.run(&["--name", "c"], "base", &["sh", "-c", &script]).out().ok();
        fixture.corm(["commit", "c", "kept"]).out().ok();
        let look = format!("stat -c %s /zeros /sparse; cat /{levels}f");
        let wanted = format!("{}\n{}\nend", 300 << 20, (40_u64 << 30) + 1);
        assert_eq!(fixture.run(&["--rm"], "kept", &["sh", "-c", &look]).out().ok().text(), wanted);
        // another store has to unpack it
        let archive = fixture.place.path().join("kept.tar");
        fixture.corm(["save", "kept", "-o"]).arg(&archive).out().ok();
        fixture.corm(["rm", "c"]).out().ok();
        let other = fixture.place.path().join("other");
        let corm = |args: &[&str]| fixture.corm(["--root"]).arg(&other).args(args);
        corm(&["load"]).arg(&archive).out().ok();
        let seen = corm(&["run", "--rm", "kept", "sh", "-c", &look]).out().ok();
        assert_eq!(seen.text(), wanted);
        fixture.no_container_left();
    });
}
