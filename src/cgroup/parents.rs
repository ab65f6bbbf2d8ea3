//! The parents of containers' cgroups: `/engine` of `/engine/ID`. Those that croci creates are removed with the last
//! container below, whichever container they were created for.
//!
//! croci marks such a parent by an extended attribute, because containers share it and the record of the first, which
//! has it too, is gone before the last is deleted. Where the file system has no such attribute, the container for which
//! it was created removes it, if it is the last.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::{CStr, CString};
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::CgroupDir;
use super::files::{self, TIMEOUT, remove_dir};
use super::freeze::Pause;
use linux::file;

/// The mark of a parent; an empty value. `trusted` needs CAP_SYS_ADMIN, `user` is only on cgroup v2.
const MARKS: [&CStr; 2] = [c"trusted.croci.parent", c"user.croci.parent"];

/// Marks a cgroup as a parent that croci has created. Ignores errors, because not every kernel has attributes there.
pub(super) fn mark(path: &str) {
    if let Ok(path) = CString::new(path) {
        let _ = MARKS.iter().any(|name| file::set_xattr(&path, name, b"").is_ok());
    }
}

/// Returns whether [`mark`] has marked a cgroup; one that does not exist is not.
pub(super) fn is_marked(path: &str) -> Result<bool> {
    let place = CString::new(path)?;
    for name in MARKS {
        match file::get_xattr(&place, name) {
            Ok(_) => return Ok(true),
            Err(err) if err.is_errno(&[libc::ENODATA, libc::EOPNOTSUPP, libc::ENOENT, libc::EPERM]) => {}
            Err(err) => {
                return Err(err).with_code(Code::CgroupFailed, || format!("read the attributes of cgroup {path}"));
            }
        }
    }
    Ok(false)
}

/// Removes the parents of the cgroup `path` that croci has created, up to the first that is in use.
///
/// # Errors
/// As [`remove_unused`].
pub(super) fn remove(dir: &CgroupDir, path: &str) -> Result<()> {
    let mut path = path;
    for level in 1.. {
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let parent = format!("{}{path}", dir.mount);
        let created = level < dir.created_depth;
        if path.is_empty() || !created && !is_marked(&parent)? || !remove_unused(&parent)? {
            break;
        }
    }
    Ok(())
}

/// Removes a parent that croci has created; `false` when others use it, of whom the last removes it.
///
/// # Errors
/// As rmdir(2); the parent stays busy although it has neither processes nor children.
pub(super) fn remove_unused(path: &str) -> Result<bool> {
    let deadline = Instant::now() + TIMEOUT;
    let mut pause = Pause::new();
    while !remove_dir(path)? {
        if files::is_in_use(path).with_code(Code::CgroupFailed, || format!("read cgroup {path}"))? {
            mark(path);
            // again, because the last of the others may have looked for the mark before it was there
            return remove_dir(path);
        }
        if Instant::now() >= deadline {
            return Err(anyhow!(coded!(
                CgroupBusy,
                "cgroup {path} is busy after {} s, without processes and children",
                TIMEOUT.as_secs()
            )));
        }
        pause.wait();
    }
    Ok(true)
}
