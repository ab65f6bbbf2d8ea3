//! Hooks: order, state on stdin, environment, failure, timeout (checklist part 3).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::container::Container;
use crate::files::read;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "LC-1", title: "hooks of all kinds run in order, around the program", run: lc_1 },
    Test {
        id: "LC-2",
        title: "a failing hook of create fails create, later hooks are not run, poststop is",
        run: lc_2_create,
    },
    Test { id: "LC-2", title: "a failing startContainer hook fails start, the program never runs", run: lc_2_start },
    Test { id: "LC-2", title: "a failing poststart hook fails start and ends the container", run: lc_2_poststart },
    Test { id: "LC-3", title: "a failing poststop hook is a warning: later ones run, delete succeeds", run: lc_3 },
    Test { id: "HK-1", title: "a hook that is missing or is killed by a signal has failed", run: hk_1 },
    Test { id: "HK-1", title: "the error of a failed hook has its kind and index, in runc's words", run: hk_1_index },
    Test { id: "HK-2", title: "each kind of hook reads version, id, bundle and annotations", run: hk_2_state },
    Test { id: "HK-2", title: "a hook that does not read a large state neither hangs nor ends the runtime", run: hk_2 },
    Test { id: "HK-3", title: "the status that each kind of hook reads is the specification's", run: hk_3 },
    Test { id: "HK-4", title: "the pid that each kind of hook reads is the one in its own namespace", run: hk_4 },
    Test {
        id: "HK-5",
        title: "startContainer hooks run in the container's root, the others in the runtime's",
        run: hk_5,
    },
    Test { id: "HK-8", title: "a hook that outlives its timeout fails create, in time", run: hk_8 },
    Test { id: "HK-8", title: "a timeout of 0 or less is an error", run: hk_8_zero },
    Test { id: "HK-9", title: "a hook on the host without env has nothing of the container's environment", run: hk_9 },
    Test {
        id: "HK-9",
        title: "a hook without env has the environment of its side: the runtime's, the program's with HOME",
        run: hk_9_inherited,
    },
    Test { id: "HK-11", title: "a relative or missing path of any kind of hook is an error of create", run: hk_11 },
];

/// All kinds of hooks, in their order.
pub const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Returns a hook that runs a shell script, with the bundle's busybox, inside or outside the container.
pub fn hook(c: &Container<'_>, kind: &str, script: &str) -> Value {
    let shell = if kind == "startContainer" { "/bin/busybox".into() } else { c.path("/bin/busybox") };
    json!({"path": shell, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

/// Returns the path at which hooks of this kind find the container's root.
pub fn root(c: &Container<'_>, kind: &str) -> String {
    if kind == "startContainer" {
        String::new()
    } else {
        c.path("/").to_string_lossy().trim_end_matches('/').to_owned()
    }
}

/// Adds a hook that runs a shell script.
pub fn add(c: &mut Container<'_>, kind: &str, script: &str) {
    let hook = hook(c, kind, script);
    c.push(&["hooks", kind], hook);
}

/// Prepares a container whose hooks each append their kind to /log in its root.
fn logging<'a>(b: &'a Harness, kinds: &[&str]) -> Result<Container<'a>> {
    let mut c = Container::script(b, "echo program >>/log; sleep 1000")?;
    for kind in kinds {
        let script = format!("echo {kind} >>{}/log", root(&c, kind));
        add(&mut c, kind, &script);
    }
    Ok(c)
}

fn log(c: &Container<'_>) -> String {
    read(&c.path("/log")).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lc_1(b: &Harness) -> Result<()> {
    let c = logging(b, &KINDS)?;
    c.create().ok()?;
    ensure!(log(&c) == "prestart createRuntime createContainer", "create ran {:?}", log(&c));
    c.start().ok()?;
    crate::harness::wait_until("the program runs", || Ok(log(&c).contains("program").then_some(())))?;
    let run = log(&c);
    ensure!(run.starts_with("prestart createRuntime createContainer startContainer "), "start ran {run:?}");
    // the program and poststart run side by side
    ensure!(run.contains("program") && run.contains("poststart"), "start ran {run:?}");
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    ensure!(!log(&c).contains("poststop"), "poststop ran before delete");
    c.delete().ok()?;
    ensure!(log(&c).ends_with(" poststop"), "delete ran {:?}", log(&c));
    Ok(())
}

fn lc_2_create(b: &Harness) -> Result<()> {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut c = logging(b, &["poststop"])?;
        add(&mut c, kind, "exit 3");
        let script = format!("echo later >>{}/log", root(&c, kind));
        add(&mut c, kind, &script);
        c.must_be_refused().context(kind)?;
        ensure!(log(&c) == "poststop", "{kind}: ran {:?}", log(&c));
    }
    Ok(())
}

fn lc_2_start(b: &Harness) -> Result<()> {
    let mut c = logging(b, &[])?;
    add(&mut c, "startContainer", "exit 3");
    c.create().ok()?;
    c.start().error()?;
    if c.state().is_ok() {
        c.wait_stopped()?;
    }
    ensure!(!log(&c).contains("program"), "the program ran");
    Ok(())
}

fn lc_2_poststart(b: &Harness) -> Result<()> {
    let mut c = logging(b, &[])?;
    add(&mut c, "poststart", "exit 3");
    c.create().ok()?;
    c.start().error()?;
    if c.state().is_ok() {
        c.wait_stopped().context("after a failed poststart hook")?;
    }
    Ok(())
}

fn lc_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    add(&mut c, "poststop", "exit 3");
    let script = format!("echo poststop >>{}/log", root(&c, "poststop"));
    add(&mut c, "poststop", &script);
    c.create().ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    let shown = c.delete().ok()?.err;
    ensure!(shown.contains("poststop"), "the warning does not name the poststop hook: {shown:?}");
    ensure!(log(&c) == "poststop", "the hook after the failing one did not run");
    c.must_be_gone()
}

fn hk_1(b: &Harness) -> Result<()> {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut c = Container::new(b)?;
        c.config["hooks"] = json!({kind: [{"path": "/nonexistent/hook"}]});
        c.must_be_refused().context(kind)?;
        let mut c = Container::new(b)?;
        add(&mut c, kind, "kill -9 $$");
        c.must_be_refused().context(kind)?;
    }
    Ok(())
}

fn hk_2(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    // larger than a pipe's buffer
    c.config["annotations"] = json!({"org.example.large": "x".repeat(400_000)});
    for kind in ["createRuntime", "poststart"] {
        add(&mut c, kind, "exec 0<&-");
    }
    c.create().ok()?;
    c.start().ok()?;
    c.must_be("running")
}

/// The states that the hooks of each kind read, and their container with the pid of its init.
struct Read<'a> {
    container: Container<'a>,
    states: Vec<(&'static str, Value)>,
    pid: i64,
}

fn states(b: &Harness) -> Result<Read<'_>> {
    let mut c = Container::new(b)?;
    c.config["annotations"] = json!({"org.example.key": "value"});
    for kind in KINDS {
        let script = format!("/bin/cat >{}/{kind}.json", root(&c, kind));
        let script = if kind == "startContainer" { script } else { script.replace("/bin/cat", "cat") };
        add(&mut c, kind, &script);
    }
    c.create().ok()?;
    let pid = i64::from(c.pid()?.as_raw());
    c.start().ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    let mut states = Vec::new();
    for kind in KINDS {
        let text = fs::read(c.path(&format!("/{kind}.json"))).with_context(|| format!("{kind} read no state"))?;
        let state: Value = serde_json::from_slice(&text).with_context(|| format!("{kind} read no JSON"))?;
        states.push((kind, state));
    }
    Ok(Read { container: c, states, pid })
}

fn hk_2_state(b: &Harness) -> Result<()> {
    let Read { container: c, states, .. } = states(b)?;
    for (kind, state) in states {
        ensure!(state["id"] == c.id.as_str() && state["ociVersion"].is_string(), "{kind}: {state}");
        ensure!(state["bundle"] == c.bundle.to_string_lossy().as_ref(), "{kind}: bundle {}", state["bundle"]);
        ensure!(state["annotations"]["org.example.key"] == "value", "{kind}: annotations of {state}");
    }
    Ok(())
}

fn hk_3(b: &Harness) -> Result<()> {
    let wanted = ["creating", "creating", "creating", "created", "running", "stopped"];
    for ((kind, state), wanted) in states(b)?.states.into_iter().zip(wanted) {
        ensure!(state["status"] == wanted, "{kind}: status {}, it has to be {wanted:?}", state["status"]);
    }
    Ok(())
}

fn hk_4(b: &Harness) -> Result<()> {
    let Read { states, pid, .. } = states(b)?;
    for (kind, state) in states {
        let seen = &state["pid"];
        match kind {
            "createContainer" | "startContainer" => ensure!(*seen == 1, "{kind}: pid {seen}, inside it is 1"),
            "poststop" => ensure!(seen.is_null() || *seen == 0, "{kind}: pid {seen} of a stopped container"),
            _ => ensure!(*seen == pid, "{kind}: pid {seen}, on the host it is {pid}"),
        }
    }
    Ok(())
}

fn hk_5(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::write(c.path("/inside"), "")?;
    for kind in KINDS {
        let script =
            format!("test -e /inside && where=inside || where=outside; echo $where >{}/{kind}.where", root(&c, kind));
        add(&mut c, kind, &script);
    }
    c.create().ok()?;
    c.start().ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    for kind in KINDS {
        let (seen, wanted) =
            (read(&c.path(&format!("/{kind}.where"))), if kind == "startContainer" { "inside" } else { "outside" });
        ensure!(seen.trim() == wanted, "{kind} ran {seen:?}, it has to run {wanted}");
    }
    Ok(())
}

fn hk_8(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut slow = hook(&c, "createRuntime", "sleep 15 & sleep 15");
    slow["timeout"] = json!(1);
    c.config["hooks"] = json!({"createRuntime": [slow]});
    let start = Instant::now();
    c.must_be_refused()?;
    let took = start.elapsed();
    ensure!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "it took {took:?}, the timeout is 1 s");
    Ok(())
}

fn hk_8_zero(b: &Harness) -> Result<()> {
    for timeout in [0, -1] {
        let mut c = Container::new(b)?;
        let mut entry = hook(&c, "poststop", "exit 0");
        entry["timeout"] = json!(timeout);
        c.config["hooks"] = json!({"poststop": [entry]});
        c.must_be_refused().with_context(|| format!("timeout {timeout}"))?;
    }
    Ok(())
}

fn hk_9(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["process", "env"], json!("OF_THE_CONTAINER=1"));
    let script = format!("{} env >{}/env", c.path("/bin/busybox").display(), root(&c, "createRuntime"));
    let mut entry = hook(&c, "createRuntime", &script);
    entry.as_object_mut().map(|entry| entry.remove("env"));
    c.config["hooks"] = json!({"createRuntime": [entry]});
    c.write_config()?;
    c.create().ok()?;
    let env = read(&c.path("/env"));
    ensure!(!env.is_empty(), "the hook did not run");
    ensure!(!env.contains("OF_THE_CONTAINER"), "the hook saw OF_THE_CONTAINER");
    Ok(())
}

/// Both runc and crun have it so, and hooks are written for them.
fn hk_9_inherited(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["process", "env"], json!("OF_THE_CONTAINER=1"));
    for kind in ["createRuntime", "startContainer"] {
        let script = format!(
            "{} env >{}/{kind}.env",
            if kind == "startContainer" { "/bin/busybox".into() } else { c.path("/bin/busybox").display().to_string() },
            root(&c, kind)
        );
        let mut entry = hook(&c, kind, &script);
        entry.as_object_mut().map(|entry| entry.remove("env"));
        c.push(&["hooks", kind], entry);
    }
    c.write_config()?;
    c.create_as_it_is(c.create_command().env("OF_THE_RUNTIME", "1")).ok()?;
    c.start().ok()?;
    for (kind, words) in
        [("createRuntime", &["OF_THE_RUNTIME=1", "PATH="][..]), ("startContainer", &["OF_THE_CONTAINER=1", "HOME="])]
    {
        let env = read(&c.path(&format!("/{kind}.env")));
        for word in words {
            ensure!(env.contains(word), "the {kind} hook did not see {word}: {env:?}");
        }
    }
    Ok(())
}

fn hk_1_index(b: &Harness) -> Result<()> {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let mut c = Container::new(b)?;
        add(&mut c, kind, "exit 0");
        add(&mut c, kind, "exit 1");
        let created = c.create();
        let failed = if kind == "startContainer" {
            created.ok()?;
            c.start()
        } else {
            created
        };
        let failed = failed.error()?;
        let words = format!("error running {kind} hook #1:");
        ensure!(failed.err.contains(&words), "the error does not contain {words:?}: {}", failed.err);
    }
    Ok(())
}

fn hk_11(b: &Harness) -> Result<()> {
    for kind in KINDS {
        for entry in [json!({"path": "bin/true"}), json!({"args": ["true"]}), json!({"path": ""})] {
            let mut c = Container::new(b)?;
            c.config["hooks"] = json!({kind: [entry]});
            c.must_be_refused().with_context(|| format!("{kind} {entry}"))?;
        }
    }
    Ok(())
}
