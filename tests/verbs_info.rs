//! The verbs that only print: `state`, `ps`, `list`, `features`, `spec`, version and help; and the global flags.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

const VERBS: &[&str] = &[
    "create", "start", "state", "kill", "delete", "run", "exec", "ps", "list", "pause", "resume", "update", "events",
    "spec", "features",
];

#[test]
fn ps_json_is_an_array_of_pids() {
    need_root!();
    let c = Container::sh("sleep 1000 & echo > /ready; wait").up();
    c.wait_file("/ready");
    for flags in [&["--format", "json"][..], &["-f", "json"], &["--format=json"]] {
        let pids = c.verb("ps", flags).out().ok().json();
        let pids: Vec<i32> = serde_json::from_value(pids).unwrap();
        assert_eq!(pids.len(), 2, "{pids:?}");
        assert!(pids.contains(&c.pid()));
        assert!(pids.iter().all(|pid| Container::same_ns(*pid, c.pid(), "pid")));
    }
    c.kill("KILL").ok();
    c.wait_status("stopped");
    let out = c.verb("ps", &["--format", "json"]).out();
    if out.code == Some(0) {
        assert!(out.json().is_null() || out.json() == json!([]), "{out:#?}");
    }
}

#[test]
fn ps_table_is_that_of_ps() {
    need_root!();
    if !std::process::Command::new("ps").arg("-ef").output().is_ok_and(|out| out.status.success()) {
        skip!("ps(1) is missing or does not work here");
    }
    let c = Container::running();
    let pid = c.pid().to_string();
    let out = c.verb("ps", &[]).out().ok();
    let lines = out.lines();
    assert!(lines[0].contains("PID") && lines[0].contains("CMD"), "{out:#?}");
    assert_eq!(lines.len(), 2, "{out:#?}");
    assert!(lines[1].contains(&pid) && lines[1].contains("sleep 1000"), "{out:#?}");
    let out = c.croci(["ps", &c.id, "-o", "pid,comm"]).out().ok();
    assert_eq!(out.lines()[1].split_whitespace().collect::<Vec<_>>(), [pid.as_str(), "sleep"]);
    c.verb("ps", &["--format", "yaml"]).out().fails();
}

#[test]
fn list_formats() {
    need_root!();
    let c = Container::running();
    let d = Container::within(&c.sandbox, &["sleep", "1000"]);
    d.create().ok();
    let table = c.croci(["list"]).out().ok();
    let head: Vec<_> = table.lines()[0].split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row = table.lines().into_iter().find(|line| line.starts_with(&c.id)).unwrap().to_owned();
    assert!(row.contains("running") && row.contains(&c.pid().to_string()) && row.contains(c.bundle.to_str().unwrap()));
    for flags in [&["--format", "json"][..], &["-f", "json"], &["--format=json"]] {
        let list = c.croci(["list"]).args(flags).out().ok().json();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 2);
        let entry = list.iter().find(|entry| entry["id"] == json!(d.id)).unwrap();
        assert_eq!((&entry["status"], &entry["pid"]), (&json!("created"), &json!(d.pid())));
        assert!(entry["bundle"].is_string() && entry["created"].is_string() && entry["owner"].is_string());
    }
    for flag in ["--quiet", "-q"] {
        let mut ids = c.croci(["list", flag]).out().ok().lines().iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        ids.sort();
        assert_eq!(ids, [c.id.clone(), d.id.clone()]);
    }
    if is_croci() {
        c.croci(["list", "--all"]).out().ok();
        c.croci(["list", "-a"]).out().ok();
    }
}

#[test]
fn list_of_nothing() {
    need_root!();
    let sandbox = Sandbox::new();
    std::fs::create_dir(&sandbox.root).unwrap();
    let json = sandbox.croci(["list", "--format", "json"]).out().ok().json();
    assert!(json.is_null() || json == json!([]), "{json}");
    assert_eq!(sandbox.croci(["list", "-q"]).out().ok().stdout, "");
    assert!(sandbox.croci(["list"]).out().ok().stdout.starts_with("ID"));
    assert!(!sandbox.root.exists() || sandbox::state_entries(&sandbox.root).is_empty());
}

#[test]
fn fe_2_features_is_pure_json() {
    if !is_croci() {
        skip!("runc 1.1 prints fewer features");
    }
    let sandbox = Sandbox::new();
    let out = sandbox.bare(["features"]).out().ok();
    assert_eq!(out.stderr, "");
    let features = out.json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let all = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for hook in all {
        assert!(features["hooks"].as_array().unwrap().contains(&json!(hook)), "{hook}");
    }
    let linux = &features["linux"];
    for (path, want) in [
        ("/namespaces", json!(["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"])),
        ("/cgroup/v1", json!(true)),
        ("/cgroup/v2", json!(true)),
        ("/seccomp/enabled", json!(true)),
        ("/mountExtensions/idmap/enabled", json!(true)),
        ("/netDevices/enabled", json!(true)),
        ("/intelRdt/enabled", json!(true)),
    ] {
        let mut have = linux.pointer(path).unwrap_or_else(|| panic!("linux{path} in {features:#}")).clone();
        if let Some(list) = have.as_array_mut() {
            list.sort_by_key(|item| item.as_str().unwrap().to_owned());
        }
        assert_eq!(have, want, "linux{path}");
    }
    for path in [
        "/capabilities",
        "/seccomp/actions",
        "/seccomp/operators",
        "/seccomp/archs",
        "/seccomp/knownFlags",
        "/seccomp/supportedFlags",
        "/memoryPolicy/modes",
        "/memoryPolicy/flags",
    ] {
        assert!(linux.pointer(path).is_some_and(|list| !list.as_array().unwrap().is_empty()), "linux{path}");
    }
    for option in ["ro", "rro", "rbind", "tmpcopyup", "idmap", "ridmap", "nosymfollow"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!(option)), "{option}");
    }
    assert!(features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap().contains(&json!("org.criu.config")));
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    need_root!();
    let c = Container::new(&["true"]);
    c.croci(["spec", "--bundle"]).arg(&c.bundle).out().ok();
    let file = c.bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["root"]["path"], "rootfs");
    let caps = &config["process"]["capabilities"];
    assert!(caps["inheritable"].is_null() || caps["inheritable"] == json!([]), "E1: {caps}");
    assert!(caps["ambient"].is_null() || caps["ambient"] == json!([]) || !is_croci(), "E1: {caps}");
    c.croci(["spec", "-b"]).arg(&c.bundle).out().fails().stderr_contains("exist");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "exit 12"]);
    config["root"]["readonly"] = json!(false);
    let mut c = c;
    c.config = config;
    c.run().exits(12);
    c.nothing_left();
}

#[test]
fn spec_rootless_and_file() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.mkdir("bundle");
    sandbox.bare(["spec", "--rootless"]).cwd(&bundle).out().ok();
    let text = std::fs::read(bundle.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&text).unwrap();
    let namespaces = config["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.iter().any(|ns| ns["type"] == "user"));
    assert!(config["linux"]["uidMappings"][0]["size"].as_u64().unwrap() > 0);
    if is_croci() {
        let file = sandbox.path("other.json");
        sandbox.bare(["spec", "--file"]).arg(&file).out().ok();
        assert!(file.exists());
        sandbox.bare(["spec", "-f"]).arg(&file).out().fails();
    }
}

#[test]
fn version_lines() {
    let sandbox = Sandbox::new();
    for flag in ["--version", "-v"] {
        let out = sandbox.bare([flag]).out().ok();
        let lines = out.lines();
        let name = if is_croci() { "croci" } else { "runc" };
        assert!(lines[0].starts_with(&format!("{name} version ")), "{out:#?}");
        assert!(out.stdout.contains("\ncommit: ") && out.stdout.contains("\nspec: 1."), "{out:#?}");
        assert!(!is_croci() || out.stdout.contains("\nspec: 1.3.0"), "{out:#?}");
        assert_eq!(out.stderr, "");
    }
}

#[test]
fn help_of_everything() {
    let sandbox = Sandbox::new();
    let spellings: &[&str] = if is_croci() { &["--help", "-h", "-?", "--usage"] } else { &["--help", "-h"] };
    for flag in spellings {
        let out = sandbox.bare([flag]).out().ok();
        assert!(VERBS.iter().all(|verb| out.stdout.contains(verb)), "{flag}: {out:#?}");
        assert_eq!(out.stderr, "");
    }
    for verb in VERBS.iter().chain(&["checkpoint", "restore"]) {
        let out = sandbox.bare([verb, "--help"]).out().ok();
        assert!(out.stdout.contains(verb) && out.stderr.is_empty(), "{out:#?}");
    }
    assert!(sandbox.bare(["update", "--help"]).out().ok().stdout.contains("--resources"));
}

#[test]
fn wrong_usage() {
    let sandbox = Sandbox::new();
    if !is_croci() {
        skip!("runc words usage errors in its own way");
    }
    sandbox.bare(["no-such-verb"]).out().fails().stderr_contains("no-such-verb");
    sandbox.bare(["--no-such-flag"]).out().fails().stderr_contains("no-such-flag");
    for verb in VERBS {
        let out = sandbox.bare([verb, "--no-such-flag"]).out().fails().stderr_contains("no-such-flag");
        assert_eq!(out.stdout, "", "nothing on standard output");
    }
    for (verb, flag) in [
        ("create", "--bundle"),
        ("create", "--pid-file"),
        ("exec", "--process"),
        ("update", "--memory"),
        ("restore", "--lsm-mount-context"),
        ("run", "--preserve-fds"),
        ("list", "--format"),
        ("kill", "--root"),
    ] {
        let args = if flag == "--root" { vec![flag] } else { vec![verb, flag] };
        sandbox.bare(args).out().fails().stderr_contains("requires an argument");
    }
    for verb in
        ["create", "start", "state", "kill", "delete", "run", "exec", "ps", "pause", "resume", "update", "events"]
    {
        sandbox.croci([verb]).out().fails();
        sandbox.croci([verb, ""]).out().fails();
    }
    for args in [["create", "--preserve-fds", "-1", "x"], ["create", "--preserve-fds", "x", "x"]] {
        sandbox.croci(args).out().fails();
    }
    sandbox.bare([] as [&str; 0]).out().no_panic();
}

#[test]
fn log_file_gets_one_json_line() {
    need_root!();
    let c = Container::new(&["/missing/program"]);
    let log = c.sandbox.path("log.json");
    c.write_config();
    let flags = ["--log", log.to_str().unwrap(), "--log-format", "json", "create", "--bundle"];
    c.croci(flags).arg(&c.bundle).arg(&c.id).out().fails().stderr_contains("no such file or directory");
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "podman wants exactly one object: {text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("/missing/program"));
    let time = line["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T' && (time.ends_with('Z') || time.contains('+')), "{time}");
    // the log is appended to, not replaced
    c.croci(flags).arg(&c.bundle).arg(&c.id).out().fails();
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 2);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&log).unwrap().permissions().mode() & 0o777;
    assert!(!is_croci() || mode == 0o644, "mode {mode:o}");
}

#[test]
fn log_formats_and_levels() {
    need_root!();
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    let file = log.to_str().unwrap();
    sandbox.croci(["--log", file, "--log-format=text", "state", "missing"]).out().fails();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("does not exist") && !text.starts_with('{'), "{text}");
    sandbox.croci(["--log-format", "xml", "list"]).out().fails();
    if is_croci() {
        let target = sandbox.path("log2");
        sandbox.croci(["--log", &format!("file:{}", target.display()), "state", "missing"]).out().fails();
        assert!(std::fs::read_to_string(target).unwrap().contains("does not exist"));
        std::fs::create_dir(&sandbox.root).unwrap();
        for level in ["error", "warning", "info", "debug"] {
            sandbox.croci(["--log-level", level, "list"]).out().ok();
        }
        sandbox.croci(["--log-level", "shout", "list"]).out().fails();
    }
    let c = Container::new(&["true"]);
    let debug = c.sandbox.path("debug");
    c.write_config();
    let flags = ["--debug", "--log", debug.to_str().unwrap(), "run", "--bundle"];
    c.croci(flags).arg(&c.bundle).arg(&c.id).out().ok();
    assert!(std::fs::metadata(debug).unwrap().len() > 0, "--debug writes");
    let quiet = c.sandbox.path("quiet");
    c.croci(["--log", quiet.to_str().unwrap(), "run", "-b"]).arg(&c.bundle).arg(&c.id).out().ok();
    assert_eq!(std::fs::read_to_string(quiet).unwrap_or_default(), "", "no warnings at the default level");
}

#[test]
fn a_missing_root_is_created() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    let deep = c.sandbox.path("a/b/c");
    let run = |args: &[&str]| c.sandbox.bare(["--root"]).arg(&deep).args(args).out();
    run(&["create", "--bundle", c.bundle.to_str().unwrap(), &c.id]).ok();
    run(&["delete", "--force", &c.id]).ok();
    c.nothing_left();
}

#[test]
fn cgroup_manager_flag() {
    need_root!();
    if !is_croci() {
        skip!("a flag of crun");
    }
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    c.croci(["--cgroup-manager", "disabled", "create", "-b"]).arg(&c.bundle).arg(&c.id).out().ok();
    assert!(cgroup::dirs_with(&c.id).is_empty(), "no cgroup is created");
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap(),
        std::fs::read_to_string("/proc/self/cgroup").unwrap()
    );
    c.start().ok(); // callers pass later verbs without the flag
    c.exec(&["true"]).ok();
    c.kill("KILL").ok();
    c.delete_force().ok();
    c.nothing_left();
    let d = Container::new(&["true"]);
    d.write_config();
    d.croci(["--cgroup-manager=cgroupfs", "run", "-b"]).arg(&d.bundle).arg(&d.id).out().ok();
    d.croci(["--cgroup-manager=other", "run", "-b"]).arg(&d.bundle).arg(&d.id).out().fails();
}

#[test]
fn flags_that_are_accepted() {
    need_root!();
    let c = Container::new(&["true"]);
    c.write_config();
    for flags in [&["--rootless", "auto"][..], &["--rootless=false"], &["--criu", "/usr/sbin/criu"]] {
        c.croci(flags).args(["run", "--bundle"]).arg(&c.bundle).arg(&c.id).out().ok();
    }
    c.croci(["--rootless=perhaps", "list"]).out().fails();
}

#[test]
fn podman_calls_without_path_home_and_with_an_empty_runtime_dir() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    let bare = |args: &[&str]| {
        let mut cmd = c.croci(args);
        cmd.command.env_remove("PATH").env_remove("HOME").env("XDG_RUNTIME_DIR", "");
        cmd.out()
    };
    bare(&["create", "--bundle", c.bundle.to_str().unwrap(), &c.id]).ok();
    bare(&["start", &c.id]).ok();
    bare(&["state", &c.id]).ok();
    bare(&["pause", &c.id]).ok();
    bare(&["resume", &c.id]).ok();
    bare(&["kill", &c.id, "9"]).ok();
    bare(&["delete", "--force", &c.id]).ok();
    c.nothing_left();
}

#[test]
fn state_needs_no_stderr() {
    need_root!();
    let sandbox = Sandbox::new();
    // podman 4 closes the reading end: writing the error fails with EPIPE, which must not become a signal or a panic
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut cmd = sandbox.croci(["state", "missing"]).command;
    let status = cmd.stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
    assert!(!is_croci() || status.code() == Some(1), "{status:?}");
}

#[test]
fn list_of_a_named_root_that_does_not_exist_is_an_error() {
    need_root!();
    let sandbox = Sandbox::new();
    let list = |root: &str| sandbox.program(runtime()).arg("--root").arg(sandbox.path(root)).args(["list", "-q"]).out();
    list("missing").fails().one_line().stderr_contains("no such file or directory");
    sandbox.mkdir("empty");
    assert_eq!(list("empty").ok().stdout, "");
}

/// Scripts compare lines.
#[test]
fn json_has_its_keys_in_the_order_of_runc() {
    need_root!();
    let c = Container::running();
    let order = |text: &str, keys: &[&str]| {
        let found: Vec<_> = keys
            .iter()
            .map(|key| text.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key}: {text}")))
            .collect();
        assert!(found.is_sorted(), "{keys:?}: {text}");
    };
    let keys = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"];
    order(&c.verb("state", &[]).out().ok().stdout, &keys);
    order(&c.croci(["list", "--format", "json"]).out().ok().stdout, &keys);
    order(&c.verb("events", &["--stats"]).out().ok().stdout, &["type", "id", "data"]);
}
