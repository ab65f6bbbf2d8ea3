//! The output of `state` in each phase of a container's lifecycle, and the valid IDs (checklist part 2).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::container::{Container, find_cgroup};
use crate::files::read;
use crate::harness::Harness;
use crate::proc_facts::{Facts, expect};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "ST-1",
        title: "the required properties are present when created, running and stopped",
        run: st_1_always,
    },
    Test { id: "ST-1", title: "without annotations the state has none", run: st_1_no_annotations },
    Test { id: "ST-2", title: "while create is under way the status is creating, or state fails", run: st_2_creating },
    Test { id: "ST-2", title: "a container is stopped when its program ends by itself", run: st_2_exits },
    Test { id: "ST-2", title: "a container is stopped when its init is killed before start", run: st_2_killed },
    Test { id: "ST-2", title: "the pid is that of the first process, which executes the program", run: st_2_pid },
    Test { id: "ST-3", title: "state prints one JSON object whose properties have the types of the schema", run: st_3 },
    Test { id: "ST-4", title: "state, start and delete of a deleted container are errors", run: st_4_deleted },
    Test { id: "CR-1", title: "IDs of all the usual characters are accepted", run: cr_1_good },
    Test { id: "CR-1", title: "no ID makes a verb leave the state directory", run: cr_1_outside },
    Test { id: "CR-1", title: "create with the ID of a created or a stopped container is an error", run: cr_1_taken },
    Test { id: "CR-2", title: "parallel creates of different IDs all succeed", run: cr_2_different },
    Test { id: "CR-3", title: "namespaces, mounts, cgroup and root exist after create", run: cr_3_applied },
    Test { id: "CR-4", title: "a setting of any kind that the kernel refuses is an error of create", run: cr_4_kinds },
    Test { id: "CR-5", title: "create needs no linux object", run: cr_5_linux },
];

/// Returns the state of a container in each phase of its lifecycle.
fn states(c: &Container<'_>) -> Result<Vec<(&'static str, Value)>> {
    c.create().ok()?;
    let mut states = vec![("created", c.state()?)];
    c.start().ok()?;
    states.push(("running", c.state()?));
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    states.push(("stopped", c.state()?));
    Ok(states)
}

fn st_1_always(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    for (status, state) in states(&c)? {
        let wanted = json!([c.id, status, c.bundle]);
        expect("id, status, bundle", json!([state["id"], state["status"], state["bundle"]]), wanted)?;
        ensure!(state["ociVersion"].is_string(), "{status}: no ociVersion in {state}");
    }
    Ok(())
}

fn st_1_no_annotations(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    for (status, state) in states(&c)? {
        let none = state.get("annotations").is_none_or(|a| a.as_object().is_some_and(serde_json::Map::is_empty));
        ensure!(none, "{status}: annotations are {}", state["annotations"]);
    }
    Ok(())
}

fn st_2_creating(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let (out, err) = (c.bundle.join("asked"), c.bundle.join("asked.err"));
    let ask = format!(
        "{} --root {} state {} >{} 2>{}; true",
        b.runtime().display(),
        b.root().display(),
        c.id,
        out.display(),
        err.display()
    );
    let hook = json!({"path": c.path("/bin/busybox"), "args": ["timeout", "-s", "KILL", "3", "/bin/sh", "-c", ask], "env": ["PATH=/usr/bin:/bin"]});
    c.config["hooks"] = json!({"createRuntime": [hook]});
    c.create().ok()?;
    ensure!(out.exists(), "the hook did not run");
    let output = read(&out);
    if output.trim().is_empty() {
        ensure!(!read(&err).trim().is_empty(), "state in a createRuntime hook neither printed nor failed within 3 s");
        return Ok(());
    }
    let state: Value = serde_json::from_str(&output).context("state in a createRuntime hook")?;
    expect("the status in a createRuntime hook", &state["status"], &json!("creating"))
}

fn st_2_exits(b: &Harness) -> Result<()> {
    for program in ["true", "false"] {
        let mut c = Container::new(b)?;
        c.config["process"]["args"] = json!([program]);
        c.run()?;
        let state = c.state()?;
        expect("the status", &state["status"], &json!("stopped"))?;
        ensure!(state["pid"].is_null() || state["pid"] == 0, "a stopped container has no pid: {state}");
    }
    Ok(())
}

fn st_2_killed(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    // not by the runtime, but by a process of the host
    nix::sys::signal::kill(c.pid()?, nix::sys::signal::Signal::SIGKILL)?;
    c.wait_stopped()?;
    c.start().error().context("start after the init was killed")?;
    c.delete().ok()?;
    c.must_be_gone()
}

fn st_2_pid(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let created = Facts::of(&c)?;
    let start_time = created.stat(22)?;
    c.start().ok()?;
    let running = Facts::of_program(&c)?;
    expect("the pid after start", running.pid(), created.pid())?;
    expect("the start time of that process", running.stat(22)?, start_time)?;
    expect("its pids, the innermost last", running.status("NSpid")?, format!("{} 1", running.pid()))
}

fn st_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["annotations"] = json!({"org.example.key": "value"});
    for (status, state) in states(&c)? {
        ensure!(state.is_object(), "{status}: no object: {state}");
        for key in ["ociVersion", "id", "status", "bundle"] {
            ensure!(state[key].is_string(), "{status}: {key} is {}", state[key]);
        }
        let pid = state.get("pid");
        ensure!(pid.is_none_or(Value::is_u64), "{status}: pid is {}", state["pid"]);
        ensure!(status == "stopped" || pid.and_then(Value::as_u64).is_some_and(|p| p > 0), "{status}: pid is {pid:?}");
        let strings = state["annotations"].as_object().is_some_and(|map| map.values().all(Value::is_string));
        ensure!(strings, "{status}: annotations are {}", state["annotations"]);
    }
    let done = b.call(["state", &c.id]).ok()?;
    expect("standard error of state", done.err.as_str(), "")
}

fn st_4_deleted(b: &Harness) -> Result<()> {
    let c = Container::stopped(b)?;
    c.delete().ok()?;
    for verb in ["state", "start", "delete"] {
        b.call([verb, &c.id]).error()?;
    }
    Ok(())
}

fn cr_1_good(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let base = c.id.clone();
    for id in [format!("{base}.A_b-C+9"), format!("{base}-{}", "x".repeat(64)), format!("_{base}"), format!("0{base}")]
    {
        c.id.clone_from(&id);
        c.create().ok().with_context(|| format!("ID {id:?}"))?;
        expect("the state's id", &c.state()?["id"], &json!(id))?;
        b.call(["delete", "--force", &id]).ok()?;
        c.reap();
    }
    Ok(())
}

fn cr_1_outside(b: &Harness) -> Result<()> {
    // a state directory of its own, because a verb that leaves it may reach the case's directories
    let c = Container::new(b)?;
    let (root, victim) = (c.bundle.join("state/root"), c.bundle.join("state/victim"));
    fs::create_dir_all(&root)?;
    fs::create_dir_all(&victim)?;
    fs::write(victim.join("file"), "")?;
    for id in ["../victim", "none/../../victim", "..", ".", "./.."] {
        for verb in [&["state"] as &[&str], &["start"], &["kill"], &["delete"], &["delete", "--force"]] {
            let mut command = Command::new(b.runtime());
            command.arg("--root").arg(&root).args(verb).arg(id).stdin(Stdio::null());
            let done = b.call_to(&mut command, &c.bundle.join("out"), &c.bundle.join("err"));
            ensure!(victim.join("file").exists(), "{verb:?} {id:?} deleted a directory beside the state directory");
            // with --force some runtimes report no error for an ID that cannot exist
            if *verb != ["delete", "--force"] {
                done.error().with_context(|| format!("{verb:?} {id:?}"))?;
            }
        }
    }
    Ok(())
}

fn cr_1_taken(b: &Harness) -> Result<()> {
    for c in [Container::created(b)?, Container::stopped(b)?] {
        let before = c.state()?;
        // with a different bundle, so that only the ID conflicts
        let other = Container::new(b)?;
        other.write_config()?;
        b.call(["create", "--bundle", &other.bundle.to_string_lossy(), &c.id]).error()?;
        expect("the state of the first container", c.state()?, before)?;
    }
    Ok(())
}

fn cr_2_different(b: &Harness) -> Result<()> {
    let mut racers = Vec::new();
    for _ in 0..4 {
        let c = Container::new(b)?;
        c.write_config()?;
        let err = fs::File::create(c.bundle.join("err"))?;
        let child = c.create_command().stdout(fs::File::create(c.bundle.join("out"))?).stderr(err).spawn()?;
        racers.push((c, child));
    }
    let mut pids = BTreeSet::new();
    let mut failed = Vec::new();
    for (c, mut child) in racers {
        if !child.wait()?.success() {
            failed.push(c.output());
            continue;
        }
        c.adopt();
        pids.insert(c.pid()?);
    }
    ensure!(failed.is_empty() && pids.len() == 4, "failed: {failed:?}, pids of the others: {pids:?}");
    Ok(())
}

fn cr_3_applied(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}));
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    c.config["root"]["readonly"] = json!(true);
    c.create().ok()?;
    let facts = Facts::of(&c)?;
    for kind in ["pid", "net", "ipc", "uts", "mnt"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}"))?.to_string_lossy().into_owned();
        ensure!(facts.link(&format!("ns/{kind}"))? != host, "the created container has the host's {kind} namespace");
    }
    facts.mount("/tmp")?.must_have(&["nosuid"], &[])?;
    facts.mount("/")?.must_have(&["ro"], &[])?;
    ensure!(find_cgroup(Path::new("/sys/fs/cgroup"), &c.id, 2).is_some(), "create created no cgroup {}", c.id);
    ensure!(facts.read("cgroup")?.contains(&c.id), "the init is not in it: {}", facts.read("cgroup")?);
    ensure!(facts.path("root/bin/busybox").exists(), "the init's root is not the container's");
    Ok(())
}

fn cr_4_kinds(b: &Harness) -> Result<()> {
    crate::proc_facts::refuse_each(
        b,
        &[
            (&["mounts"], json!([{"destination": "/tmp", "type": "nosuchfs", "source": "none"}])),
            (
                &["mounts"],
                json!([{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=wrong"]}]),
            ),
            (&["linux", "sysctl"], json!({"net.ipv4.ip_forward": "no number"})),
            (&["hostname"], json!("x".repeat(65))),
            (&["linux", "namespaces"], json!([{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/none"}])),
        ],
    )
}

fn cr_5_linux(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.remove(&["linux"]);
    // without a mount namespace these would be mounted on the host
    c.config["mounts"] = json!([]);
    c.create().ok()?;
    c.must_be("created")?;
    let facts = Facts::of(&c)?;
    for kind in ["pid", "net", "mnt"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}"))?.to_string_lossy().into_owned();
        expect(&format!("the {kind} namespace"), facts.link(&format!("ns/{kind}"))?, host)?;
    }
    c.start().ok()?;
    Facts::of_program(&c)?;
    if facts.link("root")? != c.path("/").to_string_lossy().trim_end_matches('/') {
        bail!("the program's root is {}", facts.link("root")?);
    }
    Ok(())
}
