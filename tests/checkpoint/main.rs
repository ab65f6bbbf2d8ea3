//! `checkpoint` and `restore` with a real CRIU (callers' list 3.17; docs/reference/cli.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use test_support::pty::ConsoleSocket;
use test_support::*;

/// A script that counts in a file, and exits with status 7 when `/tmp/stop` exists.
const COUNTER: &str = "i=0; while [ ! -e /tmp/stop ]; do echo $i > /tmp/new; mv /tmp/new /tmp/count; i=$((i+1)); \
                       usleep 10000; done; echo last $i; exit 7";

/// Returns the path of a CRIU that works here, else the reason why none does: that of `$CRIU`, the installed one, or
/// one that `scripts/criu.sh` fetches.
fn criu() -> &'static Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let works = |path: &Path| match std::process::Command::new(path).arg("check").output() {
            Ok(out) if out.status.success() => Ok(path.to_owned()),
            Ok(out) => Err(format!("{} check: {}", path.display(), String::from_utf8_lossy(&out.stderr).trim())),
            Err(err) => Err(format!("{}: {err}", path.display())),
        };
        if let Some(given) = std::env::var_os("CRIU") {
            return works(Path::new(&given));
        }
        if let Ok(path) = works(Path::new("/usr/sbin/criu")) {
            return Ok(path);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/criu.sh");
        let out = std::process::Command::new(script).output().map_err(|err| err.to_string())?;
        if !out.status.success() {
            return Err(format!("scripts/criu.sh: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
        works(Path::new(String::from_utf8_lossy(&out.stdout).trim()))
    })
}

macro_rules! need_criu {
    () => {{
        need_root!();
        match criu() {
            Ok(path) => path.to_str().unwrap(),
            Err(reason) => skip!("no CRIU that works here: {reason}"),
        }
    }};
}

// after the macro, which it uses
mod mounts;

fn images(c: &Container) -> PathBuf {
    c.sandbox.path("images")
}

fn checkpoint(c: &Container, criu: &str, flags: &[&str]) -> Cmd {
    c.croci(["--criu", criu, "checkpoint", "--image-path"]).arg(images(c)).args(flags).arg(&c.id)
}

fn restore(c: &Container, criu: &str, flags: &[&str]) -> Cmd {
    c.croci(["--criu", criu, "restore", "--bundle"])
        .arg(&c.bundle)
        .arg("--image-path")
        .arg(images(c))
        .args(flags)
        .arg(&c.id)
}

fn count(c: &Container) -> u64 {
    c.wait_file("tmp/count").trim().parse().unwrap()
}

#[track_caller]
fn continues_from(c: &Container, from: u64) {
    wait_for("the counter continues", || count(c) > from);
}

#[track_caller]
fn is_gone(c: &Container) {
    for verb in ["state", "delete", "resume"] {
        c.verb(verb, &[]).out().fails().stderr_contains("does not exist");
    }
    c.nothing_left();
}

#[test]
fn a_counter_continues_where_it_was() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 3);
    checkpoint(&c, criu, &[]).out().ok().silent();
    is_gone(&c);
    let saved = count(&c);
    let pid_file = c.sandbox.path("pid");
    restore(&c, criu, &["--detach", "--pid-file", pid_file.to_str().unwrap()]).out().ok().silent();
    assert_eq!(std::fs::read_to_string(pid_file).unwrap(), c.pid().to_string(), "digits and nothing else");
    assert_eq!(c.status(), "running");
    continues_from(&c, saved);
    assert_eq!(c.exec(&["hostname"]).ok().text(), "testbox");
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume", &[]).out().ok();
    let pid = c.pid();
    std::fs::write(c.file("tmp/stop"), "").unwrap();
    assert_eq!(Container::reap(pid), 7, "the process belongs to the caller");
    c.delete().ok();
    c.nothing_left();
}

/// CRIU puts every restored container into a time namespace. A process of `exec` belongs there too: it sees init's clocks.
/// The container can be saved and restored again.
#[test]
fn a_process_of_exec_has_the_clocks_of_a_restored_init() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    restore(&c, criu, &["--detach"]).out().ok();
    let of_init = std::fs::read_link(format!("/proc/{}/ns/time", c.pid())).unwrap();
    let own = std::fs::read_link("/proc/self/ns/time").unwrap();
    assert_ne!(of_init, own, "CRIU made a time namespace");
    let seen = c.exec(&["readlink", "/proc/self/ns/time"]).ok();
    assert_eq!(Path::new(seen.text()), of_init);
    let saved = count(&c);
    checkpoint(&c, criu, &[]).out().ok();
    restore(&c, criu, &["--detach"]).out().ok();
    continues_from(&c, saved);
    c.exec(&["true"]).ok();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn left_running_it_runs_on_and_can_be_saved_again() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 0);
    let pid = c.pid();
    for _ in 0..2 {
        // Podman passes it twice
        checkpoint(&c, criu, &["--leave-running", "--leave-running"]).out().ok();
        assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
        continues_from(&c, count(&c));
    }
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_paused_container_can_be_saved() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 0);
    c.verb("pause", &[]).out().ok();
    checkpoint(&c, criu, &["--leave-running"]).out().ok();
    assert_eq!(c.status(), "paused");
    checkpoint(&c, criu, &[]).out().ok();
    is_gone(&c);
    let saved = count(&c);
    restore(&c, criu, &["-d"]).out().ok();
    continues_from(&c, saved);
}

#[test]
fn restored_in_the_foreground_its_streams_and_status_are_ours() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    let first = c.up_with_output();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    assert!(first.wait().code.is_some());
    let again = restore(&c, criu, &[]).spawn();
    c.wait_status("running");
    continues_from(&c, count(&c));
    std::fs::write(c.file("tmp/stop"), "").unwrap();
    let out = again.wait().exits(7);
    assert!(out.stdout.starts_with("last "), "{out:#?}");
    c.nothing_left();
}

#[test]
fn mounts_and_masks_are_as_before() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    let (dir, link) = (c.host_dir("shared"), c.file("link"));
    std::fs::create_dir(c.file("behind")).unwrap();
    host::symlink("/behind", link);
    let file = dir.join("marker");
    let c = c
        .mount(bundle::bind(&dir, "/data", &["ro"]))
        .mount(bundle::bind(&dir, "/link/deep", &[]))
        .mount(bundle::bind(&file, "/etc/one-file", &[]))
        .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] }))
        .up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    is_gone(&c);
    // as on another machine, where the mount points do not exist yet
    std::fs::remove_file(c.file("etc/one-file")).unwrap();
    std::fs::remove_dir(c.file("data")).unwrap();
    restore(&c, criu, &["--detach"]).out().ok();
    continues_from(&c, count(&c));
    let script = "cat /data/marker /behind/deep/marker /etc/one-file; touch /data/x 2>&1; wc -c </proc/keys; \
                  ls /sys/firmware | wc -l; ls /sys/fs/cgroup | wc -l";
    let out = c.exec(&["sh", "-c", script]).ok();
    let lines = out.lines();
    assert_eq!(lines.get(..3), Some(&["host-marker"; 3][..]), "{out:#?}");
    assert!(lines[3].contains("Read-only file system"), "{out:#?}");
    assert_eq!(lines.get(4..6), Some(&["0", "0"][..]), "{out:#?}");
    assert_ne!(lines[6], "0", "{out:#?}");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn in_a_user_namespace() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).edit(bundle::with_userns);
    std::fs::set_permissions(c.file("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    allow_other_users(&c);
    let c = c.up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    is_gone(&c);
    let saved = count(&c);
    restore(&c, criu, &["--detach"]).out().ok();
    continues_from(&c, saved);
    assert_eq!(host::status_field(c.pid(), "Uid").unwrap().split_whitespace().next(), Some("100000"));
    c.delete_force().ok();
    c.nothing_left();
}

/// Lets other users search the directories of the bundle.
fn allow_other_users(c: &Container) {
    for dir in [&c.sandbox.dir, &c.bundle, &c.rootfs] {
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_terminal_is_sent_to_the_console_socket_again() {
    let criu = need_criu!();
    let c = Container::sh("while read line; do echo got $line; done")
        .edit(|config| config["process"]["terminal"] = json!(true));
    let socket = ConsoleSocket::listen(&c.sandbox.mkdir("first"));
    c.create_with(&["--console-socket", &socket.flag()]).out().ok();
    let mut terminal = socket.receive();
    c.start().ok();
    terminal.write("one\r");
    terminal.expect("got one");
    checkpoint(&c, criu, &[]).out().ok();
    is_gone(&c);
    restore(&c, criu, &["--detach"]).out().fails().stderr_contains("--console-socket");
    c.nothing_left();
    let socket = ConsoleSocket::listen(&c.sandbox.mkdir("again"));
    restore(&c, criu, &["--detach", "--console-socket", &socket.flag()]).out().ok();
    let mut terminal = socket.receive();
    terminal.write("two\r");
    terminal.expect("got two");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn restore_logs_the_warnings_of_the_plan() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    let dir = c.host_dir("shared");
    let c = c.mount(bundle::bind(&dir, "/data", &["mode=755"]));
    let c = c.up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    let restore = c.croci(["--log-level", "warning", "--criu", criu, "restore", "--detach", "--bundle"]);
    let out = restore.arg(&c.bundle).arg("--image-path").arg(images(&c)).arg(&c.id).out().ok();
    out.stderr_contains("option \"mode=755\" has no effect on a bind mount");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn every_flag_reaches_criu() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 0);
    let work = c.sandbox.path("work");
    let common = [
        "--work-path",
        work.to_str().unwrap(),
        "--tcp-established",
        "--ext-unix-sk",
        "--shell-job",
        "--file-locks",
        "--manage-cgroups-mode",
        "ignore",
        "--network-lock",
        "skip",
        "--auto-dedup",
    ];
    checkpoint(&c, criu, &[&common[..], &["--link-remap", "--tcp-skip-in-flight"]].concat()).out().ok();
    assert!(work.join("dump.log").exists() && !images(&c).join("dump.log").exists());
    let saved = count(&c);
    restore(&c, criu, &[&common[..], &["--detach", "--no-pivot", "-no-subreaper"]].concat()).out().ok();
    assert!(work.join("restore.log").exists());
    continues_from(&c, saved);
}

#[test]
fn memory_can_be_saved_beforehand() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 0);
    let before = c.sandbox.path("before");
    let out = c.croci(["--criu", criu, "checkpoint", "--pre-dump", "--image-path"]).arg(&before).arg(&c.id).out();
    if out.code == Some(1) && out.stderr.contains("cannot track changed memory") {
        skip!("{}", out.stderr.trim());
    }
    out.ok();
    continues_from(&c, count(&c));
    checkpoint(&c, criu, &["--parent-path", "../missing"])
        .out()
        .fails()
        .stderr_contains("--parent-path \"../missing\"");
    assert_eq!(c.status(), "running");
    checkpoint(&c, criu, &["--parent-path", "../before"]).out().ok();
    is_gone(&c);
    let saved = count(&c);
    restore(&c, criu, &["--detach"]).out().ok();
    continues_from(&c, saved);
}

#[test]
fn a_joined_network_namespace_is_joined_again() {
    let criu = need_criu!();
    let owner = Container::running();
    let path = format!("/proc/{}/ns/net", owner.pid());
    let c = Container::sh(COUNTER).edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" {
                namespace["path"] = json!(path);
            }
        }
    });
    let c = c.up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    let saved = count(&c);
    restore(&c, criu, &["--detach"]).out().ok();
    continues_from(&c, saved);
    assert!(Container::same_ns(c.pid(), owner.pid(), "net"));
}

#[test]
fn hooks_of_creation_run_again() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    let seen = c.sandbox.path("seen");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\ncat >> {}\n", seen.display()));
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] })).up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    std::fs::remove_file(&seen).unwrap();
    restore(&c, criu, &["--detach"]).out().ok();
    let state: Value = serde_json::from_str(&std::fs::read_to_string(&seen).unwrap()).unwrap();
    assert_eq!((&state["id"], &state["status"], &state["pid"]), (&json!(c.id), &json!("creating"), &json!(c.pid())));
    c.delete_force().ok();
    // a hook that fails makes the restore fail and undoes it
    cmd::script(&hook, "#!/bin/sh\necho no way >&2\nexit 3\n");
    restore(&c, criu, &["--detach"])
        .out()
        .fails()
        .one_line()
        .stderr_contains("error running createRuntime hook #0")
        .stderr_contains("no way");
    is_gone(&c);
}

#[test]
fn a_refusal_of_criu_is_printed_in_its_own_words() {
    let criu = need_criu!();
    // discards the message of the refused nc, because CRIU compares the length of the file that is its standard error
    let talk = "mkfifo /tmp/f; exec 9<>/tmp/f; busybox nc -l -p 7 <&9 & \
                until busybox nc 127.0.0.1 7 <&9 2>/dev/null; do usleep 10000; done & sleep 1000";
    let c = Container::sh(talk).up();
    let connected = |c: &Container| {
        let read = |name| std::fs::read_to_string(format!("/proc/{}/net/{name}", c.pid())).unwrap();
        let table = read("tcp") + &read("tcp6");
        table.lines().filter(|line| line.split_whitespace().nth(3) == Some("01")).count() == 2
    };
    wait_for("a connection", || connected(&c));
    let out = checkpoint(&c, criu, &[])
        .out()
        .fails()
        .one_line()
        .stderr_contains("checkpoint: criu failed")
        .stderr_contains("Error (criu/");
    assert!(out.stderr.contains("--tcp-established") && out.stderr.contains("dump.log"), "{out:#?}");
    assert!(connected(&c) && c.status() == "running", "it runs on");
    checkpoint(&c, criu, &["--tcp-established", "--leave-running"]).out().ok();
    assert!(connected(&c), "and is still connected");
    checkpoint(&c, criu, &["--tcp-established"]).out().ok();
    restore(&c, criu, &["--tcp-established", "--detach"]).out().ok();
    assert!(connected(&c), "also after a restore");
    restore(&c, criu, &["--tcp-established", "--detach"]).out().fails().stderr_contains("already exists");
    c.delete_force().ok();
    // an image that CRIU cannot read
    std::fs::write(images(&c).join("inventory.img"), "x").unwrap();
    restore(&c, criu, &["--detach"]).out().fails().one_line().stderr_contains("Error (criu/");
    is_gone(&c);
    std::fs::remove_dir_all(images(&c)).unwrap();
    restore(&c, criu, &["--detach"])
        .out()
        .fails()
        .stderr_contains("--image-path")
        .stderr_contains("no such file or directory");
    is_gone(&c);
}

#[test]
fn k_1_after_a_killed_restore_delete_finds_everything() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER).up();
    continues_from(&c, 0);
    checkpoint(&c, criu, &[]).out().ok();
    // a killed restore may have let the program run, so that a file that it had open has another name by now
    while c.rootfs.join("tmp/new").exists() {
        restore(&c, criu, &["--detach"]).out().ok();
        checkpoint(&c, criu, &[]).out().ok();
    }
    for (signal, points) in [(libc::SIGKILL, 12), (libc::SIGTERM, 6)] {
        for point in 0..points {
            let run = restore(&c, criu, &["--detach"]).spawn();
            // the point of the interruption, not a wait for something
            std::thread::sleep(std::time::Duration::from_millis(5 + 240 * point / points));
            run.signal(signal);
            let out = run.wait();
            assert!(!out.stderr.contains("panicked"), "{out:#?}");
            if out.code == Some(128 + libc::SIGTERM) {
                c.verb("state", &[]).out().fails().stderr_contains("does not exist");
            }
            c.delete_force().ok();
            c.nothing_left();
        }
    }
    restore(&c, criu, &["--detach"]).out().ok();
    continues_from(&c, count(&c));
}

/// Returns the pid of the CRIU that this restore has started. It is found by its arguments, because its name is that of
/// the loader where one starts it.
fn criu_process(restore: i32) -> Option<i32> {
    let serves = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(5).any(|part| part == b"swrk\0"))
    };
    children(restore).into_iter().find(serves)
}

fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A CRIU that stops is killed while it traces, because a dead process that is traced keeps the init of its pid
/// namespace from ending.
#[test]
fn k_1_a_criu_that_stops_while_it_traces_is_ended_too() {
    let criu = need_criu!();
    let c = Container::sh("for i in $(seq 40); do sleep 1000 & done; echo 1 >/tmp/up; wait").up();
    c.wait_file("tmp/up");
    checkpoint(&c, criu, &[]).out().ok();
    let record = c.sandbox.path("state").join(&c.id).join("record.json");
    let traced = |pid: &i32| test_support::host::status_field(*pid, "TracerPid").is_some_and(|tracer| tracer != "0");
    let stopped_in_time = || {
        let mut run = restore(&c, criu, &["--detach"]).spawn();
        let committed = || std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"init\""));
        while !committed() && !run.ended() {}
        let worker = criu_process(run.pid());
        let init = c.pid();
        while worker.is_some_and(test_support::host::alive) && !children(init).iter().any(traced) {}
        if let Some(pid) = worker {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGSTOP);
        }
        let hit = children(init).iter().any(traced);
        run.signal(libc::SIGKILL);
        run.wait();
        c.delete_force().ok();
        c.nothing_left();
        assert!(!worker.is_some_and(test_support::host::alive), "criu is ended too");
        hit
    };
    assert!((0..20).any(|_| stopped_in_time()), "never while it traced the children");
}

#[test]
fn without_criu_the_package_is_named() {
    need_root!();
    let c = Container::running();
    let images = c.sandbox.path("images");
    let error = "checkpoint: criu is not installed (debian: package criu)";
    c.croci(["checkpoint", "--image-path"])
        .arg(&images)
        .arg(&c.id)
        .env("PATH", "/nowhere")
        .out()
        .fails()
        .stderr_contains(error);
    checkpoint(&c, "/nowhere/criu", &[])
        .out()
        .fails()
        .stderr_contains("--criu \"/nowhere/criu\": no such file or directory");
    checkpoint(&c, "/bin/false", &[]).out().fails().stderr_contains("criu ended: exit status 1");
    assert_eq!(c.status(), "running");
    std::fs::create_dir_all(&images).unwrap();
    let d = Container::within(&c.sandbox, &["true"]);
    d.write_config();
    restore(&d, "/bin/false", &["-d"]).out().fails().stderr_contains("restore: criu ended");
    d.verb("state", &[]).out().fails().stderr_contains("does not exist");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn only_a_running_container_is_saved() {
    need_root!();
    let c = Container::new(&["true"]);
    c.create().ok();
    let pid = c.pid();
    c.verb("checkpoint", &[]).out().fails().stderr_contains("container not running (it is created)");
    c.start().ok();
    Container::reap(pid);
    c.verb("checkpoint", &[]).out().fails().stderr_contains("container not running (it is stopped)");
    c.delete().ok();
    c.verb("checkpoint", &[]).out().fails().stderr_contains("does not exist");
}

#[test]
fn images_of_a_container_with_more_rights_are_not_restored() {
    let criu = need_criu!();
    type Edit = fn(&mut Value);
    let less: [(Edit, &str); 3] = [
        (|config| config["process"]["capabilities"] = json!({}), "process.capabilities"),
        (|config| config["linux"]["maskedPaths"].as_array_mut().unwrap().push(json!("/etc")), "linux.maskedPaths"),
        (|config| config["process"]["noNewPrivileges"] = json!(true), "process.noNewPrivileges"),
    ];
    for (edit, field) in less {
        // the program has no file open, because a process that is restored and then refused may change the files of the
        // images
        let c = Container::sh("touch /tmp/up; while true; do sleep 1; done");
        let c = c.edit(|config| config["process"]["noNewPrivileges"] = json!(false)).up();
        wait_for("the program runs", || c.file("/tmp/up").exists());
        std::fs::create_dir(images(&c)).unwrap();
        checkpoint(&c, criu, &[]).out().ok();
        c.delete_force().ok();
        let c = c.edit(edit);
        c.write_config();
        restore(&c, criu, &["--detach"]).out().fails().one_line().stderr_contains("self-check").stderr_contains(field);
        c.nothing_left();
        restore(&c, criu, &["--detach", "--no-verify"]).out().ok();
        c.wait_status("running");
        assert!(c.verb("state", &["--verify"]).out().exits(1).stdout.contains(field));
    }
}
