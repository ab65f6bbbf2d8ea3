//! sd_notify(3) for the program in the container: forwards its `READY=1` to the service manager that started croci.
//!
//! The container does not get the manager's own socket, because a writer to it can change the service's main process or
//! stop its watchdog. It gets a socket of croci, in a directory of the state directory that is bind-mounted (`notify`
//! below it to `/run/notify`, as with runc). croci reads from it, forwards `READY=1` and nothing else, adds a `MAINPID`
//! of the host's pid namespace, and closes the socket, because the program would block on a full queue that no process
//! reads. Before croci ends it waits until the manager has read the message (barrier).
//!
//! `create` only creates the directory; `start`, `run` and `run --detach` bind the socket before the program can run.

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
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use oci_spec::runtime::{MountBuilder, Spec};

/// Environment variable with the path of the socket, for croci and for the program.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// Name of the directory in the state directory.
const DIRECTORY: &str = "notify";
/// Name of the socket in that directory.
const SOCKET: &str = "notify.sock";
/// Mount point of that directory in the container.
const INSIDE: &str = "/run/notify";
/// Time for the manager to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of a state message in bytes, which is that of systemd.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Socket of the service manager.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    address: SocketAddr,
}

/// Socket for the container, and the barrier of what was forwarded from it.
#[derive(Debug)]
pub(crate) struct Notify {
    /// Socket; `None` once the program was ready.
    socket: Option<UnixDatagram>,
    /// Barrier: the manager closes the other end when it has processed the messages before it.
    barrier: Option<OwnedFd>,
    manager: Manager,
    main_pid: i32,
}

impl Manager {
    /// Returns the service manager that started croci with a `NOTIFY_SOCKET`.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` is neither an absolute path nor an abstract name.
    pub(crate) fn from_env() -> Result<Option<Manager>> {
        std::env::var_os(VARIABLE).map_or(Ok(None), |value| Manager::parse(&value))
    }

    /// Parses a path, or `@` and an abstract name; empty is none.
    fn parse(value: &OsStr) -> Result<Option<Manager>> {
        let address = match value.as_bytes() {
            [] => return Ok(None),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(value),
            _ => bail!("{VARIABLE}: {value:?} is neither an absolute path nor an abstract name (@...)"),
        };
        Ok(Some(Manager { address: address.with_context(|| format!("{VARIABLE}: {value:?}"))? }))
    }

    /// Sends `READY=1` and the main process; returns a pipe whose other end the manager closes when it has processed
    /// both.
    fn ready(&self, main_pid: i32) -> Result<OwnedFd> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        match socket.connect_addr(&self.address) {
            // not the kernel's text, because callers take that for a missing program (CL-21)
            Err(err) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&err.kind()) => {
                bail!("no process listens there any more")
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
/// The mount cannot be built.
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

/// Creates the directory that is bind-mounted, before the sources of mounts are opened.
///
/// # Errors
/// No space; read-only.
#[allow(clippy::disallowed_methods, reason = "nobody else may write to a directory just created")]
pub(crate) fn make_dir(state_dir: &Path) -> Result<()> {
    let path = state_dir.join(DIRECTORY);
    // any user of the container has to enter it; users of the host cannot, because of the state directory above
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&path)
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("make {path:?}"))
}

impl Notify {
    /// Binds the socket for the container's message, before the order to run the program. `None`: the container was
    /// created without the directory. `main_pid` is for the manager the service's main process: init, or croci itself
    /// while it waits in the foreground.
    ///
    /// # Errors
    /// No space; too many open files.
    pub(crate) fn bind(state_dir: BorrowedFd<'_>, manager: Manager, main_pid: i32) -> Result<Option<Notify>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match openat(state_dir, DIRECTORY, flags, Mode::empty()) {
            Err(nix::Error::ENOENT) => return Ok(None),
            other => other.context("directory of the notify socket")?,
        };
        // by descriptor, because the path of a long container ID does not fit into a socket address; one that exists is
        // of a `start` that was interrupted
        let path = PathBuf::from(format!("/proc/thread-self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let bind = || -> io::Result<UnixDatagram> {
            match std::fs::remove_file(&path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
            let socket = UnixDatagram::bind(&path)?;
            // no symlink is followed, because the container can write to the directory
            let name = std::ffi::CString::new(SOCKET)?;
            linux::path::chmodat(dir.as_fd(), &name, 0o777)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = bind().context("bind the notify socket")?;
        Ok(Some(Notify { socket: Some(socket), barrier: None, manager, main_pid }))
    }

    /// Borrows the descriptor that is readable when [`Notify::forward`] has a message to read; `None` once the program was ready.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(UnixDatagram::as_fd)
    }

    /// Reads all messages in the queue. Forwards the first `READY=1` to the manager, and closes the socket.
    ///
    /// # Errors
    /// The manager does not receive. The socket is closed then, too.
    pub(crate) fn forward(&mut self) -> Result<()> {
        let mut buffer = [0u8; MAX_MESSAGE_BYTES];
        while let Some(socket) = &self.socket {
            // the kernel closes descriptors in the message (a barrier of the program), because there is no buffer for
            // them
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

    /// Waits, before croci ends, until the manager has processed the messages, because it cannot attribute those of a
    /// process that has ended.
    pub(crate) fn finish(self) {
        if let Some(barrier) = self.barrier {
            let _ = wait_any(&mut [PollFd::new(barrier.as_fd(), PollFlags::POLLIN)], Some(Instant::now() + TIMEOUT));
        }
    }

    /// Waits until the program is ready and the manager has processed that, or the process of `pidfd` has ended; for
    /// verbs that do not wait for the end of the container.
    ///
    /// # Errors
    /// As [`Notify::forward`].
    pub(crate) fn wait(mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let mut ended = false;
        while let (Some(socket), false) = (self.fd(), ended) {
            let mut set = [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            wait_any(&mut set, None)?;
            ended = set.get(1).and_then(PollFd::any).unwrap_or(false);
            // also after the end, because the last message may have been READY=1
            self.forward()?;
        }
        self.finish();
        Ok(())
    }
}

/// Returns whether a state message, lines of `KEY=VALUE`, has `READY=1`.
fn is_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

fn wait_any(set: &mut [PollFd<'_>], deadline: Option<Instant>) -> nix::Result<()> {
    loop {
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            PollTimeout::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX)
        });
        match linux::event::poll(set, timeout) {
            Err(nix::Error::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
