//! Writing kernel parameters through the host's procfs: which namespace a parameter belongs to is decided by who
//! writes, not by which procfs it is written through, and the container's may be a fake (SEC-4).

use std::io::Write as _;
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::plan::sysctl::Sysctl;

/// Writes them all.
///
/// # Errors
/// No such parameter, or the kernel refuses the value.
pub(crate) fn write(list: &[Sysctl], proc_dir: BorrowedFd<'_>) -> Result<()> {
    for sysctl in list {
        let context = || format!("linux.sysctl.{}: write {:?}", sysctl.name, sysctl.value);
        if sysctl.path == "sys/kernel/domainname" {
            // the file belongs to the machine's root even where the namespace is a user namespace's own
            linux::process::setdomainname(sysctl.value.trim_end_matches('\n')).with_context(context)?;
            continue;
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = openat(proc_dir, sysctl.path.as_str(), flags, Mode::empty()).with_context(context)?;
        std::fs::File::from(file).write_all(sysctl.value.as_bytes()).with_context(context)?;
    }
    Ok(())
}
