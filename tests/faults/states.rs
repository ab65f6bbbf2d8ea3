//! Part 4: cgroups and processes in odd states, and a damaged record (O4).

use crate::bystander;
use test_support::*;

use std::time::{Duration, Instant};

#[test]
fn ft_32_m1_a_paused_container_can_be_deleted() {
    need_root!();
    let c = Container::running();
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.status(), "paused");
    c.delete().fails().stderr_contains("paused");
    let started = Instant::now();
    c.delete_force().ok();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    c.nothing_left();
}

#[test]
fn ft_33_m2_nested_cgroups_are_removed() {
    need_root!();
    let c = Container::sh("sleep 1000 & echo > /ready; wait").up();
    c.wait_file("/ready");
    let members = cgroup::procs(&cgroup::dir_of(c.pid(), "pids").unwrap());
    for top in cgroup::dirs_with(&c.id) {
        let nested = top.join("a/b/c");
        std::fs::create_dir_all(&nested).unwrap();
        if cgroup::is_v2() {
            for pid in &members {
                let _ = std::fs::write(nested.join("cgroup.procs"), pid.to_string());
            }
        } else if top.starts_with("/sys/fs/cgroup/pids") || top.starts_with("/sys/fs/cgroup/freezer") {
            std::fs::write(nested.join("cgroup.procs"), members[1].to_string()).unwrap();
        }
    }
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_34_m3_the_init_is_gone_others_are_alive() {
    need_root!();
    let c = Container::sh("sleep 1000 & echo $! > /child; wait").edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid");
    });
    let c = c.up();
    let child: i32 = c.wait_file("/child").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(c.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    c.wait_status("stopped");
    assert!(host::alive(child));
    c.delete().ok();
    wait_for("the member of its cgroup dies", || !host::alive(child));
    c.nothing_left();
}

#[test]
fn ft_35_m4_a_cgroup_in_use_is_refused_and_its_process_unharmed() {
    need_croci!("runc of this machine warns only");
    need_own_cgroups!();
    for frozen in [false, true] {
        let c = Container::new(&["true"]);
        let path = format!("/{}-busy", c.sandbox.token);
        let (proc, _) = bystander(&c, &path);
        if frozen {
            cgroup::freeze(&path, true);
        }
        let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        let started = Instant::now();
        c.create().fails().one_line().stderr_contains(&path);
        assert!(started.elapsed() < Duration::from_secs(5), "no hang");
        c.delete_force().ok();
        if frozen {
            cgroup::freeze(&path, false);
        }
        assert!(host::alive(proc.pid()), "the bystander still runs");
        assert!(!cgroup::dirs_with(&path[1..]).is_empty(), "its cgroup is still there");
        assert!(sandbox::state_entries(&c.sandbox.root).is_empty());
    }
}

#[test]
fn ft_35_a_frozen_empty_cgroup_is_refused() {
    need_croci!("runc of this machine hangs or thaws it");
    need_own_cgroups!();
    let c = Container::new(&["true"]);
    let path = format!("/{}-cold", c.sandbox.token);
    cgroup::create(&path);
    cgroup::freeze(&path, true);
    let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
    c.create_with(&[]).limit(Duration::from_secs(10)).out().fails().one_line().stderr_contains("frozen");
    cgroup::freeze(&path, false);
    assert!(sandbox::state_entries(&c.sandbox.root).is_empty());
}

#[test]
fn de_2_a_cgroup_that_was_there_before_stays() {
    need_croci!("runc removes it");
    need_own_cgroups!();
    let c = Container::new(&["true"]);
    let path = format!("/{}-mine", c.sandbox.token);
    let dirs = cgroup::create(&path);
    let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
    c.run().ok();
    for dir in dirs {
        assert!(dir.exists(), "{}", dir.display());
    }
}

/// On cgroup v1 not even SIGKILL ends a process that another program has frozen in a cgroup of its own.
#[test]
fn ft_38_another_program_has_moved_init_into_a_frozen_cgroup() {
    need_croci!("the release of runc here does not end");
    need_own_cgroups!();
    // init alone, whose next child is in its new cgroup; init and its children, one of them in a pid namespace below
    for (script, members) in [
        ("echo > /ready; trap '' TERM; while :; do sleep 0.01; done", 1),
        ("sleep 1000 & unshare -Urpf sleep 1000 & echo > /ready; wait", 4),
    ] {
        let c = Container::sh(script).up();
        c.wait_file("/ready");
        let pid = c.pid();
        let path = format!("/{}-ice", c.sandbox.token);
        let dirs = cgroup::create(&path);
        let members_now = || cgroup::procs(&cgroup::dir_of(pid, "freezer").unwrap());
        wait_for("all processes are there", || members_now().len() >= members);
        let all = members_now();
        let moved = if members == 1 { &[pid][..] } else { &all[..] };
        for (dir, pid) in dirs.iter().flat_map(|dir| moved.iter().map(move |pid| (dir, pid))) {
            std::fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        cgroup::freeze(&path, true);
        c.delete_force().ok();
        assert!(!host::alive(pid), "init has ended");
        cgroup::freeze(&path, false);
        wait_for("the other cgroup is empty", || dirs.iter().all(|dir| cgroup::procs(dir).is_empty()));
        dirs.iter().for_each(|dir| std::fs::remove_dir(dir).unwrap());
        c.nothing_left();
    }
}

/// Callers that poll see what the peers show next, created; a hook that asks is not held up for long.
#[test]
fn state_waits_a_little_for_the_end_of_a_creation() {
    need_croci!("the peers show no such status");
    need_root!();
    let c = Container::new(&["true"]);
    let (begun, go) = (c.sandbox.path("begun"), c.sandbox.path("go"));
    let hook = c.sandbox.script(
        "hook",
        &format!(
            "#!/bin/sh\ntouch {}; n=0; until test -e {} || test $n = 1000; do sleep 0.01; n=$((n+1)); done\n",
            begun.display(),
            go.display()
        ),
    );
    let c = c.edit(|config| {
        config["hooks"] = json!({"createRuntime": [{"path": hook, "env": ["PATH=/usr/bin:/bin"], "timeout": 60}]});
    });
    let creating = c.create_with(&[]).spawn();
    wait_for("the hook runs", || begun.exists());
    let start = Instant::now();
    assert_eq!(c.status(), "creating");
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    std::fs::write(&go, "").unwrap();
    creating.wait().ok();
    assert_eq!(c.status(), "created");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_38_another_program_removed_the_cgroup() {
    need_root!();
    let c = Container::running();
    let pid = c.pid();
    for dir in cgroup::dirs_with(&c.id) {
        let top = cgroup::hierarchies().into_iter().find(|top| dir.starts_with(top)).unwrap();
        let _ = std::fs::write(top.join("cgroup.procs"), pid.to_string());
        wait_for("the cgroup can be removed", || std::fs::remove_dir(&dir).is_ok());
    }
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.nothing_left();
}

/// Returns the paths of the regular files of a state directory, relative to it.
fn state_files(c: &Container) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = host::snapshot(&c.state_dir())
        .into_keys()
        .filter(|path| path.symlink_metadata().unwrap().is_file())
        .map(|path| path.strip_prefix(c.state_dir()).unwrap().to_owned())
        .collect();
    files.sort();
    files
}

type Damage = fn(&std::path::Path);

/// O4, each kind of damage to each file: `list` shows the undamaged container, and `delete --force` removes the damaged
/// one.
#[test]
fn o4_damaged_state_hides_no_container_and_can_be_deleted() {
    need_root!();
    let kinds: [(&str, Damage); 5] = [
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("garbage", |path| std::fs::write(path, [0xff, 0, b'{', b'"', 1]).unwrap()),
        ("JSON of another kind", |path| std::fs::write(path, "[1, 2]").unwrap()),
        ("cut off", |path| {
            let text = std::fs::read(path).unwrap();
            std::fs::write(path, &text[..text.len() / 2]).unwrap();
        }),
        ("missing", |path| std::fs::remove_file(path).unwrap()),
    ];
    let good = Container::running();
    let probe = Container::within(&good.sandbox, &["sleep", "1000"]).up();
    let files = state_files(&probe);
    assert!(!files.is_empty(), "a state directory holds a record");
    probe.delete_force().ok();
    for file in &files {
        for (kind, damage) in &kinds {
            let c = Container::within(&good.sandbox, &["sleep", "1000"]).up();
            let pid = c.pid();
            damage(&c.state_dir().join(file));
            let what = format!("{} {kind}", file.display());
            c.verb("state", &[]).out().no_panic();
            let list = c.croci(["list", "--format", "json"]).out();
            assert_eq!(list.code, Some(0), "{what}: {list:?}");
            assert!(list.stdout.contains(&good.id), "{what}: the good one is listed: {list:?}");
            let delete = c.delete_force();
            assert_eq!(delete.code, Some(0), "{what}: {delete:?}");
            wait_for(&format!("{what}: the process dies"), || !host::alive(pid));
            let left: Vec<_> = c.sandbox.leftovers().into_iter().filter(|line| line.contains(&c.id)).collect();
            assert!(left.is_empty(), "{what}: left {left:?}");
        }
    }
    assert_eq!(good.status(), "running");
    good.delete_force().ok();
    good.nothing_left();
}

#[test]
fn o4_everything_of_the_state_is_gone_but_the_directory() {
    need_root!();
    let c = Container::running();
    let pid = c.pid();
    std::fs::remove_dir_all(c.state_dir()).unwrap();
    std::fs::create_dir(c.state_dir()).unwrap();
    c.croci(["list"]).out().ok();
    c.delete_force().ok();
    wait_for("the process dies", || !host::alive(pid));
    c.nothing_left();
}

#[test]
fn ft_48_a_list_of_ten_thousand() {
    need_root!();
    let good = Container::running();
    for number in 0..10_000 {
        std::fs::create_dir(good.sandbox.root.join(format!("dead-{number}"))).unwrap();
    }
    let quiet = good.croci(["list", "-q"]).out().ok();
    assert!(quiet.stdout.contains(&good.id));
    let full = good.croci(["list"]).out().ok();
    assert!(full.stdout.contains(&good.id));
    // 20 ms and 0.5 s on an idle machine; the limits here only show that the time is at most linear
    assert!(quiet.took < Duration::from_secs(1), "{:?}", quiet.took);
    assert!(full.took < Duration::from_secs(5), "{:?}", full.took);
    for number in 0..10_000 {
        std::fs::remove_dir(good.sandbox.root.join(format!("dead-{number}"))).unwrap();
    }
}

/// Each status in a list that is so long that croci reads it in two threads, with a record that is damaged in each way.
#[test]
fn a_long_list_has_every_status_and_names_the_damaged() {
    need_croci!("the table says damaged");
    let running = Container::running();
    let within = || Container::within(&running.sandbox, &["sleep", "1000"]);
    let (created, paused, stopped) = (within(), within().up(), within().up());
    created.create().ok();
    paused.verb("pause", &[]).out().ok();
    let pid = stopped.pid();
    stopped.kill("KILL").ok();
    Container::reap(pid);
    let mut wanted: Vec<(String, &str)> =
        [(&running, "running"), (&created, "created"), (&paused, "paused"), (&stopped, "stopped")]
            .map(|(c, status)| (c.id.clone(), status))
            .to_vec();
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(running.state_dir().join("record.json")).unwrap()).unwrap();
    let root = &running.sandbox.root;
    let damaged = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut record = record.clone();
        change(&mut record);
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("record.json"), record.to_string()).unwrap();
        (name.to_owned(), "damaged")
    };
    wanted.push(damaged("0-format", &|record| record["format"] = 1.into()));
    wanted.push(damaged("0-init", &|record| record["init"]["pid"] = 1.into()));
    wanted.push(damaged("0-cgroup", &|record| record["cgroup"]["path"] = "/".into()));
    wanted.push(damaged("0-mount", &|record| record["cgroup"]["dirs"][0]["mount"] = "/tmp".into()));
    wanted.push(damaged("0-owner", &|record| record["owner"] = "root".into()));
    wanted.push(damaged("0-null", &|record| *record = serde_json::Value::Null));
    for number in 0..80 {
        wanted.push(damaged(&format!("9-{number}"), &|record| *record = "{".into()));
    }
    wanted.sort();
    let table = running.croci(["list"]).out().ok();
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = table.lines()[1..].iter().map(|line| cells(line)).collect();
    let found: Vec<(String, &str)> = rows.iter().map(|row| (row[0].clone(), row[2].as_str())).collect();
    assert_eq!(found, wanted);
    let json = running.croci(["list", "--format", "json"]).out().ok().json();
    let documents = json.as_array().unwrap();
    assert_eq!(documents.len(), wanted.len());
    for c in [&running, &created, &paused] {
        let listed = documents.iter().find(|document| document["id"] == c.id.as_str()).unwrap();
        assert_eq!(*listed, c.state(), "as `state` prints it");
    }
    for (name, _) in wanted.iter().filter(|(_, status)| *status == "damaged") {
        std::fs::remove_dir_all(root.join(name)).unwrap();
    }
    for c in [&created, &paused, &stopped, &running] {
        c.delete_force().ok();
    }
    running.nothing_left();
}

/// `create` makes the directory, takes its lock and writes the record; `delete` removes the record first.
#[test]
fn a_container_that_is_being_created_or_deleted_is_not_listed_as_damaged() {
    need_croci!("crun and runc have no such lock");
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.root.join("begun")).unwrap();
    let dir = std::fs::File::open(sandbox.root.join("begun")).unwrap();
    let lock = nix::fcntl::Flock::lock(dir, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let table = sandbox.croci(["list"]).out().ok();
    assert_eq!(table.lines().len(), 1, "{table:?}");
    assert_eq!(sandbox.croci(["list", "--format", "json"]).out().ok().json(), serde_json::json!([]));
    drop(lock);
    let table = sandbox.croci(["list"]).out().ok();
    assert!(table.stdout.contains("damaged"), "a directory that is left over: {table:?}");
    std::fs::remove_dir(sandbox.root.join("begun")).unwrap();
}
