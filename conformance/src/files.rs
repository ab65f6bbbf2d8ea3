//! Reading small files.

use std::fs;
use std::path::Path;

/// Returns a file's text; an empty string where it cannot be read.
pub fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
