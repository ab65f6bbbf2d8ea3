//! The lifecycle of a container: create, start, state, kill, delete (checklist parts 1 and 2).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::Test;
use crate::container::{Container, find_cgroup};
use crate::harness::{Harness, wait_until};
use crate::proc_facts::{create_or_start, error_saying_one_of};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "OP-1", title: "every operation without an ID is an error", run: op_1 },
    Test {
        id: "ST-1",
        title: "state has ociVersion, id, status, an absolute bundle, a pid, the annotations",
        run: st_1,
    },
    Test { id: "ST-2", title: "the status changes from created to running to stopped, and then has no pid", run: st_2 },
    Test { id: "ST-2", title: "an init that is not reaped counts as stopped", run: st_2_zombie },
    Test { id: "ST-4", title: "state of an unknown ID is an error", run: st_4 },
    Test {
        id: "CR-1",
        title: "IDs that are no names of a directory are refused, and nothing is created for them",
        run: cr_1,
    },
    Test { id: "CR-1", title: "an ID of unusual characters is refused, or works as any other", run: cr_1_odd },
    Test { id: "CR-1", title: "a second create of the same ID fails and leaves the first alone", run: cr_1_twice },
    Test { id: "CR-2", title: "of several creates of one ID at once exactly one succeeds", run: cr_2 },
    Test { id: "CR-3", title: "the program does not run before start", run: cr_3 },
    Test { id: "CR-4", title: "a configuration that cannot be applied is an error and no container", run: cr_4 },
    Test { id: "CR-5", title: "create needs no process, start does", run: cr_5 },
    Test { id: "SA-1", title: "start of a running container is an error without effect", run: sa_1 },
    Test { id: "SA-1", title: "start of a stopped and of an unknown container is an error", run: sa_1_stopped },
    Test { id: "SA-2", title: "a program that cannot be executed is an error of create or start", run: sa_2 },
    Test { id: "KI-1", title: "kill reaches a created and a running container", run: ki_1 },
    Test {
        id: "KI-1",
        title: "the signal is known by number, by name, and by name with SIG; TERM is the default",
        run: ki_1_names,
    },
    Test {
        id: "KI-1",
        title: "kill of a stopped and of an unknown container is an error without effect",
        run: ki_1_stopped,
    },
    Test { id: "KI-1", title: "an unknown signal is an error without effect", run: ki_1_unknown },
    Test { id: "DE-1", title: "delete of a created and of a running container is an error without effect", run: de_1 },
    Test { id: "DE-2", title: "delete removes state and cgroup", run: de_2 },
    Test { id: "DE-3", title: "delete --force ends a running container; of an unknown ID it is silent", run: de_3 },
    Test { id: "DE-4", title: "the ID can be used again after delete", run: de_4 },
    Test { id: "CL-6", title: "the pid file holds the pid of the state and nothing else", run: cl_6 },
];

fn op_1(b: &Harness) -> Result<()> {
    for verb in ["create", "start", "state", "kill", "delete"] {
        b.call([verb]).error()?;
        b.call([verb, ""]).error()?;
    }
    Ok(())
}

fn st_1(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["annotations"] = json!({"org.example.key": "value", "org.example.empty": ""});
    c.create().ok()?;
    let state = c.state()?;
    ensure!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "ociVersion: {state}");
    ensure!(state["id"] == c.id.as_str(), "id: {state}");
    ensure!(state["bundle"] == c.bundle.to_string_lossy().as_ref(), "bundle: {state}");
    for (key, value) in [("org.example.key", "value"), ("org.example.empty", "")] {
        ensure!(state["annotations"][key] == value, "annotation {key}: {state}");
    }
    let pid = c.pid()?;
    ensure!(Path::new(&format!("/proc/{pid}")).exists(), "the pid of the state is no process: {state}");
    Ok(())
}

fn st_2(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    c.must_be("created")?;
    c.start().ok()?;
    c.must_be("running")?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    let state = c.state()?;
    ensure!(state["pid"].is_null() || state["pid"] == 0, "a stopped container has no pid: {state}");
    Ok(())
}

fn st_2_zombie(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    let pid = c.pid()?;
    c.kill("KILL").ok()?;
    wait_until("the init becomes a zombie", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')).then_some(()))
    })?;
    c.must_be("stopped")?;
    c.kill("KILL").error()?;
    c.delete().ok()?;
    Ok(())
}

fn st_4(b: &Harness) -> Result<()> {
    b.call(["state", &b.fresh_name()]).error()?;
    Ok(())
}

fn cr_1(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let (bundle, long) = (c.bundle.to_string_lossy(), "x".repeat(1200));
    for id in ["", ".", "..", "../evil", "a/b", "/a", &long] {
        b.call(["create", "--bundle", &bundle, id]).error().map_err(|err| err.context(format!("ID {id:?}")))?;
    }
    let beside = b.root().with_file_name("evil");
    ensure!(!beside.exists(), "{} was created", beside.display());
    for entry in fs::read_dir(b.root())? {
        let name = entry?.file_name();
        ensure!(name.to_string_lossy().starts_with('.'), "{name:?} was created in the state directory");
    }
    Ok(())
}

fn cr_1_odd(b: &Harness) -> Result<()> {
    // which other characters an ID may have is the runtime's choice, but one that it accepts has to work
    for odd in ["a b", "a\nb", "é", "a:b", "a\\b", "-a"] {
        let mut c = Container::new(b)?;
        c.id = format!("{odd}{}", c.id);
        if c.create().error().is_ok() {
            c.must_be_gone().with_context(|| format!("ID {odd:?}"))?;
            continue;
        }
        let state = c.state().with_context(|| format!("ID {odd:?}"))?;
        ensure!(state["id"] == c.id.as_str(), "ID {:?} is printed as {}", c.id, state["id"]);
        b.call(["delete", "--force", &c.id]).ok()?;
        c.must_be_gone().with_context(|| format!("ID {odd:?}"))?;
    }
    Ok(())
}

fn cr_1_twice(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    let pid = c.pid()?;
    b.call(["create", "--bundle", &c.bundle.to_string_lossy(), &c.id]).error()?;
    ensure!(c.pid()? == pid, "the first container changed");
    c.must_be("running")
}

fn cr_2(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let mut racers = Vec::new();
    for number in 0..5 {
        let (out, err) =
            (fs::File::create(c.bundle.join("out"))?, fs::File::create(c.bundle.join(format!("err{number}")))?);
        racers.push(c.create_command().stdout(out).stderr(err).spawn()?);
    }
    let mut winners = 0;
    for mut racer in racers {
        winners += usize::from(racer.wait()?.success());
    }
    ensure!(winners == 1, "{winners} of 5 succeeded");
    c.must_be("created")?;
    c.start().ok()?;
    c.must_be("running")
}

fn cr_3(b: &Harness) -> Result<()> {
    let c = Container::script(b, "echo it ran; touch /ran")?;
    c.create().ok()?;
    // there is no event to wait for: a program that ran by itself would have run within the lifetime of another
    // container
    drop(Container::stopped(b)?);
    ensure!(c.output().is_empty() && !c.path("/ran").exists(), "the program ran: {:?}", c.output());
    c.start().ok()?;
    c.wait_stopped()?;
    ensure!(c.output() == "it ran\n" && c.path("/ran").exists(), "the program printed {:?}", c.output());
    Ok(())
}

fn cr_4(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "nosuchfs", "source": "none"}));
    c.must_be_refused()?;
    let mut c = Container::new(b)?;
    c.config["linux"]["resources"] =
        json!({"pids": {"limit": 10}, "devices": [{"allow": true, "type": "q", "access": "rwm"}]});
    c.must_be_refused()?;
    Ok(())
}

fn cr_5(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.remove(&["process"]);
    c.create().ok()?;
    c.must_be("created")?;
    c.start().error()?;
    Ok(())
}

fn sa_1(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    let pid = c.pid()?;
    c.start().error()?;
    c.must_be("running")?;
    ensure!(c.pid()? == pid, "the pid changed");
    Ok(())
}

fn sa_1_stopped(b: &Harness) -> Result<()> {
    let c = Container::stopped(b)?;
    c.start().error()?;
    c.must_be("stopped")?;
    b.call(["start", &b.fresh_name()]).error()?;
    Ok(())
}

fn sa_2(b: &Harness) -> Result<()> {
    for (program, words) in [
        ("/bin/none", &["no such file or directory"] as &[&str]),
        ("none", &["executable file not found", "no such file or directory"]),
        ("/etc/passwd", &["permission denied"]),
    ] {
        let mut c = Container::new(b)?;
        c.config["process"]["args"] = json!([program]);
        error_saying_one_of(create_or_start(&c), words)?;
        if let Ok(status) = c.status() {
            ensure!(status == "stopped", "{program}: the container is {status}");
        }
    }
    Ok(())
}

fn ki_1(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    let c = Container::script(b, "trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.05; done")?;
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("ready")?;
    c.kill("USR1").ok()?;
    c.wait_output("got USR1")?;
    c.must_be("running")
}

fn ki_1_names(b: &Harness) -> Result<()> {
    let script =
        "for s in TERM HUP USR1 USR2; do trap \"echo got $s\" $s; done; echo ready; while :; do sleep 0.05; done";
    let c = Container::script(b, script)?;
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("ready")?;
    for (signal, name) in [("1", "HUP"), ("USR1", "USR1"), ("SIGUSR2", "USR2")] {
        c.kill(signal).ok()?;
        c.wait_output(&format!("got {name}"))?;
    }
    b.call(["kill", &c.id]).ok()?;
    c.wait_output("got TERM")
}

fn ki_1_stopped(b: &Harness) -> Result<()> {
    let c = Container::stopped(b)?;
    c.kill("KILL").error()?;
    c.must_be("stopped")?;
    b.call(["kill", &b.fresh_name(), "KILL"]).error()?;
    Ok(())
}

fn ki_1_unknown(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    for signal in ["99", "-9", "SIGNOTHING", "9x", ""] {
        c.kill(signal).error().map_err(|err| err.context(format!("signal {signal:?}")))?;
    }
    c.must_be("running")
}

fn de_1(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    c.delete().error()?;
    c.must_be("created")?;
    c.start().ok()?;
    c.delete().error()?;
    c.must_be("running")
}

fn de_2(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let cgroups = Path::new("/sys/fs/cgroup");
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    c.create().ok()?;
    ensure!(find_cgroup(cgroups, &c.id, 2).is_some(), "create created no cgroup {}", c.id);
    c.start().ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    c.must_be_gone()?;
    c.delete().error()?;
    Ok(())
}

fn de_3(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    let pid = c.pid()?;
    b.call(["delete", "--force", &c.id]).ok()?;
    c.must_be_gone()?;
    c.reap();
    if Path::new(&format!("/proc/{pid}")).exists() {
        bail!("process {pid} is still there");
    }
    let done = b.call(["delete", "--force", &b.fresh_name()]).ok()?;
    ensure!(done.err.is_empty(), "it printed {:?}", done.err);
    Ok(())
}

fn de_4(b: &Harness) -> Result<()> {
    let c = Container::stopped(b)?;
    c.delete().ok()?;
    c.create().ok()?;
    c.must_be("created")
}

fn cl_6(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let file = c.bundle.join("pid");
    let bundle = c.bundle.to_string_lossy();
    let mut command = b.command(["create", "--bundle", &bundle, "--pid-file", &file.to_string_lossy(), &c.id]);
    c.create_as_it_is(&mut command).ok()?;
    let text = fs::read_to_string(&file)?;
    ensure!(text == c.pid()?.to_string(), "the file holds {text:?}, the state {}", c.pid()?);
    Ok(())
}
