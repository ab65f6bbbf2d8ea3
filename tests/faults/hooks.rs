//! Part 5, hooks: the effect of each failure (FT-40), timeouts (FT-41), the state that they read (FT-42), large input
//! (FT-43).

use std::path::PathBuf;
use std::time::{Duration, Instant};
use test_support::*;

const CREATE_KINDS: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// Returns the hooks that fail: the name of the failure, the path of the hook, and a word of the error.
fn failures(c: &Container) -> Vec<(&'static str, PathBuf, &'static str)> {
    let plain = c.sandbox.write("plain", "#!/bin/sh\n");
    let status = c.sandbox.script("status", "#!/bin/sh\necho written-to-stderr >&2\nexit 3\n");
    let signal = c.sandbox.script("signal", "#!/bin/sh\nkill -9 $$\n");
    let missing = c.sandbox.path("missing");
    vec![
        ("status", status, "3"),
        ("signal", signal, "signal"),
        ("missing", missing, "no such file or directory"),
        ("not executable", plain, "permission denied"),
    ]
}

#[test]
fn ft_40_n1_a_failing_create_hook_undoes_create() {
    need_root!();
    for kind in CREATE_KINDS {
        for (way, path, error) in failures(&Container::new(&["true"])) {
            let c = Container::new(&["sleep", "1000"]);
            let post = c.sandbox.path("poststop-ran");
            let poststop = c.sandbox.script("poststop", &format!("#!/bin/sh\ntouch {}\n", post.display()));
            // the files of the failing hooks were removed with their sandbox: create them again here
            let path = recreate(&c, way, &path);
            let c = c.edit(|config| {
                config["hooks"] = json!({ kind: [{ "path": "/bin/true" }, { "path": path }], "poststop": [{ "path": poststop }] });
            });
            let out = c
                .create()
                .fails()
                .one_line()
                .stderr_contains(kind)
                .stderr_contains(path.to_str().unwrap())
                .stderr_contains(error);
            if way == "status" && is_croci() {
                out.stderr_contains("written-to-stderr").stderr_contains("hook #1:");
            }
            c.nothing_left();
            assert!(post.exists() || !is_croci(), "{kind} {way}: LC-2, poststop hooks are run on this path");
        }
    }
}

fn recreate(c: &Container, way: &str, path: &std::path::Path) -> PathBuf {
    let name = path.file_name().unwrap();
    failures(c).into_iter().find(|(other, path, _)| *other == way && path.file_name() == Some(name)).unwrap().1
}

#[test]
fn ft_40_a_failing_start_container_hook_stops_it() {
    need_root!();
    let c = Container::sh("echo ran > /ran; exec sleep 1000");
    cmd::script(&c.file("/hook"), "#!/bin/sh\necho written-to-stderr >&2\nexit 3\n");
    let c = c.edit(|config| config["hooks"] = json!({ "startContainer": [{ "path": "/hook" }] }));
    c.create().ok();
    c.start().fails().one_line().stderr_contains("startContainer").stderr_contains("/hook").stderr_contains("3");
    c.wait_status("stopped");
    assert!(!c.file("/ran").exists());
    c.delete().ok();
    c.nothing_left();
    // FT-40: a missing hook is an error of `start`, too
    let d = Container::new(&["sleep", "1000"])
        .edit(|config| config["hooks"] = json!({ "startContainer": [{ "path": "/no/hook" }] }));
    d.create().ok();
    d.start().fails().stderr_contains("startContainer").stderr_contains("/no/hook");
    d.delete_force().ok();
    d.nothing_left();
}

#[test]
fn ft_40_a_failing_poststart_hook_destroys_the_container() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let hook = c.sandbox.script("hook", "#!/bin/sh\nexit 3\n");
    let c = c.edit(|config| config["hooks"] = json!({ "poststart": [{ "path": hook }] }));
    c.create().ok();
    let pid = c.pid();
    c.start().fails().one_line().stderr_contains("poststart").stderr_contains(hook.to_str().unwrap());
    wait_for("the init dies", || !host::alive(pid));
    let state = c.verb("state", &[]).out();
    assert!(state.code == Some(1) || state.json()["status"] == "stopped", "{state:?}");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_40_lc_3_a_failing_poststop_hook_is_a_warning() {
    need_root!();
    let c = Container::running();
    c.delete_force().ok();
    for force in [false, true] {
        let c = Container::new(&["sleep", "1000"]);
        let later = c.sandbox.path("later-ran");
        let bad = c.sandbox.script("bad", "#!/bin/sh\nexit 3\n");
        let good = c.sandbox.script("good", &format!("#!/bin/sh\ntouch {}\n", later.display()));
        let c = c.edit(|config| {
            config["hooks"] = json!({ "poststop": [{ "path": bad }, { "path": "/no/such/hook" }, { "path": good }] });
        });
        let c = c.up();
        c.kill("KILL").ok();
        c.wait_status("stopped");
        let out = if force { c.delete_force().ok() } else { c.delete().ok() };
        // the specification wants a warning: at the default log level
        assert!(
            !is_croci() || out.stderr.lines().filter(|line| line.contains("poststop hook")).count() == 2,
            "{out:?}"
        );
        assert!(later.exists(), "later hooks go on");
        c.nothing_left();
    }
}

#[test]
fn hk_1_a_failure_stops_the_list() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let mark = c.sandbox.path("second-ran");
    let bad = c.sandbox.script("bad", "#!/bin/sh\nexit 1\n");
    let second = c.sandbox.script("second", &format!("#!/bin/sh\ntouch {}\n", mark.display()));
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": bad }, { "path": second }] }));
    c.create().fails();
    assert!(!mark.exists());
}

#[test]
fn lc_1_hooks_run_in_their_order() {
    need_root!();
    let c = Container::sh("echo program >> /order");
    let order = c.file("/order");
    std::fs::write(&order, "").unwrap();
    let host_hook = c.sandbox.script("hook", &format!("#!/bin/sh\necho $1 >> {}\n", order.display()));
    cmd::script(&c.file("/hook"), "#!/bin/sh\necho $1 >> /order\n");
    let entry = |path: &std::path::Path, kind: &str| json!([{ "path": path, "args": ["hook", kind], "env": ["PATH=/bin:/usr/bin"] }]);
    let c = c.edit(|config| {
        config["hooks"] = json!({
            "prestart": entry(&host_hook, "prestart"),
            "createRuntime": entry(&host_hook, "createRuntime"),
            "createContainer": entry(&host_hook, "createContainer"),
            "startContainer": entry("/hook".as_ref(), "startContainer"),
            "poststart": entry(&host_hook, "poststart"),
            "poststop": entry(&host_hook, "poststop"),
        });
    });
    c.create().ok();
    let lines = || std::fs::read_to_string(&order).unwrap();
    assert_eq!(lines(), "prestart\ncreateRuntime\ncreateContainer\n");
    c.start().ok();
    c.wait_status("stopped");
    c.delete().ok();
    let seen = lines();
    let mut seen: Vec<_> = seen.lines().skip(3).collect();
    assert_eq!(seen.pop(), Some("poststop"));
    assert_eq!(seen.remove(0), "startContainer");
    seen.sort_unstable(); // the program and poststart hooks run at the same time
    assert_eq!(seen, ["poststart", "program"]);
}

#[test]
fn ft_41_n2_a_hanging_hook_is_killed_with_its_children() {
    need_root!();
    for kind in CREATE_KINDS {
        let c = Container::new(&["sleep", "1000"]);
        // the grandchild keeps the pipes open; it is found by its token if it survives
        let hook = c.sandbox.script(
            "hook",
            &format!("#!/bin/sh\n(sh -c 'sleep 1000; : {0}') &\nsh -c 'sleep 1000; : {0}'\n", c.sandbox.token),
        );
        let c = c.edit(|config| config["hooks"] = json!({ kind: [{ "path": hook, "timeout": 1 }] }));
        let started = Instant::now();
        c.create().fails().one_line().stderr_contains(kind);
        let took = started.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{kind}: {took:?}");
        if is_croci() {
            c.nothing_left();
        }
    }
}

#[test]
fn ft_42_n3_the_state_that_each_hook_gets() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let dir = c.sandbox.mkdir("states");
    let inside = c.file("/states");
    std::fs::create_dir(&inside).unwrap();
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\ncat > {}/$1\n", dir.display()));
    cmd::script(&c.file("/hook"), "#!/bin/sh\ncat > /states/$1\n");
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let c = c.edit(|config| {
        config["annotations"] = json!({ "com.example": "kept" });
        for kind in kinds {
            let path = if kind == "startContainer" { "/hook".into() } else { hook.clone() };
            config["hooks"][kind] = json!([{ "path": path, "args": ["hook", kind], "env": ["PATH=/bin:/usr/bin"] }]);
        }
    });
    c.create().ok();
    let pid = c.pid();
    c.start().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    let spec = if is_croci() { Some("1.3.0") } else { None };
    for (kind, status, want_pid) in [
        ("prestart", "creating", Some(pid)),
        ("createRuntime", "creating", Some(pid)),
        ("createContainer", "creating", Some(1)),
        ("startContainer", "created", Some(1)),
        ("poststart", "running", Some(pid)),
        ("poststop", "stopped", None),
    ] {
        let file = if kind == "startContainer" { inside.join(kind) } else { dir.join(kind) };
        let text = std::fs::read_to_string(&file).unwrap_or_else(|err| panic!("{kind}: {err}"));
        let state: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{kind}: {err}: {text}"));
        assert_eq!(state["id"], json!(c.id), "{kind}");
        assert_eq!(state["bundle"], json!(c.bundle), "{kind}");
        assert_eq!(state["annotations"]["com.example"], "kept", "{kind}");
        assert_eq!(state["status"], status, "{kind}");
        match want_pid {
            Some(want) => assert_eq!(state["pid"], want, "{kind}"),
            None => assert!(state.get("pid").is_none_or(|pid| pid == 0), "{kind}: {state}"),
        }
        assert!(spec.is_none_or(|spec| state["ociVersion"] == spec), "{kind}: {state}");
    }
    c.nothing_left();
}

#[test]
fn ft_43_n4_a_hook_that_reads_nothing_of_400_kb() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let deaf = c.sandbox.script("deaf", "#!/bin/sh\nexec 0<&-\nexit 0\n");
    let hears = c.sandbox.path("bytes");
    let all = c.sandbox.script("all", &format!("#!/bin/sh\nwc -c > {}\n", hears.display()));
    let c = c.edit(|config| {
        for number in 0..4000 {
            config["annotations"][format!("key-{number}")] = json!("v".repeat(100));
        }
        config["hooks"] = json!({ "createRuntime": [{ "path": deaf }, { "path": all, "env": ["PATH=/usr/bin:/bin"] }],
            "poststop": [{ "path": deaf }] });
    });
    c.create().ok();
    assert!(std::fs::read_to_string(hears).unwrap().trim().parse::<usize>().unwrap() > 400_000);
    c.start().ok();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn hk_10_a_talkative_hook_does_not_block() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let loud = c.sandbox.script("loud", "#!/bin/sh\nhead -c 1000000 /dev/zero\nhead -c 1000000 /dev/zero >&2\n");
    let c = c
        .edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": loud, "env": ["PATH=/usr/bin:/bin"] }] }));
    c.create().ok();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn hk_5_where_hooks_run() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let dir = c.sandbox.mkdir("seen");
    let hook = c.sandbox.script("hook", &format!(
        "#!/bin/sh\nreadlink /proc/self/ns/mnt > {0}/$1.mnt; readlink /proc/self/ns/net > {0}/$1.net; pwd > {0}/$1.cwd\n",
        dir.display()));
    let c = c.edit(|config| {
        for kind in ["createRuntime", "createContainer", "poststart"] {
            config["hooks"][kind] = json!([{ "path": hook, "args": ["hook", kind], "env": ["PATH=/bin:/usr/bin"] }]);
        }
    });
    let c = c.up();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
    let link =
        |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    let pid = c.pid().to_string();
    for kind in ["createRuntime", "poststart"] {
        assert_eq!(read(&format!("{kind}.mnt")), link("self", "mnt"), "{kind}");
        assert_eq!(read(&format!("{kind}.net")), link("self", "net"), "{kind}");
    }
    assert_eq!(read("createContainer.mnt"), link(&pid, "mnt"));
    assert_eq!(read("createContainer.net"), link(&pid, "net"));
    // HK-9: the working directory is the bundle's
    for kind in ["createRuntime", "createContainer", "poststart"] {
        assert_eq!(read(&format!("{kind}.cwd")), c.bundle.display().to_string(), "{kind}");
    }
}

/// Starts a process of the host, which must survive the test.
fn victim(c: &Container) -> Proc {
    let proc = c.sandbox.program("sleep").arg("1000").spawn();
    wait_for("the victim runs", || host::alive(proc.pid()));
    proc
}

/// Returns the script of a hook that lists `victim` as a child of itself and of its parent in a forged procfs at
/// `proc`, leaves a child in a session of its own, and runs longer than its timeout.
fn script_with_forged_children(victim: i32, proc: &str, pids: &str, after: &str) -> String {
    format!(
        "#!/bin/sh\nfor p in $$ $PPID 1 2 3; do mkdir -p {proc}/$p/task/$p; echo {victim} > {proc}/$p/task/$p/children; done\n\
        {after}\nsetsid sleep 1000 & echo $! > {pids}; echo $$ >> {pids}\nsleep 1000\n"
    )
}

#[test]
fn hk_8_a_timeout_of_a_create_container_hook_kills_by_the_hosts_procfs() {
    need_root!();
    for own_pid_namespace in [true, false] {
        let c = Container::new(&["sleep", "1000"]);
        let (victim, fake) = (victim(&c), c.sandbox.mkdir("fake"));
        let pids = c.sandbox.path("pids");
        let shadow = format!("mount --bind {} /proc || exit 9", fake.display());
        let script = script_with_forged_children(victim.pid(), fake.to_str().unwrap(), pids.to_str().unwrap(), &shadow);
        let hook = c.sandbox.script("hook", &script);
        let c = c.edit(|config| {
            config["hooks"] =
                json!({ "createContainer": [{ "path": hook, "timeout": 1, "env": ["PATH=/usr/bin:/bin"] }] });
            if !own_pid_namespace {
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != "pid");
            }
        });
        let out = c.create().fails().stderr_contains("createContainer").stderr_contains("timeout of 1 s");
        let pids: Vec<i32> = std::fs::read_to_string(pids).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2, "the hook ran: {out:?}");
        if !own_pid_namespace {
            // these numbers are the host's: the hook and the child that left its group
            assert!(!pids.iter().any(|pid| host::alive(*pid)), "a process of the hook still runs: {pids:?}");
        }
        assert!(host::alive(victim.pid()), "own pid namespace {own_pid_namespace}: a process of the host was killed");
        drop(victim);
        c.nothing_left();
    }
}

#[test]
fn hk_8_a_timeout_of_a_start_container_hook_trusts_no_procfs_of_the_image() {
    need_root!();
    for own_pid_namespace in [true, false] {
        let c = Container::new(&["sleep", "1000"]);
        let victim = victim(&c);
        cmd::script(&c.file("/hook"), &script_with_forged_children(victim.pid(), "/proc", "/pids", ":"));
        let c = c.edit(|config| {
            config["hooks"] = json!({ "startContainer": [{ "path": "/hook", "timeout": 1 }] });
            bundle::without_mount(config, "/proc");
            // without paths of a real procfs, because there is none
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
            if !own_pid_namespace {
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != "pid");
            }
        });
        c.create().ok();
        let out = c.start().fails().stderr_contains("startContainer").stderr_contains("timeout of 1 s");
        let pids: Vec<i32> =
            std::fs::read_to_string(c.file("/pids")).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2, "the hook ran: {out:?}");
        assert!(host::alive(victim.pid()), "own pid namespace {own_pid_namespace}: a process of the host was killed");
        drop(victim);
        c.wait_status("stopped");
        c.delete_force().ok();
        if !own_pid_namespace {
            wait_for("what left the hook's group ends with the container", || {
                !pids.iter().any(|pid| host::alive(*pid))
            });
        }
        c.nothing_left();
    }
}
