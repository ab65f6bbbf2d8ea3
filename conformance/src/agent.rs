//! A Unix socket on which the suite receives descriptors from a runtime: the seccomp listener, pidfds.

use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use crate::files::read;
use crate::harness::EVENT_LIMIT;

/// The time within which the runtime has to close a connection after its message.
pub const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The message of one connection.
pub struct AgentReport {
    /// The bytes parsed as JSON; null where they are no JSON.
    pub document: Value,
    /// The targets of the descriptors' links in `/proc/self/fd`.
    pub links: Vec<String>,
    /// The text of `/proc/self/fdinfo` of each descriptor.
    pub infos: Vec<String>,
    /// The descriptors, which are closed when this value is dropped.
    pub descriptors: Vec<OwnedFd>,
    /// True if the runtime closed the connection after the message.
    pub closed: bool,
}

/// A listening socket, and the thread that receives the messages.
pub struct Agent {
    /// The path of the socket.
    pub path: PathBuf,
    thread: JoinHandle<Result<Vec<AgentReport>>>,
}

impl Agent {
    /// Listens for the given number of connections.
    pub fn listen(path: &Path, connections: usize) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let thread = std::thread::spawn(move || (0..connections).map(|_| accept(&listener)).collect());
        Ok(Self { path: path.into(), thread })
    }

    /// Returns the reports of all connections.
    pub fn reports(self) -> Result<Vec<AgentReport>> {
        self.thread.join().map_err(|_| anyhow!("the listening thread ended"))?
    }

    /// Returns the report of the only connection.
    pub fn one(self) -> Result<AgentReport> {
        match self.reports()?.pop() {
            Some(report) => Ok(report),
            None => bail!("nothing came"),
        }
    }
}

fn accept(listener: &UnixListener) -> Result<AgentReport> {
    let deadline = Instant::now() + EVENT_LIMIT;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(err) if err.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => bail!("no process connected to the socket"),
            Err(err) => return Err(err.into()),
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(EVENT_LIMIT))?;
    receive(&stream)
}

/// Receives a whole message, and anything further up to the end of the connection.
fn receive(stream: &UnixStream) -> Result<AgentReport> {
    let (mut text, mut links, mut infos, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut document: Option<Value> = None;
    let closed = loop {
        let mut buffer = vec![0; 1 << 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let bytes = match recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => message.bytes,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) if document.is_some() || !links.is_empty() => break false,
            Err(err) => bail!("no whole message came: {err}; {} bytes did", text.len()),
        };
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else { continue };
            for fd in descriptors {
                let number = fd.as_raw_fd();
                links.push(fs::read_link(format!("/proc/self/fd/{number}"))?.to_string_lossy().into_owned());
                infos.push(read(Path::new(&format!("/proc/self/fdinfo/{number}"))));
                kept.push(fd);
            }
        }
        if bytes == 0 {
            break true;
        }
        text.extend(buffer.get(..bytes).unwrap_or_default());
        document = serde_json::from_slice(&text).ok();
        if document.is_some() || text.first() != Some(&b'{') {
            stream.set_read_timeout(Some(CLOSED_WITHIN))?;
        }
    };
    Ok(AgentReport { document: document.unwrap_or_default(), links, infos, descriptors: kept, closed })
}
