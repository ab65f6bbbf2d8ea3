//! What is printed: the texts that callers and suites match (docs/reference/callers.md, part 2), warnings, debug lines, the
//! order of members.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::container::Container;
use test_support::*;

/// A change of a configuration that makes `create` fail, and the text that its error has to contain.
type Case = (fn(&mut Value), &'static str);

/// Configurations that `create` refuses, each with the text of its error.
const REFUSED: &[Case] = &[
    (|c| c["process"]["args"] = json!(["/etc"]), "is a directory: permission denied"),
    (|c| c["process"]["args"] = json!(["/run.sh"]), "exec /run.sh: no such file or directory"),
    (|c| c["process"]["args"] = json!(["nosuch"]), "executable file not found in $PATH"),
    (|c| c["process"]["cwd"] = json!("/bin/busybox/x"), "chdir to cwd (\"/bin/busybox/x\") set in config.json failed"),
    (|c| c["linux"]["memoryPolicy"] = json!({}), "invalid memory policy mode"),
    (|c| c["linux"]["memoryPolicy"] = json!({"mode": "INTERLEAVE"}), "invalid memory policy"),
    (
        |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["badflag"]}),
        "invalid memory policy flag",
    ),
    (
        |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}),
        "invalid memory policy node",
    ),
    (
        |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}),
        "mode requires 0 nodes but got 8",
    ),
    (
        |c| c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}, {"path": "/bin/false"}]}),
        "error running createRuntime hook #1:",
    ),
    (
        |c| {
            c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/agent",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
        },
        "failed to connect with seccomp agent",
    ),
    (
        |c| {
            c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/agent",
                "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]});
        },
        "SCMP_ACT_NOTIFY cannot be used for the write syscall",
    ),
    (
        |c| c["process"]["scheduler"] = json!({"policy": "SCHED_DEADLINE", "deadline": 4096}),
        "process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` requires `runtime`",
    ),
    (
        |c| c["process"]["scheduler"] = json!({"policy": "SCHED_DEADLINE", "runtime": 4096, "deadline": 2048}),
        "process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime (4096) must be <= deadline (2048)",
    ),
    (|c| c["annotations"] = json!({"run.oci.systemd.subgroup": "x"}), "run.oci.systemd.subgroup"),
    (|c| c["annotations"] = json!({"module.wasm.image/variant": "compat"}), "module.wasm.image/variant"),
];

#[test]
fn texts_that_callers_match() {
    need_root!();
    let sandbox = Sandbox::new();
    for (change, text) in REFUSED {
        let c = Container::within(&sandbox, &["true"]).edit(change);
        cmd::script(&c.file("/run.sh"), "#!/no/such/interpreter\n");
        c.create().fails().one_line().stderr_contains(text);
    }
    if !cgroup::is_v2() {
        let unified = |c: &mut Value| c["linux"]["resources"] = json!({"unified": {"memory.min": "131072"}});
        Container::within(&sandbox, &["true"]).edit(unified).create().fails().stderr_contains("invalid configuration");
    }
    let c = Container::within(&sandbox, &["true"]);
    std::fs::remove_dir_all(c.file("/proc")).unwrap();
    std::os::unix::fs::symlink("/tmp", c.file("/proc")).unwrap();
    c.create().fails().stderr_contains("must be mounted on ordinary directory");
    let c = Container::within(&sandbox, &["true"]).up();
    c.wait_status("stopped");
    c.kill("KILL").fails().stderr_contains("container not running");
}

/// A startContainer hook that the profile kills is named in runc's words.
#[test]
fn a_hook_that_the_filter_kills_is_named() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]});
        let hook = json!({"path": "/bin/busybox", "args": ["mkdir", "/dev/shm/foo"]});
        config["hooks"] = json!({"startContainer": [hook]});
    });
    c.run().fails().stderr_contains("error running startContainer hook #0").stderr_contains("bad system call");
}

/// Podman 4 and Buildah 1 write an ambient set without an inheritable one for every user, and their tests compare what `podman build`
/// and `buildah run` print.
#[test]
fn the_ambient_set_of_engines_is_no_warning() {
    need_root!();
    let c = Container::new(&["grep", "CapEff", "/proc/self/status"]).edit(|config| {
        let sets = &mut config["process"]["capabilities"];
        for set in ["bounding", "permitted", "effective", "ambient"] {
            sets[set] = json!(["CAP_CHOWN", "CAP_KILL"]);
        }
        sets.as_object_mut().unwrap().remove("inheritable");
    });
    let out = c.run().ok();
    assert_eq!((out.text(), out.stderr.as_str()), ("CapEff:\t0000000000000021", ""));
    let user = Container::new(&["grep", "CapPrm", "/proc/self/status"]).edit(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["process"]["capabilities"] =
            json!({"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]});
    });
    let out = user.run().ok();
    assert_eq!((out.text(), out.stderr.as_str()), ("CapPrm:\t0000000000000000", ""));
}

/// Warnings of the specification, and of what has no effect, one line each and by default.
#[test]
fn warnings_are_shown_by_default() {
    need_root!();
    let cases: &[Case] = &[
        (
            |c| {
                let caps = &mut c["process"]["capabilities"];
                caps["inheritable"] = json!(["CAP_KILL"]);
                caps["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
                for set in ["bounding", "permitted", "effective"] {
                    caps[set] = json!(["CAP_KILL", "CAP_CHOWN"]);
                }
            },
            "process.capabilities: can't raise ambient capability CAP_CHOWN: ",
        ),
        (|c| c["linux"]["MaskedPaths"] = json!([]), "linux.maskedPaths: is written \"MaskedPaths\""),
        (
            |c| c["annotations"] = json!({"run.oci.b": "1", "run.oci.a": "1"}),
            "annotations: unknown, without an effect: run.oci.a, run.oci.b",
        ),
        (|c| c["ociVersion"] = json!("1.0"), "ociVersion: \"1.0\" is no semantic version, 1.0.0 is meant"),
        (
            |c| {
                c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]});
            },
            "linux.seccomp.syscalls[0].names: is empty, the rule has no effect",
        ),
    ];
    for (change, text) in cases {
        let c = Container::new(&["true"]).edit(|config| {
            config["linux"].as_object_mut().unwrap().remove("maskedPaths");
            change(config);
        });
        let out = c.run().ok();
        assert!(out.stderr.starts_with(&format!("croci: warning: {text}")), "{text}: {out:#?}");
        assert_eq!(out.stderr.lines().count(), 1, "{out:#?}");
    }
}

/// CL-3: the lines of --debug have runc's form on standard error too, and name the steps of each verb.
#[test]
fn debug_lines_name_each_step() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        let rule = json!({"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO"});
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    });
    c.write_config();
    let debug = |args: &[&str]| {
        let out = c.croci(["--debug"]).args(args).out().ok();
        for line in out.stderr.lines() {
            assert!(line.starts_with("time=\"2") && line.contains("Z\" level=debug msg=\""), "{line}");
        }
        out.stderr
    };
    let bundle = c.bundle.to_str().unwrap();
    let id = c.id.as_str();
    for (args, steps) in [
        (
            &["create", "--bundle", bundle, id][..],
            &[
                "configuration of bundle",
                "unknown seccomp syscall ignored: no_such_call",
                "planned",
                "state directory",
                "cgroup created",
                "nsexec container setup",
                "child process in init()",
                "init: closing the pipe to signal completion",
                "is ready; check it",
                "record committed",
            ][..],
        ),
        (&["start", id], &["order init", "the program runs"]),
        (&["exec", id, "true"], &["join init", "created in the container", "closing the pipe", "the program runs"]),
        (&["delete", "--force", id], &["has ended", "cgroup removed", "poststop", "state directory removed"]),
    ] {
        let text = debug(args);
        let mut rest = text.as_str();
        for step in steps {
            let Some(at) = rest.find(step) else { panic!("{args:?}: no {step:?} in {rest}, {text}") };
            rest = &rest[at..];
        }
    }
}

/// With --log the lines are in that file alone, in the form of --log-format.
#[test]
fn debug_lines_go_to_the_log() {
    need_root!();
    let c = Container::new(&["echo", "hello"]);
    c.write_config();
    for (format, mark) in [("text", "level=debug"), ("json", "\"level\":\"debug\"")] {
        let log = c.sandbox.path(format);
        let global = ["--debug", "--log", log.to_str().unwrap(), "--log-format", format];
        let out = c.croci(global).args(["run", "--bundle"]).arg(&c.bundle).arg(&c.id).out().ok();
        assert_eq!((out.text(), out.stderr.as_str()), ("hello", ""));
        let text = std::fs::read_to_string(log).unwrap();
        assert!(text.lines().count() > 8 && text.lines().all(|line| line.contains(mark)), "{text}");
    }
}

/// The descriptors of process `pid`, with their targets.
fn descriptors(pid: i32) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_link(&path).unwrap()))
        .map(|(number, target)| format!("{number} {}", target.display()))
        .collect();
    all.sort();
    all
}

/// FD-1: the program has 0, 1 and 2 alone; an init that waits for `start` has the fifo of that besides, which has
/// runc's name because its suite allows that one, and nothing of the host, of the log or of the caller.
#[test]
fn fd_1_no_descriptor_of_the_runtime_is_left() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    let log = c.sandbox.path("log");
    let create = c.croci(["--debug", "--log", log.to_str().unwrap(), "create", "--bundle"]);
    let leaked = std::fs::File::open("/etc/passwd").unwrap();
    create.arg(&c.bundle).arg(&c.id).inherit(leaked.into(), 9).out().ok();
    let pid = c.pid();
    // init closes its end of the channel after create has ended
    wait_for("the channel is closed", || !descriptors(pid).iter().any(|one| one.contains("socket:")));
    let waiting = descriptors(pid);
    let extra: Vec<_> =
        waiting.iter().filter(|one| !["0 ", "1 ", "2 "].iter().any(|stdio| one.starts_with(stdio))).collect();
    let dir = c.state_dir();
    let fifo = dir.join("exec.fifo");
    let is_fifo = |one: &str| one.split_once(' ').is_some_and(|(_, path)| std::path::Path::new(path) == fifo);
    assert!(extra.len() == 1 && extra.iter().all(|one| is_fifo(one)), "{waiting:#?}");
    // crun's suite reads a file of this name, and never ends where it is a fifo
    assert!(!dir.join("status").exists());
    c.start().ok();
    let running = descriptors(pid);
    assert_eq!(running.len(), 3, "{running:#?}");
    c.delete_force().ok();
}

/// `events`: members in runc's order at every level.
#[test]
fn events_have_runcs_order() {
    need_root!();
    let c = Container::running();
    let text = c.verb("events", &["--stats"]).out().ok().stdout;
    let mut rest = text.as_str();
    for name in
        ["type", "id", "data", "cpu", "usage", "total", "kernel", "user", "throttling", "memory", "pids", "blkio"]
    {
        let Some(at) = rest.find(&format!("\"{name}\":")) else { panic!("{name} is missing or too early in {text}") };
        rest = &rest[at..];
    }
}

/// youki's suite knows an error by that word; crun's and runc's know the warning of a poststop hook by theirs.
#[test]
fn errors_and_warnings_have_the_words_of_the_peers() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        config["hooks"] =
            json!({"poststop": [{"path": "/bin/false"}, {"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}]});
    });
    let refused = c.croci(["state", "absent"]).out().fails();
    let root = c.sandbox.root.display();
    let hint = format!("(`list` shows those in {root}; is it another --root?) [container.not_found]");
    assert_eq!(refused.stderr, format!("croci: error: container \"absent\" does not exist {hint}\n"));
    let seen = c.run().ok().stderr;
    let texts = [
        "croci: warning: poststop hook failed with exit code 1: error running poststop hook #0: \"/bin/false\": exit status 1",
        "croci: warning: error running poststop hook #1: \"/bin/sh\": killed by signal 9",
    ];
    assert_eq!(seen.lines().collect::<Vec<_>>(), texts);
}
