//! The parent directories of a store. Each operation and each runtime resolves paths anew, so no other user may be able
//! to replace the store.

use base::coded;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use linux::place::is_trusted;
use linux::place::is_writable_by_others;

/// Checks the existing parent directories of `root`, by name and along symlinks.
///
/// # Errors
/// Another user may rename entries in one of them, or could have created a symlink in the path.
pub(super) fn check(root: &Path) -> Result<()> {
    check_names(root)?;
    let Some(there) = root.ancestors().find(|path| path.symlink_metadata().is_ok()) else { return Ok(()) };
    let real = match there.canonicalize() {
        // a dangling symlink: its parent directories were checked
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        real => real.with_context(|| format!("{there:?}"))?,
    };
    check_names(&real)
}

fn check_names(root: &Path) -> Result<()> {
    let mut names: Vec<PathBuf> = root.ancestors().map(Path::to_owned).collect();
    names.reverse();
    for path in names {
        let meta = match path.symlink_metadata() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            meta => meta.with_context(|| format!("{path:?}"))?,
        };
        if !is_trusted(meta.uid()) && (meta.is_symlink() || path != root) {
            bail!(coded!(StateUnsafe, "{path:?} belongs to user {}: others could replace its content", meta.uid()));
        }
        let open = is_writable_by_others(meta.mode(), meta.gid());
        // in a sticky directory other users can rename only their own files
        if meta.is_dir() && path != root && open && meta.mode() & libc::S_ISVTX == 0 {
            bail!(coded!(StateUnsafe, "{path:?}: others may write to it (mode {:04o})", meta.mode() & 0o7777));
        }
    }
    Ok(())
}
