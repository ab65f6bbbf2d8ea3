//! The directories that a store lies in. Every path in it is taken anew by each step and each runtime, so no other user may
//! put another store in its place meanwhile.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use linux::place::is_trusted;
use linux::place::is_writable_by_others;

/// Checks the directories above `root` that are there, by the names given and by where symlinks lead.
///
/// # Errors
/// Others may rename something in one of them, or have made a symlink on the way.
pub(super) fn check(root: &Path) -> Result<()> {
    check_names(root)?;
    let Some(there) = root.ancestors().find(|path| path.symlink_metadata().is_ok()) else { return Ok(()) };
    let real = match there.canonicalize() {
        // a symlink that leads nowhere yet: its names were looked at
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
            bail!("{path:?} belongs to user {}: others could exchange what is in it", meta.uid());
        }
        let open = is_writable_by_others(meta.mode(), meta.gid());
        // with the sticky bit, others can exchange only what is theirs
        if meta.is_dir() && path != root && open && meta.mode() & libc::S_ISVTX == 0 {
            bail!("{path:?}: others may write to it (mode {:04o})", meta.mode() & 0o7777);
        }
    }
    Ok(())
}
