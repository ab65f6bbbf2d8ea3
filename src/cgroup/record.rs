//! The record of a container's cgroup: its path in each hierarchy, and its systemd unit.

use anyhow::{Context as _, Result, ensure};
use base::coded;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use super::layout;
use super::systemd::name;

/// The container's cgroup in one hierarchy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupDir {
    /// Mount point of the hierarchy.
    pub mount: String,
    /// Controllers of a v1 hierarchy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<String>,
    /// The hierarchy is that of cgroup v2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unified: bool,
    /// Number of trailing components of the path that croci creates and removes; 0: the cgroup existed before.
    pub created_depth: usize,
}

/// The record in the state file, and in the journal before croci creates anything.
///
/// The path is the same in every hierarchy. Without directories the container is in the cgroup of its creator.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupRecord {
    /// The path below each mount point; starts with `/`, has no `.` or `..`.
    pub path: String,
    /// One directory for each hierarchy.
    pub dirs: Vec<CgroupDir>,
    /// The unit, if systemd creates the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// A container's systemd unit and the socket of its manager, recorded because later verbs have no flag for either.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `libpod-ID.scope`
    pub unit: String,
    /// The manager's socket.
    pub address: String,
    /// The manager is a user's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

impl CgroupDir {
    /// Reports whether the hierarchy has this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl CgroupRecord {
    /// Returns the absolute path of the container's cgroup in one hierarchy.
    pub fn path_in(&self, dir: &CgroupDir) -> String {
        format!("{}{}", dir.mount, self.path)
    }

    /// Returns the container's cgroup in the hierarchy of cgroup v2.
    pub(super) fn unified_path(&self) -> Option<String> {
        self.dirs.iter().find(|dir| dir.unified).map(|dir| self.path_in(dir))
    }

    /// Returns the container's cgroup in the v1 hierarchy of a controller.
    pub(super) fn controller_path(&self, controller: &str) -> Option<String> {
        self.dirs.iter().find(|dir| dir.has(controller)).map(|dir| self.path_in(dir))
    }

    /// Checks that the record is of a cgroup that croci can have created, because `delete` kills all processes there. With
    /// the path `/` that would be every process of the host.
    ///
    /// # Errors
    /// The path is the root of the hierarchy or none, a mount point is none of cgroups, the unit is no scope of croci's.
    pub fn check(&self) -> Result<()> {
        if let Some(scope) = &self.scope {
            ensure!(
                name::is_scope(&scope.unit),
                coded!(ContainerDamaged, "{:?} is not the unit of a container", scope.unit)
            );
        }
        // of a user's scope the path is known only after it was created
        let unknown = self.path.is_empty() && self.dirs.is_empty();
        ensure!(
            unknown || is_below_root(&self.path),
            coded!(CgroupFailed, "{:?} is not the cgroup of a container", self.path)
        );
        for dir in &self.dirs {
            ensure!(
                dir.created_depth <= self.depth(),
                coded!(CgroupFailed, "cgroup {:?} is not {} deep", self.path, dir.created_depth)
            );
            check_mount(&dir.mount)?;
        }
        Ok(())
    }

    /// The number of components of the path.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// Reports whether the machine has cgroup v2 alone.
    pub fn is_pure_v2(&self) -> bool {
        matches!(self.dirs.as_slice(), [dir] if dir.unified && dir.mount == layout::MOUNT)
    }
}

/// Returns whether a path has one component at least, and only names.
pub(super) fn is_below_root(path: &str) -> bool {
    let is_name =
        |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.iter().any(|byte| matches!(byte, 0 | b'\n'));
    // by bytes, because every verb checks ten paths on v1
    path.as_bytes().strip_prefix(b"/").is_some_and(|path| path.split(|byte| *byte == b'/').all(is_name))
}

/// Returns whether `mount` is a usual mount point of a hierarchy, which needs no system call to be believed.
pub(super) fn is_usual_mount(mount: &str) -> bool {
    let rest = mount.as_bytes().strip_prefix(layout::MOUNT.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.iter().filter(|byte| **byte == b'/').count() == 1)
        && is_below_root(mount)
}

/// Checks that `mount` is the mount point of a hierarchy. No system call at the usual places.
fn check_mount(mount: &str) -> Result<()> {
    if is_usual_mount(mount) {
        return Ok(());
    }
    ensure!(is_below_root(mount), coded!(ContainerDamaged, "{mount:?} is not the mount point of cgroups"));
    let found = statfs(mount).with_context(|| format!("statfs {mount:?}"))?.filesystem_type();
    let wanted = [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC];
    ensure!(wanted.contains(&found), coded!(ContainerDamaged, "{mount:?} is not the mount point of cgroups"));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Returns a record with one directory.
    fn record(path: &str, mount: &str, created_depth: usize) -> CgroupRecord {
        let dir = CgroupDir { mount: mount.to_owned(), created_depth, ..CgroupDir::default() };
        CgroupRecord { path: path.to_owned(), dirs: vec![dir], scope: None }
    }

    #[test]
    fn what_croci_makes_is_accepted() {
        let scope = |unit: &str| CgroupRecord {
            scope: Some(Scope { unit: unit.to_owned(), ..Scope::default() }),
            ..CgroupRecord::default()
        };
        for good in [
            CgroupRecord::default(),
            record("/c1", "/sys/fs/cgroup", 1),
            record("/a/b/..c", "/sys/fs/cgroup/cpu,cpuacct", 3),
            record("/mine", "/sys/fs/cgroup/pids", 0),
            scope("libpod-abc.scope"),
        ] {
            assert!(good.check().is_ok(), "{good:?}");
        }
        assert!(scope("sshd.service").check().is_err() && scope("init.scope").check().is_err());
    }

    #[test]
    fn the_root_cgroup_is_never_a_containers() {
        for path in ["", "/", "//", "/.", "/..", "/a/..", "/../a", "/a/", "//a", "a", "/a//b", "/a/./b", "/a\n"] {
            for depth in [0, 1] {
                assert!(record(path, "/sys/fs/cgroup/pids", depth).check().is_err(), "{path:?}");
            }
        }
        for mount in ["", "/", "/sys/fs/cgroup/", "/sys/fs/cgroup/..", "/sys/fs/cgroup/pids/..", "/etc", "/tmp", "pids"]
        {
            assert!(record("/c1", mount, 1).check().is_err(), "{mount:?}");
        }
        assert!(record("/c1", "/sys/fs/cgroup", 2).check().is_err(), "deeper than the path");
    }
}
