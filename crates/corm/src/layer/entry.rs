//! An entry of a layer, independent of the tar format.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;

/// A timestamp; the nanoseconds count forwards also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1 000 000 000.
    pub nanoseconds: u32,
}

impl Time {
    /// Converts to the kernel's form.
    pub fn timespec(self) -> libc::timespec {
        libc::timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) }
    }
}

/// Type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarEntryType {
    /// A regular file, followed by its data.
    File,
    /// A sparse file, followed by its data extents.
    Sparse {
        /// Offset and length of each data extent, in the order of the data.
        extents: Vec<(u64, u64)>,
        /// Size of the file, holes included.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symlink with its target.
    Symlink(Vec<u8>),
    /// A hard link to this path.
    HardLink(Vec<u8>),
    /// A character device with major and minor number.
    Character(u32, u32),
    /// A block device with major and minor number.
    Block(u32, u32),
    /// A fifo.
    Fifo,
}

/// An entry with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as in the archive.
    pub path: Vec<u8>,
    /// Type.
    pub kind: TarEntryType,
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes.
    pub xattrs: Vec<(CString, Vec<u8>)>,
    /// Bytes of data that follow.
    pub size: u64,
}

/// Formats an untrusted name for a message: quoted, escaped and truncated.
pub fn shown(name: &[u8]) -> String {
    const SHOWN: usize = 160;
    match name.get(..SHOWN) {
        Some(start) if name.len() > SHOWN => format!("{:?}… ({} bytes)", OsStr::from_bytes(start), name.len()),
        _ => format!("{:?}", OsStr::from_bytes(name)),
    }
}
