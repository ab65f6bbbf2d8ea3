//! How much a layer may claim and cost before it is refused. The defaults are far above any image that people use.

/// What one layer may hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of tar for each byte of blob, looked at from [`Limits::ratio_from`] on. Deflate ends at 1032, text and
    /// programs are below 10, an image of mostly empty databases was seen at 60.
    pub ratio: u64,
    /// Bytes of tar from which the ratio counts: a small layer of zeros is none's harm.
    pub ratio_from: u64,
    /// Bytes of tar.
    pub tar: u64,
    /// Bytes of all files together as `ls` shows them: a sparse file claims them without sending them.
    pub apparent: u64,
    /// Entries, and directories that are created because an entry lies in them. About 20 bytes of memory each.
    pub entries: u64,
    /// Directories inside of each other, by a path or where symlinks lead: a tree is read with one open directory a level.
    pub depth: usize,
    /// Bytes of a path and of a link's target: longer ones exist for no program (PATH_MAX).
    pub path: usize,
    /// Extended attributes of one entry: each is compared with those before it.
    pub xattrs: usize,
    /// Bytes of one extended attribute's value: what the kernel takes (XATTR_SIZE_MAX).
    pub xattr: usize,
    /// Bytes of one pax header, which is read into memory.
    pub pax: u64,
    /// Pieces of a sparse file, 16 bytes of memory each.
    pub pieces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ratio: 200,
            ratio_from: 64 << 20,
            tar: 256 << 30,
            apparent: 4 << 40,
            entries: 1 << 20,
            depth: 256,
            path: 4095,
            xattrs: 4096,
            xattr: 64 << 10,
            pax: 1 << 20,
            pieces: 1 << 18,
        }
    }
}
