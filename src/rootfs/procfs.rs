//! Creation of a procfs for a pid namespace that this process is not in.
//!
//! Since Linux 6.17 a mount option names the namespace. Before, the kernel uses the namespace of the process that
//! creates the file system, so that a helper process is created in it. Processes of that namespace can see the helper.
//! So it has an empty directory as its root, above which is nothing, no descriptor but the socket for its result, no arguments or environment
//! and one capability (SEC-5).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

use linux::mount::FsContext;
use linux::path as sys_path;
use linux::process::CloneResult;

/// The only capability of the helper, needed to create a file system; a process that may trace it gains the capability.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Sets the pid namespace of the file system; `false` where the kernel does not have the option.
///
/// # Errors
/// The kernel refuses the namespace.
pub(super) fn set_pid_namespace(fs: &FsContext, pid_namespace: BorrowedFd<'_>) -> io::Result<bool> {
    match fs.option_fd(c"pidns", pid_namespace) {
        Ok(()) => Ok(true),
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Runs `create`, which resolves no path, in a helper process in `pid_namespace`, and returns the detached mount that `create`
/// returns.
///
/// # Errors
/// The error of `create` as text, or the helper was killed.
pub(super) fn create_inside(pid_namespace: BorrowedFd<'_>, create: &dyn Fn() -> Result<OwnedFd>) -> Result<OwnedFd> {
    if linux::mount::is_old() {
        return Err(linux::mount::needs_detached("a new proc of a pid namespace that is joined").into());
    }
    // not the container's root, because the host's is above that until pivot_root(2)
    let root = super::mask::empty_dir().context("root directory of a helper process")?;
    let (ours, theirs) = linux::socket::pair().context("socket pair")?;
    match linux::process::clone3(0, None).context("create a helper process")? {
        CloneResult::Child => {
            let failed = match enter_and_clone(pid_namespace, root.as_fd(), theirs.as_fd()) {
                Ok(CloneResult::Child) => {
                    let sent =
                        create().and_then(|mount| Ok(linux::socket::send(theirs.as_fd(), b"+", &[mount.as_fd()])?));
                    match sent {
                        Ok(()) => linux::process::exit(0),
                        Err(err) => err,
                    }
                }
                Ok(CloneResult::Parent { pidfd, .. }) => {
                    let _ = linux::process::wait(pidfd.as_fd(), true);
                    linux::process::exit(0)
                }
                Err(err) => err,
            };
            let text = base::error::to_wire(&failed);
            let _ = linux::socket::send(theirs.as_fd(), text.get(..8000).unwrap_or(&text).as_bytes(), &[]);
            linux::process::exit(1)
        }
        CloneResult::Parent { pidfd, .. } => {
            drop(theirs);
            let mut text = vec![0u8; 8192];
            let answer = linux::socket::receive(ours.as_fd(), &mut text).context("listen to the helper process");
            linux::process::wait(pidfd.as_fd(), true).context("wait for the helper process")?;
            let (length, mount) = answer?;
            match (mount, text.get(1..length)) {
                (Some(mount), _) => Ok(mount),
                (None, Some(text)) => Err(base::error::from_wire(&String::from_utf8_lossy(text))),
                (None, None) => bail!("the helper process ended"),
            }
        }
    }
}

fn enter_and_clone(pid_namespace: BorrowedFd<'_>, root: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> Result<CloneResult> {
    linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    linux::process::setns(pid_namespace, libc::CLONE_NEWPID).context("join the pid namespace")?;
    sys_path::fchdir(root).context("change to an empty directory")?;
    sys_path::chroot_to_cwd().context("chroot to an empty directory")?;
    linux::process::close_fds_except(vec![socket.as_raw_fd()]).context("close descriptors")?;
    linux::binary::clear_arguments_and_environment();
    linux::cred::limit_capabilities(CAP_SYS_ADMIN).context("give up capabilities")?;
    linux::process::clone3(0, None).context("create a helper process")
}
