//! Annotations: kept as they are, the reserved ones, those that change what a runtime does (checklist parts 18 and 24).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use super::features::features;
use super::identity::in_user_namespace;
use crate::agent::Agent;
use crate::checks::{accepted, prints, refused, refused_or_created, with};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "AN-1", title: "annotations are in the state as they are, whatever their text", run: verbatim },
    Test { id: "AN-1", title: "annotations reach hooks as they are", run: in_hooks },
    Test { id: "AN-1", title: "no annotations are none in the state", run: none },
    Test {
        id: "AN-1",
        title: "annotations that are no map of strings are an error",
        run: |b| {
            refused(
                b,
                &["annotations"],
                &[json!({"a": true}), json!({"a": ["x"]}), json!({"a": {"b": "c"}}), json!("x")],
            )
        },
    },
    Test { id: "AN-2", title: "annotations that describe an image have no effect", run: image },
    Test {
        id: "AN-2",
        title: "unknown annotations below org.opencontainers are no error",
        run: |b| {
            accepted(
                b,
                &["annotations"],
                &[json!({"org.opencontainers.no.such.key": "x", "org.opencontainers.image.nosuch": "y"})],
            )
        },
    },
    Test {
        id: "AN-3",
        title: "kill without a signal sends the stop signal of the image",
        run: |b| stop_signal(b, Some("SIGUSR1"), "got USR1"),
    },
    Test { id: "AN-3", title: "a stop signal may be a number", run: |b| stop_signal(b, Some("10"), "got USR1") },
    Test {
        id: "AN-3",
        title: "kill without a signal and without a stop signal sends TERM",
        run: |b| stop_signal(b, None, "got TERM"),
    },
    Test { id: "AN-3", title: "a signal given to kill takes precedence over the stop signal", run: given_signal },
    Test {
        id: "AN-4",
        title: "an annotation of another program changes nothing",
        run: |b| {
            prints(
                b,
                "echo ran",
                &["annotations"],
                &json!({"io.example.handler": "x", "org.example.run": "krun"}),
                "ran\n",
            )
        },
    },
    Test { id: "AN-4", title: "run.oci.seccomp.receiver replaces listenerPath", run: receiver },
    Test {
        id: "AN-4",
        title: "run.oci.seccomp_fail_unknown_syscall makes an unknown name an error",
        run: fail_unknown,
    },
    Test { id: "AN-4", title: "run.oci.seccomp_bpf_data is the filter", run: bpf_data },
    Test { id: "AN-4", title: "run.oci.seccomp_bpf_data that is no program is an error", run: bad_bpf },
    Test { id: "AN-4", title: "run.oci.keep_original_groups keeps the caller's groups", run: keep_groups },
    Test {
        id: "AN-4",
        title: "run.oci.keep_original_groups keeps them in a user namespace, without ids",
        run: keep_groups_in_user_namespace,
    },
    Test { id: "AN-4", title: "run.oci.pidfd_receiver gets a pidfd of init", run: pidfd },
    Test { id: "AN-4", title: "run.oci.pidfd_receiver without a listener is an error", run: no_pidfd },
    Test { id: "AN-4", title: "run.oci.hooks.stdout and stderr take what hooks print", run: hook_output },
    Test { id: "AN-4", title: "run.oci.hooks.stdout that cannot be opened is an error", run: no_hook_output },
    Test { id: "AN-4", title: "a handler that the runtime lacks is an error", run: handler },
    Test {
        id: "AN-4",
        title: "an unknown run.oci.mount_context_type is an error, or has no effect without a label",
        run: context,
    },
    Test {
        id: "HK-10",
        title: "delete succeeds although the file for the output of hooks is missing",
        run: output_gone,
    },
];

fn verbatim(b: &Harness) -> Result<()> {
    let all = json!({"org.example.empty": "", "org.example.text": " é\n\"quoted\"\t{} ", "x": "y", "org.example/slash": "a=b"});
    let c = with(b, &["annotations"], &all)?;
    c.create().ok()?;
    let state = c.state()?;
    ensure!(state["annotations"] == all, "the state has the annotations {}", state["annotations"]);
    Ok(())
}

fn in_hooks(b: &Harness) -> Result<()> {
    let all = json!({"org.example.text": " é\n\"quoted\" ", "org.example.empty": ""});
    let mut c = with(b, &["annotations"], &all)?;
    let file = c.bundle.join("state.json");
    let script = format!("cat >{}", file.display());
    c.config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]});
    c.create().ok()?;
    let state: Value = serde_json::from_str(&read(&file)).context("what the hook read")?;
    ensure!(state["annotations"] == all, "the hook received the annotations {}", state["annotations"]);
    Ok(())
}

fn none(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.remove(&["annotations"]);
    c.create().ok()?;
    let state = c.state()?;
    let annotations = &state["annotations"];
    // runtimes add annotations of their own, but none of the image's
    let images =
        annotations.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("org.opencontainers."));
    ensure!(images.count() == 0, "the state has the annotations {annotations}");
    Ok(())
}

fn image(b: &Harness) -> Result<()> {
    let names = ["os", "os.version", "os.features", "architecture", "variant", "author", "created"];
    let all: serde_json::Map<String, Value> =
        names.iter().map(|name| (format!("org.opencontainers.image.{name}"), json!("anything"))).collect();
    let mut c = Container::script(b, "echo ran")?;
    c.config["annotations"] = Value::Object(all.clone());
    let out = c.run()?;
    ensure!(out == "ran\n", "it printed {out:?}");
    let state = c.state()?;
    ensure!(
        all.iter().all(|(key, value)| state["annotations"][key] == *value),
        "the state has {}",
        state["annotations"]
    );
    Ok(())
}

/// Starts a container that prints the signals that it receives.
fn waiting<'a>(b: &'a Harness, stop_signal: Option<&str>) -> Result<Container<'a>> {
    let script =
        "trap 'echo got USR1; exit' USR1; trap 'echo got TERM; exit' TERM; echo ready; while :; do sleep 0.01; done";
    let mut c = Container::script(b, script)?;
    if let Some(signal) = stop_signal {
        c.config["annotations"] = json!({"org.opencontainers.image.stopSignal": signal});
    }
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("ready")?;
    Ok(c)
}

fn stop_signal(b: &Harness, signal: Option<&str>, wanted: &str) -> Result<()> {
    let c = waiting(b, signal)?;
    b.call(["kill", &c.id]).ok()?;
    c.wait_stopped()?;
    ensure!(c.output().contains(wanted), "stop signal {signal:?}: the program printed {:?}", c.output());
    Ok(())
}

fn given_signal(b: &Harness) -> Result<()> {
    let c = waiting(b, Some("SIGUSR1"))?;
    c.kill("TERM").ok()?;
    c.wait_stopped()?;
    ensure!(c.output().contains("got TERM"), "kill TERM: the program printed {:?}", c.output());
    Ok(())
}

/// Prepares a container with one of the extensions; skips the test where the runtime declares no such annotation.
fn extended<'a>(b: &'a Harness, key: &str, value: &str) -> Result<Container<'a>> {
    let document = features(b)?;
    let declared = document["potentiallyUnsafeConfigAnnotations"].as_array().into_iter().flatten();
    let knows = |known: &str| known == key || known.ends_with('.') && key.starts_with(known);
    if !declared.filter_map(Value::as_str).any(knows) {
        return skip(&format!("the runtime does not declare the annotation {key}"));
    }
    with(b, &["annotations"], &json!({key: value}))
}

fn receiver(b: &Harness) -> Result<()> {
    let mut c = extended(b, "run.oci.seccomp.receiver", "/")?;
    let agent = Agent::listen(&c.bundle.join("agent.sock"), 1)?;
    c.config["annotations"] = json!({"run.oci.seccomp.receiver": agent.path});
    let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    c.config["linux"]["seccomp"] =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "words", "syscalls": rules});
    c.create().ok()?;
    c.start().ok()?;
    let report = agent.one()?;
    ensure!(report.links == ["anon_inode:seccomp notify"], "the descriptors are {:?}", report.links);
    ensure!(report.document["metadata"] == "words", "the metadata is {}", report.document["metadata"]);
    Ok(())
}

fn fail_unknown(b: &Harness) -> Result<()> {
    let rule = |name: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", name], "action": "SCMP_ACT_ERRNO"}]});
    let mut c = extended(b, "run.oci.seccomp_fail_unknown_syscall", "1")?;
    c.config["linux"]["seccomp"] = rule("no_such_call");
    let done = c.must_be_refused()?;
    ensure!(done.err.contains("no_such_call"), "the error does not name the call: {}", done.err);
    let mut c = extended(b, "run.oci.seccomp_fail_unknown_syscall", "1")?;
    c.config["linux"]["seccomp"] = rule("rmdir");
    c.create().ok().context("a profile of known names")?;
    Ok(())
}

fn bpf_data(b: &Harness) -> Result<()> {
    // mkdir is ENOSPC, every other call passes: the number is x86-64's
    if !cfg!(target_arch = "x86_64") {
        return skip("the program is for x86-64");
    }
    // ld [0]; jeq #83, 0, 1; ret ERRNO|28; ret ALLOW
    let program = "IAAAAAAAAAAVAAABUwAAAAYAAAAcAAUABgAAAAAA/38=";
    let mut c = extended(b, "run.oci.seccomp_bpf_data", program)?;
    c.config["process"]["args"] = json!(["sh", "-c", "mkdir /made 2>&1; rmdir /nowhere 2>&1"]);
    // a profile beside it is ignored
    c.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    let out = c.run()?;
    ensure!(out.contains("No space left on device") && !c.path("/made").exists(), "it printed {out:?}");
    Ok(())
}

fn bad_bpf(b: &Harness) -> Result<()> {
    for text in ["no base64!", "AAAA", "/////////////w=="] {
        extended(b, "run.oci.seccomp_bpf_data", text)?.must_be_refused().with_context(|| format!("{text:?}"))?;
    }
    Ok(())
}

fn keep_groups(b: &Harness) -> Result<()> {
    for (value, wanted) in [("1", json!([11, 12])), ("0", json!([]))] {
        let c = extended(b, "run.oci.keep_original_groups", value)?;
        let groups = groups_of(c)?;
        ensure!(groups == wanted, "keep_original_groups={value}: the program has the groups {groups}");
    }
    Ok(())
}

fn keep_groups_in_user_namespace(b: &Harness) -> Result<()> {
    let annotations = extended(b, "run.oci.keep_original_groups", "1")?.config["annotations"].take();
    let mut c = in_user_namespace(b, 1000)?;
    c.config["annotations"] = annotations;
    let groups = groups_of(c)?;
    ensure!(groups == json!([65_534, 65_534]), "groups 11 and 12 of the caller, which are not mapped, are {groups}");
    Ok(())
}

/// Returns the groups of a container's program where the caller of the runtime has the groups 11 and 12.
fn groups_of(mut c: Container<'_>) -> Result<Value> {
    c.set_acts(&[]);
    c.write_config()?;
    // setpriv calls the runtime with them
    let create = c.create_command();
    let mut command = Command::new("setpriv");
    command.args(["--groups", "11,12", "--"]).arg(create.get_program()).args(create.get_args());
    if Command::new("setpriv").arg("--version").output().is_err() {
        return skip("no setpriv here, to give the runtime groups");
    }
    c.create_as_it_is(&mut command).ok()?;
    c.start().ok()?;
    c.wait_stopped()?;
    Ok(crate::container::parse_facts(&c.output())?["groups"].take())
}

fn pidfd(b: &Harness) -> Result<()> {
    let mut c = extended(b, "run.oci.pidfd_receiver", "/")?;
    let agent = Agent::listen(&c.bundle.join("pidfd.sock"), 1)?;
    c.config["annotations"] = json!({"run.oci.pidfd_receiver": agent.path});
    c.create().ok()?;
    let report = agent.one()?;
    let (pid, info) = (c.pid()?, report.infos.join("\n"));
    ensure!(
        info.lines().any(|line| line == format!("Pid:\t{pid}")),
        "init is {pid}; the descriptor is {:?}: {info:?}",
        report.links
    );
    Ok(())
}

fn no_pidfd(b: &Harness) -> Result<()> {
    extended(b, "run.oci.pidfd_receiver", "/no/such/socket")?.must_be_refused()?;
    Ok(())
}

/// Prepares a container whose hooks print into files in the bundle.
fn printing<'a>(b: &'a Harness, hooks: &[&str]) -> Result<Container<'a>> {
    let mut c = extended(b, "run.oci.hooks.stdout", "/")?;
    let file = |name: &str| json!(c.bundle.join(name));
    c.config["annotations"] =
        json!({"run.oci.hooks.stdout": file("hooks.out"), "run.oci.hooks.stderr": file("hooks.err")});
    for kind in hooks {
        let script = format!("echo {kind} says; echo {kind} complains >&2");
        let path = if *kind == "startContainer" { "/bin/sh" } else { "/bin/bash" };
        c.config["hooks"][*kind] = json!([{"path": path, "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
    }
    Ok(c)
}

fn hook_output(b: &Harness) -> Result<()> {
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let mut c = printing(b, &kinds)?;
    c.config["process"]["args"] = json!(["true"]);
    fs::write(c.bundle.join("hooks.out"), "before\n")?;
    c.run()?;
    c.delete().ok()?;
    let (out, err) = (read(&c.bundle.join("hooks.out")), read(&c.bundle.join("hooks.err")));
    let said: String = kinds.iter().map(|kind| format!("{kind} says\n")).collect();
    let complained: String = kinds.iter().map(|kind| format!("{kind} complains\n")).collect();
    ensure!(out == format!("before\n{said}") && err == complained, "standard output {out:?}, standard error {err:?}");
    Ok(())
}

fn no_hook_output(b: &Harness) -> Result<()> {
    let mut c = printing(b, &["createRuntime"])?;
    c.config["annotations"]["run.oci.hooks.stdout"] = json!("/no/such/directory/file");
    c.must_be_refused()?;
    Ok(())
}

fn output_gone(b: &Harness) -> Result<()> {
    let mut c = printing(b, &["poststop"])?;
    let (dir, mark) = (c.bundle.join("logs"), c.bundle.join("ran"));
    fs::create_dir(&dir)?;
    c.config["annotations"] = json!({"run.oci.hooks.stdout": dir.join("out")});
    let script = format!("echo ran >{}", mark.display());
    c.config["hooks"]["poststop"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    c.config["process"]["args"] = json!(["true"]);
    c.run()?;
    fs::remove_dir_all(&dir)?;
    c.delete().ok()?;
    ensure!(mark.exists(), "the poststop hook was not run");
    c.must_be_gone()
}

fn handler(b: &Harness) -> Result<()> {
    let mut c = extended(b, "run.oci.handler", "no-such-handler")?;
    c.config["process"]["args"] = json!(["true"]);
    c.must_be_refused()?;
    Ok(())
}

fn context(b: &Harness) -> Result<()> {
    let c = extended(b, "run.oci.mount_context_type", "nosuch")?;
    refused_or_created(&c)?;
    for kind in ["context", "fscontext", "defcontext", "rootcontext"] {
        let c = extended(b, "run.oci.mount_context_type", kind)?;
        if Path::new("/sys/fs/selinux/enforce").exists() {
            return skip("SELinux is on here: a label would have to be one of its policy");
        }
        c.create().ok().with_context(|| kind.to_owned())?;
    }
    Ok(())
}
