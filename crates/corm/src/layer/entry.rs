//! One entry of a layer, whatever form of tar it was written in.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;

/// A time as file systems keep it; the nanoseconds count forwards also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// Below 1 000 000 000.
    pub nanoseconds: u32,
}

impl Time {
    /// As the kernel takes it.
    pub fn timespec(self) -> libc::timespec {
        libc::timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarEntryType {
    /// A regular file, whose data follows.
    File,
    /// A regular file of which only these pieces (offset, length) follow; the rest is holes.
    Sparse {
        /// Where data lies, in the order in which it follows.
        pieces: Vec<(u64, u64)>,
        /// The size that the file has with its holes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symlink and what it says.
    Symlink(Vec<u8>),
    /// One more name of the file of this path.
    HardLink(Vec<u8>),
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// An entry and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it is written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: TarEntryType,
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Time,
    /// Extended attributes.
    pub xattrs: Vec<(CString, Vec<u8>)>,
    /// Bytes of data that follow.
    pub size: u64,
}

/// A name from an archive for a message: quoted, escaped, and cut where it has no end.
pub fn shown(name: &[u8]) -> String {
    const SHOWN: usize = 160;
    match name.get(..SHOWN) {
        Some(start) if name.len() > SHOWN => format!("{:?}… ({} bytes)", OsStr::from_bytes(start), name.len()),
        _ => format!("{:?}", OsStr::from_bytes(name)),
    }
}
