//! The last steps: working directory, environment, the search for the program, and execve(2).
//!
//! All of them are after pivot_root(2): a path can leave the container's root only by a magic link of procfs, and none
//! is followed.

mod format;
mod lookup;

use super::credentials::FsIdGuard;
use crate::plan::process::ProcessPlan;
use anyhow::{Context as _, Error, Result, ensure};
use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

pub(crate) use lookup::find_executable;

/// Tells the caller of the runtime of a fallback.
pub(crate) type Warn<'a> = &'a dyn Fn(String) -> Result<()>;

/// Creates the working directory when it is missing (PR-1): after pivot_root(2), before the root becomes read-only.
///
/// `announce` gets the path before.
///
/// # Errors
/// As mkdir(2); `ELOOP`: a magic link of procfs in the path.
pub(crate) fn create_cwd(plan: &ProcessPlan, announce: &dyn Fn(&CStr) -> Result<()>) -> Result<()> {
    if !plan.create_cwd {
        return Ok(());
    }
    let path = Path::new(OsStr::from_bytes(plan.cwd.to_bytes()));
    match open_directory(&plan.cwd) {
        Ok(_) => return Ok(()),
        // other errors are left to `enter_cwd`
        Err(Errno::ENOENT) => {}
        Err(_) => return Ok(()),
    }
    announce(&plan.cwd)?;
    create_path(path).with_code(Code::ExecCwd, || format!("process.cwd: create {path:?}"))
}

fn create_path(path: &Path) -> Result<()> {
    let mut dir = open_directory(c"/")?;
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => name,
            Component::ParentDir => OsStr::new(".."),
            _ => continue,
        };
        dir = match open_at(dir.as_fd(), name) {
            Err(Errno::ENOENT) => {
                match mkdirat(&dir, name, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(err) => return Err(err.into()),
                }
                open_at(dir.as_fd(), name)?
            }
            result => result?,
        };
    }
    Ok(())
}

/// Changes to the working directory, as root or, where root has no access (NFS, FUSE), as the program's user; checks
/// that the directory is below the container's root.
///
/// Before the IDs change and before the seccomp filter, which need not allow getcwd(2).
///
/// # Errors
/// As chdir(2); the directory is not below the container's root.
pub(crate) fn enter_cwd(plan: &ProcessPlan) -> Result<()> {
    create_cwd(plan, &|_| Ok(()))?;
    // the words are runc's
    let name = || format!("process.cwd: chdir to cwd ({:?}) set in config.json failed", plan.cwd);
    match change_directory(&plan.cwd) {
        Err(Errno::EACCES) => {
            let _user = FsIdGuard::new(plan)?;
            change_directory(&plan.cwd).with_code(Code::ExecCwd, name)?;
        }
        result => result.with_code(Code::ExecCwd, name)?,
    }
    // for a directory of the host, reached through an inherited descriptor, getcwd(2) returns "(unreachable)/..."
    // (CVE-2024-21626)
    let cwd = nix::unistd::getcwd().with_code(Code::ExecCwd, name)?;
    ensure!(cwd.is_absolute(), coded!(ExecCwd, "process.cwd: {:?} is outside of the container's root", plan.cwd));
    Ok(())
}

fn change_directory(path: &CStr) -> nix::Result<()> {
    nix::unistd::fchdir(open_directory(path)?)
}

/// Opens a directory with O_PATH; follows no magic link of procfs such as `/proc/self/fd/7`.
fn open_directory(path: &CStr) -> nix::Result<OwnedFd> {
    open_at(nix::fcntl::AT_FDCWD, OsStr::from_bytes(path.to_bytes()))
}

fn open_at(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    linux::resolve::open(parent, name, OFlag::O_PATH | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Returns the program's environment. Where the plan wants them it has `HOME` from the container's passwd file (`/` for
/// a user without an entry) and `LISTEN_PID`.
///
/// After pivot_root(2), and as root because the program's user need not be able to read the file.
///
/// `warn` gets the reason where the file cannot be read.
///
/// # Errors
/// The home directory in the passwd file has a NUL; croci has no descriptors or memory to read the file; as `warn`.
pub(crate) fn environment(plan: &ProcessPlan, warn: Warn<'_>) -> Result<Vec<CString>> {
    let mut env = plan.env.clone();
    if plan.wants_home {
        let root = open_directory(c"/").context("open the root directory")?;
        let home = match base::users::home(plan.uid, root.as_fd()) {
            Err(err) if !err.is_no_answer() => {
                warn(format!("/etc/passwd of the container: {}: HOME is /", base::error::describe(&err.into())))?;
                None
            }
            home => home.context("HOME from /etc/passwd")?,
        };
        let home = home.unwrap_or_else(|| b"/".to_vec());
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
    /// Path of its file.
    pub path: CString,
    /// Its environment, complete.
    pub env: Vec<CString>,
}

/// Changes to the working directory, completes the environment and finds the program: as root, before the seccomp
/// filter, which need not allow these system calls.
///
/// # Errors
/// As [`enter_cwd`], [`environment`], [`find_executable`].
pub(crate) fn find(plan: &ProcessPlan, warn: Warn<'_>) -> Result<Program> {
    enter_cwd(plan)?;
    let env = environment(plan, warn)?;
    Ok(Program { path: find_executable(plan, &env)?, env })
}

/// Calls execve(2). Returns only the error, with the reason where it can be found.
pub(crate) fn exec(plan: &ProcessPlan, program: &Program) -> Error {
    let Program { path, env } = program;
    let Err(errno) = nix::unistd::execve(path, &plan.args, env);
    let error = Error::new(errno);
    let error = match lookup::explain(path, errno) {
        // the file is there, so that what it names is missing
        Some(hint) if errno == Errno::ENOENT => Code::ExecInterpreter.add_to(error, hint),
        Some(hint) => error.context(hint),
        None if errno == Errno::E2BIG => error.context(too_long(&plan.args, env)),
        None => error,
    };
    Code::ExecFailed.add_to(error, format!("exec: {path:?}"))
}

/// Describes what is too long for execve(2): an argument or a variable, or all together.
fn too_long(args: &[CString], env: &[CString]) -> String {
    /// Largest size of one text in bytes, with its NUL (`MAX_ARG_STRLEN`).
    const MOST: usize = 128 << 10;
    let size = |text: &CString| text.as_bytes_with_nul().len();
    if let Some((index, text)) = args.iter().enumerate().find(|(_, text)| size(text) > MOST) {
        return format!("process.args[{index}] has {} bytes, the kernel takes {}", size(text) - 1, MOST - 1);
    }
    if let Some(text) = env.iter().find(|text| size(text) > MOST) {
        let name = text.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name.get(..name.len().min(64)).unwrap_or_default());
        return format!("process.env: {name:?} has {} bytes, the kernel takes {}", size(text) - 1, MOST - 1);
    }
    let all: usize = args.iter().chain(env).map(size).sum();
    format!("process.args and process.env have {all} bytes together, more than the kernel takes")
}

#[cfg(test)]
mod tests;
