//! One run of `criu swrk`: CRIU as a child that serves one request on a socket and ends.

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

/// Where programs are looked for when the caller gives no `PATH`.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where CRIU's messages fit in: a response has a few short fields.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The CRIU program: as given, else from `PATH`.
///
/// # Errors
/// There is none.
pub(crate) fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        let meta = std::fs::metadata(path).with_context(|| format!("--criu {path:?}"))?;
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            bail!("--criu {path:?}: is no program");
        }
        return Ok(path.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| SEARCH.into());
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(&path).map(|dir| dir.join("criu")).find(runs);
    found.context("criu is not installed (Debian: package criu)")
}

/// A message of CRIU, with the descriptor that came beside it.
#[derive(Debug)]
pub(crate) struct CriuResponse {
    /// The message.
    pub response: Response,
    /// The master of a terminal, with `orphan-pts-master`.
    pub fd: Option<OwnedFd>,
}

/// A running CRIU; killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Swrk {
    /// Its pid.
    pub pid: i32,
    pidfd: OwnedFd,
    socket: OwnedFd,
    /// The numbers of what `before` gave.
    pub opened: Vec<i32>,
    /// Where its standard error goes, when not to croci's: what it says before it has its log.
    early: Option<std::fs::File>,
}

/// How CRIU is started.
pub(crate) struct Start<'a> {
    /// The program.
    pub program: &'a Path,
    /// Descriptors that it gets under their own numbers.
    pub inherit: &'a [RawFd],
    /// It, and what it restores, has croci's standard streams.
    pub own_stdio: bool,
    /// The cgroup v2 directory that it starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Done in the new process before CRIU runs; CRIU keeps what it gives.
    pub before: &'a dyn Fn() -> Result<Vec<OwnedFd>>,
}

/// First byte of the new process's own messages.
const READY: u8 = b'+';
const FAILED: u8 = b'-';

impl Swrk {
    /// Starts it; returns when `before` is done.
    ///
    /// # Errors
    /// `before` failed, in its words; no more processes or descriptors.
    pub(crate) fn start(start: &Start<'_>) -> Result<Swrk> {
        let (ours, theirs) = linux::socket::pair().context("socket pair")?;
        let early = if start.own_stdio {
            None
        } else {
            Some(std::fs::File::from(memfd_create(c"criu", MFdFlags::MFD_CLOEXEC).context("memory file")?))
        };
        match linux::process::clone3(0, start.cgroup).context("make the process of criu")? {
            CloneResult::Child => {
                drop(ours);
                let Err(err) = become_criu(start, theirs.as_fd(), early.as_ref());
                let text = [&[FAILED], base::error::describe(&err).as_bytes()].concat();
                let _ = linux::socket::send(theirs.as_fd(), &text, &[]);
                linux::process::exit(127)
            }
            CloneResult::Parent { pid, pidfd } => {
                drop(theirs);
                let mut criu = Swrk { pid, pidfd, socket: ours, opened: Vec::new(), early };
                let (text, socket) = criu.message()?;
                let (Some((&READY, numbers)), Some(socket)) = (text.split_first(), socket) else {
                    bail!("the process of criu did not begin");
                };
                let numbers = String::from_utf8_lossy(numbers);
                criu.opened = numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
                // the first one stays open until exec: its end would hide a failure there
                let first = std::mem::replace(&mut criu.socket, socket);
                criu.socket = criu.executed(first)?;
                Ok(criu)
            }
        }
    }

    /// Waits until CRIU itself runs; the socket to talk to it.
    fn executed(&mut self, first: OwnedFd) -> Result<OwnedFd> {
        let talk = std::mem::replace(&mut self.socket, first);
        let mut buffer = vec![0u8; MAX_MESSAGE_BYTES];
        let (length, _) = linux::socket::receive(self.socket.as_fd(), &mut buffer).context("listen to criu")?;
        match buffer.get(..length).and_then(<[u8]>::split_first) {
            Some((_, text)) => bail!("{}", String::from_utf8_lossy(text)),
            None => Ok(talk),
        }
    }

    /// Becomes readable when it has something to say, or has ended.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<()> {
        match linux::socket::send(self.socket.as_fd(), &request.encode(), &[]) {
            // what it said last is still to be read
            Err(err) if err.raw_os_error() == Some(libc::EPIPE) => {
                self.message()?;
                Err(self.ended())
            }
            other => other.context("talk to criu"),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// It has ended without one.
    pub(crate) fn receive(&mut self) -> Result<CriuResponse> {
        let (bytes, fd) = self.message()?;
        Ok(CriuResponse { response: Response::decode(&bytes).context("answer of criu")?, fd })
    }

    fn message(&mut self) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut buffer = vec![0u8; MAX_MESSAGE_BYTES];
        let (length, fd) = match linux::socket::receive(self.socket.as_fd(), &mut buffer) {
            Ok((0, _)) => return Err(self.ended()),
            Err(err) if err.raw_os_error() == Some(libc::ECONNRESET) => return Err(self.ended()),
            other => other.context("listen to criu")?,
        };
        buffer.truncate(length);
        match buffer.split_first() {
            Some((&FAILED, text)) => bail!("{}", String::from_utf8_lossy(text)),
            _ => Ok((buffer, fd)),
        }
    }

    /// What it said when it had no log yet.
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
            (Some(text), _) => anyhow::anyhow!("criu ended: {text}"),
            (None, Ok(Some(status))) => anyhow::anyhow!("criu ended: {status}"),
            (None, Ok(None) | Err(_)) => anyhow::anyhow!("criu ended"),
        }
    }

    /// Lets it end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn finish(mut self) -> Result<()> {
        // the end of the talk: after a pre-dump it would wait for the next one
        let (nobody, _) = linux::socket::pair().context("socket pair")?;
        drop(std::mem::replace(&mut self.socket, nobody));
        linux::process::wait(self.pidfd.as_fd(), true).context("wait for criu").map(drop)
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

/// The new process on its way to CRIU.
///
/// CRIU takes numbers of descriptors, and looks them up in the process that made the socket. So that is this process:
/// what it opens lies in its own mount namespace, where CRIU can mount on it.
fn become_criu(start: &Start<'_>, runtime: BorrowedFd<'_>, early: Option<&std::fs::File>) -> Result<Infallible> {
    let opened = (start.before)()?;
    let (socket, theirs) = linux::socket::pair().context("socket pair")?;
    if let Some(early) = early {
        let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        linux::term::replace_stdio(null.as_fd(), 0).context("standard input of criu")?;
        for number in [1, 2] {
            linux::term::replace_stdio(early.as_fd(), number).context("standard streams of criu")?;
        }
    }
    for fd in start.inherit.iter().copied().chain(opened.iter().map(AsRawFd::as_raw_fd)).chain([socket.as_raw_fd()]) {
        linux::process::clear_cloexec(fd).context("descriptor for criu")?;
    }
    // croci holds some back while it makes things
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context("signal mask")?;
    // images can be read by the container's root of a user namespace, behind the directory's own mode
    linux::path::umask(0o022);
    let program = CString::new(start.program.as_os_str().as_bytes())?;
    let number = CString::new(socket.as_raw_fd().to_string())?;
    let environment = environment()?;
    let mut text = vec![READY];
    opened.iter().for_each(|fd| text.extend_from_slice(format!("{} ", fd.as_raw_fd()).as_bytes()));
    linux::socket::send(runtime, &text, &[theirs.as_fd()]).context("tell the runtime")?;
    drop(theirs);
    nix::unistd::execve(&program, &[c"criu", c"swrk", number.as_c_str()], &environment)
        .with_context(|| format!("run {:?}", start.program))
}

/// croci's own, with a search path: CRIU calls `ip`, `iptables` and `tar`.
fn environment() -> Result<Vec<CString>> {
    let mut list = Vec::new();
    for (name, value) in std::env::vars_os() {
        list.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    if std::env::var_os("PATH").is_none() {
        list.push(CString::new(format!("PATH={SEARCH}"))?);
    }
    Ok(list)
}

/// What CRIU can do on this kernel: tracking of changed memory, and lazy pages.
///
/// # Errors
/// It does not answer.
pub(crate) fn features(program: &Path) -> Result<(bool, bool)> {
    let start = Start { program, inherit: &[], own_stdio: false, cgroup: None, before: &|| Ok(Vec::new()) };
    let mut criu = Swrk::start(&start)?;
    criu.send(&Request::Features)?;
    let response = criu.receive()?.response;
    if response.kind != CriuRequestType::Features || !response.success {
        bail!("criu does not tell its features");
    }
    criu.finish()?;
    Ok((response.mem_track, response.lazy_pages))
}
