//! Writing kernel parameters (sysctls), through the host's procfs: the kernel sets the parameter of the writer's
//! namespaces, whichever procfs is written to, and the image controls the container's own /proc (SEC-4).

use base::error::{Code, Coding as _};
use std::io::Write as _;
use std::os::fd::BorrowedFd;

use anyhow::Result;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::plan::sysctl::Sysctl;

/// Writes the parameters in order.
///
/// # Errors
/// As open(2) and write(2): the parameter does not exist, or the kernel refuses the value.
pub(crate) fn write(list: &[Sysctl], proc_dir: BorrowedFd<'_>) -> Result<()> {
    for sysctl in list {
        let context = || format!("linux.sysctl.{}: write {:?}", sysctl.name, sysctl.value);
        if sysctl.path == "sys/kernel/domainname" {
            // by the system call, because root of the initial user namespace owns the file also in other UTS namespaces
            linux::process::setdomainname(sysctl.value.trim_end_matches('\n'))
                .with_code(Code::SysctlFailed, context)?;
            continue;
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file =
            openat(proc_dir, sysctl.path.as_str(), flags, Mode::empty()).with_code(Code::SysctlFailed, context)?;
        std::fs::File::from(file).write_all(sysctl.value.as_bytes()).with_code(Code::SysctlFailed, context)?;
    }
    Ok(())
}
