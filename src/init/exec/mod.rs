//! The last steps: working directory, environment, which file is the program, and the execve.
//!
//! All of it happens inside the container's root; what follows a path here cannot leave it but by a magic link of
//! procfs, and none is followed.

mod format;
mod lookup;

use super::credentials::FsIdGuard;
use crate::plan::process::ProcessPlan;
use anyhow::{Context as _, Error, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

pub(crate) use lookup::find_executable;

/// Makes the working directory when it is missing (PR-1): after the pivot, before the root becomes read-only.
///
/// # Errors
/// As mkdir(2); a symlink into procfs on the way is `ELOOP`.
pub(crate) fn make_cwd(plan: &ProcessPlan) -> Result<()> {
    if !plan.create_cwd {
        return Ok(());
    }
    let path = Path::new(OsStr::from_bytes(plan.cwd.to_bytes()));
    match open_directory(&plan.cwd) {
        Ok(_) => return Ok(()),
        // only what is missing is created; what else is wrong, `enter_cwd` tells
        Err(Errno::ENOENT) => {}
        Err(_) => return Ok(()),
    }
    create_path(path).with_context(|| format!("process.cwd: create {path:?}"))
}

fn create_path(path: &Path) -> Result<()> {
    let mut here = open_directory(c"/")?;
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => name,
            Component::ParentDir => OsStr::new(".."),
            _ => continue,
        };
        here = match step(here.as_fd(), name) {
            Err(Errno::ENOENT) => {
                match mkdirat(&here, name, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(err) => return Err(err.into()),
                }
                step(here.as_fd(), name)?
            }
            result => result?,
        };
    }
    Ok(())
}

/// Goes to the working directory, as root or, where root may not (NFS, FUSE), as the program's user; looks that it is
/// inside the root.
///
/// Before the seccomp filter and before the ids change: a profile need not allow getcwd.
///
/// # Errors
/// As chdir(2).
pub(crate) fn enter_cwd(plan: &ProcessPlan) -> Result<()> {
    make_cwd(plan)?;
    let name = || format!("process.cwd: {:?}", plan.cwd);
    match change_directory(&plan.cwd) {
        Err(Errno::EACCES) => {
            let _user = FsIdGuard::new(plan)?;
            change_directory(&plan.cwd).with_context(name)?;
        }
        result => result.with_context(name)?,
    }
    // a directory of the host reached through a descriptor left open would be "(unreachable)/..." (CVE-2024-21626)
    let now = nix::unistd::getcwd().with_context(name)?;
    ensure!(now.is_absolute(), "process.cwd: {:?} is outside of the container's root", plan.cwd);
    Ok(())
}

fn change_directory(path: &CStr) -> nix::Result<()> {
    nix::unistd::fchdir(open_directory(path)?)
}

/// Opens a directory to go to, following no link of procfs such as `/proc/self/fd/7`.
fn open_directory(path: &CStr) -> nix::Result<OwnedFd> {
    open_at(nix::fcntl::AT_FDCWD, OsStr::from_bytes(path.to_bytes()))
}

fn step(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    open_at(parent, name)
}

fn open_at(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(parent, name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The environment of the program, complete: with `HOME` from the container's passwd file (`/` for a user it does not
/// know) and `LISTEN_PID`, where they are wanted.
///
/// After the pivot, and as root: the file need not be readable for the user.
///
/// # Errors
/// A NUL in the passwd file.
pub(crate) fn environment(plan: &ProcessPlan) -> Result<Vec<CString>> {
    let mut env = plan.env.clone();
    if plan.wants_home {
        let root = open_directory(c"/").context("open the root directory")?;
        let home = base::users::home(plan.uid, root.as_fd()).unwrap_or_else(|| b"/".to_vec());
        env.push(CString::new([b"HOME=", home.as_slice()].concat()).context("HOME from /etc/passwd")?);
    }
    if plan.wants_listen_pid {
        env.push(CString::new(format!("LISTEN_PID={}", std::process::id())).context("LISTEN_PID")?);
    }
    Ok(env)
}

/// The program, ready to be run.
#[derive(Debug)]
pub(crate) struct Program {
    /// The file.
    pub path: CString,
    /// The environment, complete.
    pub env: Vec<CString>,
}

/// Goes to the working directory, completes the environment and finds the program: as root, before the seccomp filter,
/// which need not allow any of it.
///
/// # Errors
/// As [`enter_cwd`], [`environment`], [`find_executable`].
pub(crate) fn find(plan: &ProcessPlan) -> Result<Program> {
    enter_cwd(plan)?;
    let env = environment(plan)?;
    Ok(Program { path: find_executable(plan, &env)?, env })
}

/// Becomes the program. Returns only when that failed, with the reason as far as it can be found out.
pub(crate) fn exec(plan: &ProcessPlan, program: &Program) -> Error {
    let Program { path, env } = program;
    let Err(errno) = nix::unistd::execve(path, &plan.args, env);
    let error = Error::new(errno);
    let error = match lookup::explain(path, errno) {
        Some(hint) => error.context(hint),
        None => error,
    };
    error.context(format!("exec: {path:?}"))
}

#[cfg(test)]
mod tests;
