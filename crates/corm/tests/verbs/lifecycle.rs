//! `create`, `start -a -i`, `restart`, `rename`, `pause`, `unpause`, and verbs on all containers.

use std::path::Path;

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::{host, need_root, wait_for};

/// Creates a container and returns its ID.
#[track_caller]
fn created(fixture: &CormFixture, flags: &[&str], command: &[&str]) -> String {
    let mark = format!("CROCI_TEST={}", fixture.sandbox.token);
    let out = fixture.corm(["create", "-e", &mark]).args(flags).arg("base").args(command).out().ok();
    out.text().to_owned()
}

#[test]
fn a_created_container_runs_when_it_is_started() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let id = created(fixture, &["--name", "c", "-v", "/data"], &["sh", "-c", "echo ran >> /f; sleep 1000"]);
        assert!(id.len() == 64 && fixture.status("c") == "created", "{id}");
        assert_eq!(host::mounts_below(&fixture.root().join("containers")), Vec::<String>::new());
        fixture.corm(["exec", "c", "true"]).out().exits(125).stderr_contains("is not running");
        // it never ran and is kept all the same
        fixture.corm(["system", "prune"]).out().ok();
        assert_eq!(fixture.corm(["start", "c"]).out().ok().text(), "c");
        assert_eq!(fixture.status("c"), "running");
        wait_for("the program", || fixture.corm(["exec", "c", "cat", "/f"]).out().stdout == "ran\n");
        fixture.corm(["stop", "-t", "0", "c"]).out().ok();
        fixture.corm(["start", "c"]).out().ok();
        wait_for("the second run", || fixture.corm(["exec", "c", "cat", "/f"]).out().stdout == "ran\nran\n");
        fixture.corm(["rm", "-f", "-v", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn what_ended_a_container_is_shown() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let state = |name: &str| {
            let all: serde_json::Value =
                serde_json::from_str(&fixture.corm(["inspect", name]).out().ok().stdout).unwrap();
            all[0]["State"].clone()
        };
        let line = || fixture.corm(["ps", "-a", "--format", "{{.Status}}"]).out().ok().stdout;
        // not started: its program is missing
        created(fixture, &["--name", "missing"], &["no-such-program"]);
        fixture.corm(["start", "missing"]).out().fails();
        let seen = state("missing");
        assert!(seen["Error"].as_str().unwrap().contains("\"no-such-program\": executable file not found"), "{seen}");
        assert!(seen["Error"].as_str().unwrap().ends_with("[exec.not_found]"), "{seen}");
        assert_eq!((&seen["Status"], &seen["ExitCode"]), (&"created".into(), &127.into()), "{seen}");
        fixture.corm(["rm", "missing"]).out().ok();
        // the program is the first of the host's pid namespace, which a signal of its own kills
        for (name, flags, script, reason) in [
            ("segv", &["--pid=host"][..], "kill -SEGV $$", "killed by SIGSEGV"),
            ("oom", &["-m", "20m"], "x=a; while :; do x=$x$x; done", "out of memory"),
        ] {
            let all = [&["--name", name], flags].concat();
            let out = fixture.run(&all, "base", &["sh", "-c", script]).out();
            assert!(out.code > Some(128), "{out:?}");
            let seen = state(name);
            assert_eq!((&seen["ExitReason"], &seen["Error"]), (&reason.into(), &"".into()), "{seen}");
            assert!(line().contains(&format!(" ({reason})")), "{}", line());
            fixture.corm(["rm", name]).out().ok();
        }
        fixture.run(&["--name", "seven"], "base", &["sh", "-c", "exit 7"]).out().exits(7);
        assert_eq!(state("seven")["ExitReason"], "");
        assert!(line().starts_with("Exited (7) ") && line().trim().ends_with("ago"), "{}", line());
        fixture.corm(["rm", "seven"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn create_refuses_what_run_refuses_and_leaves_nothing() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        created(fixture, &["--name", "c"], &["true"]);
        for args in [
            &["--name", "c", "base", "true"][..],
            &["--pull", "never", "no-image"],
            &["-v", "/nowhere:/x", "base"],
            &["--network", "nope", "base"],
            &["-d", "base"],
            &[],
        ] {
            fixture.corm(["create"]).args(args).out().exits(125).no_panic();
        }
        let file = fixture.sandbox.path("id");
        let id = fixture.corm(["create", "--cidfile"]).arg(&file).args(["base", "true"]).out().ok().text().to_owned();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
        fixture.corm(["create", "--cidfile"]).arg(&file).args(["base", "true"]).out().exits(125);
        fixture.corm(["rm", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn start_attached_is_the_program_with_its_input_output_and_status() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        created(fixture, &["--name", "c", "-i"], &["sh", "-c", "echo out; echo err >&2; cat; exit 7"]);
        for _ in 0..2 {
            let out = fixture.corm(["start", "-a", "-i", "c"]).stdin("input").out().exits(7);
            assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\ninput", "err\n"));
        }
        created(fixture, &["--name", "deaf"], &["cat"]);
        assert_eq!(fixture.corm(["start", "-ai", "deaf"]).stdin("input").out().ok().stdout, "");
        created(fixture, &["--name", "no"], &["/no/such/program"]);
        fixture.corm(["start", "-a", "no"]).out().exits(127);
        assert!(fixture.shown("no")["Pid"] == 0);
        fixture.corm(["start", "no"]).out().fails();
        fixture.corm(["start", "-a", "c", "no"]).out().fails().stderr_contains("multiple containers");
        fixture.corm(["start", "nope"]).out().fails().stderr_contains("No container named 'nope' exists");
        fixture.corm(["rm", "c", "deaf", "no"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn restart_is_another_process_in_the_same_tree() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let _ = fixture.detached(&["--name", "c"], "base", &["sh", "-c", "echo x >> /f; sleep 1000"]);
        let first = fixture.pid("c");
        wait_for("the program", || fixture.corm(["exec", "c", "cat", "/f"]).out().stdout == "x\n");
        assert_eq!(fixture.corm(["restart", "-t", "0", "c"]).out().ok().text(), "c");
        assert_ne!(fixture.pid("c"), first);
        assert!(!Path::new(&format!("/proc/{first}")).exists());
        wait_for("the second run", || fixture.corm(["exec", "c", "cat", "/f"]).out().stdout == "x\nx\n");
        // one that does not run is started, unless only running ones are meant
        fixture.corm(["stop", "-t", "0", "c"]).out().ok();
        fixture.corm(["restart", "--running", "c"]).out().ok().silent();
        assert_eq!(fixture.status("c"), "exited");
        fixture.corm(["restart", "-a"]).out().ok();
        assert_eq!(fixture.status("c"), "running");
        fixture.detached(&["--rm", "--name", "once"], "base", &["sleep", "1000"]);
        fixture.corm(["restart", "once"]).out().fails().stderr_contains("is removed when it exits");
        assert_eq!(fixture.status("once"), "running");
        fixture.corm(["restart", "nope"]).out().fails().stderr_contains("No container named");
        fixture.corm(["restart"]).out().fails().stderr_contains("at least one name");
        fixture.corm(["rm", "-f", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_container_has_one_name_at_a_time() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let id = fixture.detached(&["--name", "old"], "base", &["sleep", "1000"]);
        created(fixture, &["--name", "other"], &["true"]);
        fixture.corm(["rename", "old", "new"]).out().ok().silent();
        assert_eq!(fixture.corm(["exec", "new", "echo", "here"]).out().ok().text(), "here");
        fixture.corm(["exec", "old", "true"]).out().exits(125);
        fixture.corm(["rename", &id[..12], "new"]).out().ok();
        fixture.corm(["rename", "new", "other"]).out().fails().stderr_contains("exists already");
        for bad in ["", "a/b", "-x", "ä"] {
            fixture.corm(["rename", "--", "new", bad]).out().fails();
        }
        fixture.corm(["rename", "nope", "x"]).out().fails().stderr_contains("No container named");
        fixture.corm(["rename", "other", "old"]).out().ok();
        let mut names: Vec<String> = fixture
            .json(&["ps", "-a", "--format", "json"])
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["Names"][0].to_string())
            .collect();
        names.sort();
        assert_eq!(names, ["\"new\"", "\"old\""]);
        fixture.corm(["rm", "-f", "new", "old"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_paused_container_does_nothing_until_it_is_resumed() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let id =
            fixture.detached(&["--name", "c"], "base", &["sh", "-c", "while :; do echo x >> /f; sleep 0.02; done"]);
        let size = || {
            let pid = fixture.pid("c");
            std::fs::metadata(format!("/proc/{pid}/root/f")).map_or(0, |meta| meta.len())
        };
        wait_for("the program", || size() > 4);
        assert_eq!(fixture.corm(["pause", "c"]).out().ok().text(), "c");
        assert_eq!(fixture.status("c"), "paused");
        let before = size();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(size(), before);
        fixture.corm(["pause", "c"]).out().fails().stderr_contains("is not running, can't pause");
        fixture.corm(["exec", "c", "true"]).out().exits(125).stderr_contains("corm unpause c");
        assert_eq!(fixture.corm(["unpause", "-a"]).out().ok().text(), id);
        wait_for("it runs again", || size() > before);
        fixture.corm(["unpause", "c"]).out().fails().stderr_contains("is not paused, can't unpause");
        created(fixture, &["--name", "new"], &["true"]);
        fixture.corm(["pause", "new"]).out().fails().stderr_contains("\"created\" is not running");
        fixture.corm(["pause", "nope"]).out().fails().stderr_contains("No container named");
        assert_eq!(fixture.corm(["pause", "--all"]).out().ok().text(), id);
        fixture.corm(["rm", "-f", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn all_means_those_that_the_verb_fits() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for name in ["a", "b"] {
            fixture.detached(&["--name", name], "base", &["sleep", "1000"]);
        }
        created(fixture, &["--name", "c"], &["sleep", "1000"]);
        fixture.corm(["kill", "-a"]).out().ok();
        wait_for("both ended", || fixture.status("a") == "exited" && fixture.status("b") == "exited");
        assert_eq!(fixture.status("c"), "created");
        assert_eq!(fixture.corm(["start", "--all"]).out().ok().lines().len(), 3);
        fixture.corm(["stop", "-t", "0", "-a"]).out().ok();
        for name in ["a", "b", "c"] {
            assert_eq!(fixture.status(name), "exited", "{name}");
        }
        fixture.corm(["stop", "-i", "nope", "a"]).out().ok();
        fixture.corm(["stop", "nope"]).out().fails();
        fixture.corm(["rm", "-a", "x"]).out().fails().stderr_contains("exclude each other");
        fixture.corm(["rm", "-t", "1", "a"]).out().fails().stderr_contains("--force");
        fixture.corm(["start", "a"]).out().ok();
        // the running one is an error, the others are removed
        fixture.corm(["rm", "-a"]).out().fails().stderr_contains("is running");
        assert_eq!(fixture.corm(["ps", "-aq"]).out().ok().lines().len(), 1);
        fixture.corm(["rm", "-f", "-t", "0", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn prune_asks_and_keeps_what_runs() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let running = fixture.detached(&[], "base", &["sleep", "1000"]);
        let stopped = created(fixture, &[], &["true"]);
        for answer in ["n\n", "\n", ""] {
            let out = fixture.corm(["container", "prune"]).stdin(answer).out().ok();
            assert!(out.stdout.ends_with("[y/N] ") && fixture.shown(&stopped)["State"] == "created", "{out:?}");
        }
        let out = fixture.corm(["container", "prune"]).stdin("y\n").out().ok();
        assert!(out.stdout.ends_with(&format!("[y/N] {stopped}\n")), "{out:?}");
        assert!(fixture.corm(["container", "prune", "-f"]).out().ok().stdout.is_empty());
        assert_eq!(fixture.shown(&running)["State"], "running");
        // an image with a container is kept, another one is not
        fixture.image("unused");
        fixture.corm(["tag", "base", "kept"]).out().ok();
        fixture.corm(["config", "--cmd", "x", "base", "other"]).out().ok();
        let removed = fixture.corm(["image", "prune", "-a", "-f"]).out().ok();
        assert!(!removed.stdout.is_empty(), "{removed:?}");
        fixture.corm(["image", "exists", "base"]).out().ok();
        fixture.corm(["image", "exists", "other"]).out().exits(1).silent();
        fixture.corm(["rmi", "-a"]).out().fails().stderr_contains("is in use");
        fixture.corm(["rmi", "-a", "-f"]).out().ok();
        assert!(fixture.json(&["images", "--format", "json"]).as_array().unwrap().is_empty());
        fixture.no_container_left();
    });
}

#[test]
fn the_latest_container_needs_no_name() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.corm(["logs", "-l"]).out().fails().stderr_contains("No container exists");
        fixture.detached(&["--name", "old"], "base", &["sleep", "1000"]);
        let script = "echo started; exec sleep 1000";
        let id = fixture.detached(&["--name", "new"], "base", &["sh", "-c", script]);
        wait_for("its output", || fixture.corm(["logs", "-l"]).out().ok().stdout == "started\n");
        assert_eq!(fixture.corm(["inspect", "-l", "-f", "{{.Name}}"]).out().ok().text(), "new");
        assert_eq!(fixture.corm(["exec", "-l", "sh", "-c", "hostname"]).out().ok().text(), &id[..12]);
        assert!(fixture.corm(["top", "--latest"]).out().ok().stdout.contains("sleep 1000"));
        fixture.corm(["diff", "-l"]).out().ok();
        assert_eq!(fixture.corm(["stop", "-t", "0", "-l"]).out().ok().text(), id);
        assert_eq!((fixture.status("new"), fixture.status("old")), ("exited".to_owned(), "running".to_owned()));
        assert_eq!(fixture.corm(["stop", "-t", "0", "old"]).out().ok().text(), "old");
        fixture.corm(["rm", "-l"]).out().ok();
        fixture.corm(["rm", "-l"]).out().ok();
        fixture.corm(["rm", "missing"]).out().fails();
        fixture.corm(["rm", "-f", "missing"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn documents_about_corm_have_templates() {
    need_root!();
    over_one(|fixture| {
        let print = |verb: &str, format: &str| fixture.corm([verb, "--format", format]).out().ok().text().to_owned();
        assert_eq!(print("info", "{{.Host.OS}} {{.host.os}}"), "linux linux");
        assert_eq!(print("info", "{{.Store.GraphRoot}}"), fixture.root().display().to_string());
        assert_eq!(print("version", "{{.Client.Os}}"), "linux");
        fixture.corm(["info", "--format", "{{.None}}"]).out().fails().stderr_contains("--format");
        fixture.image("base");
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        let stats = fixture.corm(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDS}}", "c"]).out().ok();
        assert_eq!(stats.text(), "c 1");
        let out = fixture.corm(["rm", "-f", "c"]).out().ok();
        assert!(out.stdout.contains("Removed"), "{out:?}");
        // a name of Podman's own form
        fixture.corm(["tag", "base", "localhost/other:1"]).out().ok();
        fixture.run(&["--rm"], "other:1", &["true"]).out().ok();
        fixture.run(&["--rm"], "localhost/base", &["true"]).out().ok();
        let removed = fixture.corm(["rmi", "other:1"]).out().ok();
        assert_eq!(removed.text(), "Untagged: localhost/other:1");
        fixture.no_container_left();
    });
}

#[test]
fn a_stop_sends_the_signal_of_its_flag() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script =
            "trap 'exit 7' USR1; trap 'exit 8' HUP; trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
        let ready = |count: usize| {
            wait_for("the program", || fixture.corm(["logs", "c"]).out().stdout.matches("ready").count() == count);
        };
        fixture.detached(&["--name", "c"], "base", &["sh", "-c", script]);
        ready(1);
        for signal in ["NOPE", "0", "99"] {
            fixture.corm(["stop", "--signal", signal, "c"]).out().fails().stderr_contains("signal");
        }
        assert_eq!(fixture.status("c"), "running");
        fixture.corm(["stop", "-s", "HUP", "c"]).out().ok();
        assert_eq!(fixture.shown("c")["ExitCode"], 8);
        fixture.corm(["start", "c"]).out().ok();
        ready(2);
        fixture.corm(["restart", "--signal", "SIGUSR1", "c"]).out().ok();
        ready(3);
        // the last run's status, before the container's own signal ends this one
        fixture.corm(["stop", "c"]).out().ok();
        assert_eq!(fixture.shown("c")["ExitCode"], 9);
        fixture.corm(["rm", "c"]).out().ok();
        // a signal that the program does not take, and no SIGKILL before the time
        fixture.detached(
            &["--name", "c"],
            "base",
            &["sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"],
        );
        ready(1);
        fixture.corm(["restart", "-t", "1000", "-s", "USR1", "c"]).out().ok();
        ready(2);
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}
