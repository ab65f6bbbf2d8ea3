//! FT-21: many containers in a row leave the host as it was. The file has one test, so that nothing else runs beside
//! it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// The counts of the host's resources that must not grow.
#[derive(Debug, PartialEq)]
struct Resources {
    leftovers: Vec<String>,
    mounts: Vec<String>,
    cgroups: usize,
    fds: usize,
}

impl Resources {
    fn of(sandbox: &Sandbox) -> Resources {
        // other programs create and remove mounts and cgroups meanwhile: only those that can be the test's are counted
        let mounts = host::mount_table().into_iter().filter(|line| line.contains(&sandbox.token)).collect();
        let cgroups = cgroup::dirs_with(&sandbox.token).len();
        Resources { leftovers: sandbox.leftovers(), mounts, cgroups, fds: host::open_fds() }
    }
}

const RUNS: usize = 500;

#[test]
fn ft_21_500_runs_leave_nothing() {
    need_root!();
    let c = Container::new(&["true"]);
    let c = c.edit(|config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 50 } });
        config["hooks"] = json!({ "poststop": [{ "path": "/bin/true" }] });
    });
    c.run().ok();
    let (before, keys) = (Resources::of(&c.sandbox), host::session_keyrings());
    for round in 0..RUNS {
        let out = c.run();
        assert_eq!(out.code, Some(0), "run {round}: {out:?}");
    }
    assert_eq!(Resources::of(&c.sandbox), before);
    // the kernel frees dead keyrings later
    wait_for(&format!("session keyrings back to about {keys}"), || host::session_keyrings() < keys + RUNS / 10);
    // 50 more by create, start, kill, delete and exec
    for _ in 0..50 {
        let c = Container::within(&c.sandbox, &["sleep", "1000"]).up();
        c.exec(&["true"]).ok();
        c.kill("KILL").ok();
        c.wait_status("stopped");
        c.delete().ok();
        std::fs::remove_dir_all(&c.bundle).unwrap();
    }
    assert_eq!(Resources::of(&c.sandbox), before);
    c.nothing_left();
}
