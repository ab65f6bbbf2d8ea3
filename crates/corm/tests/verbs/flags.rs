//! Flags of the verbs on containers and lists that no other test gives: `--latest`, limits of `update`, columns.

use crate::fixture::{CormFixture, over_one};
use test_support::pty::{Terminal, on_terminal};
use test_support::{cgroup, need_root, wait_for};

#[test]
fn the_latest_container_is_frozen_killed_and_attached_to() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "old"], "base", &["sleep", "1000"]);
        fixture.detached(&["--name", "new", "-i"], "base", &["sh", "-c", "read line; exit 7"]);
        let corm = |args: &[&str]| fixture.corm(args).out();
        corm(&["pause", "--latest"]).ok();
        assert_eq!((fixture.status("new"), fixture.status("old")), ("paused".to_owned(), "running".to_owned()));
        corm(&["unpause", "--latest"]).ok();
        assert_eq!(fixture.status("new"), "running");
        let rows = corm(&["stats", "--no-stream", "--format", "{{.Name}}", "--latest"]).ok();
        assert_eq!(rows.stdout, "new\n");
        corm(&["kill", "--latest"]).ok();
        wait_for("its end", || fixture.status("new") == "exited");
        corm(&["restart", "-t", "0", "--latest"]).ok();
        assert_eq!((fixture.status("new"), fixture.status("old")), ("running".to_owned(), "running".to_owned()));
        fixture.corm(["attach", "--latest"]).stdin("a line\n").out().exits(7);
        corm(&["rm", "-f", "-a"]).ok();
        fixture.no_container_left();
    });
}

/// Updates the container `c` and returns what a file of its cgroup then has.
#[track_caller]
fn updated(fixture: &CormFixture, flags: &[&str], (controller, v1, v2): (&str, &str, &str)) -> String {
    fixture.corm(["update"]).args(flags).arg("c").out().ok();
    cgroup::read(fixture.pid("c"), controller, v1, v2).unwrap_or_default()
}

#[test]
fn every_limit_of_update_reaches_the_cgroup() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "c", "-m", "64m"], "base", &["sleep", "1000"]);
        let quota = updated(
            fixture,
            &["--cpu-period", "50000", "--cpu-quota", "20000"],
            ("cpu", "cpu.cfs_period_us", "cpu.max"),
        );
        assert!(["50000", "20000 50000"].contains(&quota.as_str()), "{quota}");
        let soft = ("memory", "memory.soft_limit_in_bytes", "memory.low");
        assert_eq!(updated(fixture, &["--memory-reservation", "32m"], soft), (32 << 20).to_string());
        let cpus = ("cpuset", "cpuset.cpus", "cpuset.cpus");
        assert_eq!(updated(fixture, &["--cpuset-cpus", "0", "--cpuset-mems", "0"], cpus), "0");
        let mems = cgroup::read(fixture.pid("c"), "cpuset", "cpuset.mems", "cpuset.mems");
        assert_eq!(mems.as_deref(), Some("0"));
        let shares = updated(fixture, &["--cpu-shares", "512"], ("cpu", "cpu.shares", "cpu.weight"));
        assert!(shares == "512" || shares == "20", "{shares}");
        // not every kernel counts swap, and not every one has weights of block devices
        let swap = ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        if cgroup::read(fixture.pid("c"), swap.0, swap.1, swap.2).is_some() {
            let found = updated(fixture, &["-m", "64m", "--memory-swap", "128m"], swap);
            assert!([128 << 20, 64 << 20].map(|n: u64| n.to_string()).contains(&found), "{found}");
        }
        let weight = ("blkio", "blkio.bfq.weight", "io.bfq.weight");
        if cgroup::read(fixture.pid("c"), weight.0, weight.1, weight.2).is_some() {
            assert!(updated(fixture, &["--blkio-weight", "333"], weight).contains("333"));
        }
        fixture.corm(["update", "--blkio-weight", "5", "c"]).out().fails().stderr_contains("weight: 5 is out of range");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn lists_have_digests_and_no_headings() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        let with = fixture.corm(["images", "--digests"]).out().ok();
        let heading: Vec<&str> = with.lines()[0].split_whitespace().collect();
        assert_eq!(heading[..3], ["REPOSITORY", "TAG", "DIGEST"]);
        let digest = fixture.json(&["images", "--format", "json"])[0]["Digest"].as_str().unwrap().to_owned();
        assert!(with.lines()[1].contains(&digest), "{with:?}");
        assert!(!fixture.corm(["images"]).out().ok().stdout.contains(&digest));
        assert_eq!(fixture.corm(["ps"]).out().ok().lines().len(), 2);
        let rows = fixture.corm(["ps", "--noheading"]).out().ok();
        assert_eq!((rows.lines().len(), rows.stdout.contains("CONTAINER ID")), (1, false));
        let list = |flags: &[&str]| fixture.corm([&["network", "ls"], flags].concat()).out().ok();
        assert_eq!((list(&[]).lines().len(), list(&["--noheading"]).lines().len()), (2, 1));
        let id = list(&["--noheading", "--no-trunc"]).stdout.split_whitespace().next().unwrap().to_owned();
        assert_eq!((id.len(), list(&["-n"]).stdout.starts_with(&id[..12])), (64, true));
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn short_flags_are_podmans() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        assert_eq!(fixture.run(&["--rm", "-h", "box"], "base", &["hostname"]).out().ok().text(), "box");
        fixture.corm(["create", "-h", "crate", "--name", "base", "base", "true"]).out().ok();
        assert_eq!(fixture.corm(["inspect", "-t", "container", "-f", "{{.Name}}", "base"]).out().ok().text(), "base");
        assert_eq!(fixture.corm(["inspect", "-t", "image", "-f", "{{.Os}}", "base"]).out().ok().text(), "linux");
        assert_eq!(fixture.corm(["info", "-f", "{{.Host.OS}}"]).out().ok().text(), "linux");
        assert!(!fixture.corm(["version", "-f", "{{.Client.Version}}"]).out().ok().text().contains(['{', ' ']));
        assert!(fixture.corm(["run", "--help"]).out().ok().stdout.contains("-h, --hostname NAME"));
        fixture.corm(["rm", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn statistics_are_cleared_from_a_terminal_unless_they_are_not_to_be() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        for (flags, clears) in [(&[][..], true), (&["--no-reset"], false)] {
            let words = [&["stats", "-i", "1"], flags, &["c"]].concat();
            let mut terminal = Terminal::open(24, 200);
            let stats = on_terminal(fixture.corm(words), &terminal).spawn();
            let shown = terminal.expect_times("CPU TIME", 2);
            assert_eq!(shown.contains("\x1b[2J"), clears, "{flags:?}");
            stats.signal(libc::SIGTERM);
            stats.wait();
        }
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}
