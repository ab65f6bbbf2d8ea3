//! `top`, `stats` and `update`.

use std::os::unix::fs::MetadataExt as _;

use base::fs::lock::create_locked;
use serde_json::{Value, json};

use crate::fixture::over_one;
use test_support::{cgroup, need_root, wait_for};

#[test]
fn top_has_the_columns_of_podman() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let id = fixture.detached(&["--name", "c", "-u", "user"], "base", &["sh", "-c", "sleep 1000 & wait"]);
        wait_for("both processes", || fixture.corm(["top", "c"]).out().lines().len() == 3);
        let out = fixture.corm(["top", &id]).out().ok();
        let rows: Vec<Vec<&str>> = out.lines().iter().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]);
        assert_eq!(rows[1][..3], ["user", "1", "0"]);
        assert_eq!((rows[2][0], rows[2][2], rows[2][5]), ("user", "1", "?"), "{out:?}");
        assert!(rows[2].ends_with(&["sleep", "1000"]) && rows[2][4].ends_with('s'), "{out:?}");
        let out = fixture.corm(["top", "c", "hpid", "comm,state"]).out().ok();
        let row: Vec<&str> = out.lines()[1].split_whitespace().collect();
        assert_eq!(row, [fixture.pid("c").to_string().as_str(), "sh", "S"]);
        fixture.corm(["top", "c", "nope"]).out().fails().stderr_contains("unknown descriptor \"nope\"");
        fixture.corm(["stop", "-t", "0", "c"]).out().ok();
        fixture.corm(["top", "c"]).out().fails().stderr_contains("top can only be used on running containers");
        fixture.corm(["top", "nope"]).out().fails().stderr_contains("No container named");
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn stats_have_the_columns_of_podman() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let id = fixture.detached(&["--name", "c"], "base", &["sh", "-c", "while :; do :; done"]);
        fixture.corm(["create", "--name", "new", "base", "true"]).out().ok();
        wait_for("some CPU time", || {
            let stats = fixture.json(&["stats", "--no-stream", "--format", "json", "c"]);
            stats[0]["cpu_percent"] != "0.00%" && stats[0]["id"] == id[..12] && stats[0]["pids"] == "1"
        });
        let whole = fixture.corm(["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}", "c"]).out().ok();
        assert_eq!(whole.text(), id);
        let out = fixture.corm(["stats", "--no-stream"]).out().ok();
        let header: Vec<&str> = out.lines()[0].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            header,
            [
                "ID",
                "NAME",
                "CPU %",
                "MEM USAGE / LIMIT",
                "MEM %",
                "NET IO",
                "BLOCK IO",
                "PIDS",
                "CPU TIME",
                "AVG CPU %"
            ]
        );
        assert_eq!(out.lines().len(), 2);
        assert!(out.lines()[1].contains("B / ") && !out.lines()[1].contains(" 0B / 0B  0.00%"), "{out:?}");
        assert_eq!(fixture.corm(["stats", "--no-stream", "-a"]).out().ok().lines().len(), 3);
        let stopped = fixture.json(&["stats", "--no-stream", "--format", "json", "new"]);
        assert_eq!((&stopped[0]["cpu_time"], &stopped[0]["pids"]), (&"0s".into(), &"0".into()));
        fixture.corm(["stats", "--no-stream", "nope"]).out().fails().stderr_contains("No container named");
        // live, until it is stopped
        let live = fixture.corm(["stats", "-i", "1", "c"]).spawn();
        wait_for("two lists", || live.stdout().matches("CPU TIME").count() > 1);
        live.signal(libc::SIGTERM);
        live.wait();
        fixture.corm(["rm", "-f", "c", "new"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn update_changes_the_limits_of_now_and_of_the_next_start() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let id = fixture.detached(&["--name", "c", "--pids-limit", "50"], "base", &["sleep", "1000"]);
        let pids = || cgroup::read(fixture.pid("c"), "pids", "pids.max", "pids.max").map(|text| text.trim().to_owned());
        assert_eq!(pids().as_deref(), Some("50"));
        let flags = ["--pids-limit", "70", "-m", "64m", "--cpus", "0.5"];
        assert_eq!(fixture.corm(["update"]).args(flags).arg("c").out().ok().text(), id);
        let memory = || cgroup::read(fixture.pid("c"), "memory", "memory.limit_in_bytes", "memory.max");
        for _ in 0..2 {
            assert_eq!(pids().as_deref(), Some("70"));
            assert_eq!(memory().map(|text| text.trim().to_owned()).as_deref(), Some("67108864"));
            fixture.corm(["restart", "-t", "0", "c"]).out().ok();
        }
        fixture.corm(["stop", "-t", "0", "c"]).out().ok();
        fixture.corm(["update", "--pids-limit", "80", "c"]).out().ok();
        fixture.corm(["start", "c"]).out().ok();
        assert_eq!(pids().as_deref(), Some("80"));
        // a limit that the kernel refuses changes nothing
        fixture.corm(["update", "--cpuset-cpus", "4000", "c"]).out().fails();
        fixture.corm(["restart", "-t", "0", "c"]).out().ok();
        fixture.corm(["update", "c"]).out().fails().stderr_contains("no limit is given");
        fixture.corm(["update", "--cpus", "1", "--cpu-quota", "5000", "c"]).out().fails().stderr_contains("exclude");
        fixture.corm(["update", "-m", "1g", "nope"]).out().fails().stderr_contains("No container named");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_start_that_joins_a_namespace_and_an_update_change_the_configuration_one_after_the_other() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "a"], "base", &["sleep", "1000"]);
        let id = fixture
            .corm(["create", "--name", "b", "--pid", "container:a", "base", "true"])
            .out()
            .ok()
            .text()
            .to_owned();
        let dir = fixture.root().join("containers").join(id);
        // an update has read the file and not written it yet
        let held = create_locked(&dir.join("update.lock")).unwrap();
        let path = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let inode = held.metadata().unwrap().ino();
        let mut start = fixture.corm(["start", "-a", "b"]).spawn();
        let waits = || {
            std::fs::read_to_string("/proc/locks")
                .unwrap()
                .lines()
                .any(|line| line.contains("->") && line.contains(&format!(":{inode} ")))
        };
        wait_for("the start to end or to wait", || waits() || start.ended());
        config["linux"]["resources"]["pids"] = json!({ "limit": 4321 });
        std::fs::write(&path, config.to_string()).unwrap();
        drop(held);
        start.wait().ok();
        let config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let pid = config["linux"]["namespaces"].as_array().unwrap().iter().find(|one| one["type"] == "pid").unwrap();
        assert_eq!(pid["path"], format!("/proc/{}/ns/pid", fixture.pid("a")));
        assert_eq!(config["linux"]["resources"]["pids"]["limit"], 4321);
        fixture.corm(["rm", "-f", "a", "b"]).out().ok();
        fixture.no_container_left();
    });
}
