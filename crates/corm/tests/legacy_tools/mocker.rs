//! mocker: an image of a directory, and containers as snapshots with limits and a network namespace of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::fixture::{CormFixture, over_all, rows};
use test_support::{cgroup, wait_for};
use test_support::{need_root, tree};

#[test]
fn mocker_row_step_by_step() {
    need_root!();
    over_all(|fixture| {
        let dir = fixture.busybox_dir("a dir with 'quotes' and $(signs)");
        let id = creates_an_image_of_a_directory(fixture, &dir);
        copies_the_whole_directory(fixture, &dir);
        let listed = fixture.corm(["images"]).out().ok();
        assert!(rows(&listed).iter().any(|row| id.starts_with(row[2].as_str())), "{id} in {listed:?}");
        let container = runs_with_limits(fixture);
        has_a_network_of_its_own(fixture);
        keeps_logs_and_commits_changes(fixture);
        assert!(!dir.join("kept").exists());
        fixture.corm(["rm", "limited"]).out().fails().stderr_contains("running");
        let removed = fixture.corm(["rm", "-f", "limited", "printer"]).out().ok();
        assert_eq!(removed.lines()[0], format!("Removed: {container}"));
        wait_for("its cgroups gone", || cgroup::dirs_with(&container).is_empty());
        fixture.no_container_left();
    });
}

/// Checks that `init DIR` prints the id of the image and records the directory, and returns the id.
fn creates_an_image_of_a_directory(fixture: &CormFixture, dir: &Path) -> String {
    fs::write(dir.join(".dotfile"), "dot").unwrap();
    fs::hard_link(dir.join(".dotfile"), dir.join("same")).unwrap();
    fs::File::create(dir.join("sparse")).unwrap().set_len(8 << 20).unwrap();
    fs::set_permissions(dir.join("same"), fs::Permissions::from_mode(0o4711)).unwrap();
    std::os::unix::fs::chown(dir.join("tmp"), Some(33), Some(44)).unwrap();
    let out = fixture.corm(["init"]).arg(dir).arg("base").out().ok();
    let id = out.text().strip_prefix("Created: ").unwrap_or_else(|| panic!("{out:?}")).to_owned();
    let inspected = fixture.inspected("base");
    assert!(inspected.to_string().contains("a dir with 'quotes' and $(signs)"), "the source is in {inspected}");
    fixture.corm(["init", "/no/such/dir", "none"]).out().fails().one_line().stderr_contains("/no/such/dir");
    id
}

/// Checks that the image has the tree of the directory, and that the directory is unchanged.
fn copies_the_whole_directory(fixture: &CormFixture, dir: &Path) {
    let bundle = fixture.sandbox.path("bundle");
    fixture.corm(["bundle", "base"]).arg(&bundle).out().ok();
    let same = |skip: &Path| {
        // compares only the paths that the directory has, because a bundle has mount points, too
        skip.as_os_str().is_empty()
    };
    tree::assert_same(&tree::read_without(dir, same), &tree::read_without(&bundle.join("rootfs/"), same));
    fixture.corm(["unbundle"]).arg(&bundle).out().ok();
    assert!(!bundle.exists());
    fixture.no_container_left();
}

/// Starts a container, checks that its cgroups have its limits and that `ps` lists it, and returns its id.
fn runs_with_limits(fixture: &CormFixture) -> String {
    let limits = ["--name", "limited", "--memory", "64m", "--pids-limit", "40", "--cpus", "0.5"];
    let container = fixture.detached(&limits, "base", &["sleep", "1000"]);
    let table = fixture.corm(["ps"]).out().ok();
    assert_eq!(
        table.lines()[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES"
    );
    assert!(
        rows(&table).iter().any(|row| container.starts_with(row[0].as_str()) && row[4].starts_with("Up ")),
        "{table:?}"
    );

    let pid = fixture.pid("limited");
    assert_eq!(cgroup::read(pid, "memory", "memory.limit_in_bytes", "memory.max").unwrap(), "67108864");
    assert_eq!(cgroup::read(pid, "pids", "pids.max", "pids.max").unwrap(), "40");
    if !cgroup::is_v2() {
        assert_eq!(cgroup::read(pid, "cpu", "cpu.cfs_quota_us", "").unwrap(), "50000");
    }
    container
}

/// Checks that the container's lo is up, and that there is no other interface.
fn has_a_network_of_its_own(fixture: &CormFixture) {
    let pid = fixture.pid("limited");
    let link = fixture.corm(["exec", "limited", "ip", "addr"]).out().ok();
    assert!(link.stdout.contains("127.0.0.1") && !link.stdout.contains("eth"), "{link:?}");
    let own = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(own, fs::read_link("/proc/self/ns/net").unwrap());
}

fn keeps_logs_and_commits_changes(fixture: &CormFixture) {
    let printed =
        fixture.run(&["--name", "printer"], "base", &["sh", "-c", "echo out; echo err >&2; echo kept > /kept"]);
    let printed = printed.out().ok();
    assert_eq!((printed.text(), printed.stderr.trim()), ("out", "err"));
    let logs = fixture.corm(["logs", "printer"]).out().ok();
    assert_eq!((logs.text(), logs.stderr.trim()), ("out", "err"), "each to its own stream");
    fixture.corm(["commit", "printer", "changed"]).out().ok();
    assert_eq!(fixture.run(&["--rm"], "changed", &["cat", "/kept"]).out().ok().text(), "kept");
}

#[test]
fn mocker_two_images_of_one_directory_and_two_containers_of_one_image_are_two() {
    need_root!();
    over_all(|fixture| {
        fixture.image("one");
        let ids: Vec<String> = (0..3).map(|_| fixture.detached(&[], "one", &["sleep", "1000"])).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        fixture.corm(["exec", &ids[0], "touch", "/only-here"]).out().ok();
        fixture.corm(["exec", &ids[1], "test", "!", "-e", "/only-here"]).out().ok();
        fixture.corm(["rm", "-f", &ids[0], &ids[1], &ids[2]]).out().ok();
        fixture.no_container_left();
    });
}
