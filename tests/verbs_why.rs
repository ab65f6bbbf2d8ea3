//! What became of a container: `wait`, `why`, the member `exit` of `state`; and what would become of one: `validate`,
//! `plan`, `create --dry-run`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// Runs a container in the foreground, which stays.
fn ended(c: &Container) -> Value {
    c.run_with(&["--keep"]).out().no_panic();
    c.state()
}

#[test]
fn the_exit_status_of_a_container_that_stays() {
    need_root!();
    let c = Container::sh("exit 7");
    assert_eq!(ended(&c)["exit"]["status"], 7);
    c.croci(["wait", &c.id]).out().ok();
    assert_eq!(c.croci(["wait", &c.id]).out().ok().text(), "7");
    let why = c.croci(["why", &c.id]).out().ok();
    assert!(why.text().starts_with("stopped: exited with status 7 at 20"), "{why:?}");
    c.delete().ok();
    c.nothing_left();
}

/// The signals whose default action ends the process.
const FATAL: [&str; 23] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "XCPU", "XFSZ", "VTALRM", "PROF", "IO", "PWR", "SYS",
];

#[test]
fn a_wait_learns_of_each_fatal_signal() {
    need_root!();
    for name in FATAL {
        // a pid namespace's first process would ignore what it has no handler for
        let c = Container::new(&["sleep", "1000"]).edit(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
        let c = c.up();
        let wait = c.croci(["wait", &c.id]).spawn();
        wait_for("wait has the pidfd", || {
            let fds = std::fs::read_dir(format!("/proc/{}/fd", wait.pid())).into_iter().flatten().flatten();
            fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|to| to.to_string_lossy().contains("pidfd"))
        });
        c.kill(name).ok();
        let out = wait.wait().ok();
        let status: i32 = out.text().parse().unwrap();
        let exit = c.state()["exit"].clone();
        assert_eq!((&exit["signal"], &exit["status"]), (&json!(name), &json!(status)), "{exit}");
        assert!(status > 128 && exit["time"].is_string() && exit["oomKilled"] == false, "{exit}");
        c.croci(["why", &c.id]).out().ok().stdout.find(&format!("({name})")).expect("the signal's name");
        c.delete_force().ok();
        c.nothing_left();
    }
}

#[test]
fn limits_that_were_reached_are_named() {
    need_root!();
    let c = Container::sh("x=a; while :; do x=$x$x; done").edit(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 16_000_000});
    });
    let state = ended(&c);
    assert_eq!((&state["exit"]["signal"], &state["exit"]["oomKilled"]), (&json!("KILL"), &json!(true)), "{state}");
    let why = c.croci(["why", "--format", "json", &c.id]).out().ok().json();
    assert_eq!(why["findings"][1]["code"], "cgroup.oom", "{why}");
    c.delete().ok();
    let c = Container::sh("for i in 1 2 3 4 5; do sleep 5 & done; wait").edit(|config| {
        config["linux"]["resources"]["pids"] = json!({"limit": 3});
    });
    ended(&c);
    let why = c.croci(["why", &c.id]).out().ok();
    assert!(why.stdout.contains("linux.resources.pids.limit is 3 [cgroup.pids_limit]"), "{why:?}");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_call_that_the_filter_kills_is_the_reason() {
    need_root!();
    let c = Container::new(&["mkdir", "/x"]).edit(|config| {
        let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"});
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    });
    assert_eq!(ended(&c)["exit"]["signal"], "SYS");
    let why = c.croci(["why", &c.id]).out().ok();
    assert!(why.stdout.contains("[seccomp.killed]"), "{why:?}");
    c.delete().ok();
}

/// A container whose `start` failed says why, also after the verb's own message is gone.
#[test]
fn a_program_that_was_not_started_is_the_reason() {
    need_root!();
    let script = |c: &Container, name: &str, text: &str| {
        let file = c.file(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        file
    };
    let why = |c: &Container, wanted: &[&str]| {
        c.start().fails();
        c.wait_status("stopped");
        let why = c.croci(["why", &c.id]).out().ok();
        for word in wanted {
            assert!(why.stdout.contains(word), "{word}: {why:?}");
        }
        let json = c.croci(["why", "--format", "json", &c.id]).out().ok().json();
        assert!(json["findings"][1]["code"].is_string(), "{json}");
        c.delete().ok();
        c.nothing_left();
    };
    // gone between `create`, which looks, and `start`
    let c = Container::new(&["/script"]);
    let (interpreter, _) = (script(&c, "/interpreter", "#!/bin/sh\n"), script(&c, "/script", "#!/interpreter\n"));
    c.create().ok();
    std::fs::remove_file(interpreter).unwrap();
    why(&c, &["its program was not started: exec: \"/script\": script interpreter /interpreter", "[exec.interpreter]"]);
    let c = Container::new(&["/script"]);
    let file = script(&c, "/script", "#!/bin/sh\n");
    c.create().ok();
    std::fs::write(file, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0").unwrap();
    why(&c, &["[exec.format]"]);
    let c = Container::new(&["true"]).edit(|config| {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo no licence >&2; exit 9"]});
        config["hooks"] = json!({"startContainer": [hook]});
    });
    c.create().ok();
    why(&c, &["startContainer hook #0: \"/bin/sh\": exit status 9, output: no licence", "[hook.failed]"]);
}

/// A library that is missing is the loader's to say; its status is explained.
#[test]
fn the_status_of_a_missing_library_is_explained() {
    need_root!();
    let c = Container::sh("exit 127");
    ended(&c);
    let why = c.croci(["why", &c.id]).out().ok();
    assert!(why.stdout.contains("the dynamic loader's for a missing library"), "{why:?}");
    c.delete().ok();
}

#[test]
fn validate_lists_all_problems_with_their_places() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        config["process"]["cwd"] = json!(7);
        config["hostname"] = json!("h".repeat(70));
        config["linux"]["rootfsPropagation"] = json!("shard");
    });
    c.write_config();
    let validate = |flags: &[&str]| c.croci(["validate", "--bundle"]).arg(&c.bundle).args(flags).out();
    let found = validate(&["--format", "json"]).exits(1).json();
    let pointers: Vec<&str> =
        found["problems"].as_array().unwrap().iter().map(|one| one["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers.len(), 3, "{found}");
    for pointer in ["/process/cwd", "/hostname", "/linux/rootfsPropagation"] {
        assert!(pointers.contains(&pointer), "{pointer}: {found}");
    }
    validate(&[]).exits(1).stdout.find("(did you mean \"shared\"?)").expect("a suggestion");
    let good = Container::within(&c.sandbox, &["true"]).edit(|config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/a", "source": "/no/such/source", "options": ["bind"]
        }));
    });
    good.write_config();
    let validate = |flags: &[&str]| c.croci(["validate", "--bundle"]).arg(&good.bundle).args(flags).out();
    assert!(validate(&[]).ok().stdout.ends_with("valid\n"));
    validate(&["--host"]).exits(1).stdout.find("[mount.source_missing]").expect("the host has no such file");
    c.nothing_left();
}

#[test]
fn a_plan_has_the_steps_and_takes_none() {
    need_root!();
    let c = Container::new(&["true"]);
    c.write_config();
    let plan = |args: &[&str]| c.croci(args).arg("--bundle").arg(&c.bundle).arg(&c.id).out().ok();
    let text = plan(&["plan"]).stdout;
    for step in ["cgroup", "namespace", "mount", "user", "program    \"true\""] {
        assert!(text.lines().any(|line| line.starts_with(step)), "{step}: {text}");
    }
    assert_eq!(plan(&["create", "--dry-run"]).stdout, text);
    let json = plan(&["plan", "--format", "json"]).json();
    assert_eq!(
        json["steps"].as_array().unwrap().len(),
        text.lines().filter(|line| !line.starts_with("warning")).count()
    );
    c.nothing_left();
}

/// Runs a container with a new profile, and again under it; returns the names of its calls.
fn recorded(args: &[&str], change: impl Fn(&mut Value)) -> Vec<String> {
    let c = Container::new(args).edit(&change);
    let file = c.sandbox.path("profile.json");
    let first = c.run_with(&["--record-seccomp", file.to_str().unwrap()]).out().ok();
    let profile: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let again = Container::within(&c.sandbox, args).edit(&change).edit(|config| {
        config["linux"]["seccomp"] = profile.clone();
    });
    for _ in 0..3 {
        assert_eq!(again.run().ok().stdout, first.stdout, "{profile}");
    }
    // another call is refused, and create and start need no more than run
    let refused = Container::within(&c.sandbox, &["sh", "-c", "mkdir /recorded"]).edit(&change).edit(|config| {
        config["linux"]["seccomp"] = profile.clone();
    });
    assert_ne!(refused.run().code, Some(0), "{profile}");
    assert!(!refused.file("/recorded").exists());
    let in_steps = again.up();
    in_steps.wait_status("stopped");
    in_steps.delete().ok();
    c.nothing_left();
    let names = profile["syscalls"][0]["names"].as_array().unwrap().clone();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_profile_is_recorded_and_fits() {
    need_root!();
    for no_new_privs in [true, false] {
        let change = |config: &mut Value| config["process"]["noNewPrivileges"] = json!(no_new_privs);
        let names = recorded(&["sh", "-c", "echo one; cat /etc/passwd | wc -l; uname"], change);
        assert!(names.iter().any(|name| name == "uname"), "{names:?}");
        assert!(names.len() < 90 && !names.iter().any(|name| name.starts_with("mkdir")), "{names:?}");
        // init's own calls after the filter
        assert_eq!(!no_new_privs, names.iter().any(|name| name == "capset"), "{names:?}");
    }
}

/// A dynamically linked program with threads; the busybox of the test above is static and has one.
#[test]
fn a_profile_of_a_program_with_threads_fits() {
    need_root!();
    if !std::path::Path::new("/usr/bin/python3").exists() {
        skip!("/usr/bin/python3 is not installed");
    }
    let with_host = |config: &mut Value| {
        for dir in ["/usr", "/lib", "/lib64"].map(std::path::Path::new).into_iter().filter(|dir| dir.exists()) {
            let source = std::fs::canonicalize(dir).unwrap();
            let mount = json!({"destination": dir, "source": source, "options": ["rbind", "ro"]});
            config["mounts"].as_array_mut().unwrap().push(mount);
        }
    };
    // each wait is a real one, so that every run makes the same calls
    let program = "import threading, time\nfor n in range(3):\n t = threading.Thread(target=lambda: time.sleep(0.05)); t.start(); t.join()\nprint('joined')";
    let names = recorded(&["/usr/bin/python3", "-B", "-I", "-S", "-c", program], with_host);
    assert!(
        names.iter().any(|name| name.starts_with("clone")) && names.iter().any(|name| name == "futex"),
        "{names:?}"
    );
}
