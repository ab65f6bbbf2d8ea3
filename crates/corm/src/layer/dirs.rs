//! Directories of the tree in which entries are created: resolved once, and kept open while in use.
//!
//! A path is resolved by one `openat2(RESOLVE_IN_ROOT)` when the directory changes, not for each entry, so symlinks of
//! any layer end at the root. Creating files changes a directory's times: they are restored, or set to those of its
//! entry, when it is closed. No list of all directories is needed.
//!
//! A delta has no directory of the layers below. A path that needs one is the error [`NeedsLower`], because only the
//! layers below say whether it is a directory, a symlink or a file.

use base::coded;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};

use super::entry::shown;
use super::lower::NeedsLower;
use linux::path;

/// Maximum number of directories kept open.
const MAX_OPEN_DIRS: usize = 64;

/// Tries when a rename races with openat2 (EAGAIN), which is rare in a private tree.
const MAX_TRIES: usize = 16;

/// Flags of openat2(2) for a path below the root. No file system is mounted in an unfinished layer.
const RESOLVE_IN_TREE: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;

/// An open directory.
pub(super) struct Dir {
    fd: OwnedFd,
    /// Device and inode, because several paths may lead to the directory.
    pub id: (u64, u64),
    /// Times to set on close.
    times: Cell<[libc::timespec; 2]>,
    changed: Cell<bool>,
}

impl Dir {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let stat = path::fstat(fd.as_fd())?;
        Ok(Self { fd, id: stat.identity(), times: Cell::new(stat.times()), changed: Cell::new(false) })
    }

    /// Opens the directory `name` of `dir`, for use while no entry is applied in it by its path.
    pub(super) fn open(dir: &Dir, name: &CString) -> io::Result<Self> {
        Self::new(path::openat(dir.fd(), name, libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?)
    }

    /// Returns the descriptor, for calls that do not change the directory.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the descriptor, before a file in the directory is created or removed.
    pub(super) fn touch(&self) -> BorrowedFd<'_> {
        self.changed.set(true);
        self.fd.as_fd()
    }

    /// Sets the times to those of the directory's entry.
    pub(super) fn set_times(&self, times: [libc::timespec; 2]) {
        self.times.set(times);
        self.changed.set(true);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.changed.get() {
            // fails only when the file system does, which the next call reports
            let _ = path::set_times(self.fd(), c".", &self.times.get());
        }
    }
}

/// The root and the most recently used directories.
pub(super) struct Dirs {
    root: Rc<Dir>,
    /// Open directories by path, the latest last.
    recent: VecDeque<(Vec<u8>, Rc<Dir>)>,
    /// Number of directories created without an entry.
    pub implied: u64,
    /// Whether the tree has the changes of one layer only.
    is_delta: bool,
    /// Number of components of the root's own path.
    top: usize,
    /// Maximum nesting of directories.
    max_depth: usize,
}

impl Dirs {
    /// Opens the directories of a tree, or of a delta.
    pub(super) fn new(root: OwnedFd, is_delta: bool, max_depth: usize) -> Result<Self> {
        let root = Rc::new(Dir::new(root).context("root of the layer")?);
        let top = components(root.fd()).context("root of the layer")?;
        Ok(Self { root, recent: VecDeque::new(), implied: 0, is_delta, top, max_depth })
    }

    /// Returns the root.
    pub(super) fn root(&self) -> Rc<Dir> {
        self.root.clone()
    }

    /// Opens the directory at `path`; creates it if it is missing in a whole tree.
    ///
    /// # Errors
    /// A component is no directory; [`NeedsLower`].
    pub(super) fn make(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        if let Some(dir) = self.find(path)? {
            return Ok(dir);
        }
        // from the longest existing prefix, name by name
        let mut known = path;
        let mut dir = loop {
            known = known.iter().rposition(|&byte| byte == b'/').and_then(|at| known.get(..at)).unwrap_or_default();
            if let Some(dir) = self.find(known)? {
                break dir;
            }
        };
        let mut done = known.len();
        for name in path.get(known.len()..).unwrap_or_default().split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            done += name.len() + usize::from(done > 0);
            let so_far = path.get(..done).unwrap_or_default();
            self.check_depth(&dir).with_context(|| format!("directory {}", shown(so_far)))?;
            let created = make_in(&dir, name).with_context(|| format!("directory {}", shown(so_far)))?;
            self.keep(so_far, &created);
            self.implied += 1;
            dir = created;
        }
        Ok(dir)
    }

    /// Opens the directory at `path`; `None` if it does not exist in a whole tree.
    ///
    /// # Errors
    /// The file is no directory; a loop of symlinks; [`NeedsLower`].
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Rc<Dir>>> {
        if path.is_empty() {
            return Ok(Some(self.root()));
        }
        if let Some(at) = self.recent.iter().rposition(|(known, _)| known == path) {
            let Some(hit) = self.recent.remove(at) else { return Ok(None) };
            let dir = hit.1.clone();
            self.recent.push_back(hit);
            return Ok(Some(dir));
        }
        let name = CString::new(path)?;
        match self.open(&name) {
            Ok(fd) => {
                let dir = self.known(Dir::new(fd)?);
                self.keep(path, &dir);
                Ok(Some(dir))
            }
            // missing here, a whiteout, or a symlink whose target is missing here
            Err(err) if self.is_delta && matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                Err(NeedsLower.into())
            }
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(err) => Err(err).with_context(|| format!("directory {}", shown(path))),
        }
    }

    fn open(&self, name: &CString) -> io::Result<OwnedFd> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let mut attempts = 0;
        loop {
            match path::openat2(self.root.fd(), name, flags, RESOLVE_IN_TREE) {
                Err(err) if err.raw_os_error() == Some(libc::EAGAIN) && attempts < MAX_TRIES => attempts += 1,
                other => return other,
            }
        }
    }

    /// Returns the open value for the same directory, because its times are kept once.
    fn known(&self, dir: Dir) -> Rc<Dir> {
        let open = self.recent.iter().map(|(_, open)| open).chain([&self.root]);
        open.into_iter().find(|open| open.id == dir.id).cloned().unwrap_or_else(|| Rc::new(dir))
    }

    /// Opens the directory `name` of `dir`, which exists, under the path `path`.
    pub(super) fn enter(&mut self, path: &[u8], dir: &Dir, name: &CString) -> Result<Rc<Dir>> {
        let entered = self.known(Dir::open(dir, name)?);
        self.recent.retain(|(known, _)| known != path);
        self.keep(path, &entered);
        Ok(entered)
    }

    fn keep(&mut self, path: &[u8], dir: &Rc<Dir>) {
        if self.recent.len() >= MAX_OPEN_DIRS {
            self.recent.pop_front();
        }
        self.recent.push_back((path.to_vec(), dir.clone()));
    }

    /// Checks the depth of `dir` before a directory is created in it, because symlinks may lead deeper than the path
    /// shows.
    ///
    /// # Errors
    /// The directory has the maximum depth.
    pub(super) fn check_depth(&self, dir: &Dir) -> Result<()> {
        let depth = match components(dir.fd()) {
            Err(err) if err.raw_os_error() == Some(libc::ENAMETOOLONG) => usize::MAX,
            found => found.context("depth of the directory")?,
        };
        if depth < self.top + self.max_depth {
            return Ok(());
        }
        bail!(coded!(ImageInvalid, "more than {} directories deep through symlinks", self.max_depth))
    }

    /// Closes all directories, before a directory or symlink is removed.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
    }
}

/// Returns the path of an open directory on this machine.
pub(super) fn real_path(dir: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Returns the number of components of an open directory's path.
fn components(dir: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(real_path(dir)?.components().count())
}

fn make_in(dir: &Dir, name: &[u8]) -> Result<Rc<Dir>> {
    let name = CString::new(name)?;
    match path::mkdirat(dir.touch(), &name, 0o755) {
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => bail!(coded!(ImageInvalid, "is a dangling symlink")),
        other => other?,
    }
    // the umask may have reduced the mode
    path::chmodat(dir.fd(), &name, 0o755)?;
    let created = Rc::new(Dir::open(dir, &name)?);
    // a fixed time, so that a layer always gives the same tree
    let epoch = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    created.set_times([epoch, epoch]);
    Ok(created)
}
