//! The program's standard streams in init: a pty of the container, or the caller's streams.
//!
//! `runtime::terminal` is the master's side of the pty; the bind mount on /dev/console is `rootfs`.

use crate::plan::process::ProcessPlan;
use crate::rootfs::mask::is_null;
use anyhow::{Context as _, Result, ensure};
use base::coded;
use base::error::HasErrno as _;
use base::error::{Code, Coding as _};
use linux::term;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{FileStat, fstat, major};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::unistd::{Uid, fchown};
use std::io::IsTerminal as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// The device numbers of pty slaves (`UNIX98_PTY_SLAVE_MAJOR` and the seven after it).
const SLAVE_MAJORS: std::ops::RangeInclusive<u64> = 136..=143;

/// Makes the pty `slave` the controlling terminal of this session, which must not have one, and standard input, output
/// and error.
///
/// # Errors
/// As ioctl(2) with TIOCSCTTY, and dup2(2).
pub(crate) fn use_as_stdio(slave: BorrowedFd<'_>) -> Result<()> {
    term::make_controlling(slave).context("process.terminal: controlling terminal")?;
    for number in 0..=2 {
        term::replace_stdio(slave, number).context("process.terminal: standard streams")?;
    }
    Ok(())
}

/// Opens a new pty in the devpts of `root`, with the slave owned by the program's user. Returns master and slave.
///
/// To be called as root after pivot_root(2).
///
/// # Errors
/// /dev/pts is missing or is not a devpts; as openat2(2) and fchown(2).
pub(crate) fn open_pty(root: &std::ffi::CStr, plan: &ProcessPlan) -> Result<(OwnedFd, OwnedFd)> {
    let path = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = nix::fcntl::open(root, path, nix::sys::stat::Mode::empty()).context("open the root directory")?;
    let dir = open_at(root.as_fd(), c"dev/pts", path, ResolveFlag::RESOLVE_IN_ROOT)
        .code(Code::TerminalFailed, "open /dev/pts")?;
    // only the kernel creates files in a devpts: an image cannot put a symlink or another device there (CVE-2025-52565,
    // CVE-2026-41579)
    let fs = fstatfs(&dir).code(Code::TerminalFailed, "/dev/pts")?;
    ensure!(
        fs.filesystem_type() == DEVPTS_SUPER_MAGIC,
        coded!(TerminalFailed, "a terminal needs a devpts file system at /dev/pts")
    );
    let access = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let strict = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let master = open_at(dir.as_fd(), c"ptmx", access, strict).code(Code::TerminalFailed, "open /dev/pts/ptmx")?;
    term::unlock(master.as_fd()).context("unlock the terminal")?;
    let slave = term::open_peer(master.as_fd()).context("open the terminal")?;
    let stat = fstat(&slave).context("terminal")?;
    let is_slave = stat.st_mode & libc::S_IFMT == libc::S_IFCHR && SLAVE_MAJORS.contains(&major(stat.st_rdev));
    let fs = fstatfs(&slave).context("terminal")?;
    ensure!(
        is_slave && fs.filesystem_type() == DEVPTS_SUPER_MAGIC,
        coded!(TerminalFailed, "the terminal is not one of a devpts")
    );
    if stat.st_uid != plan.uid {
        // the group stays that of the devpts mount option (gid=5)
        fchown(&slave, Some(Uid::from_raw(plan.uid)), None).context("give the terminal to the user")?;
    }
    if let Some((rows, columns)) = plan.console_size {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        term::set_window_size(master.as_fd(), &size).context("process.consoleSize")?;
    }
    Ok((master, slave))
}

/// Replaces each standard stream that is a null device by the container's /dev/null: the caller's is a file of the host's
/// mounts, often open in one direction only, and CRIU cannot open it again in the container.
///
/// After the pivot. A root without a null device at that path keeps what the caller gave.
///
/// # Errors
/// As dup2(2); no descriptor is left to open the container's.
pub(crate) fn reopen_null() -> Result<()> {
    let mut null = None;
    for number in 0..=2 {
        // by number, because the standard library's handles allocate buffers in this short-lived process
        if linux::process::char_device(number) != Some((1, 3)) {
            continue;
        }
        if null.is_none() {
            null = open_null().context("open the container's /dev/null")?;
        }
        let Some(null) = &null else { return Ok(()) };
        term::replace_stdio(null.as_fd(), number).context("reopen /dev/null")?;
    }
    Ok(())
}

/// Opens the container's /dev/null; `None` if the image has another file there (CVE-2025-31133).
///
/// # Errors
/// No descriptor or memory is left, or the device fails.
fn open_null() -> std::io::Result<Option<OwnedFd>> {
    let open = |flags| {
        let strict = ResolveFlag::RESOLVE_NO_SYMLINKS;
        match open_at(nix::fcntl::AT_FDCWD, c"/dev/null", flags | OFlag::O_CLOEXEC, strict)
            .map_err(std::io::Error::from)
        {
            Err(err) if err.is_no_answer() => Err(err),
            // none, a symlink, or a node on a file system without devices
            Err(_) => Ok(None),
            Ok(file) => Ok(is_null(file.as_fd())?.then_some(file)),
        }
    };
    // checked first, because opening another device may do something
    if open(OFlag::O_PATH)?.is_none() {
        return Ok(None);
    }
    open(OFlag::O_RDWR | OFlag::O_NOCTTY)
}

fn open_at(dir: BorrowedFd<'_>, path: &std::ffi::CStr, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
    linux::resolve::open(dir, path, flags, resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Changes the owner of the standard streams to the program's user, so that the program can open /dev/stdout (callers'
/// list, part 3, point 12).
///
/// In a user namespace only files with a mapped owner can change; the parent does the others: [`chown_stdio_to`].
pub(crate) fn chown_stdio(plan: &ProcessPlan) {
    if plan.uid != 0 || plan.user_ns {
        chown_stdio_to(plan.uid);
    }
}

/// Changes the owner of the standard streams to `uid`, a user ID of this process's user namespace. A failed fchown(2)
/// is ignored, because the file may be read-only, another user's, or of an unmapped owner.
pub(crate) fn chown_stdio_to(uid: u32) {
    for number in 0..=2 {
        let Some(fd) = term::stdio(number) else { continue };
        if fstat(fd).is_ok_and(|stat| stat.st_uid != uid && may_change_owner(fd, &stat, number)) {
            let _ = fchown(fd, Some(Uid::from_raw(uid)), None);
        }
    }
}

/// Returns whether the owner of a standard stream may change: pipes, sockets, terminals, and regular files for output.
/// Others (devices such as /dev/null, block devices, directories) are shared with the host.
fn may_change_owner(fd: BorrowedFd<'_>, stat: &FileStat, number: i32) -> bool {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => true,
        // not standard input, which the program only reads and which may be any file of the host
        libc::S_IFREG => number != 0,
        libc::S_IFCHR => fd.is_terminal(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::plan::process::ProcessContext;
    use crate::plan::process::plan;
    use serde_json::json;

    fn planned(size: (u64, u64)) -> ProcessPlan {
        let process = json!({"user": {"uid": 12, "gid": 0}, "cwd": "/", "args": ["sh"], "terminal": true,
            "consoleSize": {"height": size.0, "width": size.1}});
        plan(&serde_json::from_value(process).unwrap(), None, &ProcessContext::default()).unwrap()
    }

    #[test]
    fn pr_4_a_pty_has_owner_and_size() {
        if !linux::testing::root_or_skip() {
            return;
        }
        let (master, slave) = open_pty(c"/", &planned((33, 99))).unwrap();
        assert_eq!(fstat(&slave).unwrap().st_uid, 12);
        let size = term::window_size(slave.as_fd()).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (33, 99));
        nix::unistd::write(&slave, b"hello").unwrap();
        let mut got = [0; 16];
        assert_eq!(nix::unistd::read(&master, &mut got).unwrap(), 5);
    }

    #[test]
    fn b_2_a_directory_in_place_of_devpts_is_refused() {
        let dir = linux::testing::TempDir::new();
        dir.write("dev/pts/ptmx", b"");
        let root = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
        let err = open_pty(&root, &planned((0, 0))).unwrap_err();
        assert!(err.to_string().contains("needs a devpts"), "{err:#}");
        // an absolute link is resolved below the root, not to the host's
        std::fs::remove_dir_all(dir.path().join("dev/pts")).unwrap();
        std::os::unix::fs::symlink("/dev/pts", dir.path().join("dev/pts")).unwrap();
        assert!(open_pty(&root, &planned((0, 0))).is_err());
        assert!(dir.path().join("dev/pts").is_symlink());
    }

    #[test]
    fn only_streams_and_files_to_write_change_their_owner() {
        let may = |file: &dyn std::os::fd::AsFd, number| {
            let fd = file.as_fd();
            may_change_owner(fd, &fstat(fd).unwrap(), number)
        };
        let open = |path: &str| std::fs::File::open(path).unwrap();
        for path in ["/dev/null", "/dev/zero", "/dev/urandom", "/", "/dev"] {
            assert!((0..3).all(|number| !may(&open(path), number)), "{path}");
        }
        assert!(!may(&open("/etc/passwd"), 0));
        assert!(may(&open("/etc/passwd"), 1), "a log file that the caller opened");
        let (read, write) = nix::unistd::pipe().unwrap();
        assert!(may(&read, 0) && may(&write, 1));
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(may(&one, 0) && may(&one, 2));
        if let Ok(terminal) = std::fs::File::options().read(true).write(true).open("/dev/ptmx") {
            assert!(may(&terminal, 0) && may(&terminal, 1));
        }
    }
}
