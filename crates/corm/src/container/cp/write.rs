//! Creation of files in a tree that others may change meanwhile: every file by a directory's descriptor and one name,
//! and no symlink is followed.

use base::coded;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use crate::config::settings::userns::Mapping;
use base::fs::remove::remove_at;
use linux::cred;
use linux::file;
use linux::path;

/// Rules for what is created.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// Owner of what is created; `None` for the source's.
    pub owner: Option<(u32, u32)>,
    /// The destination is the host: no set-id bit and no capability of a container's file reaches it.
    pub to_host: bool,
    /// A directory may take the place of another file, and the reverse.
    pub overwrite: bool,
    /// User namespace of a running container that is the source.
    pub from: Option<&'a Mapping>,
    /// User namespace of a running container that is the destination.
    pub into: Option<&'a Mapping>,
}

/// Attributes of a file.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Owner and group.
    pub owner: (u32, u32),
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
    /// Access and modification time.
    pub times: [libc::timespec; 2],
    /// Extended attributes.
    pub xattrs: Vec<(CString, Vec<u8>)>,
}

const DIRECTORY: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;

impl Rules<'_> {
    /// Lets this thread create files as the root user of the destination's user namespace: an ID-mapped mount has no owner
    /// for files of another one's. The capabilities are kept.
    ///
    /// # Errors
    /// It needs root.
    pub fn become_root(&self) -> Result<()> {
        let Some((uid, gid)) = self.into.and_then(|mapping| mapping.to_outside((0, 0))) else { return Ok(()) };
        cred::become_fs_user(uid, gid).context("become the root user of the container's user namespace")
    }

    /// Returns whether an extended attribute is kept, as Podman decides it.
    pub fn keeps_xattr(&self, name: &CStr) -> bool {
        let name = name.to_bytes();
        name.starts_with(b"user.") || (!self.to_host && name == b"security.capability")
    }

    /// Creates a directory, or opens the one that is there.
    ///
    /// # Errors
    /// Another file is there and may not be replaced.
    pub fn dir(&self, to: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        for _ in 0..2 {
            match path::mkdirat(to, name, 0o700) {
                Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
                other => other.context("create the directory")?,
            }
            match path::openat(to, name, DIRECTORY, 0) {
                Err(err) if matches!(err.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {
                    if !self.overwrite {
                        bail!(coded!(
                            FileInvalid,
                            "is no directory in the destination: cannot overwrite it with one without --overwrite"
                        ));
                    }
                    path::unlinkat(to, name, false).context("remove the file in its place")?;
                }
                other => return other.context("open the directory"),
            }
        }
        bail!(coded!(FileInvalid, "changes while it is written"))
    }

    /// Removes what is at a name, so that another file can be created. Returns `false` for a mount point, which can only
    /// be written to.
    fn clear(&self, to: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
        match path::unlinkat(to, name, false) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(true),
            Err(err) if err.raw_os_error() == Some(libc::EBUSY) => Ok(false),
            Err(err) if matches!(err.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {
                let is_dir = path::stat_at(to, name, false)?.is_dir();
                match (is_dir, self.overwrite) {
                    (true, true) => {
                        remove_at(to, OsStr::from_bytes(name.to_bytes()))?;
                        Ok(true)
                    }
                    (true, false) => {
                        bail!(coded!(
                            FileInvalid,
                            "is a directory in the destination: cannot overwrite it without --overwrite"
                        ))
                    }
                    (false, _) => Err(err).context("remove the file in its place"),
                }
            }
            Err(err) => Err(err).context("remove the file in its place"),
        }
    }

    /// Creates a regular file in the place of what is there; a mounted file is written in place.
    ///
    /// # Errors
    /// A directory is there and may not be replaced; as open(2).
    pub fn file(&self, to: BorrowedFd<'_>, name: &CStr) -> Result<File> {
        let flags = libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        if self.clear(to, name)? {
            let created = path::openat(to, name, flags | libc::O_CREAT | libc::O_EXCL, 0o600);
            return Ok(File::from(created.context("create the file")?));
        }
        let file = File::from(path::openat(to, name, flags, 0).context("open the mounted file")?);
        if !file.metadata()?.is_file() {
            bail!(coded!(FileInvalid, "is a mount point in the destination"));
        }
        file.set_len(0).context("empty the mounted file")?;
        Ok(file)
    }

    /// Creates a symlink.
    ///
    /// # Errors
    /// As [`Rules::file`].
    pub fn symlink(&self, to: BorrowedFd<'_>, name: &CStr, target: &CStr, given: &Attributes) -> Result<()> {
        self.must_clear(to, name)?;
        path::symlinkat(target, to, name).context("create the symlink")?;
        if let Some((uid, gid)) = self.owner_of(given)? {
            path::chownat(to, name, uid, gid).context("set its owner")?;
        }
        path::set_times(to, name, &given.times).context("set its times")
    }

    /// Creates a fifo.
    ///
    /// # Errors
    /// As [`Rules::file`].
    pub fn fifo(&self, to: BorrowedFd<'_>, name: &CStr, given: &Attributes) -> Result<()> {
        self.must_clear(to, name)?;
        path::mknodat(to, name, libc::S_IFIFO | 0o600, 0).context("create the fifo")?;
        if let Some((uid, gid)) = self.owner_of(given)? {
            path::chownat(to, name, uid, gid).context("set its owner")?;
        }
        path::chmodat(to, name, self.mode_of(given)).context("set its mode")?;
        path::set_times(to, name, &given.times).context("set its times")
    }

    /// Creates a hard link to an open file.
    ///
    /// # Errors
    /// As linkat(2).
    pub fn link(&self, to: BorrowedFd<'_>, name: &CStr, existing: BorrowedFd<'_>) -> Result<()> {
        self.must_clear(to, name)?;
        let link = fd_path(existing)?;
        linkat(AT_FDCWD, link.as_c_str(), to, name, AtFlags::AT_SYMLINK_FOLLOW).context("create the link")
    }

    fn must_clear(&self, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        if !self.clear(to, name)? {
            bail!(coded!(FileInvalid, "is a mount point in the destination"));
        }
        Ok(())
    }

    /// Returns the owner to set, as this process names it; `None` for its own.
    fn owner_of(&self, given: &Attributes) -> Result<Option<(u32, u32)>> {
        // what is created belongs to this process, as on the host it must
        if self.to_host {
            return Ok(None);
        }
        let of_source = self.from.map_or(given.owner, |mapping| mapping.to_inside(given.owner));
        let (uid, gid) = self.owner.unwrap_or(of_source);
        let Some(mapping) = self.into else { return Ok(Some((uid, gid))) };
        let mapped = mapping.to_outside((uid, gid));
        mapped.map(Some).with_context(|| format!("the owner {uid}:{gid} has no ID in the container's user namespace"))
    }

    fn mode_of(&self, given: &Attributes) -> u32 {
        if self.to_host { given.mode & 0o1777 } else { given.mode & 0o7777 }
    }

    /// Sets the attributes of an open file or directory: owner before mode, because chown(2) clears set-id bits; both
    /// before extended attributes, because it clears `security.capability`; times last.
    ///
    /// # Errors
    /// The file system refuses; one that has no extended attributes is no error.
    pub fn finish(&self, made: BorrowedFd<'_>, given: &Attributes) -> Result<()> {
        if let Some((uid, gid)) = self.owner_of(given)? {
            path::chown_fd(made, uid, gid).with_context(|| format!("chown to {uid}:{gid}"))?;
        }
        path::fchmod(made, self.mode_of(given)).context("set its mode")?;
        let link = fd_path(made)?;
        for (name, value) in given.xattrs.iter().filter(|(name, _)| self.keeps_xattr(name)) {
            match file::set_xattr(&link, name, value) {
                Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other.with_context(|| format!("extended attribute {name:?}"))?,
            }
        }
        path::set_times_fd(made, &given.times).context("set its times")
    }
}

/// Returns the attributes of an open file.
///
/// # Errors
/// As fstat(2) and listxattr(2).
pub(super) fn attributes_of(open: BorrowedFd<'_>, rules: &Rules<'_>) -> Result<Attributes> {
    let link = fd_path(open)?;
    let names = match file::list_xattr(&link) {
        Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
        other => other.context("list its extended attributes")?,
    };
    let mut xattrs = Vec::new();
    for name in names.into_iter().filter(|name| rules.keeps_xattr(name)) {
        let value = file::get_xattr(&link, &name).with_context(|| format!("extended attribute {name:?}"))?;
        xattrs.push((name, value));
    }
    let stat = path::fstat(open)?;
    Ok(Attributes { owner: stat.owner(), mode: stat.permissions(), times: stat.times(), xattrs })
}

/// Returns the magic link that the kernel follows to an open file itself.
fn fd_path(open: BorrowedFd<'_>) -> Result<CString> {
    Ok(CString::new(format!("/proc/self/fd/{}", open.as_raw_fd()))?)
}
