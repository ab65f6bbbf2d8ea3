//! mocker: an image of a directory, containers as snapshots with limits and a network namespace of their own.

use std::os::unix::fs::PermissionsExt as _;

use crate::fixture::{World, over_all, rows};
use test_support::{cgroup, wait_for};
use test_support::{need_root, tree};

#[test]
fn mocker_row_step_by_step() {
    need_root!();
    over_all(walk);
}

fn walk(world: &World) {
    // init DIR: an id, everything copied, the directory remembered, a message where there is none
    let dir = world.busybox_dir("a dir with 'quotes' and $(signs)");
    std::fs::write(dir.join(".dotfile"), "dot").unwrap();
    std::fs::hard_link(dir.join(".dotfile"), dir.join("same")).unwrap();
    std::fs::File::create(dir.join("sparse")).unwrap().set_len(8 << 20).unwrap();
    std::fs::set_permissions(dir.join("same"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    std::os::unix::fs::chown(dir.join("tmp"), Some(33), Some(44)).unwrap();
    let out = world.corm(["init"]).arg(&dir).arg("base").out().ok();
    let id = out.text().strip_prefix("Created: ").unwrap_or_else(|| panic!("{out:?}")).to_owned();
    let inspected = world.json(&["inspect", "base"]);
    assert!(inspected.to_string().contains("a dir with 'quotes' and $(signs)"), "the source is in {inspected}");
    world.corm(["init", "/no/such/dir", "none"]).out().fails().one_line().stderr_contains("/no/such/dir");

    // the copy is the directory, and the directory stays as it was
    let bundle = world.sandbox.path("bundle");
    world.corm(["bundle", "base"]).arg(&bundle).out().ok();
    let same = |skip: &std::path::Path| {
        // made for the mounts of a container: only what the directory has is compared
        skip.as_os_str().is_empty()
    };
    tree::assert_same(&tree::read_without(&dir, same), &tree::read_without(&bundle.join("rootfs/"), same));
    world.corm(["unbundle"]).arg(&bundle).out().ok();
    assert!(!bundle.exists());
    world.no_container_left();

    // images, ps
    let listed = world.corm(["images"]).out().ok();
    assert!(rows(&listed).iter().any(|row| id.starts_with(row[0].as_str())), "{id} in {listed:?}");
    let limits = ["--name", "limited", "--memory", "64m", "--pids-limit", "40", "--cpus", "0.5"];
    let container = world.detached(&limits, "base", &["sleep", "1000"]);
    let table = world.corm(["ps"]).out().ok();
    assert_eq!(
        table.lines()[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "ID NAME IMAGE PID STATUS COMMAND CREATED"
    );
    assert!(rows(&table).iter().any(|row| container.starts_with(row[0].as_str()) && row[4] == "running"), "{table:?}");

    // limits by cgroup
    let pid = world.pid("limited");
    assert_eq!(cgroup::read(pid, "memory", "memory.limit_in_bytes", "memory.max").unwrap(), "67108864");
    assert_eq!(cgroup::read(pid, "pids", "pids.max", "pids.max").unwrap(), "40");
    if !cgroup::is_v2() {
        assert_eq!(cgroup::read(pid, "cpu", "cpu.cfs_quota_us", "").unwrap(), "50000");
    }

    // a network of its own, with lo up; exec sees the same
    let link = world.corm(["exec", "limited", "ip", "addr"]).out().ok();
    assert!(link.stdout.contains("127.0.0.1") && !link.stdout.contains("eth"), "{link:?}");
    let own = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(own, std::fs::read_link("/proc/self/ns/net").unwrap());

    // logs, commit, and a container of that
    let printed = world.run(&["--name", "printer"], "base", &["sh", "-c", "echo out; echo err >&2; echo kept > /kept"]);
    let printed = printed.out().ok();
    assert_eq!((printed.text(), printed.stderr.trim()), ("out", "err"));
    let logs = world.corm(["logs", "printer"]).out().ok();
    assert_eq!((logs.text(), logs.stderr.trim()), ("out", "err"), "each to its own stream");
    world.corm(["commit", "printer", "changed"]).out().ok();
    assert_eq!(world.run(&["--rm"], "changed", &["cat", "/kept"]).out().ok().text(), "kept");
    assert!(!dir.join("kept").exists());

    // rm
    world.corm(["rm", "limited"]).out().fails().stderr_contains("running");
    let removed = world.corm(["rm", "-f", "limited", "printer"]).out().ok();
    assert_eq!(removed.lines()[0], format!("Removed: {container}"));
    wait_for("its cgroups gone", || cgroup::dirs_with(&container).is_empty());
    world.no_container_left();
}

#[test]
fn mocker_two_images_of_one_directory_and_two_containers_of_one_image_are_two() {
    need_root!();
    over_all(|world| {
        world.image("one");
        let ids: Vec<String> = (0..3).map(|_| world.detached(&[], "one", &["sleep", "1000"])).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        world.corm(["exec", &ids[0], "touch", "/only-here"]).out().ok();
        world.corm(["exec", &ids[1], "test", "!", "-e", "/only-here"]).out().ok();
        world.corm(["rm", "-f", &ids[0], &ids[1], &ids[2]]).out().ok();
        world.no_container_left();
    });
}
