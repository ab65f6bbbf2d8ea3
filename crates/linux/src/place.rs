//! Files that a caller names by a host path, found without following a symlink that another user could have created.
//!
//! A directory is open to others where a user other than this one and root can create names. In such a directory no
//! symlink is followed, whoever owns it and whatever fs.protected_symlinks is, neither as the file nor in the path to
//! it. `rootfs::path` resolves paths below a container's root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::open::{openat, openat2};

/// Maximum number of symlinks followed, as in the kernel.
const MAX_LINKS: u32 = 40;
const DIR: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// A file that may not exist yet: its open directory and its name there.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    name: OsString,
}

impl Place {
    /// Opens the directory of `path`; the file itself need not exist.
    ///
    /// # Errors
    /// A symlink in a directory that is open to others, with its name; the directory is missing; `path` ends in `..` or
    /// `/`.
    pub fn find(path: &Path) -> io::Result<Place> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        };
        let how = OpenHow::new().flags(DIR).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let start = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let dir = match openat2(AT_FDCWD, start, how) {
            Ok(dir) => dir,
            // the path has a symlink, or an old kernel or a filter lacks openat2
            Err(nix::Error::ELOOP | nix::Error::ENOSYS | nix::Error::EPERM | nix::Error::EAGAIN) => {
                walk(crate::open::open(".", DIR, Mode::empty())?, parent, &mut 0)?
            }
            Err(err) => return Err(err.into()),
        };
        Ok(Place { dir, name: name.to_owned() })
    }

    /// Opens the directory of an output file: as [`Place::find`], but a symlink as the last name is followed, unless
    /// its directory is open to others.
    ///
    /// # Errors
    /// As [`Place::find`]; a loop of symlinks (`ELOOP`).
    pub fn resolve(path: &Path) -> io::Result<Place> {
        let mut place = Self::find(path)?;
        let mut links = 0;
        while place.stat()?.is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFLNK) {
            // `/proc/self/fd/1`: the target of a magic link is no path
            if is_procfs(&place.dir)? {
                break;
            }
            place = follow_last(place.dir, &place.name, &mut links)?;
        }
        Ok(place)
    }

    /// Returns the open directory (O_PATH).
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Returns the name in the directory.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns the attributes of the file, a symlink not followed; `None` for a missing file.
    ///
    /// # Errors
    /// As fstatat(2), except `ENOENT`.
    pub fn stat(&self) -> io::Result<Option<FileStat>> {
        match fstatat(&self.dir, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::Error::ENOENT) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Opens an existing fifo or device for writing; waits for a fifo's reader. `None` for a regular or missing file. A
    /// link in procfs is opened whatever its type.
    ///
    /// # Errors
    /// A symlink; another user's file in a directory that is open to others; as open(2).
    pub fn open_special(&self) -> io::Result<Option<File>> {
        let flags = OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let Some(stat) = self.stat()? else { return Ok(None) };
        if is_procfs(&self.dir)? {
            return Ok(Some(openat(&self.dir, self.name.as_os_str(), flags, Mode::empty())?.into()));
        }
        if stat.st_mode & libc::S_IFMT == libc::S_IFREG {
            return Ok(None);
        }
        // checked before the open, because another user's fifo may block for ever
        self.refuse_foreign(&stat)?;
        let file = openat(&self.dir, self.name.as_os_str(), flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        self.refuse_foreign(&fstat(&file)?)?;
        Ok(Some(file.into()))
    }

    /// Opens the file for reading: a file, a directory, or a fifo, whose writer is waited for. A link in procfs is
    /// opened whatever its type.
    ///
    /// # Errors
    /// A symlink; another user's fifo or device, in a directory that is open to others; as open(2).
    fn open_to_read(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        if is_procfs(&self.dir)? {
            return Ok(openat(&self.dir, self.name.as_os_str(), flags, Mode::empty())?.into());
        }
        let Some(stat) = self.stat()? else { return Err(io::Error::from_raw_os_error(libc::ENOENT)) };
        let plain = |stat: &FileStat| matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR);
        let waited_for = !plain(&stat);
        if waited_for {
            self.refuse_foreign(&stat)?;
        }
        // non-blocking for a file that was regular, because it may have been replaced
        let blocking = if waited_for { OFlag::empty() } else { OFlag::O_NONBLOCK };
        let file = openat(&self.dir, self.name.as_os_str(), flags | OFlag::O_NOFOLLOW | blocking, Mode::empty())?;
        let stat = fstat(&file)?;
        if !plain(&stat) {
            self.refuse_foreign(&stat)?;
        }
        Ok(file.into())
    }

    /// Refuses another user's file in a directory that is open to others.
    fn refuse_foreign(&self, stat: &FileStat) -> io::Result<()> {
        let me = nix::unistd::geteuid().as_raw();
        if stat.st_uid != me && stat.st_uid != 0 && is_open_to_others(&fstat(&self.dir)?) {
            return Err(io::Error::other("another user's, in a directory that others may write to"));
        }
        Ok(())
    }

    /// Creates the file, which must not exist, not even as a symlink.
    ///
    /// # Errors
    /// `EEXIST`, and as open(2).
    pub fn create_new(&self, mode: u32) -> io::Result<File> {
        create_new(self.dir.as_fd(), &self.name, mode)
    }

    /// Opens the file for appending, or creates it with `mode`; never waits for a fifo's reader, and the descriptor is
    /// non-blocking. In a directory that is open to others it must be a regular file with one hard link, owned by this
    /// user or root. A symlink elsewhere is followed.
    ///
    /// # Errors
    /// A file that these rules exclude; a fifo without a reader (`ENXIO`); as open(2).
    pub fn append(&self, mode: u32) -> io::Result<File> {
        append(self.dir.try_clone()?, &self.name, mode, &mut 0)
    }

    /// Writes the file, which appears complete or not at all, and of which a kill at any moment leaves no part beside it.
    /// A file or symlink of that name is removed before: for a moment there is none.
    ///
    /// # Errors
    /// No space, no permission.
    pub fn renew(&self, bytes: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mut file: File = match openat(&self.dir, ".", flags, Mode::from_bits_truncate(mode)) {
            // a file system that has no files without a name
            Err(nix::Error::EOPNOTSUPP | nix::Error::EISDIR | nix::Error::EINVAL | nix::Error::ENOENT) => {
                return self.replace(bytes, mode);
            }
            file => file?.into(),
        };
        file.write_all(bytes)?;
        for _ in 0..MAX_LINKS {
            match link(&file, self.dir.as_fd(), &self.name) {
                Err(nix::Error::EEXIST) => {}
                // neither the right to name a descriptor nor procfs
                Err(nix::Error::ENOENT | nix::Error::EPERM) => return self.replace(bytes, mode),
                linked => return Ok(linked?),
            }
            match unlinkat(&self.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(nix::Error::ENOENT) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }

    /// Replaces the file atomically. A symlink is replaced, not followed.
    ///
    /// # Errors
    /// No space, no permission.
    pub fn replace(&self, bytes: &[u8], mode: u32) -> io::Result<()> {
        replace(self.dir.as_fd(), &self.name, bytes, mode)
    }
}

/// Gives a file without a name one.
fn link(file: &File, dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    nix::unistd::linkat(AT_FDCWD, path.as_str(), dir, name, AtFlags::AT_SYMLINK_FOLLOW)
}

/// Opens the argument of a caller for reading: a file, a directory, or a fifo or device of its own. No symlink that
/// another user could have created is followed, and no fifo of another user is waited for.
///
/// # Errors
/// A file that these rules exclude; as open(2).
pub fn open_to_read(path: &Path) -> io::Result<File> {
    if path.file_name().is_some() {
        return Place::resolve(path)?.open_to_read();
    }
    // `.`, `..` and `/`
    let dir = walk(crate::open::open(".", DIR, Mode::empty())?, path, &mut 0)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(&dir, ".", flags, Mode::empty())?.into())
}

/// Replaces a file as [`Place::replace`] does, by the directory's descriptor.
///
/// # Errors
/// No space, no permission.
pub fn replace(dir: BorrowedFd<'_>, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (fresh, mut file) = loop {
        // an unpredictable name: O_EXCL protects, the random number avoids conflicts
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let fresh = OsString::from(format!(".croci-{random:016x}"));
        match create_new(dir, &fresh, mode) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            file => break (fresh, file?),
        }
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| nix::fcntl::renameat(dir, fresh.as_os_str(), dir, name).map_err(io::Error::from));
    if written.is_err() {
        let _ = unlinkat(dir, fresh.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
    written
}

/// Reads a regular file of `dir`, which another user may have created: without following a symlink, without blocking,
/// and at most `limit` bytes.
///
/// # Errors
/// The file is missing (`ENOENT`), a symlink, no regular file, or larger.
pub fn read_untrusted(dir: BorrowedFd<'_>, name: &OsStr, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = match openat(dir, name, flags, Mode::empty()) {
        Err(nix::Error::ELOOP) => return Err(io::Error::other("is a symlink")),
        // a socket, or a device without a driver
        Err(nix::Error::ENXIO) => return Err(io::Error::other("is not a regular file")),
        fd => fd?,
    };
    let stat = fstat(&fd)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::other("is not a regular file"));
    }
    let too_large = || io::Error::other(format!("is larger than {limit} bytes"));
    if u64::try_from(stat.st_size).unwrap_or(0) > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // the file may have grown, and files of procfs have size 0
    File::from(fd).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// Opens the directory `path` (O_PATH), if all directories and symlinks in the path are this user's or root's, because
/// another owner could choose what is opened.
///
/// # Errors
/// As open(2); the inner error names another user's file.
pub fn open_by_own_way(path: &Path) -> nix::Result<Result<OwnedFd, String>> {
    let mut dir = crate::open::open(if path.is_absolute() { "/" } else { "." }, DIR, Mode::empty())?;
    let mut todo = reversed(path);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == "/" {
            dir = crate::open::open("/", DIR, Mode::empty())?;
            continue;
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let next = openat(&dir, name.as_os_str(), flags, Mode::empty())?;
        let stat = fstat(&next)?;
        let link = stat.st_mode & libc::S_IFMT == libc::S_IFLNK;
        // the caller checks the last component
        if !is_trusted(stat.st_uid) && (link || !todo.is_empty()) {
            let what = if link { "symlink" } else { "directory" };
            return Ok(Err(format!("the {what} {name:?} on the way belongs to user {}", stat.st_uid)));
        }
        if !link {
            dir = next;
        } else if links == MAX_LINKS {
            return Err(nix::Error::ELOOP);
        } else {
            links += 1;
            todo.extend(reversed(Path::new(&readlinkat(&dir, name.as_os_str())?)));
        }
    }
    // also for a regular file as the last component
    Ok(Ok(openat(&dir, ".", DIR, Mode::empty())?))
}

/// Returns whether `uid` is this user or root, or in a user namespace the overflow ID, because the host's root is not
/// mapped there.
pub fn is_trusted(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    uid == nix::unistd::geteuid().as_raw() || uid == 0 || uid == OVERFLOW && !super::userns::is_initial()
}

/// Opens the socket at `path` (O_PATH), for a connect through its descriptor. In a directory that is open to others no
/// symlink is followed, and the socket must be this user's, root's or the directory owner's.
///
/// # Errors
/// A file that these rules exclude; `ECONNREFUSED`: it is no socket; as open(2).
pub fn open_socket(path: &Path) -> io::Result<OwnedFd> {
    let place = Place::resolve(path)?;
    let nofollow = if is_procfs(&place.dir)? { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | nofollow;
    let socket = openat(&place.dir, place.name.as_os_str(), flags, Mode::empty())?;
    let (dir, stat) = (fstat(&place.dir)?, fstat(&socket)?);
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    }
    let me = nix::unistd::geteuid().as_raw();
    if is_open_to_others(&dir) && ![me, 0, dir.st_uid].contains(&stat.st_uid) {
        return Err(io::Error::other("another user's, in a directory that others may write to"));
    }
    Ok(socket)
}

/// Returns whether a user other than this one and root can create names in the directory of this `stat`.
pub fn is_open_to_others(stat: &FileStat) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    let foreign = stat.st_uid != me && stat.st_uid != 0;
    foreign || is_writable_by_others(stat.st_mode, stat.st_gid)
}

/// Returns whether the permissions `mode` of a file of the group `gid` let users write who are neither its owner nor in
/// this process's group.
pub fn is_writable_by_others(mode: u32, gid: u32) -> bool {
    mode & 0o020 != 0 && gid != nix::unistd::getegid().as_raw() || mode & 0o002 != 0
}

fn create_new(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::from_bits_truncate(mode))?.into())
}

fn append(dir: OwnedFd, name: &OsStr, mode: u32, links: &mut u32) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK;
    let flags = flags | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mode_bits = Mode::from_bits_truncate(mode);
    let file = match openat(&dir, name, flags | OFlag::O_NOFOLLOW, mode_bits) {
        Err(nix::Error::ELOOP) if is_procfs(&dir)? => return Ok(openat(&dir, name, flags, mode_bits)?.into()),
        Err(nix::Error::ELOOP) => {
            let place = follow_last(dir, name, links)?;
            return append(place.dir, &place.name, mode, links);
        }
        file => file?,
    };
    if is_open_to_others(&fstat(&dir)?) {
        let stat = fstat(&file)?;
        let me = nix::unistd::geteuid().as_raw();
        let regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        if !regular || stat.st_nlink != 1 || stat.st_uid != me && stat.st_uid != 0 {
            let what =
                "in a directory that others may write to: is not a regular file with one name that this user owns";
            return Err(io::Error::other(what));
        }
    }
    Ok(file.into())
}

/// Returns the place of a symlink's target, the symlink being the last name of a path.
fn follow_last(dir: OwnedFd, name: &OsStr, links: &mut u32) -> io::Result<Place> {
    let target = follow(&dir, name, links)?;
    let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    };
    Ok(Place { dir: walk(dir, parent, links)?, name: name.to_owned() })
}

/// Returns the target of a symlink, unless its directory is open to others.
fn follow(dir: &OwnedFd, name: &OsStr, links: &mut u32) -> io::Result<PathBuf> {
    *links += 1;
    if *links > MAX_LINKS {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    if is_open_to_others(&fstat(dir)?) {
        return Err(io::Error::other(format!("{name:?} is a symlink in a directory that others may write to")));
    }
    Ok(readlinkat(dir, name)?.into())
}

/// Returns the components of a path, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

/// Opens the directory `path`, relative to `dir`, component by component.
fn walk(mut dir: OwnedFd, path: &Path, links: &mut u32) -> io::Result<OwnedFd> {
    let mut todo = reversed(path);
    while let Some(name) = todo.pop() {
        if name == "/" {
            dir = crate::open::open("/", DIR, Mode::empty())?;
            continue;
        }
        let next = openat(&dir, name.as_os_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        if fstat(&next)?.st_mode & libc::S_IFMT != libc::S_IFLNK {
            dir = next;
        } else if is_procfs(&dir)? {
            // `/proc/self/fd/3`: the target of a magic link is no path
            dir = openat(&dir, name.as_os_str(), DIR, Mode::empty())?;
        } else {
            todo.extend(reversed(&follow(&dir, &name, links)?));
        }
    }
    if fstat(&dir)?.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    Ok(dir)
}

fn is_procfs(dir: &OwnedFd) -> io::Result<bool> {
    Ok(nix::sys::statfs::fstatfs(dir)?.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::TempDir;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// Creates a private directory beside a world-writable one; `target` is in the private one.
    fn scene(mode: u32) -> (TempDir, PathBuf, PathBuf) {
        let top = TempDir::new();
        let (open, private) = (top.path().join("open"), top.path().join("private"));
        for (dir, mode) in [(&open, mode), (&private, 0o700)] {
            std::fs::create_dir(dir).unwrap();
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        top.write("private/target", b"kept");
        (top, open, private)
    }

    fn appended(path: &Path) -> io::Result<()> {
        Place::find(path)?.append(0o600)?.write_all(b"+")
    }

    #[test]
    fn class_8_symlinks_are_followed_only_where_others_cannot_make_them() {
        for mode in [0o1777, 0o777, 0o773] {
            let (_top, open, private) = scene(mode);
            let target = private.join("target");
            symlink(&target, open.join("link")).unwrap();
            symlink(&private, open.join("dir")).unwrap();
            symlink("target", private.join("link")).unwrap();
            symlink("../open", private.join("out")).unwrap();
            symlink("out/link", private.join("twice")).unwrap();
            for planted in [open.join("link"), open.join("dir/target"), private.join("out/link"), private.join("twice")]
            {
                let err = appended(&planted).unwrap_err().to_string();
                assert!(err.contains("symlink in a directory that others may write to"), "{planted:?}: {err}");
            }
            assert_eq!(std::fs::read(&target).unwrap(), b"kept");
            appended(&private.join("link")).unwrap();
            appended(&private.join("out/new")).unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), b"kept+");
            assert_eq!(std::fs::read(open.join("new")).unwrap(), b"+");
            appended(&open.join("new")).unwrap();
        }
    }

    #[test]
    fn class_8_a_file_that_others_have_put_there_is_not_written() {
        let (_top, open, private) = scene(0o1777);
        std::fs::hard_link(private.join("target"), open.join("hard")).unwrap();
        assert!(appended(&open.join("hard")).is_err(), "a second name of another file");
        nix::unistd::mkfifo(&open.join("fifo"), Mode::S_IRWXU).unwrap();
        let _reader = std::fs::File::options().read(true).write(true).open(open.join("fifo")).unwrap();
        assert!(appended(&open.join("fifo")).is_err(), "a fifo");
        assert_eq!(std::fs::read(private.join("target")).unwrap(), b"kept");
    }

    #[test]
    fn class_8_replacing_and_creating_follow_nothing() {
        let (_top, open, private) = scene(0o777);
        symlink(private.join("target"), open.join("link")).unwrap();
        let place = Place::find(&open.join("link")).unwrap();
        assert!(place.create_new(0o600).is_err());
        for text in [b"new", b"two"] {
            place.replace(text, 0o644).unwrap();
            assert!(!open.join("link").symlink_metadata().unwrap().is_symlink());
            assert_eq!(std::fs::read(open.join("link")).unwrap(), text);
            std::fs::remove_file(open.join("link")).unwrap();
            symlink(private.join("target"), open.join("link")).unwrap();
            place.renew(text, 0o644).unwrap();
            place.renew(text, 0o644).unwrap();
            assert!(!open.join("link").symlink_metadata().unwrap().is_symlink());
            assert_eq!(std::fs::read(open.join("link")).unwrap(), text);
        }
        assert_eq!(std::fs::read(private.join("target")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(&open).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn class_8_an_output_goes_where_a_link_of_the_caller_leads_and_to_no_device_of_others() {
        let (_top, open, private) = scene(0o1777);
        symlink("/dev/null", open.join("null")).unwrap();
        assert!(Place::resolve(&open.join("null")).is_err());
        symlink("/dev/null", private.join("null")).unwrap();
        assert!(Place::resolve(&private.join("null")).unwrap().open_special().unwrap().is_some());
        symlink("target", private.join("link")).unwrap();
        symlink("new", private.join("dangling")).unwrap();
        for (link, name) in [("link", "target"), ("dangling", "new"), ("new", "new")] {
            let place = Place::resolve(&private.join(link)).unwrap();
            assert_eq!(place.name(), name);
            assert!(place.open_special().unwrap().is_none());
        }
        symlink("loop", private.join("loop")).unwrap();
        assert_eq!(Place::resolve(&private.join("loop")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn descriptors_in_procfs_are_followed_and_loops_end() {
        use std::os::fd::AsRawFd as _;
        let (_top, _, private) = scene(0o777);
        let file = std::fs::File::options().append(true).open(private.join("target")).unwrap();
        appended(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))).unwrap();
        let dir = std::fs::File::open(&private).unwrap();
        appended(&PathBuf::from(format!("/proc/self/fd/{}/target", dir.as_raw_fd()))).unwrap();
        assert_eq!(std::fs::read(private.join("target")).unwrap(), b"kept++");
        symlink("loop", private.join("loop")).unwrap();
        assert_eq!(appended(&private.join("loop")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert!(appended(Path::new("/")).is_err() && appended(Path::new("..")).is_err());
    }

    #[test]
    fn class_20_only_a_small_regular_file_is_read() {
        let (_top, _, private) = scene(0o777);
        let dir: OwnedFd = std::fs::File::open(&private).unwrap().into();
        let read = |name: &str| read_untrusted(dir.as_fd(), OsStr::new(name), 10);
        assert_eq!(read("target").unwrap(), b"kept");
        assert_eq!(read("none").unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink("target", private.join("link")).unwrap();
        symlink("/dev/zero", private.join("zero")).unwrap();
        nix::unistd::mkfifo(&private.join("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(private.join("socket")).unwrap();
        std::fs::create_dir(private.join("dir")).unwrap();
        std::fs::write(private.join("eleven"), "12345678901").unwrap();
        std::fs::File::create(private.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        for (name, wanted) in [
            ("link", "is a symlink"),
            ("zero", "is a symlink"),
            ("fifo", "is not a regular file"),
            ("socket", "is not a regular file"),
            ("dir", "is not a regular file"),
            ("eleven", "is larger than 10 bytes"),
            ("sparse", "is larger than 10 bytes"),
        ] {
            assert_eq!(read(name).unwrap_err().to_string(), wanted, "{name}");
        }
    }
}
