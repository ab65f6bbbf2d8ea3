//! The directories of the tree that entries are applied in: found once, kept open while entries go there.
//!
//! A path is resolved by one `openat2(RESOLVE_IN_ROOT)` when the directory changes, never for each entry: what symlinks
//! say, of this layer or of a lower one, ends at the root. Filling a directory changes its times; each gets back those
//! it had, or those its entry said, when it is closed. No list of all directories is needed for that.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};

use super::entry::shown;
use linux::path;

/// Directories that are kept open.
const OPEN: usize = 64;

/// Bytes of paths of directories that have no entry of their own.
const IMPLIED: usize = 16 << 20;

/// As with a rename that races: never for long in a tree that only we know.
const ATTEMPTS: usize = 16;

/// How a path below the root is followed. No file system is mounted within a layer that is being created.
const INSIDE: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;

/// An open directory.
pub(super) struct Dir {
    fd: OwnedFd,
    /// Device and inode: the same directory may be reached by several paths.
    pub id: (u64, u64),
    /// The times to leave it with.
    times: Cell<[libc::timespec; 2]>,
    changed: Cell<bool>,
}

impl Dir {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let stat = path::fstat(fd.as_fd())?;
        Ok(Self { fd, id: stat.identity(), times: Cell::new(stat.times()), changed: Cell::new(false) })
    }

    /// The directory `name` of `dir`, for as long as nothing is applied in it by its path.
    pub(super) fn open(dir: &Dir, name: &CString) -> io::Result<Self> {
        Self::new(path::openat(dir.fd(), name, libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?)
    }

    /// For calls on names in it.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Something in it is about to be created or removed.
    pub(super) fn touch(&self) -> BorrowedFd<'_> {
        self.changed.set(true);
        self.fd.as_fd()
    }

    /// What its entry says of its times.
    pub(super) fn set_times(&self, times: [libc::timespec; 2]) {
        self.times.set(times);
        self.changed.set(true);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.changed.get() {
            // of one's own directory this fails only with the file system itself, which the next call reports
            let _ = path::set_times(self.fd(), c".", &self.times.get());
        }
    }
}

/// The root and what was used last.
pub(super) struct Dirs {
    root: Rc<Dir>,
    /// By path, the latest last.
    recent: VecDeque<(Vec<u8>, Rc<Dir>)>,
    /// Directories that were created because something lies in them, above each what it lies in.
    pub implied: Vec<Vec<u8>>,
    /// Bytes of their paths.
    implied_bytes: usize,
    /// Components of the root's own path.
    top: usize,
    /// Most directories inside of each other.
    deepest: usize,
}

impl Dirs {
    /// Of a tree.
    pub(super) fn new(root: OwnedFd, deepest: usize) -> Result<Self> {
        let root = Rc::new(Dir::new(root).context("root of the layer")?);
        let top = components(root.fd()).context("root of the layer")?;
        Ok(Self { root, recent: VecDeque::new(), implied: Vec::new(), implied_bytes: 0, top, deepest })
    }

    /// The root.
    pub(super) fn root(&self) -> Rc<Dir> {
        self.root.clone()
    }

    /// The directory at `path`, made if it is missing.
    ///
    /// # Errors
    /// Something that is no directory is in the way.
    pub(super) fn make(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        if let Some(dir) = self.find(path)? {
            return Ok(dir);
        }
        // from the longest part that is there, name by name
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
            let made = make_in(&dir, name).with_context(|| format!("directory {}", shown(so_far)))?;
            self.keep(so_far, &made);
            self.implied_bytes += so_far.len();
            if self.implied_bytes > IMPLIED {
                bail!("too many directories have no entry of their own");
            }
            self.implied.push(so_far.to_vec());
            dir = made;
        }
        Ok(dir)
    }

    /// The directory at `path` if there is one.
    ///
    /// # Errors
    /// Something else is there; a loop of symlinks.
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
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(err) => Err(err).with_context(|| format!("directory {}", shown(path))),
        }
    }

    fn open(&self, name: &CString) -> io::Result<OwnedFd> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let mut attempts = 0;
        loop {
            match path::openat2(self.root.fd(), name, flags, INSIDE) {
                Err(err) if err.raw_os_error() == Some(libc::EAGAIN) && attempts < ATTEMPTS => attempts += 1,
                other => return other,
            }
        }
    }

    /// The directory itself if it is open under another path: its times are kept once.
    fn known(&self, dir: Dir) -> Rc<Dir> {
        let open = self.recent.iter().map(|(_, open)| open).chain([&self.root]);
        open.into_iter().find(|open| open.id == dir.id).cloned().unwrap_or_else(|| Rc::new(dir))
    }

    /// The directory `name` of `dir`, which was just made or seen there, as `path`.
    pub(super) fn enter(&mut self, path: &[u8], dir: &Dir, name: &CString) -> Result<Rc<Dir>> {
        let entered = self.known(Dir::open(dir, name)?);
        self.recent.retain(|(known, _)| known != path);
        self.keep(path, &entered);
        Ok(entered)
    }

    fn keep(&mut self, path: &[u8], dir: &Rc<Dir>) {
        if self.recent.len() >= OPEN {
            self.recent.pop_front();
        }
        self.recent.push_back((path.to_vec(), dir.clone()));
    }

    /// That a directory may be created in `dir`: symlinks on the way to it may have led deeper than any path tells.
    ///
    /// # Errors
    /// It is as deep as a tree may be.
    pub(super) fn check_depth(&self, dir: &Dir) -> Result<()> {
        let depth = match components(dir.fd()) {
            Err(err) if err.raw_os_error() == Some(libc::ENAMETOOLONG) => usize::MAX,
            found => found.context("how deep it is")?,
        };
        if depth < self.top + self.deepest {
            return Ok(());
        }
        bail!("more than {} directories deep where its symlinks lead", self.deepest)
    }

    /// Forgets all paths: a directory or a symlink is about to go, and what they lead to with it.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
    }
}

/// Components of the path that an open directory has.
fn components(dir: BorrowedFd<'_>) -> io::Result<usize> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    Ok(path.components().count())
}

fn make_in(dir: &Dir, name: &[u8]) -> Result<Rc<Dir>> {
    let name = CString::new(name)?;
    match path::mkdirat(dir.touch(), &name, 0o755) {
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => bail!("is a symlink that leads nowhere"),
        other => other?,
    }
    // the umask may have cut it
    path::chmodat(dir.fd(), &name, 0o755)?;
    let made = Rc::new(Dir::open(dir, &name)?);
    // no time is given: the same layer gives the same tree whenever it is applied
    let epoch = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    made.set_times([epoch, epoch]);
    Ok(made)
}
