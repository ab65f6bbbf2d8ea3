//! Lexical operations on paths of the configuration, without access to a file system.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

/// Removes `.`, `..` and doubled slashes. The result is absolute; `..` stops at the root.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// Converts a path to the C string that system calls take.
///
/// # Errors
/// A NUL byte, because the kernel would read a shorter path than the one that was checked.
pub fn container_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).with_context(|| format!("{path:?}: contains a NUL byte"))
}
