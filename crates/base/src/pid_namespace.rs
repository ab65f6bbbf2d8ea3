//! The processes of a pid namespace, as procfs shows them; see pid_namespaces(7) and ioctl_ns(2).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linux::{open, path, process};

/// Device and inode number of a namespace file, which are those of its namespace.
type Identity = (libc::dev_t, libc::ino_t);

/// Returns the pids of all processes in the pid namespace of `init` and in those below it, in ascending order; none where
/// that is the namespace of this process, because then they are not the container's alone.
///
/// Processes that end meanwhile, and those that this process may not look at, are left out.
///
/// # Errors
/// `init` may not be looked at or has been waited for; `/proc` cannot be read.
pub fn members(init: i32) -> io::Result<Vec<i32>> {
    let wanted = identity(of(&init.to_string())?.as_fd())?;
    if wanted == identity(of("self")?.as_fd())? {
        return Ok(Vec::new());
    }
    let mut pids = Vec::new();
    for entry in open::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if of(&name.to_string_lossy()).is_ok_and(|namespace| is_below(namespace, wanted)) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Opens the pid namespace of a process, given by its name in `/proc`.
fn of(process: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{process}/ns/pid"))?.into())
}

fn identity(namespace: BorrowedFd<'_>) -> io::Result<Identity> {
    Ok(path::fstat(namespace)?.identity())
}

/// Returns whether a namespace is `wanted` or an inner one of it.
fn is_below(namespace: OwnedFd, wanted: Identity) -> bool {
    let mut current = namespace;
    loop {
        if identity(current.as_fd()).is_ok_and(|found| found == wanted) {
            return true;
        }
        match process::parent_namespace(current.as_fd()) {
            Ok(outer) => current = outer,
            // EPERM: the next one is outside this process's own
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_own_namespace_has_no_members_of_a_container() {
        assert!(members(std::process::id() as i32).unwrap().is_empty());
        assert_eq!(members(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
