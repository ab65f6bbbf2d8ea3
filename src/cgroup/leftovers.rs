//! Cgroups that croci made and nothing uses any more, also where the state of their containers is gone.
//!
//! croci marks the cgroup of a container with the path of its state directory, by an extended attribute. A cgroup whose
//! state directory is not there, and a parent that croci made, are left over when they have no processes and no children.
//! The kernel refuses to remove a cgroup that is in use, so that a wrong guess cannot end anything.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files::{is_in_use, remove_dir};
use super::layout::{self, Layout};
use super::{Cgroup, parents};
use linux::file;

/// The mark of a container's cgroup; its value is the path of the state directory. As for parents, `trusted` needs
/// CAP_SYS_ADMIN, and `user` is only on cgroup v2.
const MARKS: [&CStr; 2] = [c"trusted.croci.state", c"user.croci.state"];

/// Deepest level below a mount point at which cgroups are looked for.
const MAX_DEPTH: usize = 32;

/// A cgroup that nothing uses.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// The directory.
    pub path: String,
    /// The state directory of its container, which is gone; `None`: a parent of containers' cgroups.
    pub state: Option<PathBuf>,
}

impl Leftover {
    /// Removes the cgroup; `false`: it is in use now.
    ///
    /// # Errors
    /// As rmdir(2).
    pub(crate) fn remove(&self) -> Result<bool> {
        remove_dir(&self.path)
    }
}

impl Cgroup {
    /// Marks the cgroup as that of the container with the state directory `state`. Ignores errors, because not every
    /// kernel has attributes there.
    pub(crate) fn mark(&self, state: &Path) {
        let path = self.main_path().and_then(|path| CString::new(path).ok());
        if let Some(path) = path {
            let _ = MARKS.iter().any(|name| file::set_xattr(&path, name, state.as_os_str().as_bytes()).is_ok());
        }
    }
}

/// Lists the cgroups that are left over, children before their parents.
///
/// # Errors
/// The mounts of cgroups cannot be found.
pub(crate) fn find() -> Result<Vec<Leftover>> {
    let mounts: Vec<String> = match layout::detect()? {
        Layout::Unified => vec![layout::MOUNT.to_owned()],
        Layout::Legacy(hierarchies) => hierarchies.into_iter().map(|hierarchy| hierarchy.mount).collect(),
        Layout::None => Vec::new(),
    };
    let mut found = Vec::new();
    for mount in &mounts {
        look(mount, "", &mounts, 0, &mut found);
    }
    Ok(found)
}

/// Looks at the cgroups below `path`, then at itself; returns whether it is left over.
fn look(mount: &str, path: &str, mounts: &[String], depth: usize, found: &mut Vec<Leftover>) -> bool {
    let dir = format!("{mount}{path}");
    // one that is removed meanwhile, or that this user cannot read, is not croci's to remove
    let Ok(entries) = fs::read_dir(&dir) else { return false };
    let mut is_used = depth >= MAX_DEPTH;
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { return false };
        is_used |= depth >= MAX_DEPTH || !look(mount, &format!("{path}/{name}"), mounts, depth + 1, found);
    }
    if is_used || path.is_empty() || has_processes(&dir) {
        return false;
    }
    if let Some(state) = state_of(&dir) {
        if state.exists() {
            return false;
        }
        // the mark is in one hierarchy alone
        for other in mounts.iter().filter(|other| *other != mount).map(|other| format!("{other}{path}")) {
            if Path::new(&other).is_dir() && !is_in_use(&other).unwrap_or(true) {
                found.push(Leftover { path: other, state: Some(state.clone()) });
            }
        }
        found.push(Leftover { path: dir, state: Some(state) });
        return true;
    }
    let is_parent = parents::is_marked(&dir).unwrap_or(false);
    if is_parent {
        found.push(Leftover { path: dir, state: None });
    }
    is_parent
}

/// Returns whether processes are in a cgroup itself; also where that cannot be read.
fn has_processes(dir: &str) -> bool {
    fs::read_to_string(format!("{dir}/cgroup.procs")).map_or(true, |text| !text.trim().is_empty())
}

/// Returns the state directory with which [`Cgroup::mark`] has marked a cgroup.
fn state_of(dir: &str) -> Option<PathBuf> {
    let dir = CString::new(dir).ok()?;
    let value = MARKS.iter().find_map(|name| file::get_xattr(&dir, name).ok())?;
    Some(PathBuf::from(OsStr::from_bytes(&value))).filter(|path| path.is_absolute())
}
