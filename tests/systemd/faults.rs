//! Interruptions and failures: nothing is left, no process hangs, the error names the remedy.

use super::{is_loaded, property, unit};
use crate::need_systemd;
use test_support::*;

#[test]
fn the_unit_of_a_killed_create_is_found() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]);
    let mark = c.sandbox.path("hook");
    let hook = c
        .sandbox
        .script("wait", &format!("#!/bin/sh\necho $$ >{0}.new\nmv {0}.new {0}\nexec sleep 1000\n", mark.display()));
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] }));
    let create = c.create_with(&[]).spawn();
    let pid: i32 = wait_until("the hook runs", || std::fs::read_to_string(&mark).ok()).trim().parse().unwrap();
    assert_eq!(property(&c, "ActiveState"), "active");
    create.signal(libc::SIGKILL);
    assert_eq!(create.wait().signal, Some(libc::SIGKILL));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    c.verb("delete", &["--force"]).out().ok();
    assert!(!is_loaded(&c), "{}", property(&c, "ActiveState"));
    c.nothing_left();
}

#[test]
fn a_failed_create_leaves_no_unit() {
    need_systemd!();
    for change in [
        |config: &mut Value| config["process"]["args"] = json!(["/no/such/program"]),
        |config: &mut Value| config["linux"]["resources"]["unified"] = json!({ "memory.no_such_file": "1" }),
        |config: &mut Value| config["linux"]["resources"]["pids"] = json!({ "limit": 4_194_305 }),
    ] {
        let c = Container::new(&["sleep", "1000"]).edit(change);
        c.create().fails().one_line();
        assert!(!is_loaded(&c));
        c.nothing_left();
    }
}

#[test]
fn a_unit_of_that_name_is_not_taken() {
    need_systemd!();
    let c = Container::running();
    let other =
        Container::within(&c.sandbox, &["true"]).edit(|config| config["linux"]["cgroupsPath"] = json!(c.cgroup()));
    other.create().fails().one_line().stderr_contains(&unit(&c));
    c.wait_status("running");
    assert_eq!(cgroup::procs(&cgroup::dir("", &c.cgroup())), [c.pid()]);
}

#[test]
fn ft_38_a_scope_that_was_stopped_from_outside() {
    need_systemd!();
    let c = Container::running();
    // the kernel discards a SIGTERM that the first process of a pid namespace has no handler for
    c.sandbox.program("systemctl").args(["kill", "--signal", "KILL", &unit(&c)]).out().ok();
    c.sandbox.program("systemctl").args(["stop", &unit(&c)]).out();
    c.wait_status("stopped");
    c.croci(["kill", "--all", &c.id, "KILL"]).out().ok();
    c.verb("delete", &[]).out().ok();
    c.nothing_left();
}

#[test]
fn a_container_that_ended_by_itself_is_deleted() {
    need_systemd!();
    let c = Container::new(&["true"]).up();
    c.wait_status("stopped");
    c.verb("delete", &[]).out().ok();
    // the name can be used again at once
    let c = c.up();
    c.wait_status("stopped");
    c.verb("delete", &[]).out().ok();
    c.nothing_left();
}

/// Runs the runtime in a new mount namespace, in which the script changes /run/systemd before.
fn without_manager(c: &Container, script: &str, verb: &[&str]) -> Out {
    let script =
        format!("mount -t tmpfs none /run/systemd && mount -t tmpfs none /run/dbus && {script} && exec \"$@\"");
    let cmd = c.sandbox.program("unshare").args(["--mount", "sh", "-c", &script, "sh"]).arg(runtime());
    cmd.arg("--root").arg(&c.sandbox.root).args(verb).out()
}

#[test]
fn without_systemd_the_error_names_it() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    let create = ["--systemd-cgroup", "create", "--bundle", c.bundle.to_str().unwrap(), &c.id];
    let out = without_manager(&c, "true", &create)
        .fails()
        .one_line()
        .stderr_contains("not the init system")
        .stderr_contains("cgroupfs");
    assert!(!out.stderr.contains("no such file"), "callers take that for a missing program: {out:?}");
    let out = without_manager(&c, "mkdir /run/systemd/system", &create)
        .fails()
        .one_line()
        .stderr_contains("no service manager listens");
    assert!(!out.stderr.to_lowercase().contains("no such file"), "{out:?}");
    c.nothing_left();
}

#[test]
fn ft_39_a_container_can_be_deleted_without_its_systemd() {
    need_systemd!();
    let c = Container::running();
    without_manager(&c, "true", &["delete", "--force", &c.id]).ok();
    wait_for("systemd has noticed", || !is_loaded(&c));
    c.nothing_left();
}

#[test]
fn the_bus_is_used_where_the_managers_own_socket_is_missing() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    let create = ["--systemd-cgroup", "create", "--bundle", c.bundle.to_str().unwrap(), &c.id];
    let script = "mkdir /run/systemd/system && umount /run/dbus";
    without_manager(&c, script, &create).ok();
    assert_eq!(property(&c, "ActiveState"), "active");
    without_manager(&c, script, &["delete", "--force", &c.id]).ok();
    assert!(!is_loaded(&c));
    c.nothing_left();
}

#[test]
fn ft_19_many_at_once() {
    need_systemd!();
    let sandbox = Sandbox::new();
    let all: Vec<Container> = (0..24).map(|_| Container::within(&sandbox, &["sleep", "1000"])).collect();
    let running: Vec<_> = all.iter().map(|c| c.run_with(&["--detach"]).spawn()).collect();
    running.into_iter().for_each(|run| drop(run.wait().ok()));
    let deleted: Vec<_> = all.iter().map(|c| c.verb("delete", &["--force"]).spawn()).collect();
    deleted.into_iter().for_each(|delete| drop(delete.wait().ok()));
    assert!(all.iter().all(|c| !is_loaded(c)));
    sandbox.nothing_left();
}
