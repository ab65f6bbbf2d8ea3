//! openat2(2), and a walk by openat(2) where a service manager or container answers that call with an error
//! (`RestrictSUIDSGID=`, systemd-nspawn).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, readlinkat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::open::openat;

/// The kernel's limit of symlinks in one lookup.
const MAX_SYMLINKS: usize = 40;

/// Inode of the root directory of a procfs, whose symlinks (`self`, `mounts`) are ordinary ones.
const PROC_ROOT_INODE: u64 = 1;

/// Opens the existing file at `path` below `dir`, by openat2(2) with `flags` and O_CLOEXEC; tries again while a rename
/// races with the lookup. Without openat2(2) it walks the path, with the same result but one: a magic link is an error
/// whatever `resolve` allows.
///
/// # Errors
/// `ELOOP` and `EXDEV` for what `resolve` forbids; as openat(2).
pub fn open<P: ?Sized + NixPath>(
    dir: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(dir, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// How [`openat2`] opens an existing file.
#[derive(Debug, Clone, Copy)]
pub struct OpenHow {
    flags: OFlag,
    resolve: ResolveFlag,
}

impl OpenHow {
    /// Returns a way without flags, which follows every link.
    #[allow(clippy::new_without_default, reason = "as nix has it")]
    pub fn new() -> Self {
        Self { flags: OFlag::empty(), resolve: ResolveFlag::empty() }
    }

    /// Sets the flags of open(2), without O_CREAT.
    pub fn flags(self, flags: OFlag) -> Self {
        Self { flags, ..self }
    }

    /// Sets what the lookup may do.
    pub fn resolve(self, resolve: ResolveFlag) -> Self {
        Self { resolve, ..self }
    }
}

/// Opens the existing file at `path` below `dir` once, by openat2(2). Without that call (before Linux 5.6, or by a filter) it
/// walks as [`open`] does.
///
/// # Errors
/// As openat2(2), without `EINTR`.
pub fn openat2<D: AsFd, P: ?Sized + NixPath>(dir: D, path: &P, how: OpenHow) -> nix::Result<OwnedFd> {
    let by_kernel = nix::fcntl::OpenHow::new().flags(how.flags).resolve(how.resolve);
    match crate::open::openat2(dir.as_fd(), path, by_kernel) {
        // old filters answer EPERM for calls that they do not know
        Err(Errno::ENOSYS | Errno::EPERM) => {
            let path = path.with_nix_path(CStr::to_owned)?;
            walk(dir.as_fd(), &path, how.flags, how.resolve)
        }
        opened => opened,
    }
}

/// Opens the file as [`open`] does, a name at a time: each directory by a descriptor, each symlink by its text.
pub(crate) fn walk(start: BorrowedFd<'_>, path: &CStr, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
    let in_root = resolve.contains(ResolveFlag::RESOLVE_IN_ROOT);
    let confined = in_root || resolve.contains(ResolveFlag::RESOLVE_BENEATH);
    let mut todo = names(path.to_bytes());
    let ends_as_dir = path.to_bytes().ends_with(b"/") || path.to_bytes().ends_with(b"/.");
    let must_be_dir = ends_as_dir || flags.contains(OFlag::O_DIRECTORY);
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    // the directories from the start to the present one, so that ".." never leaves the start
    let mut dirs = vec![beginning(start, path.to_bytes(), in_root, confined)?];
    let mut links = 0;
    let same_mount = mount_of(&dirs, resolve)?;
    while let Some(name) = todo.pop() {
        let Some(dir) = dirs.last() else { return Err(Errno::ENOENT) };
        if name.to_bytes() == b".." {
            match (confined, dirs.len()) {
                (true, 1) if in_root => {}
                (true, 1) => return Err(Errno::EXDEV),
                (true, _) => drop(dirs.pop()),
                (false, _) => dirs.push(step(dir, c"..", OFlag::O_PATH | OFlag::O_DIRECTORY)?),
            }
            continue;
        }
        let last = todo.is_empty();
        let found = step(dir, &name, OFlag::O_PATH)?;
        if let Some(mount) = same_mount
            && mount_id(&found)? != mount
        {
            return Err(Errno::EXDEV);
        }
        let kind = fstat(&found)?.st_mode & libc::S_IFMT;
        if kind == libc::S_IFLNK && !(last && flags.contains(OFlag::O_NOFOLLOW)) {
            links += 1;
            if links > MAX_SYMLINKS || resolve.contains(ResolveFlag::RESOLVE_NO_SYMLINKS) || is_magic(dir, &found)? {
                return Err(Errno::ELOOP);
            }
            let text = readlinkat(&found, c"")?.into_vec();
            if text.first() == Some(&b'/') {
                dirs = vec![beginning(start, &text, in_root, confined)?];
            }
            todo.append(&mut names(&text));
            continue;
        }
        if !last {
            if kind != libc::S_IFDIR {
                return Err(Errno::ENOTDIR);
            }
            dirs.push(found);
            continue;
        }
        let directory = if must_be_dir { OFlag::O_DIRECTORY } else { OFlag::empty() };
        let opened = step(dir, &name, flags | directory)?;
        // another file in the meantime, which may be a symlink: the caller's check of the type would be of that
        return if fstat(&opened)?.st_ino == fstat(&found)?.st_ino { Ok(opened) } else { Err(Errno::ELOOP) };
    }
    let Some(dir) = dirs.last() else { return Err(Errno::ENOENT) };
    step(dir, c".", flags)
}

/// Returns the names of a path, last one first, without `.` and empty ones.
fn names(path: &[u8]) -> Vec<CString> {
    let parts = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    parts.rev().filter_map(|name| CString::new(name).ok()).collect()
}

/// Opens the directory at which a path begins.
fn beginning(start: BorrowedFd<'_>, path: &[u8], in_root: bool, confined: bool) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let at = match path.first() {
        Some(b'/') if !in_root && confined => return Err(Errno::EXDEV),
        Some(b'/') if !in_root => c"/",
        _ => c".",
    };
    openat(start, at, flags, Mode::empty())
}

fn step(dir: &OwnedFd, name: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    loop {
        match openat(dir, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Returns the mount that the lookup must not leave, with RESOLVE_NO_XDEV.
fn mount_of(dirs: &[OwnedFd], resolve: ResolveFlag) -> nix::Result<Option<u64>> {
    if !resolve.contains(ResolveFlag::RESOLVE_NO_XDEV) {
        return Ok(None);
    }
    dirs.first().map(mount_id).transpose()
}

fn mount_id(fd: &OwnedFd) -> nix::Result<u64> {
    crate::procfs::mount_id(fd.as_fd()).map_err(|err| Errno::from_raw(err.raw_os_error().unwrap_or(libc::EIO)))
}

/// Returns whether a symlink in `dir` may be a magic link: those of procfs, except in its root directory.
fn is_magic(dir: &OwnedFd, link: &OwnedFd) -> nix::Result<bool> {
    Ok(fstatfs(link)?.filesystem_type() == PROC_SUPER_MAGIC && fstat(dir)?.st_ino != PROC_ROOT_INODE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::testing::TempDir;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    /// Device and inode, or the error.
    fn seen(result: nix::Result<OwnedFd>) -> Result<(u64, u64), Errno> {
        let stat = fstat(&result?)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    #[test]
    fn the_walk_finds_what_openat2_finds() {
        let dir = TempDir::new();
        dir.write("a/b/file", b"x");
        dir.write("file", b"x");
        for (text, name) in [
            ("/a/b/file", "absolute"),
            ("../../../file", "a/up"),
            ("b", "a/dir"),
            ("loop", "loop"),
            ("/etc/passwd", "host"),
            ("none", "dangling"),
        ] {
            symlink(text, dir.path().join(name)).unwrap();
        }
        let root = File::open(dir.path()).unwrap();
        let paths = [
            "a/b/file",
            "/a/b/file",
            "a/../file",
            "../file",
            "a/b/..",
            ".",
            "/",
            "absolute",
            "a/up",
            "a/dir/file",
            "loop",
            "host",
            "dangling",
            "none",
            "file/x",
            "file/",
            "a/",
            "a/b/file/..",
            "a/dir/../../file",
            "",
        ];
        let flags =
            [OFlag::O_PATH, OFlag::O_RDONLY, OFlag::O_PATH | OFlag::O_NOFOLLOW, OFlag::O_PATH | OFlag::O_DIRECTORY];
        let no_magic = ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let ways = [
            no_magic,
            no_magic | ResolveFlag::RESOLVE_IN_ROOT,
            no_magic | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV,
            no_magic | ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS,
        ];
        for path in paths {
            let name = CString::new(path).unwrap();
            for flags in flags {
                for resolve in ways {
                    let how = nix::fcntl::OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
                    let expected = seen(crate::open::openat2(root.as_fd(), path, how));
                    let walked = seen(walk(root.as_fd(), &name, flags, resolve));
                    assert_eq!(walked, expected, "{path:?} {flags:?} {resolve:?}");
                }
            }
        }
    }

    #[test]
    fn no_magic_link_is_followed() {
        let proc_dir = File::open("/proc").unwrap();
        let beneath = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let walked = |path: &CStr| walk(proc_dir.as_fd(), path, OFlag::O_RDONLY, beneath).map(drop);
        assert_eq!(walked(c"self/status"), Ok(()));
        for path in [c"self/exe", c"self/cwd/x", c"self/fd/0", c"self/root/etc"] {
            assert_eq!(walked(path), Err(Errno::ELOOP), "{path:?}");
        }
    }
}
