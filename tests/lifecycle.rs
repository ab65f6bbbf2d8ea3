//! The life of a container: every verb in every state (fault tests K8, K9), identity, and what is left afterwards.
//! Flags of single verbs are in `verbs_*.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

#[test]
fn k8_a_missing_id_is_an_error_for_every_verb() {
    need_root!();
    let sandbox = Sandbox::new();
    let id = sandbox.id();
    let table: &[&[&str]] = &[
        &["start", &id],
        &["state", &id],
        &["kill", &id, "TERM"],
        &["delete", &id],
        &["pause", &id],
        &["resume", &id],
        &["ps", &id],
        &["exec", &id, "true"],
        &["update", "--memory", "64m", &id],
        &["events", "--stats", &id],
    ];
    for args in table {
        sandbox.croci(*args).out().fails().one_line().stderr_contains("does not exist");
    }
    sandbox.croci(["delete", "--force", &id]).out().ok().silent();
    assert!(test_support::sandbox::state_entries(&sandbox.root).is_empty());
}

#[test]
fn k8_created() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    assert_eq!(c.status(), "created");
    let pid = c.pid();
    assert!(host::alive(pid));
    c.create().fails().stderr_contains("exist");
    assert_eq!(c.pid(), pid, "the loser leaves the winner alone");
    c.delete().fails().one_line().stderr_contains("created");
    // as runc: the program waits, another process may run before it
    c.exec(&["true"]).ok();
    c.verb("resume", &[]).out().fails();
    assert_eq!(c.status(), "created");
    c.start().ok();
    assert_eq!(c.pid(), pid);
}

#[test]
fn k8_running() {
    need_root!();
    // busybox' sleep as pid 1 has no handler for TERM, so the kernel discards the signal
    let c = Container::running();
    assert_eq!(c.status(), "running");
    c.start().fails().one_line();
    c.delete().fails().one_line().stderr_contains("running");
    c.create().fails().stderr_contains("exist");
    c.verb("resume", &[]).out().fails();
    c.kill("TERM").ok();
    c.exec(&["true"]).ok();
    assert_eq!(c.status(), "running", "an ignored signal changes nothing");
}

#[test]
fn k8_stopped() {
    need_root!();
    let c = Container::running();
    let pid = c.pid();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    let state = c.state();
    assert!(state.get("pid").is_none_or(|pid| pid == 0), "{state}");
    c.kill("KILL").fails().one_line().stderr_contains("container not running");
    c.start().fails().one_line();
    c.exec(&["true"]).fails().one_line();
    c.verb("pause", &[]).out().fails().one_line();
    c.verb("resume", &[]).out().fails().one_line();
    c.delete().ok();
    c.delete().fails().stderr_contains("does not exist");
    assert_eq!(Container::reap(pid), 137);
    c.nothing_left();
}

#[test]
fn k9_a_changed_config_has_no_effect_after_create() {
    need_root!();
    let c = Container::sh("echo first > /ran; exec sleep 1000");
    let post = c.sandbox.path("post");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\necho first > {}\n", post.display()));
    let mut c = c.edit(|config| config["hooks"] = json!({ "poststop": [{ "path": hook }] }));
    c.create().ok();
    c.config["process"]["args"] = json!(["sh", "-c", "echo second > /ran; exec sleep 1000"]);
    c.config["process"]["env"] = json!(["PATH=/bin", "SECOND=1", format!("CROCI_TEST={}", c.sandbox.token)]);
    c.config["hooks"] = json!({});
    c.write_config();
    c.start().ok();
    assert_eq!(c.wait_file("/ran"), "first\n");
    assert!(!c.exec(&["env"]).ok().stdout.contains("SECOND"));
    std::fs::remove_file(c.bundle.join("config.json")).unwrap();
    c.exec(&["true"]).ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(std::fs::read_to_string(post).unwrap(), "first\n");
}

#[test]
fn de_4_an_id_can_be_used_again_at_once() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    for _ in 0..5 {
        c.create().ok();
        c.start().ok();
        c.delete_force().ok();
        c.nothing_left();
    }
}

#[test]
fn delete_force_works_in_every_state() {
    need_root!();
    for state in ["created", "running", "paused", "stopped"] {
        let c = Container::new(&["sleep", "1000"]);
        c.create().ok();
        if state != "created" {
            c.start().ok();
        }
        if state == "paused" {
            c.verb("pause", &[]).out().ok();
        }
        if state == "stopped" {
            c.kill("KILL").ok();
            c.wait_status("stopped");
        }
        assert_eq!(c.status(), state);
        c.delete_force().ok();
        c.nothing_left();
    }
}

#[test]
fn lc_the_program_does_not_run_before_start() {
    need_root!();
    let c = Container::sh("echo ran > /ran; exec sleep 1000");
    c.create().ok();
    assert!(!c.file("/ran").exists());
    c.start().ok();
    c.wait_file("/ran");
}

#[test]
fn st_1_state_has_what_callers_read() {
    need_root!();
    let c = Container::new(&["sleep", "1000"])
        .edit(|config| config["annotations"] = json!({ "com.example.key": "value", "empty": "" }));
    c.create().ok();
    let state = c.state();
    assert_eq!(state["id"], json!(c.id));
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], json!(c.bundle));
    assert_eq!(state["rootfs"], json!(c.rootfs));
    assert_eq!(state["annotations"], json!({ "com.example.key": "value", "empty": "" }));
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
    assert!(state["pid"].as_i64().unwrap() > 1);
    let created = state["created"].as_str().unwrap();
    assert!(is_rfc3339(created), "created {created:?}");
    assert!(state["owner"].is_string());
}

fn is_rfc3339(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00T00:00:00") && (shape.ends_with('Z') || shape.ends_with("00:00"))
}

#[test]
fn st_1_the_bundle_is_absolute_also_when_given_relative() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    c.croci(["create", &c.id]).cwd(&c.bundle).out().ok();
    assert_eq!(c.state()["bundle"], json!(c.bundle));
    let d = Container::new(&["sleep", "1000"]);
    d.write_config();
    let name = d.bundle.file_name().unwrap();
    d.croci(["create", "-b"]).arg(name).arg(&d.id).cwd(&d.sandbox.dir).out().ok();
    assert_eq!(d.state()["bundle"], json!(d.bundle));
}

#[test]
fn st_2_an_init_that_ended_before_start_is_stopped() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    let pid = c.pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    c.wait_status("stopped");
    c.start().fails().one_line(); // FT-12: does not wait for a reader of the fifo
    c.delete().ok();
    c.nothing_left();
}

#[test]
fn cr_5_create_needs_no_process_and_start_refuses() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        config.as_object_mut().unwrap().remove("process");
    });
    c.create().ok();
    assert_eq!(c.status(), "created");
    c.start().fails().stderr_contains("process");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn cr_5_create_needs_no_linux_section() {
    need_root!();
    // without a mount namespace nothing may be mounted; the pid and network namespaces are the host's
    let c = Container::new(&["true"]).edit(|config| {
        let top = config.as_object_mut().unwrap();
        top.remove("linux");
        top.remove("mounts");
        top.remove("hostname");
    });
    let out = c.create();
    if out.code == Some(0) {
        c.delete_force().ok();
    }
    assert_eq!(out.code, Some(0), "{out:#?}");
    // the default cgroup path contains the ID, by which the check finds it
    c.nothing_left();
}

#[test]
fn cl_6_pid_file_has_digits_only() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let file = c.sandbox.path("init.pid");
    c.create_with(&["--pid-file", file.to_str().unwrap()]).out().ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), c.pid().to_string());
    // an existing file is replaced, not overwritten, because a reader may have it open
    let again = Container::new(&["sleep", "1000"]);
    let old = std::fs::metadata(&file).unwrap();
    again.create_with(&["--pid-file", file.to_str().unwrap()]).out().ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), again.pid().to_string());
    use std::os::unix::fs::MetadataExt as _;
    assert_ne!(std::fs::metadata(&file).unwrap().ino(), old.ino(), "created by rename");
}

#[test]
fn cl_6_no_pid_file_is_left_by_a_failing_create() {
    need_root!();
    let c = Container::new(&["/missing"]);
    let file = c.sandbox.path("init.pid");
    c.create_with(&["--pid-file", file.to_str().unwrap()]).out().fails();
    assert!(!file.exists());
    c.nothing_left();
}

#[test]
fn cl_9_the_init_becomes_a_child_of_the_callers_subreaper() {
    need_root!();
    let c = Container::sh("exit 7");
    c.create().ok();
    let pid = c.pid();
    assert_eq!(host::stat(pid).unwrap().parent, i32::try_from(std::process::id()).unwrap());
    c.start().ok();
    assert_eq!(Container::reap(pid), 7);
}

#[test]
fn the_init_is_in_its_cgroup_before_create_returns() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    let pid = c.pid();
    for controller in ["memory", "pids", "freezer", "cpu", "name=systemd"] {
        if let Some(dir) = cgroup::dir_of(pid, controller) {
            let path = dir.to_string_lossy().into_owned();
            assert!(path.ends_with(&cgroup::place(&c.cgroup())), "{controller}: {path}");
        }
    }
}

#[test]
fn two_containers_share_a_state_root() {
    need_root!();
    let a = Container::running();
    let b = Container::within(&a.sandbox, &["sleep", "1000"]).up();
    assert_ne!(a.pid(), b.pid());
    a.delete_force().ok();
    assert_eq!(b.status(), "running");
    b.delete_force().ok();
    b.nothing_left();
}

#[test]
fn sa_2_start_returns_after_the_exec() {
    need_root!();
    for _ in 0..10 {
        let c = Container::new(&["sleep", "1000"]);
        c.create().ok();
        let pid = c.pid();
        c.start().ok();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert_eq!(String::from_utf8_lossy(&line), "sleep\x001000\x00");
        c.delete_force().ok();
    }
}

#[test]
fn start_of_a_program_that_vanished_since_create_fails() {
    need_root!();
    let c = Container::new(&["/bin/gone"]);
    std::fs::copy(c.file("/bin/busybox"), c.file("/bin/gone")).unwrap();
    c.create().ok();
    std::fs::remove_file(c.file("/bin/gone")).unwrap();
    c.start().fails().stderr_contains("no such file or directory");
    c.wait_status("stopped");
    c.delete().ok();
    c.nothing_left();
}

#[test]
fn the_state_root_is_private() {
    need_root!();
    use std::os::unix::fs::PermissionsExt as _;
    let c = Container::running();
    let mode = std::fs::metadata(&c.sandbox.root).unwrap().permissions().mode();
    assert_eq!(mode & 0o066, 0, "mode {mode:o}");
}
