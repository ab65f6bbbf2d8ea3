//! Verbs of containers.

use super::*;

pub(super) const CASES: &[Case] = &[
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
        name: "run -v",
        command: |s| {
            s.corm(&["run", "--rm", "--name", "c", "-v", "vol:/vol", "base", "sh", "-c", "echo out >/vol/file"])
        },
        done: |s, _| s.volume_file("vol", "file") == "out\n" && s.status().is_empty(),
        ..IMAGE
    },
    Case {
        name: "create",
        command: |s| s.corm(&["create", "--name", "c", "base", "sleep", "1000"]),
        done: |s, _| s.status() == "created",
        ..IMAGE
    },
    Case {
        name: "start -a",
        prepare: |s| drop(s.corm(&["create", "--name", "c", "base", "sh", "-c", "echo out; exit 7"]).out().ok()),
        command: |s| s.corm(&["start", "-a", "c"]),
        done: |_, out| out.stdout == "out\n",
        code: 7,
        ..IMAGE
    },
    Case {
        name: "exec",
        command: |s| s.corm(&["exec", "c", "sh", "-c", "echo out; exit 7"]),
        done: |_, out| out.stdout == "out\n",
        code: 7,
        ..LOOKS
    },
    Case {
        name: "attach",
        prepare: |s| {
            let program = format!(": {}; read line; echo got $line; exit 7", s.sandbox.token);
            s.corm(&["run", "-d", "-i", "--name", "c", "base", "sh", "-c", &program]).out().ok();
        },
        command: |s| s.corm(&["attach", "c"]).stdin("it\n"),
        done: |_, out| out.stdout == "got it\n",
        code: 7,
        ..RUNNING
    },
    Case { name: "stop", command: |s| s.corm(&["stop", "-t", "2", "c"]), done: |s, _| ended(s), ..RUNNING },
    Case { name: "kill", command: |s| s.corm(&["kill", "c"]), done: |s, _| ended(s), ..RUNNING },
    Case {
        name: "start",
        prepare: |s| s.stopped(),
        command: |s| s.corm(&["start", "c"]),
        done: |s, _| s.status().contains("running"),
        ..IMAGE
    },
    Case {
        name: "restart",
        command: |s| s.corm(&["restart", "-t", "2", "c"]),
        done: |s, _| s.status().contains("running"),
        ..RUNNING
    },
    Case { name: "pause", command: |s| s.corm(&["pause", "c"]), done: |s, _| s.status().contains("paused"), ..RUNNING },
    Case {
        name: "unpause",
        prepare: |s| {
            s.start();
            s.corm(&["pause", "c"]).out().ok();
        },
        command: |s| s.corm(&["unpause", "c"]),
        done: |s, _| s.status().contains("running"),
        ..RUNNING
    },
    Case {
        name: "update",
        command: |s| s.corm(&["update", "--pids-limit", "20", "c"]),
        done: |s, _| s.pids_limit() == "20",
        ..RUNNING
    },
    Case {
        name: "rename",
        command: |s| s.corm(&["rename", "c", "renamed"]),
        done: |s, _| s.corm(&["container", "exists", "renamed"]).out().code == Some(0),
        ..RUNNING
    },
    Case {
        name: "cp to a container",
        prepare: |s| s.stopped(),
        command: |s| s.corm(&["cp", &s.path("new/rootfs/data"), "c:/copied"]),
        done: |s, _| s.copied(&["cp", "c:/copied"]).ends_with("new 2 "),
        ..IMAGE
    },
    Case {
        name: "cp from a container",
        prepare: |s| s.stopped(),
        command: |s| s.corm(&["cp", "c:/data", &s.path("outputs/data")]),
        done: |s, _| {
            let text = std::fs::read_to_string(s.path("outputs/data/2/file")).unwrap_or_default();
            std::fs::remove_dir_all(s.path("outputs/data")).is_ok() && text.ends_with("base 2 ")
        },
        ..IMAGE
    },
    Case {
        name: "rm",
        prepare: |s| s.stopped(),
        command: |s| s.corm(&["rm", "c"]),
        done: |s, _| s.left().is_empty(),
        ..IMAGE
    },
    Case { name: "rm -f", command: |s| s.corm(&["rm", "-f", "c"]), done: |s, _| s.left().is_empty(), ..RUNNING },
    Case {
        name: "container prune",
        prepare: |s| s.stopped(),
        command: |s| s.corm(&["container", "prune", "-f"]),
        done: |s, _| s.left().is_empty(),
        ..IMAGE
    },
    Case {
        name: "wait",
        prepare: |s| {
            s.start();
            s.corm(&["kill", "c"]).out().ok();
            ended(s);
        },
        command: |s| s.corm(&["wait", "c"]),
        done: |_, out| out.stdout == "137\n",
        ..IMAGE
    },
    Case { name: "logs", command: |s| s.corm(&["logs", "c"]), done: |_, out| out.stdout == "started\n", ..LOOKS },
    Case {
        name: "diff",
        command: |s| s.corm(&["diff", "c"]),
        done: |_, out| out.stdout.contains("A /changed"),
        ..LOOKS
    },
    Case { name: "ps", command: |s| s.corm(&["ps", "-q"]), done: |_, out| out.stdout.len() > 10, ..LOOKS },
    Case { name: "top", command: |s| s.corm(&["top", "c"]), done: |_, out| out.stdout.contains("sleep"), ..LOOKS },
    Case {
        name: "stats",
        command: |s| s.corm(&["stats", "--no-stream", "--format", "json", "c"]),
        done: |_, out| out.stdout.contains('%') || out.stdout.contains('{'),
        ..LOOKS
    },
    Case { name: "inspect a container", command: |s| s.corm(&["inspect", "c"]), ..LOOKS },
];

/// Returns whether the container has ended.
fn ended(scene: &Scene) -> bool {
    let ended = || !scene.status().contains("running");
    wait_for("the container has ended", ended);
    true
}
