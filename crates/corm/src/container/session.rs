//! One run of a container: starts its program through the runtime, supervises it, records its end, cleans up.

use base::coded;
use base::error::{Code, Coded, Coding as _};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Error, Result, ensure};

use super::attach::server::Server;
use super::create::Reporter;
use super::log::Log;
use super::oom::OomCount;
use super::run_dir::{RunDir, SupervisorLock, become_supervisor};
use super::runtime::{failed_start, runtime_error};
use super::status::{self, Last};
use super::supervise::{self, Ended, Started, Supervisor};
use super::{cleanup, create, join, network, volume_options};
use crate::store::ContainerRecord;
use crate::store::Store;
use base::foreground;
use linux::process;
use linux::signal;
use linux::socket;
use linux::term;

/// Connection of a container to corm's standard streams.
#[derive(Debug, Default)]
pub struct Streams {
    /// corm stays in the foreground and prints the output.
    pub foreground: bool,
    /// corm forwards its standard input.
    pub interactive: bool,
    /// A caller that is attached from the start.
    pub caller: Option<UnixStream>,
}

/// The error of a failed start.
#[derive(Debug)]
pub struct NotStarted {
    /// corm's exit status: 125, 126 or 127.
    pub status: u8,
    /// Cause.
    pub error: Error,
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> Self {
        Self { status: 125, error }
    }
}

/// A running container and its supervisor's lock.
pub struct Session<'a> {
    store: &'a Store,
    run: &'a RunDir,
    record: &'a ContainerRecord,
    supervisor: SupervisorLock,
    last: Last,
    supervised: Supervisor,
    oom: OomCount,
    /// Held until the end of the container.
    network: network::Held,
}

/// The end of a session.
#[derive(Debug)]
pub struct SessionEnd {
    /// Exit status as in a shell: the status, or 128 + the signal.
    pub status: i32,
    /// What ended the program from outside: the OOM killer or the seccomp filter.
    pub cause: Option<Coded>,
    /// Whether all output reached corm's own streams, and all input was read.
    pub streams: Result<()>,
    /// Result of the cleanup.
    pub cleanup: Result<()>,
}

/// Starts the program of a container whose tree is mounted. The caller has blocked signals.
///
/// # Errors
/// The runtime's error; its state is deleted then.
pub fn start<'a>(
    store: &'a Store,
    run: &'a RunDir,
    record: &'a ContainerRecord,
    supervisor: SupervisorLock,
    mut streams: Streams,
    report: Reporter<'_>,
) -> Result<Session<'a>, NotStarted> {
    signal::set_mask(foreground::signals()).context("signal mask")?;
    // the container's first process becomes corm's child when the runtime exits
    process::set_child_subreaper(true).context("become a subreaper")?;
    let dir = store.container_dir(&record.id);
    let log = Log::open(&dir, record.setup.log)?;
    let attached = Server::new(&run.container_dir(&record.id), streams.caller.take())?;
    join::write_paths(store, run, record)?;
    if let Some(userns) = &record.setup.userns {
        create::mount_mapped(store, &record.id, userns)?;
    }
    volume_options::renew_overlays(&dir, &record.setup.volumes, store.root())?;
    let last = Last { started: jiff::Timestamp::now().to_string(), ..Last::default() };
    last.write(store, &record.id)?;
    let network = network::setup(store, run, record)?;
    let pid_file = run.pid_file(&record.id);
    let runtime = status::runtime(run, record);
    let mut command = runtime.verb("run");
    command.arg("--detach").arg("--bundle").arg(&dir).arg("--pid-file").arg(&pid_file);
    report(&format!("{} run --bundle {}", runtime.program().display(), dir.display()));
    let ends = if record.setup.tty {
        with_terminal(command, run, record, streams.interactive)
    } else {
        with_pipes(command, &record.id, &streams)
    };
    let ends = ends.map_err(NotStarted::from).and_then(|ran| ran.check(runtime.program()));
    let supervised = ends.and_then(|ends| {
        let started = ends.with_process(&pid_file)?;
        Ok(supervise::supervise(started, log, attached, streams.foreground)?)
    });
    let supervised = supervised.inspect_err(|_| {
        // runtimes differ in what a failed start leaves
        let _ = runtime.delete(&record.id);
        let _ = network::teardown(run, &record.id);
    })?;
    report(&format!("process {} of {}", supervised.pid(), super::super::config::short_id(&record.id)));
    let oom = OomCount::of(supervised.pid());
    Ok(Session { store, run, record, supervisor, last, supervised, oom, network })
}

/// Result of a finished call of the runtime.
struct Ran {
    success: bool,
    stderr: Vec<u8>,
    ends: Ends,
}

struct Ends {
    output: OwnedFd,
    errors: Option<OwnedFd>,
    input: Option<OwnedFd>,
}

impl Ran {
    fn check(self, program: &Path) -> Result<Ends, NotStarted> {
        if self.success {
            return Ok(self.ends);
        }
        let error = runtime_error(program, &self.stderr);
        Err(NotStarted { status: failed_start(&error.to_string()), error: error.into() })
    }
}

impl Ends {
    fn with_process(self, pid_file: &Path) -> Result<Started> {
        let text = std::fs::read_to_string(pid_file).with_context(|| format!("read {pid_file:?}"))?;
        let pid: i32 = text.trim().parse().with_context(|| format!("{pid_file:?}: no pid"))?;
        let pidfd = process::pidfd_open(pid).with_context(|| format!("the container's process {pid}"))?;
        Ok(Started { pid, pidfd, output: self.output, errors: self.errors, input: self.input })
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")
}

/// Runs the runtime with pipes, which the program inherits; corm keeps their other ends.
fn with_pipes(mut command: Command, id: &str, streams: &Streams) -> Result<Ran> {
    let ((output, out), (errors, err)) = (pipe()?, pipe()?);
    let mut input = None;
    let stdin = if !streams.interactive {
        Stdio::null()
    } else if !streams.foreground || term::stdio_terminal(0).is_some() {
        // pipes: a program with corm's terminal could change its mode, and attached callers write to the container's input
        let (read, write) = pipe()?;
        input = Some(write);
        read.into()
    } else {
        Stdio::inherit()
    };
    let status = command.arg(id).stdin(stdin).stdout(out).stderr(err).status();
    // drops the command's copies of the writing ends
    drop(command);
    let success = status.context("run the runtime")?.success();
    let mut text = Vec::new();
    let ends = Ends { output, errors: None, input };
    if success {
        return Ok(Ran { success, stderr: text, ends: Ends { errors: Some(errors), ..ends } });
    }
    File::from(errors).read_to_end(&mut text).context("read the runtime's standard error")?;
    Ok(Ran { success, stderr: text, ends })
}

/// Runs the runtime, which creates a terminal in the container and sends its master over a socket.
fn with_terminal(mut command: Command, run: &RunDir, record: &ContainerRecord, interactive: bool) -> Result<Ran> {
    let path = run.console(&record.id);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| format!("bind {path:?}"))?;
    let socket = RemoveFile(&path);
    let (errors, err) = pipe()?;
    command.arg("--console-socket").arg(&path).arg(&record.id);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err).spawn().context("run the runtime")?;
    drop(command);
    // the runtime connects at once or has exited: a hang-up of its standard error means that no process will connect
    let master = receive_master(&listener, &errors);
    let success = child.wait().context("wait for the runtime")?.success();
    drop(socket);
    if success {
        let master = master?.code(Code::TerminalNone, "the runtime sent no terminal")?;
        let input = interactive.then(|| master.try_clone()).transpose().context("terminal")?;
        return Ok(Ran { success, stderr: Vec::new(), ends: Ends { output: master, errors: None, input } });
    }
    let mut text = Vec::new();
    File::from(errors).read_to_end(&mut text).context("read the runtime's standard error")?;
    let nothing = pipe()?.0;
    Ok(Ran { success, stderr: text, ends: Ends { output: nothing, errors: None, input: None } })
}

struct RemoveFile<'a>(&'a Path);

impl Drop for RemoveFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

fn receive_master(listener: &UnixListener, errors: &OwnedFd) -> Result<Option<OwnedFd>> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        let mut set = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            // hang-up only, because an error message may precede it
            PollFd::new(errors.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut set, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => drop(other.context("poll")?),
        }
        let [connected, ended] = set.map(|fd| fd.any().unwrap_or(false));
        if connected {
            let (stream, _) = listener.accept().context("console socket")?;
            let mut text = [0; 4096];
            return Ok(socket::receive(stream.as_fd(), &mut text).context("console socket")?.1);
        }
        if ended {
            return Ok(None);
        }
    }
}

impl Session<'_> {
    /// Sends the output to a pipe, as [`Supervisor::pipe_to`] does.
    ///
    /// # Errors
    /// No descriptors.
    pub fn pipe_to(&mut self, to: &OwnedFd, stop: BorrowedFd<'_>) -> Result<()> {
        self.supervised.pipe_to(to, stop)
    }

    /// Waits for the end of the program and cleans up.
    ///
    /// # Errors
    /// The exit status cannot be determined.
    pub fn wait(mut self, report: Reporter<'_>) -> Result<SessionEnd> {
        let ended = self.supervised.run();
        if let Ok(Ended { status, signal, .. }) = ended {
            self.last.finished = Some(jiff::Timestamp::now().to_string());
            self.last.status = Some(status);
            self.last.signal = signal;
            self.last.oom_killed = self.oom.killed();
            self.last.write(self.store, &self.record.id)?;
            // publish the status before the lock is released, so that `wait` sees it
            self.supervisor.write_exit_status(status)?;
        }
        drop(self.network);
        let cleanup = cleanup::cleanup(self.store, self.run, self.record, report);
        let Ended { status, streams, .. } = ended?;
        Ok(SessionEnd { status, cause: cause(&self.last), streams, cleanup })
    }
}

/// Returns what ended a program from outside, for whoever sees only its status.
fn cause(last: &Last) -> Option<Coded> {
    match last.status? - 128 {
        libc::SIGKILL if last.oom_killed => Some(coded!(
            CgroupMemory,
            "killed by the OOM killer: the memory limit of the container is reached (raise --memory)"
        )),
        libc::SIGSYS => Some(coded!(
            SeccompKilled,
            "killed by SIGSYS: the seccomp filter forbids a system call that the program made (see --security-opt seccomp=)"
        )),
        _ => None,
    }
}

/// Mounts and cleans up before another start.
///
/// # Errors
/// The container is running, or its tree cannot be mounted.
pub fn prepare(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<SupervisorLock> {
    let supervisor = become_supervisor(run, record)?;
    let now = status::of(store, run, record)?;
    ensure!(now.pid().is_none(), coded!(ContainerStatus, "container '{}' is running already", record.name));
    // left by a killed supervisor or by a previous boot
    status::runtime(run, record).delete(&record.id)?;
    create::mount(store, &record.id)?;
    Ok(supervisor)
}
