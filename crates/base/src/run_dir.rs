//! The run-time directory of a user without `XDG_RUNTIME_DIR`, as cron, `su` and sudo leave one.

use crate::coded;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// Returns the run-time directory of the user `uid`, who is this process's: `$XDG_RUNTIME_DIR`; else `/run/user/UID`, if
/// that is the user's; else `/tmp/croci-run-UID`, which it creates. The last one does not depend on `TMPDIR`, because
/// every process of the user has to find the same.
///
/// # Errors
/// `XDG_RUNTIME_DIR` is no absolute path; as [`make_private`].
pub fn of_user(uid: u32) -> Result<PathBuf> {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from) {
        Some(dir) if dir.is_absolute() => return Ok(dir),
        Some(dir) => bail!(coded!(StateRoot, "XDG_RUNTIME_DIR={dir:?}: not an absolute path")),
        None => {}
    }
    let of_login = PathBuf::from(format!("/run/user/{uid}"));
    if is_private(&of_login).unwrap_or(false) {
        return Ok(of_login);
    }
    let dir = PathBuf::from(format!("/tmp/croci-run-{uid}"));
    make_private(&dir)?;
    Ok(dir)
}

/// Creates a directory of mode 0700; an existing one must be this user's, and only this user may write to it.
///
/// # Errors
/// The directory cannot be created, or is another user's.
pub fn make_private(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
        other => return other.with_context(|| format!("create {dir:?}")),
    }
    let ours = is_private(dir).with_context(|| format!("{dir:?}"))?;
    ensure!(ours, coded!(StateUnsafe, "{dir:?}: is no directory that only this user writes to"));
    Ok(())
}

/// Returns whether `dir` is a directory of this user's to which no other user may write.
fn is_private(dir: &Path) -> std::io::Result<bool> {
    let meta = dir.symlink_metadata()?;
    Ok(meta.is_dir() && meta.uid() == linux::process::euid() && meta.mode() & 0o022 == 0)
}
