//! The resolver: the only module that resolves paths below the container's root, to descriptors (SEC-1, SEC-2).
//!
//! The rootfs is hostile and may change at any time. The kernel resolves with openat2(2) inside the root; missing names
//! are created one by one with the parent's descriptor. Other modules use only the descriptors.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::plan::mount::SymlinkPolicy;
use linux::path as sys_path;

/// Longest time of retries, because openat2(2) returns EAGAIN while another process renames directories.
const MAX_RETRY_TIME: Duration = Duration::from_millis(10);

/// Most symlinks in one lookup, as in the kernel.
const MAX_LINKS: usize = 40;

/// The type of a file to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A directory, 0755.
    Dir,
    /// An empty file, 0644.
    File,
}

/// A created name, removed again if the container's creation fails.
#[derive(Debug)]
pub(crate) struct CreatedPath {
    dir: Rc<OwnedFd>,
    name: CString,
    kind: FileKind,
}

impl CreatedPath {
    /// Records that `name` was created in `dir`. Owns the descriptor, perhaps with the other names of the directory.
    pub(crate) fn new(dir: impl Into<Rc<OwnedFd>>, name: CString, kind: FileKind) -> Self {
        Self { dir: dir.into(), name, kind }
    }

    /// Removes the name; a directory only if it is empty.
    pub(crate) fn remove(&self) {
        // best effort, because the caller reports another error
        let _ = sys_path::unlinkat(self.dir.as_fd(), &self.name, self.kind == FileKind::Dir);
    }
}

/// Opens `path` inside `root` with O_PATH and the extra open `flags`. The caller owns the descriptor.
///
/// # Errors
/// Errors of openat2(2); `ELOOP` for a symlink that `target` does not allow.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &CStr,
    target: SymlinkPolicy,
    flags: libc::c_int,
) -> io::Result<OwnedFd> {
    let (nofollow, no_symlinks) = match target {
        SymlinkPolicy::Follow => (0, 0),
        SymlinkPolicy::NoFollowLast => (libc::O_NOFOLLOW, 0),
        SymlinkPolicy::NoSymlinks => (libc::O_NOFOLLOW, libc::RESOLVE_NO_SYMLINKS),
    };
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | no_symlinks;
    let deadline = Instant::now() + MAX_RETRY_TIME;
    loop {
        let opened = sys_path::openat2(root, path, libc::O_PATH | nofollow | flags, resolve);
        match opened.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(libc::EAGAIN | libc::EINTR)) if Instant::now() < deadline => {}
            // a filter that does not know the call may answer EPERM
            Err(Some(libc::ENOSYS | libc::EPERM)) => {
                let found = Walk { root, target, create: None, created: &mut Vec::new() }.resolve(path)?;
                if flags & libc::O_DIRECTORY != 0 && !sys_path::fstat(found.as_fd())?.is_dir() {
                    return Err(os_error(libc::ENOTDIR));
                }
                return Ok(found);
            }
            _ => return opened,
        }
    }
}

/// Opens `path` inside `root`, or creates it with its missing parents; follows a dangling symlink inside the root. Adds
/// created names to `created`. The caller owns the descriptor.
///
/// # Errors
/// `ENOTDIR` where `kind` is a directory and another file exists; `ELOOP` for a symlink that `target` does not allow.
pub(crate) fn open_or_create(
    root: BorrowedFd<'_>,
    path: &CStr,
    target: SymlinkPolicy,
    kind: FileKind,
    created: &mut Vec<CreatedPath>,
) -> io::Result<OwnedFd> {
    match open_existing(root, path, target, kind)? {
        Some(found) => Ok(found),
        None => create_missing(root, path, target, kind, created),
    }
}

/// Opens `path` inside `root`; `None`: it does not exist.
///
/// # Errors
/// As [`open_or_create`].
pub(crate) fn open_existing(
    root: BorrowedFd<'_>,
    path: &CStr,
    target: SymlinkPolicy,
    kind: FileKind,
) -> io::Result<Option<OwnedFd>> {
    let flags = if kind == FileKind::Dir { libc::O_DIRECTORY } else { 0 };
    match open(root, path, target, flags) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        // O_DIRECTORY on a symlink that must not be followed returns ENOTDIR
        Err(err) if err.raw_os_error() == Some(libc::ENOTDIR) && target == SymlinkPolicy::NoSymlinks => {
            let what = open(root, path, target, 0)?;
            let is_link = sys_path::fstat(what.as_fd())?.is_symlink();
            Err(if is_link { os_error(libc::ELOOP) } else { err })
        }
        opened => opened.map(Some),
    }
}

/// As [`open_or_create`], for a path that did not exist.
///
/// # Errors
/// As [`open_or_create`].
pub(crate) fn create_missing(
    root: BorrowedFd<'_>,
    path: &CStr,
    target: SymlinkPolicy,
    kind: FileKind,
    created: &mut Vec<CreatedPath>,
) -> io::Result<OwnedFd> {
    // usually the parent exists
    if let Some((parent, name)) = split(path)
        && let Ok(dir) = open(root, &parent, target, libc::O_DIRECTORY)
    {
        match create(dir.as_fd(), &name, kind) {
            Ok(fd) => {
                created.push(CreatedPath::new(dir, name, kind));
                return Ok(fd);
            }
            // a dangling symlink, or another process created it
            Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
            Err(err) => return Err(err),
        }
    }
    Walk { root, target, create: Some(kind), created }.resolve(path)
}

/// Opens the parent directory of `path`, created if it is missing, and returns it with the last name.
///
/// # Errors
/// `ENOTDIR` where a parent is not a directory.
pub(crate) fn open_parent(
    root: BorrowedFd<'_>,
    path: &CStr,
    created: &mut Vec<CreatedPath>,
) -> io::Result<(OwnedFd, CString)> {
    let (parent, name) = split(path).ok_or_else(|| os_error(libc::EINVAL))?;
    Ok((open_or_create(root, &parent, SymlinkPolicy::Follow, FileKind::Dir, created)?, name))
}

fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// Splits a path into parent and last name; `None` where the path ends in `..` or is the root.
fn split(path: &CStr) -> Option<(CString, CString)> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|b| *b != b'/')? + 1;
    let bytes = bytes.get(..end)?;
    let slash = bytes.iter().rposition(|b| *b == b'/')?;
    let (parent, name) = (bytes.get(..=slash)?, bytes.get(slash + 1..)?);
    if name == b"." || name == b".." {
        return None;
    }
    Some((CString::new(parent).ok()?, CString::new(name).ok()?))
}

/// Creates one name and opens it without following a symlink that another process may have put in its place.
fn create(dir: BorrowedFd<'_>, name: &CStr, kind: FileKind) -> io::Result<OwnedFd> {
    match kind {
        FileKind::Dir => {
            sys_path::mkdirat(dir, name, 0o755)?;
            sys_path::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY, 0)
        }
        FileKind::File => {
            let flags = libc::O_RDONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            sys_path::openat(dir, name, flags, 0o644)
        }
    }
}

/// A lookup one name at a time, each with its parent's descriptor and O_NOFOLLOW. Symlinks are read, and `..` returns
/// to a descriptor opened before, so that no rename meanwhile leads out of the root.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    target: SymlinkPolicy,
    create: Option<FileKind>,
    created: &'a mut Vec<CreatedPath>,
}

impl Walk<'_> {
    fn resolve(&mut self, path: &CStr) -> io::Result<OwnedFd> {
        let mut names: VecDeque<CString> = VecDeque::new();
        prepend(&mut names, path.to_bytes())?;
        let mut parents: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            if name.as_c_str() == c".." {
                parents.pop();
                continue;
            }
            let dir = parents.last().map_or(self.root, |fd| fd.as_fd());
            let fd = self.step(dir, &name, names.is_empty())?;
            let stat = sys_path::fstat(fd.as_fd())?;
            let open_link = names.is_empty() && self.target == SymlinkPolicy::NoFollowLast;
            if stat.is_symlink() && !open_link {
                links += 1;
                // magic links of procfs may lead out of the root (/proc/self/root)
                if links > MAX_LINKS
                    || self.target == SymlinkPolicy::NoSymlinks
                    || sys_path::fs_magic(fd.as_fd())? == sys_path::PROC_MAGIC
                {
                    return Err(os_error(libc::ELOOP));
                }
                let target = sys_path::readlinkat(fd.as_fd(), c"")?;
                if target.to_bytes().starts_with(b"/") {
                    parents.clear();
                }
                prepend(&mut names, target.to_bytes())?;
            } else if !names.is_empty() && !stat.is_dir() {
                return Err(os_error(libc::ENOTDIR));
            } else {
                parents.push(fd);
            }
        }
        let found = match parents.pop() {
            Some(found) => found,
            None => sys_path::dup(self.root)?,
        };
        if self.create == Some(FileKind::Dir) && !sys_path::fstat(found.as_fd())?.is_dir() {
            return Err(os_error(libc::ENOTDIR));
        }
        Ok(found)
    }

    /// Opens one name without following a symlink, or creates it.
    fn step(&mut self, dir: BorrowedFd<'_>, name: &CStr, last: bool) -> io::Result<OwnedFd> {
        let deadline = Instant::now() + MAX_RETRY_TIME;
        loop {
            let opened = sys_path::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0);
            let Some(kind) = self.create else { return opened };
            if opened.as_ref().err().and_then(io::Error::raw_os_error) != Some(libc::ENOENT) {
                return opened;
            }
            let kind = if last { kind } else { FileKind::Dir };
            match create(dir, name, kind) {
                Ok(fd) => {
                    self.created.push(CreatedPath::new(sys_path::dup(dir)?, name.to_owned(), kind));
                    return Ok(fd);
                }
                // created or replaced by another process between the two calls: try again
                Err(err)
                    if matches!(err.raw_os_error(), Some(libc::EEXIST | libc::ENOTDIR | libc::ELOOP))
                        && Instant::now() < deadline => {}
                Err(err) => return Err(err),
            }
        }
    }
}

fn prepend(names: &mut VecDeque<CString>, path: &[u8]) -> io::Result<()> {
    for name in path.split(|b| *b == b'/').rev().filter(|name| !name.is_empty() && *name != b".") {
        names.push_front(CString::new(name)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("croci-path-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("root/etc")).unwrap();
            fs::create_dir_all(dir.join("outside")).unwrap();
            Self(dir)
        }
        fn root(&self) -> OwnedFd {
            fs::File::open(self.0.join("root")).unwrap().into()
        }
        fn link(&self, target: &str, at: &str) {
            symlink(target, self.0.join("root").join(at)).unwrap();
        }
        fn outside(&self) -> Vec<PathBuf> {
            fs::read_dir(self.0.join("outside")).unwrap().map(|e| e.unwrap().path()).collect()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn make_at(root: &OwnedFd, path: &CStr, target: SymlinkPolicy, kind: FileKind) -> io::Result<Vec<CreatedPath>> {
        let mut created = Vec::new();
        open_or_create(root.as_fd(), path, target, kind, &mut created).map(|_| created)
    }

    #[test]
    fn mt_3_parents_are_created_and_can_be_removed() {
        let tree = Tree::new("parents");
        let root = tree.root();
        let created = make_at(&root, c"/a/b/c/file", SymlinkPolicy::Follow, FileKind::File).unwrap();
        assert!(tree.0.join("root/a/b/c/file").is_file());
        created.iter().rev().for_each(CreatedPath::remove);
        assert!(!tree.0.join("root/a").exists());
    }

    #[test]
    fn a6_a_link_to_the_host_is_followed_inside_the_root() {
        let tree = Tree::new("a6");
        let root = tree.root();
        let outside = tree.0.join("outside");
        tree.link(outside.to_str().unwrap(), "lnk");
        make_at(&root, c"/lnk/sub/dir", SymlinkPolicy::Follow, FileKind::Dir).unwrap();
        assert!(tree.outside().is_empty());
        let inside = tree.0.join("root").join(outside.strip_prefix("/").unwrap());
        assert!(inside.join("sub/dir").is_dir(), "the way the container itself would see it");
    }

    #[test]
    fn a7_a_dangling_link_creates_the_file_inside() {
        let tree = Tree::new("a7");
        let root = tree.root();
        tree.link("../../../outside/new", "etc/resolv.conf");
        make_at(&root, c"/etc/resolv.conf", SymlinkPolicy::Follow, FileKind::File).unwrap();
        assert!(tree.outside().is_empty());
        assert!(tree.0.join("root/outside/new").is_file());
    }

    #[test]
    fn a1_the_mount_point_of_proc_may_not_be_a_symlink() {
        let tree = Tree::new("a1");
        let root = tree.root();
        tree.link(tree.0.join("outside").to_str().unwrap(), "proc");
        for path in [c"/proc", c"/proc/sub"] {
            let err = make_at(&root, path, SymlinkPolicy::NoSymlinks, FileKind::Dir).unwrap_err();
            assert_eq!(err.raw_os_error(), Some(libc::ELOOP), "{path:?}");
        }
        assert!(tree.outside().is_empty());
    }

    #[test]
    fn mt_2_dots_stop_at_the_root() {
        let tree = Tree::new("dots");
        let root = tree.root();
        make_at(&root, c"/../../../outside/x/../y", SymlinkPolicy::Follow, FileKind::Dir).unwrap();
        assert!(tree.outside().is_empty());
        assert!(tree.0.join("root/outside/y").is_dir());
    }

    #[test]
    fn mt_4_a_file_where_a_directory_is_wanted() {
        let tree = Tree::new("mt4");
        let root = tree.root();
        fs::write(tree.0.join("root/etc/f"), "").unwrap();
        for path in [c"/etc/f", c"/etc/f/below"] {
            let err = make_at(&root, path, SymlinkPolicy::Follow, FileKind::Dir).unwrap_err();
            assert_eq!(err.raw_os_error(), Some(libc::ENOTDIR), "{path:?}");
        }
    }

    #[test]
    fn the_walk_agrees_with_openat2() {
        let tree = Tree::new("walk");
        let root = tree.root();
        fs::create_dir_all(tree.0.join("root/a/b")).unwrap();
        tree.link("/a", "abs");
        tree.link("../a/./b", "etc/rel");
        tree.link("loop", "loop");
        for path in [c"/a/b", c"/abs/b", c"/etc/rel", c"/etc/rel/../../a", c"/", c"/loop", c"/none", c"/abs/../etc"] {
            let kernel = open(root.as_fd(), path, SymlinkPolicy::Follow, 0);
            let ours =
                Walk { root: root.as_fd(), target: SymlinkPolicy::Follow, create: None, created: &mut Vec::new() }
                    .resolve(path);
            let show = |fd: io::Result<OwnedFd>| {
                fd.map(|fd| sys_path::fstat(fd.as_fd()).unwrap().identity()).map_err(|e| e.raw_os_error())
            };
            assert_eq!(show(ours), show(kernel), "{path:?}");
        }
    }

    #[test]
    fn magic_links_are_not_followed() {
        let proc: OwnedFd = fs::File::open("/proc").unwrap().into();
        for path in [c"/self/root", c"/self/cwd/x"] {
            let mut created = Vec::new();
            let walked =
                Walk { root: proc.as_fd(), target: SymlinkPolicy::Follow, create: None, created: &mut created }
                    .resolve(path);
            assert!(walked.is_err() && open(proc.as_fd(), path, SymlinkPolicy::Follow, 0).is_err(), "{path:?}");
        }
    }
}
