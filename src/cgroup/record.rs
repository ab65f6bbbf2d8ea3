//! The record of a container's cgroup: its path in each hierarchy, and its systemd unit.

use serde::{Deserialize, Serialize};

use super::layout;

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

    /// The number of components of the path.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// Reports whether the machine has cgroup v2 alone.
    pub fn is_pure_v2(&self) -> bool {
        matches!(self.dirs.as_slice(), [dir] if dir.unified && dir.mount == layout::MOUNT)
    }
}
