//! The files that an instruction copies: found by their paths or patterns in the context, a stage or an image.
//!
//! The tree is hostile: paths are resolved below its root to ones without symlinks, and opened without following any.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::container::within;
use crate::containerfile::glob::{Pattern, is_pattern};
use crate::containerfile::ignore::Ignore;
use linux::path;

/// Where the sources of an instruction are.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    /// Root of the tree.
    pub root: BorrowedFd<'a>,
    /// What is left out of a context.
    pub ignore: Option<&'a Ignore>,
    /// For messages: `the context`, `stage x`, `image x`.
    pub name: &'a str,
}

/// A found source.
#[derive(Debug)]
pub struct Found {
    /// Open parent directory.
    pub dir: OwnedFd,
    /// Name in it; `.` for the root.
    pub name: CString,
    /// Path below the root, without symlinks.
    pub path: PathBuf,
    /// Path below the root as the instruction names it.
    pub given: PathBuf,
    /// Part of `given` that `--parents` leaves out, before `/./`.
    pub pivot: PathBuf,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether the ignore file of the context applies to it.
    pub of_context: bool,
}

impl Found {
    /// Returns the name that it has in the destination directory.
    pub fn base(&self) -> &OsStr {
        self.given.file_name().unwrap_or_default()
    }
}

impl Tree<'_> {
    /// Finds what a path or a pattern names, in the order of the names; nothing may match a pattern. With `deep`, `**` is
    /// any number of directories, as with `--parents`.
    ///
    /// # Errors
    /// A path that leads to nothing, a malformed pattern.
    pub fn find(&self, text: &str, deep: bool) -> Result<Vec<Found>> {
        let (before, after) = text.split_once("/./").unwrap_or(("", text));
        let pivot = clean(before);
        ensure!(!deep || pivot.iter().all(|part| part != "**"), coded!(BuildInvalid, "{text:?}: `**` is before `/./`"));
        let wanted = pivot.join(clean(after));
        if !is_pattern(text) {
            let found = self.one(&wanted, &pivot)?.filter(|found| self.keeps(found));
            return Ok(vec![found.with_code(Code::FileMissing, || self.missing(text))?]);
        }
        let mut found = Vec::new();
        for path in self.matches(&wanted, deep)? {
            // the parts of the pivot may be patterns, too
            let pivot: PathBuf = path.components().take(pivot.components().count()).collect();
            found.extend(self.one(&path, &pivot)?.filter(|found| self.keeps(found)));
        }
        Ok(found)
    }

    /// Returns the error for a source that leads to nothing.
    pub fn missing(&self, text: &str) -> String {
        let ignored = self.ignore.is_some_and(|ignore| ignore.excludes(&clean(text).to_string_lossy()));
        let why = if ignored { ": the ignore file leaves it out" } else { "" };
        format!("{text:?}: no such file or directory in {}{why}", self.name)
    }

    /// Returns whether a source is not left out; a directory that may have kept files is there.
    fn keeps(&self, found: &Found) -> bool {
        let Some(ignore) = self.ignore else { return true };
        let path = found.path.to_string_lossy();
        path.is_empty() || !ignore.excludes(&path) || found.is_dir && ignore.may_keep_below(&path)
    }

    /// Finds one path.
    fn one(&self, given: &Path, pivot: &Path) -> Result<Option<Found>> {
        let resolved = within::resolve(self.root, &Path::new("/").join(given))?;
        let below = resolved.strip_prefix("/").unwrap_or(&resolved).to_owned();
        let parent = below.parent().unwrap_or(Path::new(""));
        let Some(dir) = self.open(parent)? else { return Ok(None) };
        let name = match below.file_name() {
            Some(name) => CString::new(name.as_bytes())?,
            None => c".".to_owned(),
        };
        let stat = match path::stat_at(dir.as_fd(), &name, false) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("{given:?}"))?,
        };
        let (given, pivot) = (given.to_owned(), pivot.to_owned());
        let of_context = self.ignore.is_some();
        Ok(Some(Found { dir, name, path: below, given, pivot, is_dir: stat.is_dir(), of_context }))
    }

    /// Opens a directory by a path without symlinks.
    fn open(&self, below: &Path) -> Result<Option<OwnedFd>> {
        let name = CString::new(if below.as_os_str().is_empty() { b"." } else { below.as_os_str().as_bytes() })?;
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
        match path::openat2(self.root, &name, libc::O_RDONLY | libc::O_DIRECTORY, resolve) {
            Err(err) if matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            other => other.map(Some).with_context(|| format!("{below:?}")),
        }
    }

    /// Returns the paths that match a pattern, which is matched part by part.
    fn matches(&self, pattern: &Path, deep: bool) -> Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        let mut parts = pattern.components().peekable();
        while let Some(part) = parts.next() {
            let text = part.as_os_str().to_str().context("a pattern is not UTF-8")?;
            if !is_pattern(text) {
                found.iter_mut().for_each(|path| path.push(text));
                continue;
            }
            // at the end it is everything in the directory, which is copied whole
            if deep && text == "**" && parts.peek().is_some() {
                found = self.with_directories_below(found)?;
                continue;
            }
            let rule = Pattern::path(text, false)?;
            let mut next = Vec::new();
            for dir in found {
                let Some((_, names)) = self.read(&dir)? else { continue };
                let names = names.iter().map(|name| OsStr::from_bytes(name.to_bytes()));
                next.extend(names.filter(|name| rule.matches(&name.to_string_lossy())).map(|name| dir.join(name)));
            }
            found = next;
        }
        Ok(found)
    }
}

impl Tree<'_> {
    /// Opens a directory by a path that may have symlinks, and reads its sorted names; `None` for anything else.
    fn read(&self, dir: &Path) -> Result<Option<(OwnedFd, Vec<CString>)>> {
        let resolved = within::resolve(self.root, &Path::new("/").join(dir))?;
        let Some(open) = self.open(resolved.strip_prefix("/").unwrap_or(&resolved))? else { return Ok(None) };
        let mut names = path::read_dir_names(open.as_fd()).with_context(|| format!("{dir:?}"))?;
        names.sort_unstable();
        Ok(Some((open, names)))
    }

    /// Returns these directories and all below, each once; symlinks are not followed.
    fn with_directories_below(&self, tops: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        let (mut all, mut todo) = (BTreeSet::new(), tops);
        while let Some(dir) = todo.pop() {
            let Some((open, names)) = self.read(&dir)? else { continue };
            if !all.insert(dir.clone()) {
                continue;
            }
            for name in names {
                let is_dir = path::stat_at(open.as_fd(), &name, false).is_ok_and(|stat| stat.is_dir());
                todo.extend(is_dir.then(|| dir.join(OsStr::from_bytes(name.to_bytes()))));
            }
        }
        Ok(all.into_iter().collect())
    }
}

/// Resolves `.` and `..` by the text; nothing is above the root.
pub fn clean(text: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use linux::testing::TempDir;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    #[test]
    fn sources_are_found_below_the_root_only() {
        let dir = TempDir::new();
        for name in ["root/a/one.txt", "root/a/two.txt", "root/b/one.txt", "root/b/x", "root/skip/y", "outside"] {
            dir.write(name, b"");
        }
        symlink("/outside", dir.path().join("root/out")).unwrap();
        symlink("../../outside", dir.path().join("root/a/up")).unwrap();
        symlink("a", dir.path().join("root/link")).unwrap();
        let root = File::open(dir.path().join("root")).unwrap();
        let ignore = Ignore::parse("i", "skip\nb/x").unwrap();
        let tree = Tree { root: root.as_fd(), ignore: Some(&ignore), name: "the context" };
        for (text, wanted) in [
            ("a/one.txt", &["a/one.txt"][..]),
            ("/a/../b/./one.txt", &["b/one.txt"]),
            ("../../a", &["a"]),
            ("*/one.*", &["a/one.txt", "b/one.txt", "a/one.txt"]),
            ("link/t*", &["a/two.txt"]),
            ("[a]/two.txt", &["a/two.txt"]),
            (".", &[""]),
            ("/", &[""]),
        ] {
            let found = tree.find(text, false).unwrap_or_else(|err| panic!("{text}: {err:#}"));
            let paths: Vec<&Path> = found.iter().map(|found| &*found.path).collect();
            assert_eq!(paths, wanted.iter().map(Path::new).collect::<Vec<_>>(), "{text}");
        }
        for (text, wanted) in [
            ("out", "no such file"),
            ("a/up", "no such file"),
            ("skip/y", "the ignore file leaves it out"),
            ("b/x", "the ignore file leaves it out"),
            ("[", "has no end"),
        ] {
            let err = format!("{:#}", tree.find(text, false).unwrap_err());
            assert!(err.contains(wanted), "{text}: {err}");
        }
        assert!(tree.find("none*", false).unwrap().is_empty());
        let found = tree.find("a/./t*", true).unwrap();
        assert_eq!((&*found[0].pivot, &*found[0].given), (Path::new("a"), Path::new("a/two.txt")));
        let deep = |text: &str| -> Vec<PathBuf> {
            tree.find(text, true).unwrap().into_iter().map(|found| found.path).collect()
        };
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(deep("**/one.txt"), paths(&["a/one.txt", "b/one.txt"]));
        assert_eq!(deep("a/**/**/*.txt"), paths(&["a/one.txt", "a/two.txt"]));
        assert_eq!(deep("b/**"), paths(&["b/one.txt"]));
        assert!(tree.find("**/a/./x", true).is_err());
    }
}
