//! Reading small files.

use std::fs;
use std::path::Path;

/// A file's text; nothing where there is no such file.
pub fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
