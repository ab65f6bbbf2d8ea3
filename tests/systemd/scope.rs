//! The unit: its name, its slice, its settings by annotation, its creation and removal.

use super::{is_loaded, property, unit};
use crate::need_systemd;
use test_support::*;

#[test]
fn cg_5_a_scope_exists_as_long_as_the_container() {
    need_systemd!();
    let c = Container::running();
    let place = format!("/system.slice/{}", unit(&c));
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(own.lines().any(|line| line.ends_with(&place)), "{own}");
    assert_eq!(property(&c, "ActiveState"), "active");
    assert_eq!(property(&c, "ControlGroup"), place);
    for (name, value) in [
        ("Delegate", "yes"),
        ("Slice", "system.slice"),
        ("DefaultDependencies", "no"),
        ("CollectMode", "inactive-or-failed"),
    ] {
        assert_eq!(property(&c, name), value, "{name}");
    }
    assert_eq!(c.state()["systemd-scope"], unit(&c));
    // the container's init is its only process
    assert_eq!(cgroup::procs(&cgroup::dir("", &c.cgroup())), [c.pid()]);
    c.verb("delete", &["--force"]).out().ok().silent();
    assert!(!is_loaded(&c), "{}", property(&c, "LoadState"));
    c.nothing_left();
}

#[test]
fn later_verbs_need_no_flag() {
    need_systemd!();
    let c = Container::running();
    let bare = |args: &[&str]| {
        let root = c.sandbox.root.to_str().unwrap();
        c.sandbox.bare([&["--root", root], args].concat()).out()
    };
    bare(&["exec", &c.id, "true"]).ok();
    bare(&["update", "--pids-limit", "77", &c.id]).ok();
    assert_eq!(property(&c, "TasksMax"), "77");
    bare(&["pause", &c.id]).ok();
    c.wait_status("paused");
    bare(&["resume", &c.id]).ok();
    assert_eq!(bare(&["ps", "--format", "json", &c.id]).ok().json(), json!([c.pid()]));
    assert_eq!(bare(&["events", "--stats", &c.id]).ok().json()["data"]["pids"]["limit"], 77);
    bare(&["kill", &c.id, "KILL"]).ok();
    c.wait_status("stopped");
    bare(&["delete", &c.id]).ok();
    assert!(!is_loaded(&c));
    c.nothing_left();
}

#[test]
fn run_leaves_nothing() {
    need_systemd!();
    let c = Container::sh("cat /proc/self/cgroup; exit 7");
    let out = c.run().exits(7);
    assert_eq!(out.text().rsplit(':').next(), Some("/"), "the cgroup namespace begins in the scope: {out:?}");
    assert!(!is_loaded(&c));
    c.nothing_left();
}

#[test]
fn an_executed_process_is_in_the_scope() {
    need_systemd!();
    let c = Container::running();
    let pid_file = c.sandbox.path("pid");
    c.croci(["exec", "--detach", "--pid-file"]).arg(&pid_file).arg(&c.id).args(["sleep", "500"]).out().ok();
    let pid: i32 = std::fs::read_to_string(pid_file).unwrap().parse().unwrap();
    assert_eq!(cgroup::dir_of(pid, "name=systemd"), cgroup::dir_of(c.pid(), "name=systemd"));
}

#[test]
fn cg_1_slices_are_nested() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]);
    let top = c.sandbox.token.clone();
    let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("{top}-a_b.slice:cri-containerd:x"))).up();
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(own.contains(&format!("/{top}.slice/{top}-a_b.slice/cri-containerd-x.scope")), "{own}");
    c.verb("delete", &["--force"]).out().ok();
    assert!(!is_loaded(&c));
    for slice in [format!("{top}-a_b.slice"), format!("{top}.slice")] {
        c.sandbox.program("systemctl").args(["stop", &slice]).out().ok();
    }
    c.nothing_left();
}

#[test]
fn cg_1_without_a_path_it_is_named_after_the_id() {
    need_systemd!();
    let c = Container::running();
    let plain = Container::within(&c.sandbox, &["sleep", "1000"]).edit(|config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    let plain = plain.up();
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", plain.pid())).unwrap();
    assert!(own.contains(&format!("/system.slice/croci-{}.scope", plain.id)), "{own}");
}

#[test]
fn cg_1_another_form_of_path_is_refused() {
    need_systemd!();
    for path in ["/a/b", "a:b", "a:b:c", "a--b.slice:c:d", "a.slice:b:c:d", "a/b.slice:c:d"] {
        let c = Container::new(&["true"]).edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        c.create().fails().one_line().stderr_contains("linux.cgroupsPath");
        c.nothing_left();
    }
}

#[test]
fn cg_5_annotations_set_what_is_on_the_list() {
    need_systemd!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 10000000",
            "org.systemd.property.KillSignal": "37",
            "org.systemd.property.Description": "'one of mine'",
            "org.systemd.property.After": "['basic.target']",
            "com.example": "not for systemd"
        });
    });
    let c = c.up();
    for (name, value) in [("TimeoutStopUSec", "10s"), ("KillSignal", "37"), ("Description", "one of mine")] {
        assert_eq!(property(&c, name), value, "{name}");
    }
    assert!(property(&c, "After").contains("basic.target"));
}

#[test]
fn cve_2024_3154_other_annotations_are_refused() {
    need_systemd!();
    for (name, value) in [("ExecStopPost", "'/bin/true'"), ("Wants", "['a.service']"), ("KillSignal", "'x'")] {
        let key = format!("org.systemd.property.{name}");
        let c = Container::new(&["true"]).edit(|config| config["annotations"] = json!({ &key: value }));
        c.create().fails().one_line().stderr_contains(&key);
        c.nothing_left();
    }
}

#[test]
fn ki_3_all_processes_end_with_the_scope() {
    need_systemd!();
    // without a new pid namespace the processes do not end with the init
    let c = Container::sh("sleep 1000 & sleep 1000 & exec sleep 1000").edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "pid");
    });
    let c = c.up();
    wait_for("it has three processes", || cgroup::procs(&cgroup::dir("", &c.cgroup())).len() == 3);
    c.verb("delete", &["--force"]).out().ok();
    assert!(!is_loaded(&c));
    c.nothing_left();
}

#[test]
fn what_the_container_nests_in_its_scope_is_removed_with_it() {
    need_systemd!();
    if !cgroup::is_v2() {
        skip!("needs cgroup v2");
    }
    let c = Container::sh(
        "mkdir -p /sys/fs/cgroup/a/b && echo 1 >/sys/fs/cgroup/a/b/cgroup.procs && echo ready >/tmp/x; sleep 1000",
    );
    let c = c
        .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] }))
        .up();
    c.wait_file("/tmp/x");
    assert!(cgroup::dir("", &c.cgroup()).join("a/b").exists());
    c.croci(["exec", &c.id, "true"]).out().ok();
    c.verb("delete", &["--force"]).out().ok();
    c.nothing_left();
}
