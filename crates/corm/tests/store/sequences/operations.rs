//! Random operations of a container on few names, so that most of them meet what an earlier one or a layer has left.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;

/// A generator of numbers (splitmix64): equal seeds give equal sequences.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// An operation; one that the tree does not permit, such as a file in a missing directory, does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// `mkdir -p`
    MakeDirs(PathBuf),
    /// Writes a file of this size, through a symlink and into an existing file, too.
    Write(PathBuf, usize),
    /// Appends a byte.
    Append(PathBuf),
    /// `rename`: a file over another, a directory over an empty one.
    Rename(PathBuf, PathBuf),
    /// `rm -rf`
    Remove(PathBuf),
    /// `rm -rf` of a directory, then `mkdir -p` of a path in a new one.
    RemoveAndMakeDirs(PathBuf, PathBuf),
    /// `rm -rf`, then a file.
    ReplaceByFile(PathBuf),
    /// `rm -rf`, then a symlink.
    ReplaceByLink(PathBuf, PathBuf),
    /// `rm -rf`, then a fifo or a device.
    ReplaceBySpecial(PathBuf, bool),
    /// A hard link.
    Link(PathBuf, PathBuf),
    /// `chmod`
    Mode(PathBuf, u32),
    /// `chown`
    Owner(PathBuf, u32),
    /// Sets an extended attribute, or removes it.
    Attribute(PathBuf, Option<u8>),
    /// `touch -d`
    Time(PathBuf, i64),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Returns a path of one to four names; short ones are more frequent, because they hold the others.
fn path(random: &mut Random) -> PathBuf {
    let depth = [1, 1, 2, 2, 2, 3, 3, 4][random.below(8)];
    (0..depth).map(|_| NAMES[random.below(NAMES.len())]).collect()
}

impl Operation {
    pub(super) fn random(random: &mut Random) -> Operation {
        let first = path(random);
        match random.below(29) {
            0..=5 => Operation::MakeDirs(first),
            6..=9 => Operation::Write(first, random.below(9)),
            10 => Operation::Append(first),
            11..=13 => Operation::Rename(first, path(random)),
            14..=15 => Operation::Remove(first),
            16..=18 => Operation::RemoveAndMakeDirs(first, path(random)),
            19 => Operation::ReplaceByFile(first),
            20 => Operation::ReplaceByLink(first, path(random)),
            21 => Operation::ReplaceBySpecial(first, random.below(2) == 0),
            22..=23 => Operation::Link(first, path(random)),
            24..=25 => Operation::Mode(first, [0o755, 0o700, 0o4711, 0o1777, 0o600, 0][random.below(6)]),
            26 => Operation::Owner(first, random.below(3) as u32),
            27 => Operation::Attribute(first, (random.below(3) > 0).then(|| random.below(3) as u8)),
            _ => Operation::Time(first, random.below(2) as i64 * 1_000_000_000),
        }
    }

    /// Does the operation below `root`. Errors are of the tree, so that there is nothing to do.
    pub(super) fn apply(&self, root: &Path) {
        let _ = self.try_apply(root);
    }

    fn try_apply(&self, root: &Path) -> std::io::Result<()> {
        match self {
            Operation::MakeDirs(path) => fs::create_dir_all(root.join(path)),
            // opening a fifo would block
            Operation::Write(path, _) | Operation::Append(path) if is_special(&root.join(path)) => Ok(()),
            Operation::Write(path, size) => fs::write(root.join(path), vec![b'x'; *size]),
            Operation::Append(path) => {
                use std::io::Write as _;
                fs::OpenOptions::new().append(true).open(root.join(path))?.write_all(b"+")
            }
            Operation::Rename(from, to) => fs::rename(root.join(from), root.join(to)),
            Operation::Remove(path) => remove(&root.join(path)),
            Operation::RemoveAndMakeDirs(path, below) => {
                remove(&root.join(path))?;
                fs::create_dir(root.join(path))?;
                fs::create_dir_all(root.join(path).join(below))
            }
            Operation::ReplaceByFile(path) => {
                remove(&root.join(path))?;
                fs::write(root.join(path), "file")
            }
            Operation::ReplaceByLink(path, target) => {
                remove(&root.join(path))?;
                symlink(target, root.join(path))
            }
            Operation::ReplaceBySpecial(path, is_device) => {
                remove(&root.join(path))?;
                let kind = if *is_device { SFlag::S_IFCHR } else { SFlag::S_IFIFO };
                Ok(mknod(&root.join(path), kind, Mode::S_IRUSR, makedev(1, 3))?)
            }
            Operation::Link(from, to) => fs::hard_link(root.join(from), root.join(to)),
            Operation::Mode(path, mode) => {
                let path = own(root, path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            Operation::Owner(path, owner) => chown(own(root, path)?, Some(*owner), Some(*owner)),
            Operation::Attribute(path, value) => {
                let path = own(root, path)?;
                let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
                match value {
                    Some(value) => linux::file::set_xattr(&path, c"user.value", &[*value]),
                    None => linux::file::remove_xattr(&path, c"user.value"),
                }
            }
            Operation::Time(path, seconds) => {
                let time = TimeSpec::new(*seconds, 5);
                let follow = UtimensatFlags::NoFollowSymlink;
                Ok(utimensat(AT_FDCWD, &root.join(path), &time, &time, follow)?)
            }
        }
    }
}

fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

/// Returns the path of a file or directory that is no symlink itself.
fn own(root: &Path, path: &Path) -> std::io::Result<PathBuf> {
    let path = root.join(path);
    if fs::symlink_metadata(&path)?.is_symlink() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    Ok(path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}
