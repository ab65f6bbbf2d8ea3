//! sd_notify(3) for the program in the container: its `READY=1` reaches the service manager that started croci.
//!
//! The manager's own socket is never shown to the container: whoever may write to it can change the service's main
//! process or stop its watchdog. The container gets a socket of croci's, in a directory of the state directory that is
//! bind-mounted (`notify` below it to `/run/notify`, where runc has it too). croci reads it, forwards `READY=1` and
//! nothing else, adds a `MAINPID` of the host's pid namespace, and closes its socket: one that no process reads would hold the
//! program up once its queue is full. Before croci ends it waits until the manager has read that (barrier).
//!
//! `create` only makes the directory; `start`, `run` and `run --detach` bind the socket before the program can run.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use oci_spec::runtime::{MountBuilder, Spec};

/// The environment variable, of croci and of the program.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// Below the state directory.
const DIRECTORY: &str = "notify";
/// In that directory.
const SOCKET: &str = "notify.sock";
/// Where the container sees that directory.
const INSIDE: &str = "/run/notify";
/// A manager that takes longer than this to answer is not waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A state message is a few lines; systemd takes 4096 bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// The service manager's socket.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    address: SocketAddr,
}

/// The container's socket, while croci listens to it, and the end of what was told.
#[derive(Debug)]
pub(crate) struct Notify {
    /// None once the program was ready.
    socket: Option<UnixDatagram>,
    /// Closed at its other end when the manager has worked off what it was told.
    barrier: Option<OwnedFd>,
    manager: Manager,
    main_pid: i32,
}

impl Manager {
    /// The one that croci was started by, if it wants to be told.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` has a form that is not known.
    pub(crate) fn from_env() -> Result<Option<Manager>> {
        std::env::var_os(VARIABLE).map_or(Ok(None), |value| Manager::parse(&value))
    }

    /// A path, or `@` and an abstract name; empty is none.
    fn parse(value: &OsStr) -> Result<Option<Manager>> {
        let address = match value.as_bytes() {
            [] => return Ok(None),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(value),
            _ => bail!("{VARIABLE}: {value:?} is neither an absolute path nor an abstract name (@...)"),
        };
        Ok(Some(Manager { address: address.with_context(|| format!("{VARIABLE}: {value:?}"))? }))
    }

    /// `READY=1` and croci's choice of main process; a pipe that is closed when the manager has worked off both.
    fn ready(&self, main_pid: i32) -> Result<OwnedFd> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        match socket.connect_addr(&self.address) {
            // in words of our own: callers take the kernel's for a missing program (CL-21)
            Err(err) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&err.kind()) => {
                bail!("nobody listens there any more")
            }
            other => other?,
        }
        let message = format!("READY=1\nMAINPID={main_pid}\n");
        linux::socket::send(socket.as_fd(), message.as_bytes(), &[])?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        linux::socket::send(socket.as_fd(), b"BARRIER=1", &[writer.as_fd()])?;
        Ok(reader)
    }
}

/// Adds the mount and the variable to the configuration, before it is planned. The source need not exist yet.
///
/// # Errors
/// None that a caller could act on.
pub(crate) fn add_to(spec: &mut Spec, state_dir: &Path) -> Result<()> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    let mount = MountBuilder::default()
        .destination(PathBuf::from(INSIDE))
        .typ("bind")
        .source(state_dir.join(DIRECTORY))
        .options(options)
        .build()
        .context("mount of the notify socket")?;
    spec.mounts_mut().get_or_insert_default().push(mount);
    if let Some(process) = spec.process_mut() {
        let env = process.env_mut().get_or_insert_default();
        env.retain(|entry| entry.split('=').next() != Some(VARIABLE));
        env.push(format!("{VARIABLE}={INSIDE}/{SOCKET}"));
    }
    Ok(())
}

/// Makes the directory that the mount shows: before the bind sources are opened.
///
/// # Errors
/// The file system refuses.
#[allow(clippy::disallowed_methods, reason = "nobody else may write to a directory just created")]
pub(crate) fn make_dir(state_dir: &Path) -> Result<()> {
    let path = state_dir.join(DIRECTORY);
    // the container's user must get through, whoever that is; from outside the state directory bars the way
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&path)
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("make {path:?}"))
}

impl Notify {
    /// Listens for the container's message; before its program is let go. `None`: nothing was prepared when it was
    /// made. `main_pid` is what the manager is to take for the service's main process: init, or croci itself while it
    /// attends in the foreground.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn bind(state_dir: BorrowedFd<'_>, manager: Manager, main_pid: i32) -> Result<Option<Notify>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match openat(state_dir, DIRECTORY, flags, Mode::empty()) {
            Err(nix::Error::ENOENT) => return Ok(None),
            other => other.context("directory of the notify socket")?,
        };
        // by descriptor: the path of a long container ID does not fit into a socket address. One that is there
        // belonged to a `start` that was interrupted.
        let path = PathBuf::from(format!("/proc/thread-self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let bind = || -> io::Result<UnixDatagram> {
            match std::fs::remove_file(&path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
            let socket = UnixDatagram::bind(&path)?;
            // the directory is a mount of the container, too: no symlink there is followed
            let name = std::ffi::CString::new(SOCKET)?;
            linux::path::chmodat(dir.as_fd(), &name, 0o777)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = bind().context("bind the notify socket")?;
        Ok(Some(Notify { socket: Some(socket), barrier: None, manager, main_pid }))
    }

    /// Readable when [`Notify::forward`] has something to do; none once it is done.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(UnixDatagram::as_fd)
    }

    /// Reads what there is. Once the program is ready the manager is told, and the socket closed.
    ///
    /// # Errors
    /// The manager cannot be told. The socket is closed then, too.
    pub(crate) fn forward(&mut self) -> Result<()> {
        let mut buffer = [0u8; MAX_MESSAGE_BYTES];
        while let Some(socket) = &self.socket {
            // descriptors that come along (a barrier of the program's own) are closed by the kernel at once: there is
            // no room for them here
            let length = match socket.recv(&mut buffer) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                other => other.context("read the notify socket")?,
            };
            if is_ready(buffer.get(..length).unwrap_or_default()) {
                self.socket = None;
                let sent = self.manager.ready(self.main_pid);
                self.barrier = Some(sent.with_context(|| format!("tell {VARIABLE} that the container is ready"))?);
            }
        }
        Ok(())
    }

    /// Before croci ends: waits until the manager has worked off what it was told. Of a process that is gone it cannot
    /// tell any more whose messages they were.
    pub(crate) fn finish(self) {
        if let Some(barrier) = self.barrier {
            let _ = wait_any(&mut [PollFd::new(barrier.as_fd(), PollFlags::POLLIN)], Some(Instant::now() + TIMEOUT));
        }
    }

    /// For verbs that leave the container to itself: returns when it is ready and the manager knows, or when its
    /// process (`pidfd`) has ended.
    ///
    /// # Errors
    /// As [`Notify::forward`].
    pub(crate) fn wait(mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let mut ended = false;
        while let (Some(socket), false) = (self.fd(), ended) {
            let mut set = [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            wait_any(&mut set, None)?;
            ended = set.get(1).and_then(PollFd::any).unwrap_or(false);
            // also then: its last word may have been that it was ready
            self.forward()?;
        }
        self.finish();
        Ok(())
    }
}

/// A state message is lines of `KEY=VALUE`.
fn is_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

fn wait_any(set: &mut [PollFd<'_>], deadline: Option<Instant>) -> nix::Result<()> {
    loop {
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            PollTimeout::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX)
        });
        match poll(set, timeout) {
            Err(nix::Error::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
