//! Namespaces joined by path: a user namespace beside new namespaces of the other types, all eight types, and a pid
//! namespace that has an init already.

use super::*;
use test_support::bundle::with_userns;
use test_support::need_root;

/// Starts a container with a new namespace of every type, which other containers join.
fn holder() -> Container {
    Container::new(&["sleep", "1000"])
        .edit(|config| {
            with_userns(config);
            add_namespace(config, "time");
        })
        .up()
}

fn beside(other: &Container, script: &str) -> Container {
    Container::within(&other.sandbox, &["sh", "-c", script])
}

#[test]
fn ns_7_a_joined_user_namespace_owns_the_new_others() {
    need_root!();
    let holder = holder();
    let script = "cat /proc/self/uid_map; id -u; echo $$; hostname; mount -t tmpfs t /tmp && echo mounted";
    let c = beside(&holder, script).edit(|config| {
        join(config, holder.pid(), &["user"]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
        }
    });
    let out = c.run().ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "65536", "0", "1", "testbox", "mounted"], "{out:?}");
}

#[test]
fn ns_7_all_verbs_on_a_container_with_a_joined_user_namespace() {
    need_root!();
    let holder = holder();
    let c = beside(&holder, "exec sleep 1000").edit(|config| join(config, holder.pid(), &["user"]));
    let pid_file = c.sandbox.path("pid");
    c.create_with(&["--pid-file", pid_file.to_str().unwrap()]).out().ok();
    assert_eq!(c.status(), "created");
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), c.pid().to_string());
    c.start().ok();
    assert_eq!(namespace(c.pid(), "user"), namespace(holder.pid(), "user"));
    for file in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
        assert_ne!(namespace(c.pid(), file), namespace(holder.pid(), file), "{file}");
    }
    check_namespaces_of_exec(&c);
    assert!(cgroup::procs(&cgroup::dir("pids", &c.cgroup())).contains(&c.pid()));
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume", &[]).out().ok();
    let pid = c.pid();
    c.kill("KILL").ok();
    assert_eq!(Container::reap(pid), 137, "it is a child of the runtime, and so of its subreaper");
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(holder.status(), "running");
}

#[test]
fn ns_7_a_failure_in_a_joined_user_namespace_leaves_nothing() {
    need_root!();
    let holder = holder();
    let c = beside(&holder, "true").edit(|config| {
        join(config, holder.pid(), &["user"]);
        config["process"]["args"] = json!(["/no/such/program"]);
    });
    c.create().fails().one_line().stderr_contains("/no/such/program");
    let c = beside(&holder, "true").edit(|config| {
        join(config, holder.pid(), &["user"]);
        config["process"]["user"]["uid"] = json!(70_000);
    });
    c.create().fails().one_line().stderr_contains("process.user.uid");
    holder.delete_force().ok();
    holder.nothing_left();
}

#[test]
fn ns_2_all_eight_are_joined() {
    need_root!();
    let holder = holder();
    let c = beside(&holder, "exec sleep 1000").edit(|config| {
        let all: Vec<_> = NAMESPACES.iter().map(|(kind, _)| *kind).collect();
        join(config, holder.pid(), &all);
        // the network and uts namespaces are those of the holder, and so /sys and the host name are, too
        config.as_object_mut().unwrap().remove("hostname");
    });
    let c = c.up();
    for (_, file) in NAMESPACES {
        assert_eq!(namespace(c.pid(), file), namespace(holder.pid(), file), "{file}");
    }
    check_namespaces_of_exec(&c);
    let inner = host::status_field(c.pid(), "NSpid").unwrap();
    assert_ne!(inner.split_whitespace().last(), Some("1"), "{inner}");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(holder.status(), "running");
    assert!(host::alive(holder.pid()));
}

#[test]
fn ns_2_the_order_in_the_configuration_does_not_matter() {
    need_root!();
    let holder = holder();
    for last in ["user", "network", "pid", "mount"] {
        let c = beside(&holder, "readlink /proc/self/ns/user; readlink /proc/self/ns/net").edit(|config| {
            let kinds = ["user", "network", "ipc", "uts", "pid", "mount"];
            let mut order: Vec<_> = kinds.into_iter().filter(|kind| *kind != last).collect();
            order.push(last);
            join(config, holder.pid(), &order);
            config.as_object_mut().unwrap().remove("hostname");
        });
        let out = c.run().ok();
        assert_eq!(out.lines(), [namespace(holder.pid(), "user"), namespace(holder.pid(), "net")], "{last} last");
    }
}

#[test]
fn a_pod_member_joins_what_a_pod_shares() {
    need_root!();
    // as Podman and Kubernetes do: user, network, ipc and uts namespaces of the pod, new pid and mount namespaces
    let holder = holder();
    let c = beside(&holder, "hostname; ip addr show lo | grep -c 127.0.0.1; id -u; echo $$").edit(|config| {
        join(config, holder.pid(), &["user", "network", "ipc", "uts"]);
        config.as_object_mut().unwrap().remove("hostname");
    });
    assert_eq!(c.run().ok().lines(), ["testbox", "1", "0", "1"]);
}

#[test]
fn lc_a_joined_pid_namespace_keeps_its_init() {
    need_root!();
    let holder = Container::running();
    let c = beside(&holder, "exec sleep 1000").edit(|config| join(config, holder.pid(), &["pid"]));
    let c = c.up();
    assert_eq!(namespace(c.pid(), "pid"), namespace(holder.pid(), "pid"));
    let inner = host::status_field(c.pid(), "NSpid").unwrap();
    let inner = inner.split_whitespace().last().unwrap();
    assert_ne!(inner, "1");
    assert_eq!(c.exec(&["cat", &format!("/proc/{inner}/comm")]).ok().text(), "sleep");
    assert_eq!(holder.exec(&["cat", &format!("/proc/{inner}/comm")]).ok().text(), "sleep");
    // SIGKILL to this process does not end the pid namespace; `delete` kills what is left in its cgroup
    c.exec_with(&["--detach"], &["sleep", "999"]).out().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(holder.status(), "running");
    holder.exec(&["true"]).ok();
}

#[test]
fn lc_the_end_of_a_joined_pid_namespace_ends_the_container() {
    need_root!();
    let holder = Container::running();
    let c = beside(&holder, "exec sleep 1000").edit(|config| join(config, holder.pid(), &["pid"]));
    let c = c.up();
    holder.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    // a pid namespace whose init has ended cannot be joined: an error message, and nothing is left
    let late = beside(&holder, "true").edit(|config| join(config, std::process::id() as i32, &["pid"]));
    late.run().ok();
    holder.delete_force().ok();
    holder.nothing_left();
}

#[test]
fn hk_4_hooks_get_the_pid_of_the_joined_namespace() {
    need_root!();
    let holder = Container::running();
    let c = beside(&holder, "true");
    let file = c.sandbox.path("reported");
    let hook = c.sandbox.script("hook", "#!/bin/sh\ncat > $1");
    let c = c.edit(|config| {
        join(config, holder.pid(), &["pid"]);
        config["hooks"] =
            json!({ "createContainer": [{ "path": hook, "args": ["hook", file], "env": ["PATH=/bin"] }] });
    });
    c.create().ok();
    let state: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let inner = host::status_field(c.pid(), "NSpid").unwrap();
    assert_eq!(state["pid"].to_string(), inner.split_whitespace().last().unwrap());
    c.delete_force().ok();
}

#[test]
fn ns_1_the_runtimes_own_namespaces_by_path_are_no_change() {
    need_root!();
    let own = std::process::id() as i32;
    let c = Container::sh("true").edit(|config| {
        join(config, own, &["ipc", "uts", "network", "cgroup", "pid"]);
        config.as_object_mut().unwrap().remove("hostname");
    });
    c.run().ok();
    c.nothing_left();
}

#[test]
fn ns_7_the_user_namespace_of_the_runtime_itself() {
    need_root!();
    let own = std::process::id() as i32;
    // setns(2) refuses the caller's own user namespace, in which the process is already
    for new in [true, false] {
        let c = Container::sh("readlink /proc/self/ns/user; cat /proc/self/uid_map").edit(|config| {
            join(config, own, &["user"]);
            if !new {
                join(config, own, &["ipc", "uts", "network", "cgroup", "pid"]);
                config.as_object_mut().unwrap().remove("hostname");
            }
        });
        let out = c.run().ok();
        assert_eq!(out.lines()[0], namespace(own, "user"), "{out:?}");
    }
}
