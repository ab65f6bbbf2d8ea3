//! The agent that answers system calls for the container: `listenerPath` and the messages sent there (checklist part
//! 16).

use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::agent::{Agent, AgentReport, CLOSED_WITHIN};
use crate::checks::{accepted, need_verb};
use crate::container::Container;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "SE-7", title: "the listener gets one state and one seccomp descriptor, then the end", run: one_state },
    Test { id: "SE-7", title: "a listenerPath without a listener is an error", run: no_listener },
    Test { id: "SE-7", title: "NOTIFY without a listenerPath is an error", run: no_path },
    Test {
        id: "SE-7",
        title: "listenerPath is not looked at where no rule notifies",
        run: |b| {
            let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]);
            accepted(
                b,
                &["linux", "seccomp"],
                &[json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/socket", "syscalls": rules})],
            )
        },
    },
    Test { id: "SE-7", title: "a container whose state reached no listener is removed", run: closed },
    Test { id: "SE-8", title: "listenerMetadata reaches the listener as it is", run: metadata },
    Test { id: "SE-8", title: "without listenerMetadata none is sent", run: no_metadata },
    Test {
        id: "SE-9",
        title: "the state names its version, the descriptor and the runtime's pid of init",
        run: fields,
    },
    Test { id: "SE-9", title: "the state in it is the container's, while it is being created", run: state },
    Test { id: "SE-9", title: "a state with large annotations arrives whole", run: large },
    Test { id: "SE-9", title: "for exec the listener gets the running container and the new process", run: in_exec },
    Test { id: "SE-4", title: "the flag WAIT_KILLABLE_RECV is accepted with NOTIFY", run: killable },
];

/// Listens at the path that a profile's `listenerPath` names.
fn agent(c: &Container<'_>, connections: usize) -> Result<Agent> {
    Agent::listen(&c.bundle.join("agent.sock"), connections)
}

fn profile(path: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    })
}

/// Starts a container whose listener has received its descriptor: at create or at start, as late as the runtime loads
/// the filter.
fn running<'a>(b: &'a Harness, change: impl FnOnce(&mut Container<'a>)) -> Result<(Container<'a>, AgentReport)> {
    let mut c = Container::new(b)?;
    let agent = agent(&c, 1)?;
    c.config["linux"]["seccomp"] = profile(&agent.path);
    change(&mut c);
    c.create().ok()?;
    c.start().ok()?;
    let report = agent.one()?;
    Ok((c, report))
}

fn one_state(b: &Harness) -> Result<()> {
    let (_c, report) = running(b, |_| ())?;
    ensure!(report.links == ["anon_inode:seccomp notify"], "the descriptors are {:?}", report.links);
    ensure!(report.closed, "the connection was open for {} s after the state", CLOSED_WITHIN.as_secs());
    Ok(())
}

fn no_listener(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["seccomp"] = profile(&c.bundle.join("no.sock"));
    c.must_be_refused()?;
    Ok(())
}

fn no_path(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut profile = profile(Path::new("/"));
    if let Value::Object(members) = &mut profile {
        members.remove("listenerPath");
    }
    c.config["linux"]["seccomp"] = profile;
    c.must_be_refused()?;
    Ok(())
}

fn closed(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    // a socket file at which no process listens any more
    drop(UnixListener::bind(c.bundle.join("dead.sock"))?);
    c.config["linux"]["seccomp"] = profile(&c.bundle.join("dead.sock"));
    c.must_be_refused()?;
    Ok(())
}

fn metadata(b: &Harness) -> Result<()> {
    let words = "any words, \"quoted\" and é";
    let (_c, report) = running(b, |c| c.config["linux"]["seccomp"]["listenerMetadata"] = json!(words))?;
    ensure!(report.document["metadata"] == words, "metadata is {}", report.document["metadata"]);
    Ok(())
}

fn no_metadata(b: &Harness) -> Result<()> {
    let (_c, report) = running(b, |_| ())?;
    let metadata = &report.document["metadata"];
    ensure!(metadata.is_null() || metadata == "", "metadata is {metadata}");
    Ok(())
}

fn fields(b: &Harness) -> Result<()> {
    let (c, report) = running(b, |_| ())?;
    let version = report.document["ociVersion"].as_str().unwrap_or_default();
    ensure!(version.starts_with("1."), "ociVersion is {version:?}");
    ensure!(report.document["fds"] == json!(["seccompFd"]), "fds is {}", report.document["fds"]);
    let pid = c.pid()?.as_raw();
    ensure!(report.document["pid"] == pid, "pid is {}, init is {pid}", report.document["pid"]);
    Ok(())
}

fn state(b: &Harness) -> Result<()> {
    let (c, report) = running(b, |c| c.config["annotations"] = json!({"org.example.key": "value"}))?;
    let state = &report.document["state"];
    ensure!(state["id"] == c.id.as_str(), "state.id is {}", state["id"]);
    ensure!(state["status"] == "creating", "state.status is {}, it has to be creating", state["status"]);
    ensure!(state["bundle"] == c.bundle.to_string_lossy().as_ref(), "state.bundle is {}", state["bundle"]);
    ensure!(state["pid"] == c.pid()?.as_raw(), "state.pid is {}", state["pid"]);
    ensure!(state["annotations"]["org.example.key"] == "value", "state.annotations is {}", state["annotations"]);
    Ok(())
}

fn large(b: &Harness) -> Result<()> {
    let value = "x".repeat(600_000);
    let (_c, report) = running(b, |c| c.config["annotations"] = json!({"org.example.large": value}))?;
    ensure!(
        report.document["state"]["annotations"]["org.example.large"] == value.as_str(),
        "the annotation arrived changed"
    );
    ensure!(report.links.len() == 1, "{} descriptors came", report.links.len());
    Ok(())
}

fn in_exec(b: &Harness) -> Result<()> {
    need_verb(b, "exec")?;
    let mut c = Container::new(b)?;
    let agent = agent(&c, 2)?;
    c.config["linux"]["seccomp"] = profile(&agent.path);
    c.create().ok()?;
    c.start().ok()?;
    b.call(["exec", &c.id, "true"]).ok()?;
    let all = agent.reports()?;
    let (Some(first), Some(second)) = (all.first(), all.get(1)) else { bail!("{} states came", all.len()) };
    ensure!(second.links == ["anon_inode:seccomp notify"], "the descriptors are {:?}", second.links);
    let state = &second.document["state"];
    ensure!(state["status"] == "running", "state.status is {}, it has to be running", state["status"]);
    ensure!(state["pid"] == first.document["pid"], "state.pid is {}, init is {}", state["pid"], first.document["pid"]);
    let pid = &second.document["pid"];
    ensure!(
        pid.as_i64().is_some_and(|pid| pid > 0) && *pid != first.document["pid"],
        "pid is {pid}, which is no new process"
    );
    Ok(())
}

fn killable(b: &Harness) -> Result<()> {
    let (_c, report) = running(b, |c| {
        c.config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    })?;
    ensure!(report.links.len() == 1, "{} descriptors came", report.links.len());
    Ok(())
}
