//! Resource limits of a layer. The defaults are far above any image in use.

/// Maximum nesting of directories in a tree that corm reads or copies, because each level is an open descriptor.
pub const MAX_TREE_DEPTH: usize = 1024;

/// Limits of one layer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of tar for each byte of blob, checked from [`Limits::ratio_from`] on. Deflate's maximum is 1032; text and
    /// programs are below 10; an image of mostly empty databases had 60.
    pub ratio: u64,
    /// Bytes of tar from which the ratio is checked, because a small layer of zeros is harmless.
    pub ratio_from: u64,
    /// Bytes of tar.
    pub tar: u64,
    /// Sum of the file sizes in bytes (`st_size`), because a sparse file can be larger than the data sent for it.
    pub apparent: u64,
    /// Number of entries, and of directories created without an entry. Each takes about 20 bytes of memory.
    pub entries: u64,
    /// Maximum nesting of directories, by a path or through symlinks, because a tree is read with one descriptor a
    /// level.
    pub depth: usize,
    /// Bytes of a path and of a link's target (PATH_MAX).
    pub path: usize,
    /// Number of extended attributes of one entry: each is compared with the previous ones.
    pub xattrs: usize,
    /// Bytes of one extended attribute's value (XATTR_SIZE_MAX).
    pub xattr: usize,
    /// Bytes of one pax header, which is read into memory.
    pub pax: u64,
    /// Number of data extents of a sparse file, 16 bytes of memory each.
    pub extents: usize,
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
            extents: 1 << 18,
        }
    }
}
