//! sd_notify(3) for the program in the container: its `READY=1` reaches the service manager that started croci.
//!
//! The container never sees the manager's own socket, because a writer to it can change the service's main process or
//! stop its watchdog. The container has a socket of croci's instead: `notify` in the state directory, bind-mounted to
//! `/run/notify` as by runc. croci forwards only `READY=1`, with a `MAINPID` of the host's pid namespace. Then it
//! closes the socket, because an unread socket would block the program when its queue is full. Before croci exits it
//! waits until the manager has read the message (barrier).
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
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use oci_spec::runtime::{MountBuilder, Spec};

/// The environment variable with the socket's address, for croci and for the program.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// Directory of the socket, in the state directory.
const DIRECTORY: &str = "notify";
/// File name of the socket in that directory.
const SOCKET: &str = "notify.sock";
/// Mount point of the directory in the container.
const MOUNT_POINT: &str = "/run/notify";
/// Time limit for the manager to read a message.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Size of the largest message in bytes, as in systemd.
const MAX_MESSAGE_BYTES: usize = 4096;

/// The service manager's socket.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    address: SocketAddr,
}

/// The container's notify socket, and the barrier of the message to the manager.
#[derive(Debug)]
pub(crate) struct Notify {
    /// The bound socket; `None` after `READY=1`.
    socket: Option<UnixDatagram>,
    /// Pipe of the barrier: end of file when the manager has processed the message.
    barrier: Option<OwnedFd>,
    manager: Manager,
    main_pid: i32,
}

impl Manager {
    /// Returns the service manager of `NOTIFY_SOCKET`, if that is set.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` is not an address of a known form.
    pub(crate) fn from_env() -> Result<Option<Manager>> {
        std::env::var_os(VARIABLE).map_or(Ok(None), |value| Manager::parse(&value))
    }

    /// Parses an address: a path, or `@` and an abstract name; empty is `None`.
    fn parse(value: &OsStr) -> Result<Option<Manager>> {
        let address = match value.as_bytes() {
            [] => return Ok(None),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(value),
            _ => bail!("{VARIABLE}: {value:?} is neither an absolute path nor an abstract name (@...)"),
        };
        Ok(Some(Manager { address: address.with_context(|| format!("{VARIABLE}: {value:?}"))? }))
    }

    /// Sends `READY=1` and `MAINPID`, then a barrier. Returns a pipe: end of file when the manager has processed both.
    fn ready(&self, main_pid: i32) -> Result<OwnedFd> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        match socket.connect_addr(&self.address) {
            // not the kernel's text, because callers match that as a missing program (CL-21)
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
/// None that a caller could act on.
pub(crate) fn add_to(spec: &mut Spec, state_dir: &Path) -> Result<()> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    let mount = MountBuilder::default()
        .destination(PathBuf::from(MOUNT_POINT))
        .typ("bind")
        .source(state_dir.join(DIRECTORY))
        .options(options)
        .build()
        .context("mount of the notify socket")?;
    spec.mounts_mut().get_or_insert_default().push(mount);
    if let Some(process) = spec.process_mut() {
        let env = process.env_mut().get_or_insert_default();
        env.retain(|entry| entry.split('=').next() != Some(VARIABLE));
        env.push(format!("{VARIABLE}={MOUNT_POINT}/{SOCKET}"));
    }
    Ok(())
}

/// Creates the directory of the socket, before the sources of bind mounts are opened.
///
/// # Errors
/// As mkdir(2) and chmod(2).
#[allow(clippy::disallowed_methods, reason = "only this user may write to the new directory")]
pub(crate) fn make_dir(state_dir: &Path) -> Result<()> {
    let path = state_dir.join(DIRECTORY);
    // 0755 for any user of the container; on the host the mode of the state directory protects it
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&path)
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("create {path:?}"))
}

impl Notify {
    /// Binds the container's socket; to be called before its program starts. `None`: `create` has created no directory
    /// for it. `main_pid` is the service's main process: init, or croci itself in the foreground.
    ///
    /// # Errors
    /// As bind(2) and chmod(2).
    pub(crate) fn bind(state_dir: BorrowedFd<'_>, manager: Manager, main_pid: i32) -> Result<Option<Notify>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match openat(state_dir, DIRECTORY, flags, Mode::empty()) {
            Err(nix::Error::ENOENT) => return Ok(None),
            other => other.context("directory of the notify socket")?,
        };
        // by /proc/thread-self/fd, because the path with a long container ID does not fit into a socket address; a
        // present socket is that of an interrupted `start`
        let path = PathBuf::from(format!("/proc/thread-self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let bind = || -> io::Result<UnixDatagram> {
            match std::fs::remove_file(&path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
            let socket = UnixDatagram::bind(&path)?;
            // follows no symlink, because the directory is mounted in the container too
            let name = std::ffi::CString::new(SOCKET)?;
            linux::path::chmodat(dir.as_fd(), &name, 0o777)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = bind().context("bind the notify socket")?;
        Ok(Some(Notify { socket: Some(socket), barrier: None, manager, main_pid }))
    }

    /// Borrows the socket: readable when [`Notify::forward`] has to be called; `None` after `READY=1`.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(UnixDatagram::as_fd)
    }

    /// Reads the waiting messages. After `READY=1` sends it to the manager and closes the socket.
    ///
    /// # Errors
    /// As recvmsg(2); the message cannot be sent to the manager, and the socket is closed too.
    pub(crate) fn forward(&mut self) -> Result<()> {
        let mut buffer = [0u8; MAX_MESSAGE_BYTES];
        while let Some(socket) = &self.socket {
            // the kernel closes descriptors sent with the message (the barrier of the program), because recv(2) has no
            // control buffer
            let length = match socket.recv(&mut buffer) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                other => other.context("read the notify socket")?,
            };
            if is_ready(buffer.get(..length).unwrap_or_default()) {
                self.socket = None;
                let sent = self.manager.ready(self.main_pid);
                self.barrier = Some(sent.with_context(|| format!("send READY=1 to {VARIABLE}"))?);
            }
        }
        Ok(())
    }

    /// Waits until the manager has processed the message; to be called before croci exits, because the manager cannot
    /// attribute a message to a process that has ended.
    pub(crate) fn finish(self) {
        if let Some(barrier) = self.barrier {
            let _ = wait_any(&mut [PollFd::new(barrier.as_fd(), PollFlags::POLLIN)], Some(Instant::now() + TIMEOUT));
        }
    }

    /// Waits until the program is ready and the manager has processed the message, or the process of `pidfd` has ended;
    /// for verbs that do not wait for the container.
    ///
    /// # Errors
    /// As [`Notify::forward`].
    pub(crate) fn wait(mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let mut ended = false;
        while let (Some(socket), false) = (self.fd(), ended) {
            let mut set = [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            wait_any(&mut set, None)?;
            ended = set.get(1).and_then(PollFd::any).unwrap_or(false);
            // also after the process has ended, because it may have sent READY=1 before
            self.forward()?;
        }
        self.finish();
        Ok(())
    }
}

/// Returns whether a message, lines of `KEY=VALUE`, has `READY=1`.
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
