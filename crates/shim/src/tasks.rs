//! What the shim knows: its containers, their processes, the verbs at work, and the answers that are to be sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::exit::Exit;
use super::pod::Pod;
use super::proto::Status;
use super::proto::options::Options;
use super::proto::task::Mount;
use super::publisher::Publisher;
use super::streams::{Io, Paths};
use super::wire::{Caller, code};
use croci::api::{Code, Container, Job, OomWatch, RestoreOptions};

/// The answer to a call: a message, or an error.
pub(crate) type Answer = Result<Vec<u8>, Status>;

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is created, or a further one that was only announced.
    Created,
    /// Its program runs.
    Running,
    /// It has ended.
    Stopped,
}

/// A process of a container.
#[derive(Debug)]
pub(crate) struct Process {
    /// Where its streams are.
    pub paths: Paths,
    /// The shim's side of them.
    pub io: Io,
    /// Pid on the host, 0 before it exists.
    pub pid: i32,
    /// How far it has come.
    pub phase: Phase,
    /// A verb is at work on it, so that an end is published after the verb's own event.
    pub busy: bool,
    /// Its end.
    pub exit: Option<Exit>,
    /// Its end, until it may be published.
    pub held: Option<Exit>,
    /// Calls that wait for its end.
    pub waiting: Vec<Caller>,
    /// JSON of a further process.
    pub spec: Vec<u8>,
}

impl Process {
    /// Returns a process that does not exist yet.
    pub(crate) fn new(paths: Paths, spec: Vec<u8>) -> Process {
        Process {
            paths,
            io: Io::default(),
            pid: 0,
            phase: Phase::Created,
            busy: false,
            exit: None,
            held: None,
            waiting: Vec::new(),
            spec,
        }
    }
}

/// A container.
#[derive(Debug)]
pub(crate) struct Task {
    /// The library's.
    pub container: Container,
    /// Its bundle.
    pub bundle: PathBuf,
    /// The mounts of its root file system.
    pub rootfs: Vec<Mount>,
    /// Options.
    pub options: Options,
    /// First process.
    pub init: Process,
    /// Further ones, by their IDs.
    pub execs: BTreeMap<String, Process>,
    /// Watch for OOM kills.
    pub oom: Option<OomWatch>,
    /// It is frozen.
    pub paused: bool,
    /// All its processes end with the first one.
    pub private_pids: bool,
    /// The checkpoint that `Start` restores, and its directory.
    pub restore: Option<(RestoreOptions, String)>,
}

impl Task {
    /// Returns a process by its ID, the first one by an empty ID.
    pub(crate) fn process(&mut self, exec_id: &str) -> Option<&mut Process> {
        if exec_id.is_empty() { Some(&mut self.init) } else { self.execs.get_mut(exec_id) }
    }

    /// Returns all processes.
    pub(crate) fn processes(&mut self) -> impl Iterator<Item = (&str, &mut Process)> {
        std::iter::once(("", &mut self.init)).chain(self.execs.iter_mut().map(|(id, process)| (id.as_str(), process)))
    }

    /// Returns whether a further process runs.
    pub(crate) fn runs_others(&self) -> bool {
        self.execs.values().any(|process| process.phase == Phase::Running && process.exit.is_none())
    }
}

/// What a verb at work does.
#[derive(Debug)]
pub(crate) enum What {
    /// Creates the container.
    Create,
    /// Starts its program.
    Start,
    /// Restores it from a checkpoint.
    Restore,
    /// Starts a further process.
    Exec,
    /// Removes it.
    Delete,
    /// Writes a checkpoint to this directory.
    Checkpoint(String),
    /// Starts or ends the process of the pod.
    Pod(Step),
}

/// How far a call has come that starts or ends the process of the pod.
#[derive(Debug)]
pub(crate) enum Step {
    /// The container is being created.
    Create,
    /// Its program is being started.
    Start,
    /// What a start that failed has left is being removed; then this is the answer.
    Undo(Status),
    /// The container is being removed; with `true` the shim ends then.
    Stop(bool),
}

/// A verb at work.
#[derive(Debug)]
pub(crate) struct Work {
    /// The library's.
    pub job: Job,
    /// What it does.
    pub what: What,
    /// Container.
    pub id: String,
    /// Process; empty for the first one.
    pub exec_id: String,
    /// Who waits for it.
    pub caller: Caller,
}

/// A further process that is prepared and waits for `Start`.
#[derive(Debug)]
pub(crate) struct Held {
    /// Container.
    pub id: String,
    /// Process.
    pub exec_id: String,
    /// The library's.
    pub job: Job,
    /// When it was begun.
    pub since: Instant,
}

/// The state of the shim.
#[derive(Debug)]
pub(crate) struct Shim {
    /// Namespace of all containers.
    pub namespace: String,
    /// Containers by their IDs.
    pub tasks: BTreeMap<String, Task>,
    /// The pod of the sandbox service, if this shim serves one.
    pub pod: Option<Pod>,
    /// Path of this program.
    pub program: PathBuf,
    /// Verbs at work.
    pub works: Vec<Work>,
    /// Further process that was announced and is to be prepared, by container and exec ID.
    pub announced: Option<(String, String)>,
    /// Further process that is prepared.
    pub held: Option<Held>,
    /// Children that have ended while verbs were at work, and were not known.
    pub ended: BTreeMap<i32, Exit>,
    /// Events.
    pub publisher: Publisher,
    /// Answers to be sent.
    pub answers: Vec<(Caller, Answer)>,
    /// The shim ends, at this time at the latest.
    pub shutdown: Option<Instant>,
    /// The shim stays until this time, unless all clients have closed their connections.
    pub linger: Option<Instant>,
    /// containerd's fifo for messages.
    pub log: Option<File>,
}

impl Shim {
    /// Answers a call.
    pub(crate) fn answer(&mut self, caller: Caller, answer: Answer) {
        self.answers.push((caller, answer));
    }

    /// Logs warnings to containerd, as far as it listens.
    pub(crate) fn warn(&mut self, id: &str, messages: &[String]) {
        let time = base::log::rfc3339(SystemTime::now());
        for message in messages {
            if let Some(log) = &mut self.log {
                let line =
                    format!("time=\"{time}\" level=warning msg={message:?} id={id} runtime=io.containerd.croci.v2\n");
                let _ = log.write_all(line.as_bytes());
            }
        }
    }
}

/// Returns the status of an error of the library.
pub(crate) fn failed(err: &croci::api::Error) -> Status {
    let message = err.message();
    let code = match err.code() {
        Code::ContainerNotFound => code::NOT_FOUND,
        Code::ContainerExists => code::ALREADY_EXISTS,
        _ => code::UNKNOWN,
    };
    Status { code, message: message.to_owned() }
}

/// Returns the status of an error of the shim's own.
pub(crate) fn wrong(err: &anyhow::Error) -> Status {
    Status { code: code::UNKNOWN, message: base::error::describe(err) }
}

/// Returns a status with a code of [`code`].
pub(crate) fn status(code: i32, message: impl Into<String>) -> Status {
    Status { code, message: message.into() }
}

/// Returns the status for a process that does not exist.
pub(crate) fn not_found(id: &str, exec_id: &str) -> Status {
    let what =
        if exec_id.is_empty() { format!("container {id}") } else { format!("process {exec_id} of container {id}") };
    status(code::NOT_FOUND, format!("{what} not found"))
}
