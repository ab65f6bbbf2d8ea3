//! Paths of the configuration, as text: nothing is looked up.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

/// The path without `.`, `..` and doubled slashes, absolute; `..` stops at the root.
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

/// The path for the kernel.
///
/// # Errors
/// A NUL inside: the kernel would read a shorter path than the one that was checked.
pub fn container_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).with_context(|| format!("{path:?}: contains a NUL byte"))
}
