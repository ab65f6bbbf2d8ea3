//! Directories as they were: compared by content, and made again. What a verb needs is set up once for all points of it,
//! and the verbs that clean up need not run where they would find what they were seen to find nothing in.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What was in some directories.
pub(crate) struct Saved {
    entries: BTreeMap<PathBuf, Entry>,
}

/// A directory, file or symlink.
struct Entry {
    kind: Kind,
    mode: u32,
    modified: SystemTime,
    /// Inode, size and times: a file that has these still is not read again.
    stamp: Stamp,
}

type Stamp = (u64, u64, i64, i64, i64, i64);

#[derive(PartialEq)]
enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(PathBuf),
    Other,
}

impl Saved {
    /// Remembers these paths, each with its content. They have no extended attributes (the store of the sweep has none).
    pub(crate) fn take(paths: impl IntoIterator<Item = PathBuf>) -> Saved {
        let entry = |path: PathBuf| {
            let meta = path.symlink_metadata().ok()?;
            let (mode, modified) = (meta.mode(), meta.modified().unwrap());
            Some((path.clone(), Entry { kind: kind(&path, &meta)?, mode, modified, stamp: stamp(&meta) }))
        };
        Saved { entries: paths.into_iter().filter_map(entry).collect() }
    }

    /// Returns whether exactly these paths exist, each with the same content and mode, but for those that `ignored` names.
    pub(crate) fn is(&self, now: impl IntoIterator<Item = PathBuf>, ignored: impl Fn(&Path) -> bool) -> bool {
        let mut found = 0;
        for path in now.into_iter().filter(|path| !ignored(path)) {
            if !self.entries.get(&path).is_some_and(|entry| entry.is(&path)) {
                return false;
            }
            found += 1;
        }
        found == self.entries.keys().filter(|path| !ignored(path)).count()
    }

    /// Makes everything as it was; `now` is what is there.
    pub(crate) fn restore(&mut self, now: impl IntoIterator<Item = PathBuf>) {
        for path in now.into_iter().filter(|path| !self.entries.contains_key(path)) {
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        for (path, entry) in &mut self.entries {
            if !entry.is(path) {
                entry.make(path);
            }
        }
    }
}

impl Entry {
    fn is(&self, path: &Path) -> bool {
        let Ok(meta) = path.symlink_metadata() else { return false };
        if meta.mode() != self.mode {
            return false;
        }
        meta.is_dir() || stamp(&meta) == self.stamp || kind(path, &meta).as_ref() == Some(&self.kind)
    }

    fn make(&mut self, path: &Path) {
        if path.symlink_metadata().is_ok_and(|meta| meta.mode() & libc::S_IFMT != self.mode & libc::S_IFMT) {
            let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        }
        match &self.kind {
            Kind::Directory => fs::create_dir_all(path).unwrap(),
            Kind::Symlink(target) => {
                let _ = fs::remove_file(path);
                std::os::unix::fs::symlink(target, path).unwrap();
            }
            Kind::File(bytes) => {
                // a new file, because a lock or a mapping may be of the old one
                let _ = fs::remove_file(path);
                fs::write(path, bytes).unwrap();
                File::open(path).unwrap().set_times(FileTimes::new().set_modified(self.modified)).unwrap();
            }
            Kind::Other => panic!("{path:?} cannot be made again"),
        }
        if !matches!(self.kind, Kind::Symlink(_)) {
            fs::set_permissions(path, Permissions::from_mode(self.mode & 0o7777)).unwrap();
        }
        self.stamp = stamp(&path.symlink_metadata().unwrap());
    }
}

fn kind(path: &Path, meta: &Metadata) -> Option<Kind> {
    Some(match meta.mode() & libc::S_IFMT {
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFREG => Kind::File(fs::read(path).ok()?),
        libc::S_IFLNK => Kind::Symlink(fs::read_link(path).ok()?),
        _ => Kind::Other,
    })
}

fn stamp(meta: &Metadata) -> Stamp {
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}
