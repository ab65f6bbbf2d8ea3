//! The agent that answers system calls for the container: `listenerPath` and what is sent there (checklist part 16).

use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use super::Test;
use crate::bench::{Bench, EVENT_LIMIT};
use crate::checks::{accepted, need_verb};
use crate::container::Container;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "SE-7", title: "the listener gets one state and one seccomp descriptor, then the end", run: one_state },
    Test { id: "SE-7", title: "a listener that nobody listens at is an error", run: nobody },
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
    Test { id: "SE-7", title: "a container whose state reached no listener is gone", run: closed },
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
    Test { id: "SE-4", title: "the flag WAIT_KILLABLE_RECV goes with NOTIFY", run: killable },
];

/// One connection to the listener.
struct Told {
    state: Value,
    /// What the descriptors were.
    links: Vec<String>,
    /// The connection was closed behind the state.
    closed: bool,
}

/// A socket, and what came there.
struct Agent {
    path: PathBuf,
    thread: JoinHandle<Result<Vec<Told>>>,
}

/// Listens for so many connections.
fn agent(c: &Container<'_>, connections: usize) -> Result<Agent> {
    let path = c.bundle.join("agent.sock");
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    let thread = std::thread::spawn(move || (0..connections).map(|_| accept(&listener)).collect());
    Ok(Agent { path, thread })
}

impl Agent {
    fn told(self) -> Result<Vec<Told>> {
        self.thread.join().map_err(|_| anyhow!("the listening thread ended"))?
    }

    fn one(self) -> Result<Told> {
        self.told()?.pop().context("nothing came")
    }
}

fn accept(listener: &UnixListener) -> Result<Told> {
    let deadline = Instant::now() + EVENT_LIMIT;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(err) if err.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => bail!("nobody connected to listenerPath"),
            Err(err) => return Err(err.into()),
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(EVENT_LIMIT))?;
    receive(&stream)
}

/// How long a connection may stay open behind its document.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// A whole document, and whatever comes up to the end of the connection.
fn receive(stream: &UnixStream) -> Result<Told> {
    let (mut text, mut links) = (Vec::new(), Vec::new());
    let mut state = None;
    let closed = loop {
        let mut buffer = vec![0; 1 << 16];
        let mut control = nix::cmsg_space!([RawFd; 8]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let got = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC);
        let message = match got {
            Ok(message) => message,
            Err(Errno::EAGAIN) if state.is_some() => break false,
            Err(err) => bail!("no whole document came: {err}; {} bytes did", text.len()),
        };
        for part in message.cmsgs()? {
            let ControlMessageOwned::ScmRights(descriptors) = part else { continue };
            for fd in descriptors {
                let link = fs::read_link(format!("/proc/self/fd/{fd}"))?;
                links.push(link.to_string_lossy().into_owned());
                // nobody answers: a call that waits ends with ENOSYS
                nix::unistd::close(fd)?;
            }
        }
        let bytes = message.bytes;
        if bytes == 0 {
            break true;
        }
        text.extend(buffer.get(..bytes).unwrap_or_default());
        state = serde_json::from_slice(&text).ok();
        if state.is_some() {
            stream.set_read_timeout(Some(CLOSED_WITHIN))?;
        }
    };
    let state = state.with_context(|| format!("what came is no document: {:?}", String::from_utf8_lossy(&text)))?;
    Ok(Told { state, links, closed })
}

fn profile(path: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    })
}

/// A container whose listener has been told: at create or at start, as late as the runtime loads the filter.
fn running<'a>(b: &'a Bench, change: impl FnOnce(&mut Container<'a>)) -> Result<(Container<'a>, Told)> {
    let mut c = Container::new(b)?;
    let agent = agent(&c, 1)?;
    c.config["linux"]["seccomp"] = profile(&agent.path);
    change(&mut c);
    c.create().ok()?;
    c.start().ok()?;
    let told = agent.one()?;
    Ok((c, told))
}

fn one_state(b: &Bench) -> Result<()> {
    let (_c, told) = running(b, |_| ())?;
    ensure!(told.links == ["anon_inode:seccomp notify"], "the descriptors are {:?}", told.links);
    ensure!(told.closed, "the connection was open for {} s after the state", CLOSED_WITHIN.as_secs());
    Ok(())
}

fn nobody(b: &Bench) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["seccomp"] = profile(&c.bundle.join("no.sock"));
    c.must_be_refused()?;
    Ok(())
}

fn no_path(b: &Bench) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut profile = profile(Path::new("/"));
    if let Value::Object(members) = &mut profile {
        members.remove("listenerPath");
    }
    c.config["linux"]["seccomp"] = profile;
    c.must_be_refused()?;
    Ok(())
}

fn closed(b: &Bench) -> Result<()> {
    let mut c = Container::new(b)?;
    // a socket that is there, and that nobody listens at any more
    drop(UnixListener::bind(c.bundle.join("dead.sock"))?);
    c.config["linux"]["seccomp"] = profile(&c.bundle.join("dead.sock"));
    c.must_be_refused()?;
    Ok(())
}

fn metadata(b: &Bench) -> Result<()> {
    let words = "any words, \"quoted\" and é";
    let (_c, told) = running(b, |c| c.config["linux"]["seccomp"]["listenerMetadata"] = json!(words))?;
    ensure!(told.state["metadata"] == words, "metadata is {}", told.state["metadata"]);
    Ok(())
}

fn no_metadata(b: &Bench) -> Result<()> {
    let (_c, told) = running(b, |_| ())?;
    let metadata = &told.state["metadata"];
    ensure!(metadata.is_null() || metadata == "", "metadata is {metadata}");
    Ok(())
}

fn fields(b: &Bench) -> Result<()> {
    let (c, told) = running(b, |_| ())?;
    let version = told.state["ociVersion"].as_str().unwrap_or_default();
    ensure!(version.starts_with("1."), "ociVersion is {version:?}");
    ensure!(told.state["fds"] == json!(["seccompFd"]), "fds is {}", told.state["fds"]);
    let pid = c.pid()?.as_raw();
    ensure!(told.state["pid"] == pid, "pid is {}, init is {pid}", told.state["pid"]);
    Ok(())
}

fn state(b: &Bench) -> Result<()> {
    let (c, told) = running(b, |c| c.config["annotations"] = json!({"org.example.key": "value"}))?;
    let state = &told.state["state"];
    ensure!(state["id"] == c.id.as_str(), "state.id is {}", state["id"]);
    ensure!(state["status"] == "creating", "state.status is {}, it has to be creating", state["status"]);
    ensure!(state["bundle"] == c.bundle.to_string_lossy().as_ref(), "state.bundle is {}", state["bundle"]);
    ensure!(state["pid"] == c.pid()?.as_raw(), "state.pid is {}", state["pid"]);
    ensure!(state["annotations"]["org.example.key"] == "value", "state.annotations is {}", state["annotations"]);
    Ok(())
}

fn large(b: &Bench) -> Result<()> {
    let value = "x".repeat(600_000);
    let (_c, told) = running(b, |c| c.config["annotations"] = json!({"org.example.large": value}))?;
    ensure!(
        told.state["state"]["annotations"]["org.example.large"] == value.as_str(),
        "the annotation arrived changed"
    );
    ensure!(told.links.len() == 1, "{} descriptors came", told.links.len());
    Ok(())
}

fn in_exec(b: &Bench) -> Result<()> {
    need_verb(b, "exec")?;
    let mut c = Container::new(b)?;
    let agent = agent(&c, 2)?;
    c.config["linux"]["seccomp"] = profile(&agent.path);
    c.create().ok()?;
    c.start().ok()?;
    b.call(["exec", &c.id, "true"]).ok()?;
    let all = agent.told()?;
    let (Some(first), Some(second)) = (all.first(), all.get(1)) else { bail!("{} states came", all.len()) };
    ensure!(second.links == ["anon_inode:seccomp notify"], "the descriptors are {:?}", second.links);
    let state = &second.state["state"];
    ensure!(state["status"] == "running", "state.status is {}, it has to be running", state["status"]);
    ensure!(state["pid"] == first.state["pid"], "state.pid is {}, init is {}", state["pid"], first.state["pid"]);
    let pid = &second.state["pid"];
    ensure!(
        pid.as_i64().is_some_and(|pid| pid > 0) && *pid != first.state["pid"],
        "pid is {pid}, which is no new process"
    );
    Ok(())
}

fn killable(b: &Bench) -> Result<()> {
    let (_c, told) = running(b, |c| {
        c.config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    })?;
    ensure!(told.links.len() == 1, "{} descriptors came", told.links.len());
    Ok(())
}
