//! A D-Bus connection to a service manager, direct or through a message bus.
//!
//! One call at a time, and the signal at the end of a job. Every wait ends at the connection's deadline.

use base::coded;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use super::wire::{Incoming, Target, Writer, call, length, parse};

/// Longest duration of a connection, because a job on a busy machine takes seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The object of the service manager.
pub(super) const MANAGER: Target = Target {
    destination: Some("org.freedesktop.systemd1"),
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// The object of the message bus.
const DRIVER: Target = Target {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

const JOB_REMOVED: &str =
    "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved',path='/org/freedesktop/systemd1'";

/// An error reply to a method call.
#[derive(Debug)]
pub(super) struct DbusError {
    /// The name of the D-Bus error, such as `org.freedesktop.systemd1.NoSuchUnit`.
    pub name: String,
    text: String,
}

impl std::fmt::Display for DbusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.text.is_empty() { f.write_str(&self.name) } else { f.write_str(self.text.trim_end_matches('.')) }
    }
}

impl std::error::Error for DbusError {}

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    /// Received bytes that are not yet a whole message.
    pending: Vec<u8>,
    serial: u32,
    deadline: Instant,
    /// Ended jobs: path and result.
    ended: Vec<(String, String)>,
}

impl Bus {
    /// Connects to the socket at `address`: a path, or `@` and an abstract name. A socket called `private` is the
    /// manager's own, without a message bus.
    ///
    /// # Errors
    /// No process listens there, or it refuses the authentication.
    pub(super) fn connect(address: &str) -> Result<Bus> {
        let deadline = Instant::now() + TIMEOUT;
        let stream = UnixStream::from(open(address)?);
        let mut bus = Bus { stream, pending: Vec::new(), serial: 0, deadline, ended: Vec::new() };
        bus.authenticate()?;
        if !address.ends_with("/private") {
            bus.call(DRIVER, "Hello", "", &Writer::default())?;
            let mut rule = Writer::default();
            rule.text(JOB_REMOVED);
            bus.call(DRIVER, "AddMatch", "s", &rule)?;
        }
        Ok(bus)
    }

    /// Authenticates by EXTERNAL without a user ID, so that the peer uses the socket's credentials: in a user namespace
    /// croci does not know its user ID on the host. Sends BEGIN at once, as systemd's own clients do, but no message
    /// with it: systemd 252 does not process a message from the same read until another one arrives.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK "] {
            let line = self.line()?;
            if !line.starts_with(expected) {
                bail!(coded!(CgroupSystemd, "authentication: {line:?}"));
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.pending.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            anyhow::ensure!(self.pending.len() < 4096, coded!(CgroupSystemd, "authentication: no end of line"));
            self.receive()?;
        }
    }

    /// Calls a method, waits for the reply and returns the texts in it.
    ///
    /// # Errors
    /// [`DbusError`] for an error reply; a broken connection, or the deadline has passed.
    pub(super) fn call(&mut self, target: Target, member: &str, signature: &str, body: &Writer) -> Result<Vec<String>> {
        self.serial += 1;
        self.send(&call(target, member, self.serial, signature, &body.0)).context("send")?;
        loop {
            match self.next().context("wait for the answer")? {
                Incoming::Return(serial, texts) if serial == self.serial => return Ok(texts),
                Incoming::Error(serial, name, text) if serial == self.serial => {
                    return Err(anyhow!(DbusError { name, text }));
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a job that a call has started and returns its result, `done` on success.
    ///
    /// # Errors
    /// A broken connection, or the deadline has passed.
    pub(super) fn job(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(path, _)| path == job) {
                return Ok(result.clone());
            }
            self.next().context("wait for the end of the job")?;
        }
    }

    /// Receives the next message; keeps the ends of jobs.
    fn next(&mut self) -> Result<Incoming> {
        loop {
            if let Some(length) = length(&self.pending)?.filter(|length| *length <= self.pending.len()) {
                let message: Vec<u8> = self.pending.drain(..length).collect();
                let message = parse(&message)?;
                if let Incoming::Signal(member, texts) = &message
                    && let ("JobRemoved", [_, path, _, result, ..]) = (member.as_str(), texts.as_slice())
                {
                    self.ended.push((path.clone(), result.clone()));
                }
                return Ok(message);
            }
            self.receive()?;
        }
    }

    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!(coded!(CgroupSystemd, "the connection was closed")),
                Ok(count) => {
                    self.pending.extend(buffer.get(..count).unwrap_or_default());
                    return Ok(());
                }
                // a signal, or a time-out, which `left` reports
                Err(err) if matches!(err.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        Ok(self.stream.write_all(bytes)?)
    }

    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!(coded!(CgroupSystemd, "no answer within {} s", TIMEOUT.as_secs()));
        }
        Ok(left)
    }
}

/// Returns a connected socket. The time-out is also for connect(2), which blocks on the full queue of a manager that
/// hangs.
fn open(address: &str) -> Result<OwnedFd> {
    let addr = match address.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()),
        None => UnixAddr::new(address),
    }?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(TIMEOUT.as_secs() as i64, 0))?;
    loop {
        match connect(socket.as_fd().as_raw_fd(), &addr) {
            Err(nix::errno::Errno::EINTR) => {}
            result => return Ok(result.map(|()| socket)?),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::wire::peer;
    use super::*;

    /// Runs a server that sends each message when it has received so many bytes in total.
    fn server(dialogue: Vec<(usize, Vec<u8>)>) -> (std::path::PathBuf, std::thread::JoinHandle<Vec<u8>>) {
        let dir =
            std::env::temp_dir().join(format!("croci-bus-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.join("private")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            for (wanted, answer) in dialogue {
                while seen.len() < wanted {
                    let mut buffer = [0; 512];
                    let count = stream.read(&mut buffer).unwrap();
                    if count == 0 {
                        return seen;
                    }
                    seen.extend(&buffer[..count]);
                }
                // in two parts, because a message may arrive in pieces
                let (first, second) = answer.split_at(answer.len() / 2);
                stream.write_all(first).unwrap();
                stream.write_all(second).unwrap();
            }
            seen
        });
        (dir, thread)
    }

    const HELLO: usize = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".len();

    #[test]
    fn a_job_that_ends_before_its_answer_is_not_missed() {
        let signal = peer(4, &[(3, "s", "JobRemoved"), (8, "g", "uoss")], "uoss", &["2", "/j", "u", "done"]);
        let answer = peer(2, &[(5, "u", "1"), (8, "g", "o")], "o", &["/j"]);
        let both = [signal, answer].concat();
        let (dir, thread) = server(vec![(HELLO, b"DATA\r\nOK 0123\r\n".to_vec()), (HELLO + 20, both)]);
        let mut bus = Bus::connect(dir.join("private").to_str().unwrap()).unwrap();
        let answer = bus.call(MANAGER, "StopUnit", "", &Writer::default()).unwrap();
        assert_eq!(answer, ["/j"]);
        assert_eq!(bus.job("/j").unwrap(), "done");
        drop(bus);
        thread.join().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_server_that_does_not_want_us_is_an_error() {
        for (answer, text) in [(&b"REJECTED EXTERNAL\r\n"[..], "REJECTED"), (b"", "closed")] {
            let (dir, thread) = server(vec![(HELLO, answer.to_vec())]);
            let err = Bus::connect(dir.join("private").to_str().unwrap()).unwrap_err();
            assert!(base::error::describe(&err).contains(text), "{err:#}");
            thread.join().unwrap();
            std::fs::remove_dir_all(dir).unwrap();
        }
    }

    #[test]
    fn a_refusal_has_the_name_of_its_error() {
        let refused = peer(3, &[(4, "s", "a.B"), (5, "u", "1"), (8, "g", "s")], "s", &["why."]);
        let (dir, thread) = server(vec![(HELLO, b"DATA\r\nOK 0\r\n".to_vec()), (HELLO + 20, refused)]);
        let mut bus = Bus::connect(dir.join("private").to_str().unwrap()).unwrap();
        let err = bus.call(MANAGER, "StopUnit", "", &Writer::default()).unwrap_err();
        assert_eq!(err.downcast_ref::<DbusError>().unwrap().name, "a.B");
        assert_eq!(err.to_string(), "why");
        drop(bus);
        thread.join().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
