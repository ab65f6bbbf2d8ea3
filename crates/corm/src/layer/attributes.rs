//! Owner, mode, extended attributes and times of new files, and the extended attributes that a layer may have.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result};

use super::entry::{Entry, TarEntryType};
use base::fs::proc_path;
use linux::file;
use linux::path;

/// Returns whether an extended attribute is part of a layer: overlay's own would change the meaning of other layers,
/// and labels and signatures of security modules are valid on one machine only.
pub fn is_layer_xattr(name: &CStr) -> bool {
    let name = name.to_bytes();
    let prefixes: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
    let names: [&[u8]; 4] = [b"security.selinux", b"security.apparmor", b"security.evm", b"system.nfs4_acl"];
    !prefixes.iter().any(|prefix| name.starts_with(prefix)) && !names.contains(&name)
}

/// The rules for setting attributes.
#[derive(Clone, Copy)]
pub(super) struct Setter {
    /// Whether corm runs without privileges, as root of a user namespace: files keep the caller's owner, and only
    /// `user.*` is set.
    pub unprivileged: bool,
}

impl Setter {
    /// Sets the attributes of `name` in `dir` to those of its entry, except a directory's times; returns the number of
    /// extended attributes left out.
    ///
    /// Owner before mode, because chown clears set-id bits; both before attributes, because chown clears
    /// `security.capability`.
    pub(super) fn apply(self, dir: BorrowedFd<'_>, name: &CStr, entry: &Entry) -> Result<u64> {
        match path::chownat(dir, name, entry.uid, entry.gid) {
            Err(err) if self.unprivileged && matches!(err.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => {}
            other => other.with_context(|| format!("chown to {}:{}", entry.uid, entry.gid))?,
        }
        if !matches!(entry.kind, TarEntryType::Symlink(_)) {
            path::chmodat(dir, name, entry.mode).context("set its mode")?;
        }
        let dropped = self.xattrs(dir, name, entry)?;
        if entry.kind != TarEntryType::Directory {
            let time = entry.mtime.timespec();
            path::set_times(dir, name, &[time, time]).context("set its times")?;
        }
        Ok(dropped)
    }

    fn xattrs(self, dir: BorrowedFd<'_>, name: &CStr, entry: &Entry) -> Result<u64> {
        let mut dropped = 0;
        if entry.xattrs.is_empty() {
            return Ok(0);
        }
        let path = proc_path(dir, OsStr::from_bytes(name.to_bytes()))?;
        for (attribute, value) in &entry.xattrs {
            if !is_layer_xattr(attribute) || !self.may_have(attribute, &entry.kind) {
                dropped += 1;
                continue;
            }
            match file::set_xattr(&path, attribute, value) {
                // the file system does not support this attribute: other tools also keep the file without it
                Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => dropped += 1,
                Err(err) if self.unprivileged && err.raw_os_error() == Some(libc::EPERM) => dropped += 1,
                other => other.with_context(|| format!("extended attribute {attribute:?}"))?,
            }
        }
        Ok(dropped)
    }

    /// Returns whether an attribute may be set: `user.*` exists on files and directories only, others need privileges.
    fn may_have(self, attribute: &CStr, kind: &TarEntryType) -> bool {
        if attribute.to_bytes().starts_with(b"user.") {
            return matches!(kind, TarEntryType::File | TarEntryType::Sparse { .. } | TarEntryType::Directory);
        }
        !self.unprivileged
    }
}

/// Removes the extended attributes of a lower layer's directory, except overlay's own, before an entry's are set.
pub(super) fn clear_xattrs(dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let path = proc_path(dir, OsStr::from_bytes(name.to_bytes()))?;
    let names: Vec<CString> = file::list_xattr(&path).context("list its extended attributes")?;
    for attribute in names.iter().filter(|name| is_layer_xattr(name)) {
        ignore(file::remove_xattr(&path, attribute), &[libc::ENODATA, libc::EPERM])
            .with_context(|| format!("remove its extended attribute {attribute:?}"))?;
    }
    Ok(())
}

fn ignore(result: io::Result<()>, errors: &[i32]) -> io::Result<()> {
    match result {
        Err(err) if err.raw_os_error().is_some_and(|errno| errors.contains(&errno)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_machine_stays_there() {
        for (name, kept) in [
            (c"user.mine", true),
            (c"security.capability", true),
            (c"system.posix_acl_access", true),
            (c"trusted.mine", true),
            (c"trusted.overlay.opaque", false),
            (c"trusted.overlay.overlay.opaque", false),
            (c"user.overlay.whiteout", false),
            (c"security.selinux", false),
        ] {
            assert_eq!(is_layer_xattr(name), kept, "{name:?}");
        }
    }
}
