//! The search for the program's file, and the reasons for which the kernel would not run it.

use super::super::credentials::FsIdGuard;
use super::format::{self, Format};
use crate::plan::process::ProcessPlan;
use crate::plan::process::env;
use anyhow::{Context as _, Error, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The search path of execvp(3) when `PATH` is not set.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Finds the program of `plan.args` as execvp(3) would, as the program's user, with the `PATH` of `env`.
///
/// To be called in the program's working directory, before the seccomp filter and the change of IDs: at `create`, where
/// callers expect the error (callers' list, part 3, point 3).
///
/// # Errors
/// The file is not found, is not executable, is a directory, or has no interpreter or dynamic loader; the messages have
/// the words that callers match.
pub(crate) fn find_executable(plan: &ProcessPlan, env: &[CString]) -> Result<CString> {
    let name = plan.args.first().code(Code::ConfigInvalid, "process.args: must have at least one entry")?;
    let exec = || format!("exec: {name:?}");
    let found = {
        let _user = FsIdGuard::new(plan)?;
        if name.to_bytes().contains(&b'/') {
            check_file(name).with_code(Code::ExecFailed, exec)?;
            name.clone()
        } else {
            search(name, env::get(env, "PATH").unwrap_or(DEFAULT_PATH)).with_code(Code::ExecFailed, exec)?
        }
    };
    // as root, because a file may be executable and not readable
    check_format(&found).with_code(Code::ExecFailed, exec)?;
    Ok(found)
}

/// Returns the first executable file with that name in `path`. As in execvp(3), the error of a directory or file
/// without the permission is returned only when no other directory has the file.
fn search(name: &CStr, path: &[u8]) -> Result<CString> {
    let mut refused = None;
    // an empty PATH names no directory; an empty part of one that is not empty is the working directory
    for dir in path.split(|byte| *byte == b':').filter(|_| !path.is_empty()) {
        let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        let dir = if dir.is_empty() { b"./" } else { dir };
        let candidate = CString::new([dir, slash, name.to_bytes()].concat())?;
        match access(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => refused = refused.or(Some(candidate)),
            // ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, ESTALE: not in this directory
            Err(_) => {}
        }
    }
    match refused {
        Some(candidate) => check_file(&candidate).map(|()| candidate),
        None => Err(coded!(ExecNotFound, "executable file not found in $PATH").into()),
    }
}

/// Checks that a path is a regular file that may be executed.
fn check_file(path: &CStr) -> Result<()> {
    match access(path) {
        Ok(()) => Ok(()),
        // "permission denied" is the text for which every engine exits with 126
        Err(Errno::EISDIR) => Err(Errno::EACCES).code(Code::ExecDirectory, "is a directory"),
        Err(Errno::EACCES) => {
            let error = Error::new(Errno::EACCES);
            Err(match explain_refusal(path) {
                Some(hint) => error.context(hint),
                None => error,
            })
        }
        Err(errno) => Err(errno).with_context(|| format!("stat {}", path.to_string_lossy())),
    }
}

fn access(path: &CStr) -> nix::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFDIR => return Err(Errno::EISDIR),
        _ => return Err(Errno::EACCES),
    }
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

fn explain_refusal(path: &CStr) -> Option<String> {
    let stat = nix::sys::stat::stat(path).ok()?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Some("not a regular file".to_owned());
    }
    let noexec = statvfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOEXEC));
    if noexec {
        return Some("the file system is mounted noexec".to_owned());
    }
    Some(format!("mode {:04o} of user {} and group {}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))
}

/// Checks that the file's interpreter or dynamic loader exists. An unknown format is left to the kernel.
fn check_format(path: &CStr) -> Result<()> {
    match interpreter(path) {
        Some((kind, interpreter)) => check_interpreter(path, kind, &interpreter),
        None => Ok(()),
    }
}

fn check_interpreter(program: &CStr, kind: &str, interpreter: &Path) -> Result<()> {
    match nix::sys::stat::stat(interpreter) {
        // the first words are those of runc's execve(2), which fails so
        Err(Errno::ENOENT) => bail!(coded!(
            ExecInterpreter,
            "exec {}: no such file or directory: the {kind} {} is missing{}",
            program.to_string_lossy(),
            interpreter.display(),
            if interpreter.as_os_str().as_bytes().ends_with(b"\r") {
                " (the first line ends in a carriage return: give the script line ends of Unix)"
            } else {
                ""
            }
        )),
        Err(errno @ Errno::ENOTDIR) => {
            Err(errno).with_code(Code::ExecInterpreter, || format!("{kind} {}", interpreter.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the script interpreter or the dynamic loader that a file names; `None` where binfmt_misc has to decide.
fn interpreter(path: &CStr) -> Option<(&'static str, std::path::PathBuf)> {
    let file = open(path)?;
    let (kind, text) = match inspect(&file)? {
        Format::Script(path) => ("script interpreter", path),
        Format::Elf { machine, interpreter: Some((offset, size)) } if format::is_native(machine) => {
            let mut text = vec![0; size];
            file.read_exact_at(&mut text, offset).ok()?;
            let text = text.split(|byte| *byte == 0).next()?.to_vec();
            ("dynamic loader", text)
        }
        _ => return None,
    };
    Some((kind, Path::new(OsStr::from_bytes(&text)).to_owned()))
}

fn open(path: &CStr) -> Option<File> {
    // O_NONBLOCK, because the regular file may have been replaced by a fifo
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(nix::fcntl::open(path, flags, Mode::empty()).ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}

fn inspect(file: &File) -> Option<Format> {
    let mut head = [0; format::HEAD];
    let length = file.read_at(&mut head, 0).ok()?;
    Some(format::inspect(head.get(..length)?))
}

/// Finds the reason of a failed execve(2) that its errno does not name. Any failed system call returns `None`, because
/// the container's seccomp filter may be in force.
pub(super) fn explain(path: &CStr, errno: Errno) -> Option<String> {
    match errno {
        Errno::ENOEXEC => Some(match inspect(&open(path)?)? {
            Format::Elf { machine, .. } if !format::is_native(machine) => {
                format!("built for {}, this machine is {}", format::machine_name(machine), std::env::consts::ARCH)
            }
            Format::Empty => "the file is empty".to_owned(),
            Format::Unknown => "neither a program nor a script with \"#!\"".to_owned(),
            Format::Script(_) | Format::Elf { .. } => return None,
        }),
        Errno::ENOENT => {
            let (kind, interpreter) = interpreter(path)?;
            nix::sys::stat::stat(&interpreter).err()?;
            Some(format!("{kind} {}", interpreter.display()))
        }
        Errno::EACCES => explain_refusal(path),
        Errno::EAGAIN => Some("RLIMIT_NPROC of the user is reached".to_owned()),
        _ => None,
    }
}
