//! Mounts on kernels without mount_setattr(2) (Linux 5.12), or without the mount API at all (5.2): by mount(2), through the
//! links of descriptors in the host's procfs.
//!
//! Chosen once, when the kernel answers ENOSYS. What is detached elsewhere is on the [stage] here, where
//! flags can be set. This works only in a mount namespace of the container's own.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{OFlag, ResolveFlag};
use nix::mount::MsFlags;

use super::stage::Slot;
use super::*;
use crate::procfs::{entry, link};

static CHOSEN: AtomicBool = AtomicBool::new(false);

/// Returns whether the kernel has no mount_setattr(2), or no mount API.
pub(super) fn is_chosen() -> bool {
    CHOSEN.load(Ordering::Relaxed)
}

/// Chooses mount(2) if `err` is that of a missing call; opens the procfs, while it is the host's.
pub(super) fn choose(err: &io::Error) -> bool {
    if err.raw_os_error() != Some(libc::ENOSYS) || procfs::dir().is_err() {
        return false;
    }
    CHOSEN.store(true, Ordering::Relaxed);
    true
}

/// Calls mount(2) on the file of a descriptor.
fn mount_on(
    source: Option<&CStr>,
    target: BorrowedFd<'_>,
    fs: Option<&CStr>,
    flags: u64,
    data: &CStr,
) -> io::Result<()> {
    let target = link(target)?;
    let flags = MsFlags::from_bits_retain(flags);
    procfs::in_directory(procfs::dir()?, || Ok(nix::mount::mount(source, target.as_c_str(), fs, flags, Some(data))?))
}

pub(super) fn clone_tree(dir: BorrowedFd<'_>, name: &CStr, how: CloneFlags) -> io::Result<OwnedFd> {
    let nofollow = if how.nofollow { libc::O_NOFOLLOW } else { 0 };
    let source = path::openat(dir, name, libc::O_PATH | nofollow, 0)?;
    clone_fd(source.as_fd(), how.recursive)
}

pub(super) fn clone_fd(source: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let slot = Slot::new(path::fstat(source)?.is_dir())?;
    let whole = if recursive { libc::MS_REC } else { 0 };
    mount_on(Some(&link(source)?), slot.place.as_fd(), None, libc::MS_BIND | whole, c"")?;
    slot.mounted()
}

pub(super) fn move_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    mount_on(Some(&link(tree)?), target, None, libc::MS_MOVE, c"")
}

pub(super) fn set_attr(mount: BorrowedFd<'_>, recursive: bool, change: MountAttr) -> io::Result<()> {
    if change.propagation != 0 {
        let whole = if recursive { libc::MS_REC } else { 0 };
        mount_on(None, mount, None, change.propagation | whole, c"")?;
    }
    if change.set | change.clear == 0 {
        return Ok(());
    }
    set_flags(mount, change)?;
    if recursive {
        for below in mounts_below(mount)? {
            set_flags(below.as_fd(), change)?;
        }
    }
    Ok(())
}

/// Flags of mount_setattr(2), of statvfs(3) and of mount(2) that are the same but for their bits.
const FLAGS: [(u64, u64, u64); 6] = [
    (ATTR_RDONLY, 0x1, libc::MS_RDONLY),
    (ATTR_NOSUID, 0x2, libc::MS_NOSUID),
    (ATTR_NODEV, 0x4, libc::MS_NODEV),
    (ATTR_NOEXEC, 0x8, libc::MS_NOEXEC),
    (ATTR_NODIRATIME, 0x800, libc::MS_NODIRATIME),
    (ATTR_NOSYMFOLLOW, 0x2000, 0x100),
];

const ST_NOATIME: u64 = 0x400;
const ST_RELATIME: u64 = 0x1000;

/// Returns the flags of mount(2) for a mount whose flags by statvfs(3) are `have`, after a change.
fn changed(have: u64, change: MountAttr) -> u64 {
    let mut flags = 0;
    for (attr, shown, flag) in FLAGS {
        if change.set & attr != 0 || have & shown != 0 && change.clear & attr == 0 {
            flags |= flag;
        }
    }
    let named = change.clear & ATTR_ATIME_MASK != 0;
    flags
        | match change.set & ATTR_ATIME_MASK {
            ATTR_NOATIME => libc::MS_NOATIME,
            ATTR_STRICTATIME => libc::MS_STRICTATIME,
            _ if named || have & ST_RELATIME != 0 => libc::MS_RELATIME,
            _ if have & ST_NOATIME != 0 => libc::MS_NOATIME,
            _ => libc::MS_STRICTATIME,
        }
}

fn set_flags(mount: BorrowedFd<'_>, change: MountAttr) -> io::Result<()> {
    let flags = changed(path::fs_facts(mount)?.flags, change);
    mount_on(None, mount, None, libc::MS_REMOUNT | libc::MS_BIND | flags, c"")?;
    // before Linux 5.10 mount(2) ignores what it does not know
    if change.set & ATTR_NOSYMFOLLOW != 0 && path::fs_facts(mount)?.flags & 0x2000 == 0 {
        return Err(needs("5.10", "nosymfollow"));
    }
    Ok(())
}

/// Opens the roots of the mounts below a mount, by the mount table. One that another mount covers is left out, because
/// no path leads to it.
fn mounts_below(mount: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let top = procfs::mount_id(mount)?;
    let table = procfs::read("self/mountinfo")?;
    let lines: Vec<(u64, u64, Vec<u8>)> = table.split(|byte| *byte == b'\n').filter_map(entry).collect();
    let Some((_, _, prefix)) = lines.iter().find(|(id, ..)| *id == top) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let mut known = vec![top];
    let mut all = Vec::new();
    loop {
        let before = known.len();
        for (id, parent, place) in &lines {
            if known.contains(id) || !known.contains(parent) {
                continue;
            }
            known.push(*id);
            let below = place.strip_prefix(prefix.as_slice()).unwrap_or(place);
            let start = below.iter().position(|byte| *byte != b'/').unwrap_or(below.len());
            let Some(name) = below.get(start..).filter(|name| !name.is_empty()) else { continue };
            let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
            let found = crate::resolve::walk(mount, &CString::new(name)?, OFlag::O_PATH, resolve)?;
            if procfs::mount_id(found.as_fd())? == *id {
                all.push(found);
            }
        }
        if known.len() == before {
            return Ok(all);
        }
    }
}

/// A file system to be mounted or changed by mount(2).
#[derive(Debug)]
pub(super) struct Fs {
    kind: CString,
    source: Option<CString>,
    flags: u64,
    cleared: u64,
    data: Vec<u8>,
    /// The mount: on the stage once it was created, or the one that is changed.
    mount: Option<OwnedFd>,
}

/// Options that are flags of mount(2).
const OPTIONS: [(&CStr, u64); 5] = [
    (c"ro", libc::MS_RDONLY),
    (c"sync", libc::MS_SYNCHRONOUS),
    (c"dirsync", libc::MS_DIRSYNC),
    (c"mand", libc::MS_MANDLOCK),
    (c"lazytime", 1 << 25),
];

/// Longest data of mount(2) in bytes, without the NUL; the kernel cuts more without an error.
const MAX_DATA: usize = 4095;

impl Fs {
    pub(super) fn new(kind: &CStr) -> Fs {
        Fs { kind: kind.to_owned(), source: None, flags: 0, cleared: 0, data: Vec::new(), mount: None }
    }

    pub(super) fn of(mount: BorrowedFd<'_>) -> io::Result<Fs> {
        Ok(Fs { mount: Some(path::dup(mount)?), ..Fs::new(c"") })
    }

    pub(super) fn option(&mut self, key: &CStr, value: Option<&CStr>) -> io::Result<()> {
        if let Some((_, flag)) = OPTIONS.iter().find(|(name, _)| value.is_none() && *name == key) {
            self.flags |= flag;
            return Ok(());
        }
        match (key.to_bytes(), value) {
            (b"source", Some(value)) => {
                self.source = Some(value.to_owned());
                return Ok(());
            }
            (b"rw", None) => {
                self.cleared |= libc::MS_RDONLY;
                return Ok(());
            }
            // directories one by one: Linux 6.7
            (b"lowerdir+" | b"datadir+", _) => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            _ => {}
        }
        if !self.data.is_empty() {
            self.data.push(b',');
        }
        self.data.extend_from_slice(key.to_bytes());
        if let Some(value) = value {
            self.data.push(b'=');
            self.data.extend_from_slice(value.to_bytes());
        }
        Ok(())
    }

    fn data(&self) -> io::Result<CString> {
        if self.data.len() > MAX_DATA {
            let text = format!("the options have {} bytes, at most {MAX_DATA} are possible", self.data.len());
            return Err(io::Error::other(text));
        }
        Ok(CString::new(self.data.clone())?)
    }

    pub(super) fn create(&mut self) -> io::Result<()> {
        let slot = Slot::new(true)?;
        let source = self.source.as_deref().unwrap_or(&self.kind);
        mount_on(Some(source), slot.place.as_fd(), Some(&self.kind), self.flags, &self.data()?)?;
        self.mount = Some(slot.mounted()?);
        Ok(())
    }

    pub(super) fn mounted(&self, attr: u64) -> io::Result<OwnedFd> {
        let mount = self.mount.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        set_flags(mount.as_fd(), MountAttr { set: attr, clear: ATTR_ATIME_MASK, propagation: 0 })?;
        path::dup(mount.as_fd())
    }

    pub(super) fn reconfigure(&self) -> io::Result<()> {
        let mount = self.mount.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        // mount(2) changes the flags of the mount as well, so that those that it has are given again
        let have = changed(path::fs_facts(mount.as_fd())?.flags, MountAttr::default()) & !self.cleared;
        mount_on(None, mount.as_fd(), None, libc::MS_REMOUNT | have | self.flags, &self.data()?)
    }
}

/// Returns the error of a property that this kernel does not have.
pub(super) fn needs(version: &str, what: &str) -> io::Error {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let text = format!("{what} needs Linux {version} or newer, this is {}", release.unwrap_or_default());
    io::Error::new(io::ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_that_a_change_does_not_name_stay() {
        let attr = |set, clear| MountAttr { set, clear, propagation: 0 };
        let (ro, nodev, relatime) = (libc::MS_RDONLY, libc::MS_NODEV, libc::MS_RELATIME);
        assert_eq!(changed(0x1004, attr(ATTR_RDONLY, 0)), ro | nodev | relatime);
        assert_eq!(changed(0x1005, attr(0, ATTR_RDONLY)), nodev | relatime);
        assert_eq!(changed(0x1000, attr(ATTR_NOATIME, ATTR_ATIME_MASK)), libc::MS_NOATIME);
        assert_eq!(changed(0x400, attr(0, ATTR_ATIME_MASK)), relatime);
        assert_eq!(changed(0, attr(0, 0)), libc::MS_STRICTATIME);
    }
}
