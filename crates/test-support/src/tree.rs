//! A comparison of two trees: paths, types, modes, owners, times, extended attributes, hard links, contents, devices,
//! and the holes of sparse files.

#![allow(dead_code, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use linux::file;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// The properties of one file that a layer can record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The type, the permissions, the set-id and sticky bits.
    pub mode: u32,
    pub owner: (u32, u32),
    /// The seconds and nanoseconds.
    pub mtime: (i64, i64),
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// The first name, in order, of the same file.
    pub same_as: PathBuf,
    /// The size and digest of a file, the target of a symlink, the numbers of a device.
    pub content: String,
    /// The bytes that are holes, which are not compared for equality.
    pub holes: Holes,
}

/// The number of bytes of a file that are holes. All compare equal, because file systems allocate blocks in different
/// ways.
#[derive(Debug, Clone, Copy)]
pub struct Holes(pub u64);

impl PartialEq for Holes {
    fn eq(&self, _: &Holes) -> bool {
        true
    }
}

impl Eq for Holes {}

/// The size from which holes have to be preserved: smaller ones may be filled or created.
const LARGE: u64 = 1 << 20;

pub type Tree = BTreeMap<PathBuf, Facts>;

/// Reads a tree, without sockets, because no layer contains them.
pub fn read(root: &Path) -> Tree {
    read_without(root, |_| false)
}

/// Reads a tree like `read`, without some paths and everything below them.
pub fn read_without(root: &Path, skip: impl Fn(&Path) -> bool) -> Tree {
    let mut paths = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let at = root.join(&path);
        let meta = fs::symlink_metadata(&at).unwrap_or_else(|err| panic!("{at:?}: {err}"));
        if skip(&path) || meta.mode() & libc::S_IFMT == libc::S_IFSOCK {
            continue;
        }
        if meta.is_dir() {
            todo.extend(fs::read_dir(&at).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
        }
        paths.push((path, meta));
    }
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    let mut first: HashMap<(u64, u64), PathBuf> = HashMap::new();
    paths
        .into_iter()
        .map(|(path, meta)| {
            let same_as = if meta.is_dir() {
                path.clone()
            } else {
                first.entry((meta.dev(), meta.ino())).or_insert_with(|| path.clone()).clone()
            };
            let facts = facts(&root.join(&path), &meta, same_as);
            (path, facts)
        })
        .collect()
}

fn facts(at: &Path, meta: &fs::Metadata, same_as: PathBuf) -> Facts {
    let content = match meta.mode() & libc::S_IFMT {
        libc::S_IFREG => {
            let file = File::open(at).unwrap_or_else(|err| panic!("{at:?}: {err}"));
            format!("{} bytes {}", meta.len(), digest(&file, meta.len()))
        }
        libc::S_IFLNK => format!("{:?}", fs::read_link(at).unwrap()),
        libc::S_IFCHR | libc::S_IFBLK => format!("{}:{}", libc::major(meta.rdev()), libc::minor(meta.rdev())),
        _ => String::new(),
    };
    Facts {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        xattrs: xattrs(at),
        same_as,
        content,
        holes: Holes(meta.len().saturating_sub(meta.blocks() * 512)),
    }
}

/// Returns a digest of a file's content: of each block that is not zeros and its offset, so that holes need not be
/// read.
fn digest(file: &File, size: u64) -> u64 {
    const BLOCK: u64 = 64 << 10;
    let (mut hasher, mut at) = (DefaultHasher::new(), 0);
    let mut block = vec![0; BLOCK as usize];
    while at < size {
        at = match lseek(file, i64::try_from(at).unwrap(), Whence::SeekData) {
            Ok(data) => data as u64 / BLOCK * BLOCK,
            Err(Errno::ENXIO) => break,
            Err(err) => panic!("SEEK_DATA: {err}"),
        };
        let length = usize::try_from(BLOCK.min(size - at)).unwrap();
        file.read_exact_at(&mut block[..length], at).unwrap();
        if block[..length].iter().any(|&byte| byte != 0) {
            hasher.write_u64(at);
            hasher.write(&block[..length]);
        }
        at += BLOCK;
    }
    hasher.finish()
}

/// Returns the extended attributes of a file, sorted, without those of overlay and of the host's security modules.
pub fn xattrs(at: &Path) -> Vec<(String, Vec<u8>)> {
    let path = CString::new(at.as_os_str().as_bytes()).unwrap();
    let mut all: Vec<_> = file::list_xattr(&path)
        .unwrap()
        .into_iter()
        .filter(|name| is_of_the_file(name))
        .map(|name| (name.to_str().unwrap().to_owned(), file::get_xattr(&path, &name).unwrap()))
        .collect();
    all.sort();
    all
}

/// Returns whether an extended attribute is stored in layers: those of overlay and of the host's security modules are
/// not.
fn is_of_the_file(name: &std::ffi::CStr) -> bool {
    let name = name.to_str().unwrap();
    let is_of_the_host = ["security.selinux", "security.apparmor", "security.evm", "system.nfs4_acl"].contains(&name);
    !is_of_the_host && !name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.")
}

/// Fails with the differences unless the trees are the same.
#[track_caller]
pub fn assert_same(wanted: &Tree, got: &Tree) {
    let mut found = Vec::new();
    for (path, facts) in wanted {
        match got.get(path) {
            None => found.push(format!("{path:?} is missing")),
            Some(other) if other != facts => found.push(format!("{path:?}\n  was {facts:?}\n  is  {other:?}")),
            Some(other) if facts.holes.0 >= LARGE && other.holes.0 < facts.holes.0 / 2 => {
                found.push(format!("{path:?} had {} bytes of holes, has {}", facts.holes.0, other.holes.0));
            }
            Some(_) => {}
        }
    }
    found.extend(
        got.keys().filter(|path| !wanted.contains_key(*path)).map(|path| format!("{path:?} came from nowhere")),
    );
    let shown = found.len().min(20);
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found[..shown].join("\n"));
}
