//! One run of `criu swrk`: CRIU as a child process that serves one request on a socket and exits.

use base::coded;
use base::error::{Code, Coding as _, from_wire};
use std::convert::Infallible;
use std::ffi::CString;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::Mode;

use super::log;
use super::message::{CriuRequestType, Request, Response};

use linux::process::CloneResult;

/// The search path when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Size of the receive buffer in bytes; a response of CRIU has a few short fields.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Finds the CRIU program: `configured`, else `criu` in `PATH`.
///
/// # Errors
/// The file is missing or is not executable.
pub(crate) fn find(configured: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = configured {
        let meta = std::fs::metadata(path).with_code(Code::CriuFailed, || format!("--criu {path:?}"))?;
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            bail!(coded!(CriuFailed, "--criu {path:?}: is not an executable file"));
        }
        return Ok(path.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(&path).map(|dir| dir.join("criu")).find(runs);
    found.code(Code::CriuMissing, "criu is not installed (Debian: package criu)")
}

/// A message from CRIU, with the descriptor that was sent with it.
#[derive(Debug)]
pub(crate) struct CriuResponse {
    /// The message.
    pub response: Response,
    /// A pty master, with the notification `orphan-pts-master`.
    pub fd: Option<OwnedFd>,
}

/// A running CRIU process; killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Swrk {
    /// Its pid.
    pub pid: i32,
    pidfd: OwnedFd,
    socket: OwnedFd,
    /// Numbers, in CRIU's process, of the descriptors that `before` returned.
    pub opened: Vec<i32>,
    /// Memory file for its output before it has opened its log; `None` when it has croci's standard streams.
    early: Option<std::fs::File>,
}

/// The parameters of a CRIU process.
pub(crate) struct Start<'a> {
    /// Path of the program.
    pub program: &'a Path,
    /// Descriptors that CRIU inherits with the same numbers.
    pub inherit: &'a [RawFd],
    /// CRIU and the processes that it restores inherit croci's standard streams.
    pub own_stdio: bool,
    /// The cgroup v2 directory in which CRIU starts.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Function that the new process calls before execve(2); CRIU inherits the descriptors that it returns.
    pub before: &'a dyn Fn() -> Result<Vec<OwnedFd>>,
}

/// First byte of a message from the new process before it is CRIU.
const READY: u8 = b'+';
const FAILED: u8 = b'-';

impl Swrk {
    /// Starts CRIU; returns when execve(2) has succeeded.
    ///
    /// # Errors
    /// The error of `before` or execve(2); as clone3(2).
    pub(crate) fn start(start: &Start<'_>) -> Result<Swrk> {
        let (ours, theirs) = linux::socket::pair().context("socket pair")?;
        let early = if start.own_stdio {
            None
        } else {
            Some(std::fs::File::from(memfd_create(c"criu", MFdFlags::MFD_CLOEXEC).context("memory file")?))
        };
        match linux::process::clone3(0, start.cgroup).code(Code::CriuFailed, "create the process of criu")? {
            CloneResult::Child => {
                drop(ours);
                let Err(err) = become_criu(start, theirs.as_fd(), early.as_ref());
                let text = [&[FAILED], base::error::to_wire(&err).as_bytes()].concat();
                let _ = linux::socket::send(theirs.as_fd(), &text, &[]);
                linux::process::exit(127)
            }
            CloneResult::Parent { pid, pidfd } => {
                drop(theirs);
                let mut criu = Swrk { pid, pidfd, socket: ours, opened: Vec::new(), early };
                let (text, socket) = criu.message()?;
                let (Some((&READY, numbers)), Some(socket)) = (text.split_first(), socket) else {
                    bail!(coded!(CriuFailed, "the process of criu sent no start message"));
                };
                let numbers = String::from_utf8_lossy(numbers);
                criu.opened = numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
                // the first socket is open until execve(2), because the process sends the error of that on it
                let first = std::mem::replace(&mut criu.socket, socket);
                criu.socket = criu.wait_for_exec(first)?;
                Ok(criu)
            }
        }
    }

    /// Waits until CRIU runs: end of file on the socket `first`. Returns the socket for requests.
    fn wait_for_exec(&mut self, first: OwnedFd) -> Result<OwnedFd> {
        let requests = std::mem::replace(&mut self.socket, first);
        let mut buffer = vec![0u8; MAX_MESSAGE_BYTES];
        let (length, _) =
            linux::socket::receive(self.socket.as_fd(), &mut buffer).code(Code::CriuFailed, "receive from criu")?;
        match buffer.get(..length).and_then(<[u8]>::split_first) {
            Some((_, text)) => Err(from_wire(&String::from_utf8_lossy(text))).or_code(Code::CriuFailed),
            None => Ok(requests),
        }
    }

    /// Borrows the socket: readable when CRIU has sent a message or has ended.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// CRIU has ended: the error has its last output.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<()> {
        match linux::socket::send(self.socket.as_fd(), &request.encode(), &[]) {
            // CRIU may have sent a message before it ended
            Err(err) if err.raw_os_error() == Some(libc::EPIPE) => {
                self.message()?;
                Err(self.ended())
            }
            other => other.code(Code::CriuFailed, "send to criu"),
        }
    }

    /// Receives the next message.
    ///
    /// # Errors
    /// CRIU has ended: the error has its last output.
    pub(crate) fn receive(&mut self) -> Result<CriuResponse> {
        let (bytes, fd) = self.message()?;
        Ok(CriuResponse { response: Response::decode(&bytes).code(Code::CriuFailed, "response of criu")?, fd })
    }

    fn message(&mut self) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut buffer = vec![0u8; MAX_MESSAGE_BYTES];
        let (length, fd) = match linux::socket::receive(self.socket.as_fd(), &mut buffer) {
            Ok((0, _)) => return Err(self.ended()),
            Err(err) if err.raw_os_error() == Some(libc::ECONNRESET) => return Err(self.ended()),
            other => other.code(Code::CriuFailed, "receive from criu")?,
        };
        buffer.truncate(length);
        match buffer.split_first() {
            Some((&FAILED, text)) => Err(from_wire(&String::from_utf8_lossy(text))).or_code(Code::CriuFailed),
            _ => Ok((buffer, fd)),
        }
    }

    /// Kills and reaps CRIU; returns an error with its output from before it had a log, or its exit status.
    fn ended(&mut self) -> anyhow::Error {
        let _ = linux::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let status = linux::process::wait(self.pidfd.as_fd(), true);
        let text = self.early.as_mut().and_then(|file| {
            let mut text = Vec::new();
            file.rewind().ok()?;
            file.take(MAX_MESSAGE_BYTES as u64).read_to_end(&mut text).ok()?;
            let text = String::from_utf8_lossy(&text).into_owned();
            log::errors(&text).or_else(|| text.lines().rfind(|line| !line.is_empty()).map(str::to_owned))
        });
        match (text, status) {
            (Some(text), _) => anyhow::anyhow!(coded!(CriuFailed, "criu ended: {text}")),
            (None, Ok(Some(status))) => anyhow::anyhow!(coded!(CriuFailed, "criu ended: {status}")),
            (None, Ok(None) | Err(_)) => anyhow::anyhow!(coded!(CriuFailed, "criu ended")),
        }
    }

    /// Closes the socket and waits until CRIU exits.
    ///
    /// # Errors
    /// As waitid(2).
    pub(crate) fn finish(mut self) -> Result<()> {
        // closed, because after a pre-dump CRIU waits for another request
        let (unused, _) = linux::socket::pair().context("socket pair")?;
        drop(std::mem::replace(&mut self.socket, unused));
        linux::process::wait(self.pidfd.as_fd(), true).code(Code::CriuFailed, "wait for criu").map(drop)
    }
}

impl Drop for Swrk {
    fn drop(&mut self) {
        if matches!(linux::process::wait(self.pidfd.as_fd(), false), Ok(None)) {
            let _ = linux::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
            let _ = linux::process::wait(self.pidfd.as_fd(), true);
        }
    }
}

/// Runs CRIU in this new process.
///
/// CRIU looks up descriptor numbers in the process that created the socket. So this process creates it, and opens the
/// directories, because CRIU can mount on them only in its own mount namespace.
fn become_criu(start: &Start<'_>, runtime: BorrowedFd<'_>, early: Option<&std::fs::File>) -> Result<Infallible> {
    let opened = (start.before)()?;
    let (socket, theirs) = linux::socket::pair().context("socket pair")?;
    if let Some(early) = early {
        let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        linux::term::replace_stdio(null.as_fd(), 0).code(Code::CriuFailed, "standard input of criu")?;
        for number in [1, 2] {
            linux::term::replace_stdio(early.as_fd(), number).code(Code::CriuFailed, "standard streams of criu")?;
        }
    }
    for fd in start.inherit.iter().copied().chain(opened.iter().map(AsRawFd::as_raw_fd)).chain([socket.as_raw_fd()]) {
        linux::process::clear_cloexec(fd).code(Code::CriuFailed, "descriptor for criu")?;
    }
    // because croci blocks some signals while it creates a container
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context("signal mask")?;
    // readable images, because root of the container's user namespace has to read them; the directory's mode protects
    // them
    linux::path::umask(0o022);
    let program = CString::new(start.program.as_os_str().as_bytes())?;
    let number = CString::new(socket.as_raw_fd().to_string())?;
    let environment = environment()?;
    let mut text = vec![READY];
    opened.iter().for_each(|fd| text.extend_from_slice(format!("{} ", fd.as_raw_fd()).as_bytes()));
    linux::socket::send(runtime, &text, &[theirs.as_fd()]).context("send to the runtime")?;
    drop(theirs);
    nix::unistd::execve(&program, &[c"criu", c"swrk", number.as_c_str()], &environment)
        .with_context(|| format!("run {:?}", start.program))
}

/// Returns croci's environment, with a `PATH`, because CRIU calls `ip`, `iptables` and `tar`.
fn environment() -> Result<Vec<CString>> {
    let mut list = Vec::new();
    for (name, value) in std::env::vars_os() {
        list.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    if std::env::var_os("PATH").is_none() {
        list.push(CString::new(format!("PATH={DEFAULT_PATH}"))?);
    }
    Ok(list)
}

/// Returns two features of CRIU on this kernel: tracking of changed memory, and lazy pages.
///
/// # Errors
/// CRIU cannot be started or sends no such response.
pub(crate) fn features(program: &Path) -> Result<(bool, bool)> {
    let start = Start { program, inherit: &[], own_stdio: false, cgroup: None, before: &|| Ok(Vec::new()) };
    let mut criu = Swrk::start(&start)?;
    criu.send(&Request::Features)?;
    let response = criu.receive()?.response;
    if response.kind != CriuRequestType::Features || !response.success {
        bail!(coded!(CriuFailed, "criu: the check of its features failed"));
    }
    criu.finish()?;
    Ok((response.mem_track, response.lazy_pages))
}
