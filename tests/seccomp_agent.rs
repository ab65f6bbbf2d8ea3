//! A seccomp agent that lets every call go on: the runtime's own calls after the filter must neither wait for it in vain
//! nor be made before the agent has the listener.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use test_support::container::Container;
use test_support::*;

/// An agent that accepts any number of listeners.
struct Agent {
    path: PathBuf,
    /// The number of answered calls, by system call number.
    answered: Arc<Mutex<BTreeMap<i32, u32>>>,
}

impl Agent {
    fn listen(dir: &Path) -> Agent {
        let path = dir.join("agent.sock");
        let socket = UnixListener::bind(&path).unwrap();
        let answered = Arc::new(Mutex::new(BTreeMap::new()));
        let counts = answered.clone();
        // both kinds of threads end with the test's process
        std::thread::spawn(move || {
            while let Ok((stream, _)) = socket.accept() {
                let counts = counts.clone();
                std::thread::spawn(move || answer(&stream, &counts));
            }
        });
        Agent { path, answered }
    }

    fn answers(&self) -> u32 {
        self.answered.lock().unwrap().values().sum()
    }
}

fn answer(stream: &std::os::unix::net::UnixStream, counts: &Mutex<BTreeMap<i32, u32>>) {
    let mut buffer = vec![0; 1 << 16];
    let (_, fds) = linux::testing::agent::receive_with_fds(stream.as_fd(), &mut buffer).unwrap();
    while let Ok(number) = linux::testing::agent::continue_next(fds[0].as_fd()) {
        *counts.lock().unwrap().entry(number).or_default() += 1;
    }
}

/// The calls that init, or the library below it, may make between the filter and the program, and more.
const CALLS: &[&[&str]] = &[
    &["sendmsg"],
    &["close"],
    &["read"],
    &["execve"],
    &["fcntl"],
    &["openat", "openat2", "open"],
    &["prctl", "capset", "capget"],
    &["setgroups", "setresgid", "setresuid", "setgid", "setuid"],
    &["rt_sigaction", "rt_sigprocmask", "sched_yield", "futex", "exit"],
    &["brk", "mmap", "munmap", "mprotect"],
];

fn notifying(agent: &Agent, names: &[&str], no_new_privs: bool, c: Container) -> Container {
    let (path, names) = (agent.path.clone(), names.to_vec());
    c.edit(move |config| {
        config["process"]["noNewPrivileges"] = json!(no_new_privs);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
        });
    })
}

/// SE-7: no call of init waits for an agent that does not have the listener yet.
#[test]
fn se_7_init_waits_for_no_agent_before_that_has_the_listener() {
    need_root!();
    let all: Vec<&str> = CALLS.iter().flat_map(|names| names.iter().copied()).collect();
    for names in CALLS.iter().copied().chain([all.as_slice()]) {
        for no_new_privs in [false, true] {
            let sandbox = Sandbox::new();
            let agent = Agent::listen(&sandbox.dir);
            let make = |args: &[&str]| notifying(&agent, names, no_new_privs, Container::within(&sandbox, args));
            let label = format!("{names:?}, noNewPrivileges {no_new_privs}");
            let run = make(&["sh", "-c", "echo hello"]).run();
            assert_eq!((run.code, run.text()), (Some(0), "hello"), "run, {label}: {run:#?}");
            let c = make(&["sleep", "1000"]).up();
            let exec = c.exec(&["sh", "-c", "echo more"]);
            assert_eq!((exec.code, exec.text()), (Some(0), "more"), "exec, {label}: {exec:#?}");
            let made = ["read", "close", "execve"].iter().any(|name| names.contains(name));
            if made {
                wait_for(&format!("a call was stopped: {label}"), || agent.answers() > 0);
            }
            c.delete_force().ok();
            sandbox.nothing_left();
        }
    }
}

/// SE-7: what init calls between the filter and the program, with no_new_privs.
#[test]
fn se_7_few_calls_are_made_under_the_filter() {
    need_root!();
    let sandbox = Sandbox::new();
    let agent = Agent::listen(&sandbox.dir);
    let make = |args: &[&str]| {
        let c = Container::within(&sandbox, args);
        let path = agent.path.clone();
        c.edit(move |config| {
            config["process"]["noNewPrivileges"] = json!(true);
            let rule = json!({"names": CALLS.concat(), "action": "SCMP_ACT_NOTIFY"});
            config["linux"]["seccomp"] =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [rule]});
        })
    };
    let c = make(&["sleep", "1000"]);
    c.create().ok();
    wait_for("init waits for start", || agent.answers() >= 3);
    let seen = agent.answered.lock().unwrap().clone();
    // besides the write(2) of `Ready`: `Go` is read, the channel closed, the fifo read
    let expected = [(libc::SYS_read, 2), (libc::SYS_close, 1)];
    let expected: BTreeMap<i32, u32> = expected.into_iter().map(|(call, times)| (call as i32, times)).collect();
    assert_eq!(seen, expected);
    c.start().ok();
    c.delete_force().ok();
}

/// SE-7: a limit of one process does not keep the listener from the agent.
#[test]
fn se_7_one_process_is_enough() {
    need_root!();
    let sandbox = Sandbox::new();
    let agent = Agent::listen(&sandbox.dir);
    let c = notifying(&agent, &["read"], true, Container::within(&sandbox, &["echo", "hello"])).edit(|config| {
        config["process"]["user"] = json!({"uid": 4242, "gid": 4242});
        config["process"]["capabilities"] = json!({});
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}]);
        config["linux"]["resources"]["pids"] = json!({"limit": 1});
    });
    let run = c.run();
    assert_eq!((run.code, run.text()), (Some(0), "hello"), "{run:#?}");
    wait_for("the agent has counted its answer", || agent.answers() > 0);
}

/// The environment variable of crun names the agent where the configuration names none; later verbs need it no more.
#[test]
fn the_callers_environment_names_the_agent() {
    need_root!();
    let sandbox = Sandbox::new();
    let agent = Agent::listen(&sandbox.dir);
    let c = notifying(&agent, &["mkdir"], true, Container::within(&sandbox, &["sh", "-c", "mkdir /made; sleep 1000"]));
    let c = c.edit(|config| drop(config["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath")));
    c.create().fails().stderr_contains("linux.seccomp.listenerPath");
    c.create_with(&[]).env("RUN_OCI_SECCOMP_RECEIVER", "agent.sock").out().fails().stderr_contains("absolute path");
    c.create_with(&[]).env("RUN_OCI_SECCOMP_RECEIVER", &agent.path).out().ok();
    c.start().ok();
    wait_for("the program has called mkdir(2)", || c.file("/made").is_dir());
    wait_for("the agent has counted its answer", || agent.answers() > 0);
    c.delete_force().ok();
}

/// An agent gets a listener also where no rule notifies, as with crun, whose suite waits for it; no process need listen.
#[test]
fn se_7_an_agent_that_listens_gets_a_listener_without_a_rule_that_notifies() {
    need_root!();
    let sandbox = Sandbox::new();
    let path = sandbox.dir.join("agent.sock");
    for (flags, names) in [(json!([]), vec![]), (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), vec!["sendmsg"])] {
        let make = || {
            let path = path.clone();
            let (flags, names) = (flags.clone(), names.clone());
            Container::within(&sandbox, &["sleep", "1000"]).edit(move |config| {
                config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "flags": flags,
                    "listenerMetadata": "some"});
                if !names.is_empty() {
                    config["linux"]["seccomp"]["syscalls"] = json!([{"names": names, "action": "SCMP_ACT_ERRNO"}]);
                }
            })
        };
        // no process listens
        make().up().delete_force().ok();
        let socket = UnixListener::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let c = make().up();
        for status in ["creating", "running"] {
            if status == "running" {
                c.exec(&["true"]).ok();
            }
            let mut accepted = None;
            wait_for("a connection", || {
                accepted = socket.accept().ok();
                accepted.is_some()
            });
            let (stream, _) = accepted.unwrap();
            let mut buffer = vec![0; 1 << 16];
            let (read, fds) = linux::testing::agent::receive_with_fds(stream.as_fd(), &mut buffer).unwrap();
            let message: serde_json::Value = serde_json::from_slice(&buffer[..read]).unwrap();
            assert_eq!(
                (fds.len(), &message["state"]["status"], &message["metadata"]),
                (1, &json!(status), &json!("some"))
            );
            assert_eq!(
                std::fs::read_link(format!("/proc/self/fd/{}", fds[0].as_raw_fd())).unwrap().to_str(),
                Some("anon_inode:seccomp notify")
            );
        }
        c.delete_force().ok();
        drop(socket);
        std::fs::remove_file(&path).unwrap();
    }
    sandbox.nothing_left();
}
