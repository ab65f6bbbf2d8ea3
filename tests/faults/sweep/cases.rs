//! The verbs of the sweep: what each needs, its command, and how its work is seen.

use std::path::PathBuf;

use super::inside;
use test_support::*;

/// A verb.
pub(super) struct Case {
    pub name: &'static str,
    /// Brings the container into the state that the verb needs.
    pub prepare: fn(&Container),
    /// The command.
    pub command: fn(&Container) -> Cmd,
    /// Returns whether the verb has done its work.
    pub done: fn(&Container, &Out) -> bool,
    /// Which processes have faults besides the runtime.
    pub children: Children,
    /// Returns what a program finds in the container, where the verb has made that.
    pub inside: Option<fn(&Container) -> String>,
}

/// The processes that a verb works with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    /// Only the runtime has faults.
    None,
    /// Also those that the verb creates.
    Own,
    /// Also the container's init, which exists already.
    Init,
}

/// A verb that has no children and makes no process.
const PLAIN: Case = Case {
    name: "",
    prepare: up,
    command: |c| c.verb("state", &[]),
    done: |_, _| true,
    children: Children::None,
    inside: None,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "create",
        prepare: |_| (),
        command: |c| c.create_with(&[]),
        done: |c, _| c.status() == "created",
        children: Children::Own,
        inside: Some(|c| {
            c.start().ok();
            inside::of_running(c)
        }),
    },
    Case {
        name: "run --detach",
        prepare: |_| (),
        command: |c| c.run_with(&["--detach"]),
        done: |c, _| c.status() == "running",
        children: Children::Own,
        inside: Some(inside::of_running),
    },
    Case {
        name: "run",
        prepare: |_| (),
        command: |c| c.run_with(&[]),
        done: |c, _| !c.state_dir().exists() && c.file("facts").exists() && std::fs::remove_file(mark(c)).is_ok(),
        children: Children::Own,
        inside: Some(|c| inside::take(c, "facts").unwrap()),
    },
    Case {
        name: "start",
        prepare: |c| drop(c.create().ok()),
        command: |c| c.verb("start", &[]),
        done: |c, _| c.status() == "running",
        children: Children::Init,
        inside: Some(inside::of_running),
    },
    Case {
        name: "exec",
        command: |c| c.exec_with(&[], &[]).args(inside::command("more", "true")),
        done: |c, _| c.file("more").exists(),
        children: Children::Own,
        inside: Some(|c| inside::take(c, "more").unwrap()),
        ..PLAIN
    },
    Case {
        name: "exec --detach",
        command: |c| c.exec_with(&["--detach"], &[]).args(inside::command("more", "sleep 1000")),
        done: |_, _| true,
        children: Children::Own,
        inside: Some(|c| wait_until("the program has looked around", || inside::take(c, "more"))),
        ..PLAIN
    },
    Case {
        name: "kill",
        command: |c| c.verb("kill", &[]).arg("KILL"),
        done: |c, _| {
            c.wait_status("stopped");
            true
        },
        ..PLAIN
    },
    Case { name: "pause", command: |c| c.verb("pause", &[]), done: |c, _| c.status() == "paused", ..PLAIN },
    Case {
        name: "resume",
        prepare: |c| {
            up(c);
            c.verb("pause", &[]).out().ok();
        },
        command: |c| c.verb("resume", &[]),
        done: |c, _| c.status() == "running",
        ..PLAIN
    },
    Case {
        name: "update",
        command: |c| c.verb("update", &["--pids-limit", "20"]),
        done: |c, _| cgroup::read(c.pid(), "pids", "pids.max", "pids.max").unwrap() == "20",
        ..PLAIN
    },
    Case {
        name: "delete",
        prepare: |c| {
            up(c);
            c.kill("KILL").ok();
            c.wait_status("stopped");
        },
        command: |c| c.verb("delete", &[]),
        done: is_deleted,
        ..PLAIN
    },
    Case { name: "delete --force", command: |c| c.verb("delete", &["--force"]), done: is_deleted, ..PLAIN },
    Case { name: "state", done: |_, out| out.json()["status"] == "running", ..PLAIN },
    Case { name: "list", command: |c| c.croci(["list"]), done: |c, out| out.stdout.contains(&c.id), ..PLAIN },
    Case {
        name: "ps",
        command: |c| c.verb("ps", &["--format", "json"]),
        done: |c, out| out.json().as_array().is_some_and(|all| all.contains(&json!(c.pid()))),
        ..PLAIN
    },
    Case {
        name: "events --stats",
        command: |c| c.verb("events", &["--stats"]),
        done: |_, out| out.json()["data"]["pids"]["current"].as_u64().is_some_and(|count| count > 0),
        ..PLAIN
    },
    Case {
        name: "spec",
        prepare: |c| drop(std::fs::remove_file(c.sandbox.mkdir("spec").join("config.json"))),
        command: |c| c.croci(["spec", "--bundle"]).arg(c.sandbox.path("spec")),
        done: |c, _| {
            let text = std::fs::read(c.sandbox.path("spec/config.json")).unwrap();
            serde_json::from_slice::<Value>(&text).is_ok()
        },
        ..PLAIN
    },
    Case {
        name: "features",
        prepare: |_| (),
        command: |c| c.croci(["features"]),
        done: |_, out| out.json()["hooks"].is_array(),
        ..PLAIN
    },
    Case {
        name: "checkpoint",
        command: |c| c.verb("checkpoint", &["--image-path"]).arg(c.sandbox.path("image")),
        done: |c, _| c.sandbox.path("image/inventory.img").exists() && !c.state_dir().exists(),
        ..PLAIN
    },
];

/// Returns whether the container is gone and its poststop hook has run.
fn is_deleted(c: &Container, _: &Out) -> bool {
    c.sandbox.leftovers().is_empty() && std::fs::remove_file(mark(c)).is_ok()
}

fn up(c: &Container) {
    c.create().ok();
    c.start().ok();
    inside::of_running(c);
}

/// Returns the file that the poststop hook writes.
pub(super) fn mark(c: &Container) -> PathBuf {
    c.sandbox.path("poststop")
}

/// Returns a container with resources of most kinds, below a parent cgroup that croci creates. Its program ends at once
/// for `run`.
pub(super) fn container(name: &str) -> Container {
    let c = Container::new(&[]);
    let source = c.sandbox.mkdir("volume");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\necho > {}\n", mark(&c).display()));
    let path = format!("/{}-parent/{}", c.sandbox.token, c.id);
    c.edit(|config| {
        config["process"]["args"] =
            json!(inside::command("facts", if name == "run" { "true" } else { "exec sleep 1000" }));
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [2000], "umask": 0o27 });
        config["process"]["oomScoreAdj"] = json!(100);
        bundle::add_mount(config, bundle::bind(&source, "/new/volume", &["ro"]));
        config["linux"]["resources"] = json!({ "pids": { "limit": 50 }, "memory": { "limit": 256 << 20 } });
        config["linux"]["sysctl"] = json!({ "kernel.msgmax": "9000" });
        let refused = json!([{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }]);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused });
        let hooks = json!({ "createRuntime": [{ "path": "/bin/true" }], "poststop": [{ "path": hook }] });
        config["hooks"] = hooks;
        if !cgroup::by_systemd() {
            config["linux"]["cgroupsPath"] = json!(path);
        }
    })
}
