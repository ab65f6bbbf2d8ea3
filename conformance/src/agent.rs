//! A socket of the suite's own, to which a runtime hands descriptors: the seccomp listener, pidfds.

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

/// The time that a connection may stay open behind its message.
pub const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The message of one connection.
pub struct AgentReport {
    /// The bytes as a document; null where they are none.
    pub document: Value,
    /// The links of `/proc/self/fd` of the descriptors.
    pub links: Vec<String>,
    /// The text of `/proc/self/fdinfo` of each.
    pub infos: Vec<String>,
    /// The descriptors, open for as long as this is kept.
    pub descriptors: Vec<OwnedFd>,
    /// The connection was closed behind the message.
    pub closed: bool,
}

/// A listening socket, and what comes there.
pub struct Agent {
    /// Where it listens.
    pub path: PathBuf,
    thread: JoinHandle<Result<Vec<AgentReport>>>,
}

impl Agent {
    /// Listens for so many connections.
    pub fn listen(path: &Path, connections: usize) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let thread = std::thread::spawn(move || (0..connections).map(|_| accept(&listener)).collect());
        Ok(Self { path: path.into(), thread })
    }

    /// The reports of all connections.
    pub fn reports(self) -> Result<Vec<AgentReport>> {
        self.thread.join().map_err(|_| anyhow!("the listening thread ended"))?
    }

    /// The report of the only connection.
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

/// A whole message, and whatever comes up to the end of the connection.
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
