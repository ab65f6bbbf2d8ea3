//! The verbs of the sweep: what each needs, its command, and how its work is seen.

use std::path::Path;

use super::scene::Scene;
use test_support::*;

/// A verb.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Makes what the verb needs.
    pub(crate) prepare: fn(&Scene),
    /// The command.
    pub(crate) command: fn(&Scene) -> Cmd,
    /// Returns whether the verb has done its work.
    pub(crate) done: fn(&Scene, &Out) -> bool,
    /// The exit status of a verb that has done its work.
    pub(crate) code: i32,
}

/// A verb that makes an image `new`.
const IMAGE: Case =
    Case { name: "", prepare: |_| (), command: |_| unreachable!(), done: |s, _| s.has_image("new"), code: 0 };

/// A verb of a container that runs.
const RUNNING: Case =
    Case { name: "", prepare: |s| s.start(), command: |_| unreachable!(), done: |_, _| true, code: 0 };

/// A verb that prints.
const PRINTS: Case =
    Case { name: "", prepare: |_| (), command: |_| unreachable!(), done: |_, out| !out.stdout.is_empty(), code: 0 };

pub(crate) const CASES: &[Case] = &[
    Case { name: "init", command: |s| s.corm(&["init", &s.path("new/rootfs"), "new"]), ..IMAGE },
    Case { name: "import", command: |s| s.corm(&["import", &s.path("plain.tar"), "new"]), ..IMAGE },
    Case { name: "load", command: |s| s.corm(&["load", "--name", "new", &s.path("new.tar")]), ..IMAGE },
    Case {
        name: "pull",
        command: |s| s.corm(&["pull", "--tls-verify=false", &format!("{}/new:1", s.address)]),
        done: |s, _| s.has_image(&format!("{}/new:1", s.address)),
        ..IMAGE
    },
    Case {
        name: "push",
        command: |s| s.corm(&["push", "--tls-verify=false", "base", &format!("{}/pushed:1", s.address)]),
        done: |s, _| {
            let tag = s.path("registry/docker/registry/v2/repositories/pushed/_manifests/tags/1/current/link");
            std::fs::remove_file(tag).is_ok()
        },
        ..IMAGE
    },
    Case { name: "commit", prepare: |s| s.start(), command: |s| s.corm(&["commit", "c", "new"]), ..IMAGE },
    Case { name: "tag", command: |s| s.corm(&["tag", "base", "new"]), ..IMAGE },
    Case { name: "config", command: |s| s.corm(&["config", "--env", "a=b", "base", "new"]), ..IMAGE },
    Case {
        name: "rmi",
        prepare: |s| drop(s.corm(&["init", &s.path("new/rootfs"), "new"]).out().ok()),
        command: |s| s.corm(&["rmi", "new"]),
        done: |s, _| !s.has_image("new"),
        ..IMAGE
    },
    Case {
        name: "save",
        command: |s| s.corm(&["save", "base", "-o", &s.path("outputs/base.tar")]),
        done: |s, _| same_and_gone(s, "base.tar", &["save", "base", "-o"]),
        ..IMAGE
    },
    Case {
        name: "export",
        command: |s| s.corm(&["export", "base", "-o", &s.path("outputs/tree.tar")]),
        done: |s, _| same_and_gone(s, "tree.tar", &["export", "base", "-o"]),
        ..IMAGE
    },
    Case {
        name: "bundle",
        command: |s| s.corm(&["bundle", "base", &s.path("outputs/bundle")]),
        done: |s, _| {
            let whole = s.output("bundle/config.json") && s.output("bundle/rootfs/data/4/file");
            whole && s.corm(&["unbundle", &s.path("outputs/bundle")]).out().code == Some(0)
        },
        ..IMAGE
    },
    Case {
        name: "unbundle",
        prepare: |s| drop(s.corm(&["bundle", "base", &s.path("outputs/bundle")]).out().ok()),
        command: |s| s.corm(&["unbundle", &s.path("outputs/bundle")]),
        done: |s, _| !s.output("bundle"),
        ..IMAGE
    },
    Case {
        name: "run",
        command: |s| s.corm(&["run", "--name", "c", "base", "sh", "-c", "echo out; exit 7"]),
        done: |_, out| out.stdout == "out\n",
        code: 7,
        ..IMAGE
    },
    Case {
        name: "run --rm",
        command: |s| s.corm(&["run", "--rm", "--name", "c", "base", "echo", "out"]),
        done: |s, out| out.stdout == "out\n" && s.status().is_empty(),
        ..IMAGE
    },
    Case {
        name: "run -d",
        command: |s| {
            let program = format!("echo started; : {}; sleep 1000", s.sandbox.token);
            s.corm(&["run", "-d", "--name", "c", "base", "sh", "-c", &program])
        },
        done: |s, _| s.status().contains("running"),
        ..IMAGE
    },
    Case {
        name: "exec",
        command: |s| s.corm(&["exec", "c", "sh", "-c", "echo out; exit 7"]),
        done: |_, out| out.stdout == "out\n",
        code: 7,
        ..RUNNING
    },
    Case { name: "stop", command: |s| s.corm(&["stop", "-t", "2", "c"]), done: |s, _| ended(s), ..RUNNING },
    Case { name: "kill", command: |s| s.corm(&["kill", "c"]), done: |s, _| ended(s), ..RUNNING },
    Case {
        name: "start",
        prepare: |s| {
            s.start();
            s.corm(&["stop", "-t", "2", "c"]).out().ok();
        },
        command: |s| s.corm(&["start", "c"]),
        done: |s, _| s.status().contains("running"),
        ..RUNNING
    },
    Case {
        name: "rm",
        prepare: |s| {
            s.start();
            s.corm(&["stop", "-t", "2", "c"]).out().ok();
        },
        command: |s| s.corm(&["rm", "c"]),
        done: |s, _| s.left().is_empty(),
        ..RUNNING
    },
    Case { name: "rm -f", command: |s| s.corm(&["rm", "-f", "c"]), done: |s, _| s.left().is_empty(), ..RUNNING },
    Case {
        name: "wait",
        prepare: |s| {
            s.start();
            s.corm(&["kill", "c"]).out().ok();
        },
        command: |s| s.corm(&["wait", "c"]),
        done: |_, out| out.stdout == "137\n",
        ..RUNNING
    },
    Case { name: "logs", command: |s| s.corm(&["logs", "c"]), done: |_, out| out.stdout == "started\n", ..RUNNING },
    Case {
        name: "diff",
        command: |s| s.corm(&["diff", "c"]),
        done: |_, out| out.stdout.contains("A /changed"),
        ..RUNNING
    },
    Case { name: "ps", command: |s| s.corm(&["ps", "-q"]), done: |_, out| out.stdout.len() > 10, ..RUNNING },
    Case { name: "inspect", command: |s| s.corm(&["inspect", "base"]), ..PRINTS },
    Case { name: "images", command: |s| s.corm(&["images"]), done: |_, out| out.stdout.contains("base"), ..PRINTS },
    Case { name: "history", command: |s| s.corm(&["history", "base"]), ..PRINTS },
    Case { name: "system df", command: |s| s.corm(&["system", "df"]), ..PRINTS },
    Case {
        name: "system prune",
        prepare: |s| {
            s.corm(&["init", &s.path("new/rootfs"), "new"]).out().ok();
            s.corm(&["tag", "base", "new"]).out().ok();
        },
        command: |s| s.corm(&["system", "prune"]),
        done: |_, out| out.stdout.contains("Removed 1 images"),
        ..PRINTS
    },
    Case {
        name: "fsck --repair",
        prepare: |s| drop(s.corm(&["init", &s.path("new/rootfs"), "new"]).out().ok()),
        command: |s| s.corm(&["fsck", "--repair"]),
        done: |_, _| true,
        ..PRINTS
    },
];

/// Returns whether the container has ended.
fn ended(scene: &Scene) -> bool {
    let ended = || !scene.status().contains("running");
    wait_for("the container has ended", ended);
    true
}

/// Returns whether an output is what an undisturbed verb writes, and removes it.
fn same_and_gone(scene: &Scene, name: &str, verb: &[&str]) -> bool {
    let other = scene.path("check.tar");
    let mut args = verb.to_vec();
    args.push(&other);
    scene.corm(&args).out().ok();
    let output = Path::new(&scene.path("outputs")).join(name);
    let same = std::fs::read(&output).ok() == std::fs::read(&other).ok();
    std::fs::remove_file(other).unwrap();
    std::fs::remove_file(output).is_ok() && same
}
