//! The shim's process: one loop over its socket, its connections, its children, the verbs at work and the terminals.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::Args;
use super::calls::FAREWELL;
use super::publisher::Publisher;
use super::start::{EVENTS, PROGRAM};
use super::tasks::{Shim, status};
use super::wire::{Caller, Connection, Frame, code};
use linux::signal::{self, SignalSet};

/// Services that have the methods of a task.
const TASK_SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// Service of pods.
const SANDBOX_SERVICE: &str = "containerd.runtime.sandbox.v1.Sandbox";

/// What a descriptor that is polled belongs to.
enum Watched {
    /// The socket.
    Listener,
    /// The signals.
    Signals,
    /// A connection, by its number.
    Connection(u64),
    /// The connection for events.
    Publisher,
    /// A verb or a terminal: all of them are looked at.
    Other,
    /// The watch for OOM kills of this container.
    Oom(String),
}

/// The process.
struct Server {
    /// The socket.
    listener: UnixListener,
    /// Descriptor of signals.
    signals: std::os::fd::OwnedFd,
    /// Connections by their numbers.
    connections: BTreeMap<u64, Connection>,
    /// Number of the last connection.
    next: u64,
    /// The state.
    shim: Shim,
    /// When the program's code is given back, unless it has been since something happened last.
    rest_at: Option<Instant>,
    /// When the shim ends by itself, while it has no container.
    forgotten: Option<Instant>,
}

/// Time without an event after which the shim gives its code back.
const REST: Duration = Duration::from_secs(2);

/// Time without a container and without a new connection after which the shim ends by itself. containerd lets milliseconds pass
/// between the start of a shim and `Create`, and between `Delete` and `Shutdown`.
const FORGOTTEN: Duration = Duration::from_secs(20);

/// Serves until containerd asks for the end.
///
/// # Errors
/// The process cannot be set up, or poll(2) fails.
pub(crate) fn serve(args: &Args) -> Result<()> {
    let mut server = set_up(args)?;
    let path = server.listener.local_addr().ok().and_then(|address| address.as_pathname().map(ToOwned::to_owned));
    while !server.has_ended() {
        server.turn()?;
    }
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Takes the socket from standard input and prepares the process.
fn set_up(args: &Args) -> Result<Server> {
    let stdin = std::io::stdin();
    let listener = UnixListener::from(stdin.as_fd().try_clone_to_owned().context("the socket")?);
    listener.set_nonblocking(true).context("the socket")?;
    let null = File::open("/dev/null").context("/dev/null")?;
    linux::term::replace_stdio(null.as_fd(), 0).context("standard input")?;
    croci::api::adopt_processes()?;
    let set = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP].iter();
    let set = set.fold(SignalSet::EMPTY, |set, signal| set.with(*signal));
    signal::set_mask(set).context("signal mask")?;
    let signals = signal::descriptor(set).context("signalfd")?;
    signal::set_ignored(libc::SIGPIPE).context("SIGPIPE")?;
    adjust_oom_score();
    // where containerd reads it; a line is lost rather than waited for
    let log = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open("log").ok();
    // the bundle is not ours to keep
    std::env::set_current_dir("/").context("/")?;
    let containerd = std::env::var(EVENTS).unwrap_or_else(|_| format!("{}.ttrpc", args.address));
    let shim = Shim {
        namespace: args.namespace.clone(),
        tasks: BTreeMap::new(),
        pod: None,
        program: std::env::var_os(PROGRAM).unwrap_or_default().into(),
        works: Vec::new(),
        announced: None,
        held: None,
        ended: BTreeMap::new(),
        publisher: Publisher::new(&containerd, &args.namespace),
        answers: Vec::new(),
        shutdown: None,
        linger: None,
        log,
    };
    Ok(Server {
        listener,
        signals,
        connections: BTreeMap::new(),
        next: 0,
        shim,
        rest_at: Some(Instant::now() + REST),
        forgotten: None,
    })
}

/// Makes the shim a little easier to kill than containerd, as runc's shim does; without the right to it stays.
fn adjust_oom_score() {
    let path = "/proc/self/oom_score_adj";
    let score = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok()).unwrap_or(0);
    let _ = std::fs::write(path, (score + 1).min(1000).to_string());
}

impl Server {
    /// Returns whether the end was asked for and the last answers and events are gone.
    fn has_ended(&self) -> bool {
        let flushed = || self.shim.publisher.is_done() && !self.connections.values().any(Connection::wants_to_write);
        let left = || self.connections.is_empty() || self.shim.linger.is_none_or(|until| until <= Instant::now());
        self.shim.shutdown.is_some_and(|until| until <= Instant::now() || flushed() && left())
    }

    /// Waits for something to happen and handles it.
    fn turn(&mut self) -> Result<()> {
        let ready = self.wait()?;
        let busy = !ready.is_empty() || !self.shim.works.is_empty();
        if rests(&mut self.rest_at, busy, Instant::now()) {
            // two thirds of its memory, while its containers run
            linux::image::release_code();
        }
        for (watched, errors) in &ready {
            match watched {
                Watched::Listener => self.accept(),
                Watched::Signals => self.reap(),
                Watched::Connection(number) => self.serve(*number, *errors),
                Watched::Publisher | Watched::Other | Watched::Oom(_) => {}
            }
        }
        self.look_for_oom(&ready);
        self.advance();
        self.end_if_forgotten(&ready);
        for (caller, answer) in std::mem::take(&mut self.shim.answers) {
            if let Some(connection) = self.connections.get_mut(&caller.connection) {
                connection.answer(caller.number, answer);
            }
        }
        // after the answers, which someone waits for
        self.shim.publisher.advance();
        self.shim.prepare_announced();
        Ok(())
    }

    /// Ends the shim that no one will ask to end: a containerd that was killed after `Delete` does not come back to it.
    fn end_if_forgotten(&mut self, ready: &[(Watched, bool)]) {
        // not by a call, because a list of tasks asks this shim, too, for what it does not have
        let called = ready.iter().any(|(watched, _)| matches!(watched, Watched::Listener));
        let idle = self.shim.tasks.is_empty() && self.shim.pod.is_none() && self.shim.works.is_empty();
        if called || !idle {
            self.forgotten = None;
        }
        if idle {
            let now = Instant::now();
            if *self.forgotten.get_or_insert(now + FORGOTTEN) <= now {
                self.shim.shutdown.get_or_insert(now + FAREWELL);
            }
        }
    }

    /// Polls all descriptors; returns those with events, each with whether it is an error.
    fn wait(&self) -> Result<Vec<(Watched, bool)>> {
        let mut list: Vec<(Watched, PollFd<'_>)> = Vec::new();
        let mut deadline = self.shim.shutdown;
        let mut until = |at: Option<Instant>| deadline = [deadline, at].into_iter().flatten().min();
        until(self.rest_at);
        list.push((Watched::Listener, PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)));
        list.push((Watched::Signals, PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)));
        for (number, connection) in &self.connections {
            list.push((
                Watched::Connection(*number),
                PollFd::new(connection.as_fd(), flags(true, connection.wants_to_write())),
            ));
        }
        until(self.forgotten);
        until(self.shim.linger.filter(|at| *at > Instant::now()));
        until(self.shim.publisher.deadline());
        if let Some(connection) = self.shim.publisher.connection() {
            list.push((Watched::Publisher, PollFd::new(connection.as_fd(), flags(true, connection.wants_to_write()))));
        }
        for work in &self.shim.works {
            list.push((Watched::Other, PollFd::new(work.job.as_fd(), PollFlags::POLLIN)));
        }
        for (id, task) in &self.shim.tasks {
            for relay in
                std::iter::once(&task.init).chain(task.execs.values()).filter_map(|process| process.io.relay.as_ref())
            {
                until(relay.deadline());
                for (fd, read, write) in relay.watched() {
                    list.push((Watched::Other, PollFd::new(fd, flags(read, write))));
                }
            }
            if let Some(oom) = &task.oom {
                let (fd, priority) = oom.poll();
                let events = if priority { PollFlags::POLLPRI } else { PollFlags::POLLIN };
                list.push((Watched::Oom(id.clone()), PollFd::new(fd, events)));
                until(oom.again().map(|wait| Instant::now() + Duration::from_millis(wait)));
            }
        }
        let (names, mut set): (Vec<Watched>, Vec<PollFd<'_>>) = list.into_iter().unzip();
        let timeout = deadline.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut set, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(err) => return Err(err).context("poll"),
        }
        let errors = PollFlags::POLLERR | PollFlags::POLLNVAL;
        let ready = names.into_iter().zip(&set).filter_map(|(name, fd)| {
            let events = fd.revents().filter(|events| !events.is_empty())?;
            Some((name, events.intersects(errors)))
        });
        Ok(ready.collect())
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Ok(connection) = Connection::new(stream) {
                        self.next += 1;
                        self.connections.insert(self.next, connection);
                    }
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Reaps every child that has ended.
    fn reap(&mut self) {
        while let Ok(Some(_)) = signal::read(self.signals.as_fd()) {}
        while let Ok(Some((pid, code))) = signal::reap() {
            self.shim.child_ended(pid, code);
        }
    }

    /// Reads and answers the calls of a connection.
    fn serve(&mut self, number: u64, broken: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let alive = connection.flush();
        let (frames, closed) = connection.read().unwrap_or_else(|_| (Vec::new(), true));
        for frame in frames {
            let Frame::Request(call, request) = frame else { continue };
            let caller = Caller { connection: number, number: call };
            let answer = if TASK_SERVICES.contains(&request.service.as_str()) {
                self.shim.call(&request.method, &request.payload, caller)
            } else if request.service == SANDBOX_SERVICE {
                self.shim.call_sandbox(&request.method, &request.payload, caller)
            } else {
                Some(Err(status(code::UNIMPLEMENTED, format!("there is no service {}", request.service))))
            };
            if let Some(answer) = answer {
                self.shim.answer(caller, answer);
            }
        }
        if closed || broken || !alive {
            self.connections.remove(&number);
            if let Some(pod) = &mut self.shim.pod {
                pod.waiting.retain(|caller| caller.connection != number);
            }
            for task in self.shim.tasks.values_mut() {
                task.processes().for_each(|(_, process)| process.waiting.retain(|caller| caller.connection != number));
            }
        }
    }

    /// Takes the ends of verbs, and moves what terminals have.
    fn advance(&mut self) {
        let mut place = 0;
        while let Some(work) = self.shim.works.get_mut(place) {
            match work.job.advance() {
                None => place += 1,
                Some(result) => {
                    let work = self.shim.works.remove(place);
                    self.shim.work_ended(work, result);
                }
            }
        }
        for task in self.shim.tasks.values_mut() {
            for (_, process) in task.processes() {
                if process.io.relay.as_mut().is_some_and(super::relay::Relay::advance) {
                    process.io.relay = None;
                }
            }
        }
    }

    /// Counts the OOM kills of the containers whose watch has announced some, or waits for their number.
    fn look_for_oom(&mut self, ready: &[(Watched, bool)]) {
        let announced = |id: &str| ready.iter().any(|(watched, _)| matches!(watched, Watched::Oom(of) if of == id));
        let mut found = Vec::new();
        for (id, task) in &mut self.shim.tasks {
            if let Some(watch) = &mut task.oom {
                match watch.events(announced(id)) {
                    Ok(kills) => found.push((id.clone(), kills)),
                    Err(_) => task.oom = None,
                }
            }
        }
        found.into_iter().for_each(|(id, kills)| self.shim.report_oom(&id, kills));
    }
}

/// Returns whether the time of rest has come at `now`; it begins anew whenever the shim is busy. A timeout of poll(2) alone does not
/// say so: events for containerd have their own.
fn rests(rest_at: &mut Option<Instant>, busy: bool, now: Instant) -> bool {
    if busy {
        *rest_at = Some(now + REST);
    }
    rest_at.take_if(|at| *at <= now).is_some()
}

/// Returns the events to poll for.
fn flags(read: bool, write: bool) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, read);
    flags.set(PollFlags::POLLOUT, write);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_given_back_once_after_two_seconds_without_an_event() {
        let start = Instant::now();
        let mut rest_at = None;
        // (milliseconds after the start, busy, the code is given back)
        let steps = [
            (0, true, false),
            (10, false, false), // events that were late
            (1500, true, false),
            (2500, false, false),
            (3500, false, true),
            (9000, false, false),
            (9001, true, false),
        ];
        for (at, busy, wanted) in steps {
            assert_eq!(rests(&mut rest_at, busy, start + Duration::from_millis(at)), wanted, "{at}");
        }
    }
}
